//! Hostile peers without a node: raw bytes on sockets.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use actix_peer::{link::Hello, overlay::PeerInfo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::Action;

/// The connections of a flood: more than one source may have.
const FLOOD: usize = 80; // connections

/// The longest time that a peer keeps a stalled connection: longer than a node does.
const HOLD: Duration = Duration::from_secs(40);

/// The time-out for what a node does at once.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Runs one action, from the address `source`.
pub(super) async fn act(
    action: Action,
    source: Ipv4Addr,
    to: SocketAddr,
    rng: &mut fastrand::Rng,
) -> io::Result<()> {
    let hold = HOLD.mul_f64(rng.f64());
    match action {
        Action::Flood => flood(source, to, rng).await,
        Action::Broken => broken(source, to, rng).await,
        Action::SlowReader => slow_reader(source, to, rng.bool(), hold).await,
        Action::Joiner => joiner(source, to, rng).await,
        Action::Greedy => greedy(source, to, rng).await,
        Action::Silent | Action::Member | Action::Killed => {
            let mut stream = connect(source, to, false).await?;
            if rng.bool() {
                stream.write_all(b"ECH").await?;
            }
            // The node or this peer closes the connection.
            timeout(hold, stream.read(&mut [0; 64])).await.map(drop).ok();
            Ok(())
        }
    }
}

#[allow(deprecated, reason = "the minimum version of tokio has no other way")]
async fn connect(source: Ipv4Addr, to: SocketAddr, reset: bool) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    if reset {
        // Close with a reset.
        socket.set_linger(Some(Duration::ZERO))?;
    }
    timeout(TIMEOUT, socket.connect(to)).await?
}

fn frame(code: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&code[..], &len, data].concat()
}

/// A frame on a link (src/protocol.md#link-frames).
fn link_frame(code: &[u8; 4], exchange: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(code, &[&exchange.to_be_bytes(), &[flags][..], payload].concat())
}

fn hello(source: Ipv4Addr, rng: &mut fastrand::Rng) -> io::Result<Vec<u8>> {
    let (id, port) = (format!("x{}", rng.u32(..)), rng.u16(1..));
    let info = PeerInfo::new(
        id.parse().map_err(io::Error::other)?,
        SocketAddr::from((source, port)).into(),
    );
    let hello = Hello {
        info: info.map_err(io::Error::other)?,
        window: rng.u32(1 << 10..1 << 20),
        max_message: 1 << 20,
        max_open: 64,
        incarnation: rng.u64(..),
        features: Vec::new(),
        lengths: Vec::new(),
    };
    let hello = hello.to_frame();
    Ok(frame(b"@LNK", hello.data()))
}

/// Reads to the end, with a time-out.
async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut piece = [0; 4 << 10];
    let all = async {
        while stream.read(&mut piece).await? > 0 {}
        Ok(())
    };
    timeout(TIMEOUT, all).await?
}

async fn flood(source: Ipv4Addr, to: SocketAddr, rng: &mut fastrand::Rng) -> io::Result<()> {
    let mut open = Vec::new();
    for _ in 0..FLOOD {
        let mut stream = connect(source, to, rng.bool()).await?;
        if rng.u8(..4) > 0 {
            stream.write_all(&frame(b"ECHO", b"flood")).await?;
        }
        // Some stay open until the end of the flood; others are closed at once, before the answer.
        if rng.bool() {
            open.push(stream);
        }
    }
    Ok(())
}

async fn broken(source: Ipv4Addr, to: SocketAddr, rng: &mut fastrand::Rng) -> io::Result<()> {
    let garbage: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(300).collect();
    let greeted = |rest: Vec<u8>, rng: &mut fastrand::Rng| {
        hello(source, rng).map(|hello| [hello, rest].concat())
    };
    let bytes = match rng.u8(..14) {
        0 => b"GET / HTTP/1.1\r\nHost: node\r\n\r\n".to_vec(),
        1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        2 => b"ECHO\xff\xff\xff\xff".to_vec(),
        3 => b"ECHO\0\0\0\x64ten bytes.".to_vec(),
        4 => b"EC".to_vec(),
        5 => frame(b"@LNK", b"{\"version\":1,"),
        6 => frame(b"@LNK", &[b'['; 4_000]),
        7 => frame(b"JOIN", &garbage),
        // An exchange with a number of the other side; too much credit; an answer without a
        // request; a hundred empty frames; a second hello.
        8 => greeted(link_frame(b"ECHO", 2, 1, b"mine"), rng)?,
        9 => greeted(link_frame(b"@CRD", 0, 0, &[0xff; 4]).repeat(3), rng)?,
        10 => greeted(link_frame(b"REPL", 77, 2, b"what?"), rng)?,
        11 => greeted(link_frame(b"ECHO", 3, 4, b"").repeat(101), rng)?,
        12 => greeted(hello(source, rng)?, rng)?,
        _ => garbage,
    };
    let mut stream = connect(source, to, rng.bool()).await?;
    stream.write_all(&bytes).await?;
    if rng.bool() {
        stream.shutdown().await?;
    }
    drain(&mut stream).await
}

/// Requests more than all buffers hold, in a classic exchange or over a link, and does not read it.
async fn slow_reader(
    source: Ipv4Addr,
    to: SocketAddr,
    link: bool,
    hold: Duration,
) -> io::Result<()> {
    let mut stream = connect(source, to, false).await?;
    if link {
        let mut rng = fastrand::Rng::with_seed(u64::from(source.to_bits()));
        stream.write_all(&hello(source, &mut rng)?).await?;
        for exchange in (1..9).step_by(2) {
            stream.write_all(&link_frame(b"LONG", exchange, 1, b"")).await?;
        }
    } else {
        stream.write_all(&frame(b"LONG", b"")).await?;
    }
    tokio::time::sleep(hold).await;
    Ok(())
}

/// Adds peers at ports where no program listens.
async fn joiner(source: Ipv4Addr, to: SocketAddr, rng: &mut fastrand::Rng) -> io::Result<()> {
    for _ in 0..rng.usize(1..20) {
        let id = format!("ghost{}", rng.u32(..1_000));
        let join = format!("{id} {source} {}", rng.u16(1..1_024));
        for (code, data, sends) in [(b"JOIN", join, true), (b"QUIT", id, rng.bool())] {
            if sends {
                let mut stream = connect(source, to, false).await?;
                stream.write_all(&frame(code, data.as_bytes())).await?;
                drain(&mut stream).await?;
            }
        }
    }
    Ok(())
}

/// Sends as much to a slow handler as the window allows, and sometimes more.
async fn greedy(source: Ipv4Addr, to: SocketAddr, rng: &mut fastrand::Rng) -> io::Result<()> {
    let mut stream = connect(source, to, rng.bool()).await?;
    stream.write_all(&hello(source, rng)?).await?;
    let message = link_frame(b"SLOW", 0, 0, &[7; 8 << 10]);
    let all = async {
        for _ in 0..rng.usize(10..400) {
            stream.write_all(&message).await?;
        }
        io::Result::Ok(())
    };
    timeout(TIMEOUT, all).await.map(drop).ok();
    timeout(Duration::from_secs(1), stream.read(&mut [0; 1 << 10])).await.map(drop).ok();
    Ok(())
}

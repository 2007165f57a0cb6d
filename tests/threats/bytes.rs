//! Bytes of a remote peer that are truncated, too long, too slow or invalid. `tests/wire` holds
//! what a single exchange shows.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use actix::Actor;
use actix_peer::{
    Config, Incoming, Outgoing, Over, Peer, Reply, RequestError,
    frame::Frame,
    handler,
    link::Reason,
    overlay::Host,
    transport::memory::{Ending, MemoryNetwork, StreamDirection},
};
use futures::StreamExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    common::{SECOND, handlers, nodes::counts},
    nodes::{NAME, connect, heard, name, node, settle},
};

/// The request changes the table, so any handling of a part of it is visible.
const JOIN: &[u8] = b"JOIN\0\0\0\x0ebob eve 9001  ";

#[actix::test]
async fn a_request_that_is_cut_or_reset_anywhere_is_not_handled_and_its_permit_is_freed() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    for ending in [Ending::Eof, Ending::Reset] {
        wires.ending(ending);
        for bytes in 0..JOIN.len() as u64 {
            wires.break_after(StreamDirection::ToListener, bytes);
            let mut io = connect(&wires, "eve").await;
            // The end of it does not arrive.
            io.writer.write_all(JOIN).await.ok();
            let mut heard = Vec::new();
            io.reader.read_to_end(&mut heard).await.ok();
            assert_eq!(heard, b"", "after {bytes} bytes");
            tokio::time::sleep(SECOND).await;
            let status = node.status().await;
            assert_eq!((status.connections, status.half_open), (0, 0), "after {bytes} bytes");
        }
    }
    assert_eq!((wires.connections(), counts(&node).await.frames_out), (0, 0));
    assert!(node.peers().list().await.unwrap().is_empty());
}

#[actix::test]
async fn the_refusal_of_a_too_long_message_arrives_while_the_rest_is_still_being_sent() {
    let node = Peer::builder().id("node").well_known().start().await.unwrap();
    for _ in 0..5 {
        let mut io = TcpStream::connect(node.info().address().to_string()).await.unwrap();
        io.write_all(b"NAME\0\0\xff\xff").await.unwrap();
        let mut heard = [0; 24];
        io.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"ERRO\0\0\0\x10Message too long");
        // The sender continues before it has received the refusal, and must not be reset before
        // that.
        for _ in 0..12 {
            io.write_all(&[b'x'; 5_000]).await.expect("the node reads and discards the rest");
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
        }
        let end = io.read_to_end(&mut Vec::new()).await;
        assert_eq!(end.expect("the connection ends cleanly, not by a reset"), 0);
    }
    // No byte was kept or taken for a request.
    let counts = counts(&node).await;
    assert_eq!((counts.errors_too_long, counts.frames_in), (5, 0));
}

/// A node that answers `ECHO`.
async fn echo(wires: &MemoryNetwork, config: Config) -> Peer {
    let node = node(wires, config).await;
    assert!(node.handle("ECHO", handlers::echo()).unwrap().is_none());
    node
}

#[actix::test]
async fn announced_data_that_does_not_arrive_delays_no_other_peer_and_times_out() {
    let wires = MemoryNetwork::new(1);
    let node = echo(&wires, Config::default()).await;
    let begun = Instant::now();
    let mut claimed = Vec::new();
    for n in 0..300 {
        let mut io = connect(&wires, &format!("liar{}", n % 10)).await;
        io.writer.write_all(b"ECHO\0\x10\0\0").await.unwrap();
        claimed.push(io);
    }
    settle().await;
    assert_eq!((node.status().await.connections, node.status().await.half_open), (300, 0));
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
    for io in &mut claimed {
        assert_eq!(heard(io).await, "");
    }
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!((node.status().await.connections, counts(&node).await.errors_late), (0, 300));
}

#[actix::test]
async fn single_bytes_do_not_extend_a_deadline() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    for (begin, seconds) in [(&b"J"[..], 10), (b"JOIN\0\0\x01\0", 30)] {
        let mut io = connect(&wires, "slow").await;
        let begun = Instant::now();
        io.writer.write_all(begin).await.unwrap();
        let mut end = Vec::new();
        while timeout(2 * SECOND, io.reader.read_to_end(&mut end)).await.is_err() {
            io.writer.write_all(b"x").await.unwrap();
        }
        assert_eq!(begun.elapsed().as_secs(), seconds);
    }
    assert_eq!(counts(&node).await.errors_late, 2);
}

#[actix::test]
async fn silent_connections_are_closed_after_ten_seconds_and_leave_no_state() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    let mut silent = Vec::new();
    for n in 0..200 {
        silent.push(connect(&wires, &format!("mute{}", n % 10)).await);
    }
    let begun = Instant::now();
    for io in &mut silent {
        assert_eq!(heard(io).await, "");
    }
    assert_eq!(begun.elapsed().as_secs(), 10);
    drop(silent);
    let status = node.status().await;
    assert_eq!((status.connections, status.half_open, wires.connections()), (0, 0, 0));
    // The callers caused it, and no request was refused.
    assert_eq!(status.counts.errors_late, 200);
}

#[actix::test]
async fn connections_that_are_opened_and_reset_leave_no_state_and_others_are_served() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    wires.ending(Ending::Reset);
    for n in 0..2_000 {
        let host = format!("flood{}", n % 20);
        let io = connect(&wires, &host).await;
        wires.break_links_between(&host.parse().unwrap(), &"node".parse().unwrap());
        drop(io);
        if n % 100 == 0 {
            let begun = Instant::now();
            assert_eq!(name(connect(&wires, "honest").await).await, NAME);
            assert!(begun.elapsed() < SECOND / 4);
        }
    }
    settle().await;
    let status = node.status().await;
    assert_eq!((status.connections, status.half_open, wires.connections()), (0, 0, 0));
    assert_eq!(status.counts.exchanges_in, 20);
}

/// A stream of bytes without an end that counts the written bytes.
struct Poured(Arc<AtomicUsize>);

impl AsyncRead for Poured {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.0.fetch_add(into.remaining(), Ordering::Relaxed);
        into.put_slice(&vec![7; into.remaining()]);
        Poll::Ready(Ok(()))
    }
}

#[actix::test]
async fn an_unread_reply_waits_in_its_handler_and_is_aborted_in_time() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let source = Arc::clone(&taken);
    let pour = handler::from_fn(async move |_: Incoming| {
        Reply::body("POUR", 64 << 20, Poured(Arc::clone(&source)))
    });
    assert!(node.handle("POUR", pour.start()).unwrap().is_none());
    let mut readers = Vec::new();
    for n in 0..10 {
        let mut io = connect(&wires, &format!("mute{n}")).await;
        io.writer.write_all(b"POUR\0\0\0\0").await.unwrap();
        readers.push(io);
    }
    settle().await;
    // Includes the 64 KiB in each direction that the network holds.
    let buffered = taken.load(Ordering::Relaxed) / readers.len();
    assert!((1..=512 << 10).contains(&buffered), "{buffered}");
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
    tokio::time::sleep(29 * SECOND).await;
    assert_eq!(node.status().await.connections, 10);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(node.status().await.connections, 0);
    assert_eq!(counts(&node).await.errors_stalled, 10);
    assert_eq!(taken.load(Ordering::Relaxed) / readers.len(), buffered);
}

#[actix::test]
async fn a_reader_that_takes_an_hour_is_served_to_the_end() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    let long =
        handler::from_fn(async |_: Incoming| Reply::one(Frame::new("REPL", vec![b'x'; 1_000_000])));
    assert!(node.handle("LONG", long.start()).unwrap().is_none());
    let mut io = connect(&wires, "slow").await;
    io.writer.write_all(b"LONG\0\0\0\0").await.unwrap();
    let (mut got, mut space) = (0, vec![0; 6_000]);
    let begun = Instant::now();
    loop {
        match io.reader.read(&mut space).await.expect("the reply is not aborted") {
            0 => break,
            n => got += n,
        }
        tokio::time::sleep(22 * SECOND).await;
    }
    assert_eq!(got, 8 + 1_000_000);
    assert!(begun.elapsed() > 3_600 * SECOND, "{:?}", begun.elapsed());
    assert_eq!(counts(&node).await.errors_stalled, 0);
}

/// Whether the other side of a link has ended the exchange at its timeout.
fn is_late(error: &RequestError) -> bool {
    matches!(error, RequestError::Reset { reason, .. } if *reason == Reason::TIMED_OUT)
}

#[actix::test]
async fn an_exchange_that_progresses_still_ends_at_its_total_timeout() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default().exchange_timeout(120 * SECOND)).await;
    let drops = || futures::stream::repeat(Frame::text("REPL", "drop"));
    let drip = handler::from_fn(async move |_: Incoming| {
        Reply::stream(drops().then(async |drop| {
            tokio::time::sleep(20 * SECOND).await;
            drop
        }))
    });
    assert!(node.handle("DRIP", drip.start()).unwrap().is_none());

    let begun = Instant::now();
    let mut io = connect(&wires, "patient").await;
    io.writer.write_all(b"DRIP\0\0\0\0").await.unwrap();
    let mut got = Vec::new();
    let end = timeout(200 * SECOND, io.reader.read_to_end(&mut got))
        .await
        .expect("the connection ends in time");
    assert!(end.is_err() || got.len() < 8 * 12, "{end:?} {got:?}");
    assert_eq!(begun.elapsed().as_secs(), 120);

    let transport = wires.transport("asker".parse::<Host>().unwrap());
    let asker = Peer::builder().transport(transport).listen("asker:9000").start().await.unwrap();
    let begun = Instant::now();
    let question = Outgoing::from(Frame::empty("DRIP")).over(Over::Link);
    let cut = asker.request(node.info(), question).await.unwrap().collect().await;
    assert!(cut.as_ref().is_err_and(is_late), "{cut:?}");
    assert!((120..130).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[actix::test]
async fn a_handler_has_its_full_timeout_on_a_link_whatever_else_wakes_the_link() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    let never = handler::from_fn(async |_: Incoming| std::future::pending().await);
    assert!(node.handle("NEVR", never.start()).unwrap().is_none());
    let transport = wires.transport("asker".parse::<Host>().unwrap());
    let config = Config::default().keep_alive(SECOND).reply_timeout(100 * SECOND);
    let asker = Peer::builder().transport(transport).listen("asker:9000").config(config);
    let asker = asker.start().await.unwrap();
    let begun = Instant::now();
    let question = Outgoing::from(Frame::empty("NEVR")).over(Over::Link);
    let cut = asker.request(node.info(), question).await.unwrap().collect().await;
    assert!(cut.as_ref().is_err_and(is_late), "{cut:?}");
    assert!((30..40).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

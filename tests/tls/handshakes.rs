//! Handshakes that are late, numerous or truncated, and connections that break afterwards.

use std::future::poll_fn;

use actix_peer::{
    Outgoing, Over, Peer, RequestError,
    frame::{Frame, FrameError},
    message::ReadError,
    transport::{
        IdentityFault, Io, Transport,
        memory::MemoryNetwork,
        tls::{NodeIdentity, TlsTransport},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::{SECOND, all, counts, host, id_of, pass, start, transport};

/// The first bytes of a ClientHello of TLS 1.3. Its record announces more.
const HELLO: [u8; 11] = [0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];

async fn answered(from: &Peer, to: &Peer) -> Result<(), RequestError> {
    let message = Outgoing::from(Frame::text("ECHO", "x")).over(Over::Classic);
    from.request(to.info(), message).await?.collect().await.map(drop)
}

#[actix::test]
async fn a_silent_connection_is_closed_after_ten_seconds() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob")).await;
    for first in [&[][..], &HELLO[..1], &HELLO] {
        let begun = Instant::now();
        let mut io = host(&wires, "eve").dial(bob.info().address()).await.unwrap();
        io.writer.write_all(first).await.unwrap();
        all(&mut io).await;
        assert_eq!(begun.elapsed().as_secs(), 10, "{first:?}");
        drop(io);
        pass(SECOND).await;
        assert_eq!((bob.status().await.connections, wires.connections()), (0, 0));
    }
}

#[actix::test]
async fn single_bytes_do_not_extend_the_timeout_of_a_handshake() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob")).await;
    let begun = Instant::now();
    let mut io = host(&wires, "eve").dial(bob.info().address()).await.unwrap();
    for byte in HELLO.into_iter().chain(std::iter::repeat(7)) {
        if io.writer.write_all(&[byte]).await.is_err() {
            break;
        }
        pass(SECOND / 2).await;
    }
    assert!(begun.elapsed() <= 11 * SECOND, "{:?}", begun.elapsed());
    assert_eq!(bob.status().await.connections, 0);
}

#[actix::test]
async fn one_timeout_covers_the_handshake_and_the_first_frame() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    wires.latency(SECOND..SECOND);
    let bob = start("bob", transport(&wires, "bob")).await;
    let begun = Instant::now();
    let mut io = transport(&wires, "ada").dial(bob.info().address()).await.unwrap();
    all(&mut io).await;
    // One second for the end to arrive, one for the dial.
    assert!((9..=12).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[actix::test]
async fn a_flood_of_handshakes_from_one_source_excludes_no_other_source() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob").max_handshakes(8)).await;
    let ada = start("ada", transport(&wires, "ada")).await;
    let mut flood = Vec::new();
    for _ in 0..500 {
        let mut io = host(&wires, "eve").dial(bob.info().address()).await.unwrap();
        io.writer.write_all(&HELLO).await.unwrap();
        flood.push(io);
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    for _ in 0..20 {
        answered(&ada, &bob).await.unwrap();
    }
    assert_eq!(begun.elapsed().as_secs(), 0);
    pass(11 * SECOND).await;
    drop(flood);
    pass(SECOND).await;
    assert_eq!((bob.status().await.connections, wires.connections()), (0, 0));
    answered(&ada, &bob).await.unwrap();
}

/// The answer of `to` to `NAME`.
async fn name(from: &Peer, to: &Peer) -> Vec<Frame> {
    let message = Outgoing::from(Frame::empty("NAME")).over(Over::Classic);
    from.request(to.info(), message).await.unwrap().collect().await.unwrap()
}

#[actix::test]
async fn a_full_node_says_so_after_the_handshake_and_not_to_a_flood() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let builder = Peer::builder().transport(transport(&wires, "bob")).listen("bob:9000");
    let config = actix_peer::Config::default().max_connections(1);
    let bob = builder.config(config).well_known().start().await.unwrap();
    let taken = transport(&wires, "cyd").dial(bob.info().address()).await.unwrap();
    let ada = start("ada", transport(&wires, "ada")).await;
    assert_eq!(name(&ada, &bob).await, [Frame::text("ERRO", "Busy")]);
    // A plain frame is only sent to a plain caller.
    let mut io = host(&wires, "eve").dial(bob.info().address()).await.unwrap();
    io.writer.write_all(b"NAME\0\0\0\0").await.unwrap();
    assert_eq!(all(&mut io).await, b"ERRO\0\0\0\x04Busy");
    pass(SECOND).await;
    let mut flood = Vec::new();
    for _ in 0..40 {
        flood.push(host(&wires, "eve").dial(bob.info().address()).await.unwrap());
    }
    let begun = Instant::now();
    for io in &mut flood[8..] {
        assert_eq!(all(io).await, b"");
    }
    assert_eq!(begun.elapsed().as_secs(), 0);
    // Eight may make a handshake, for two seconds at most.
    for io in &mut flood[..8] {
        assert_eq!(all(io).await, b"");
        assert_eq!(begun.elapsed().as_secs(), 2);
    }
    assert_eq!(counts(&bob).await.connections_refused, 42);
    drop(taken);
    pass(SECOND).await;
    assert_eq!(name(&ada, &bob).await, [Frame::text("REPL", bob.id().to_string())]);
}

#[actix::test]
async fn tls_connections_count_against_their_source_while_they_are_open() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let builder = Peer::builder().transport(transport(&wires, "bob")).listen("bob:9000");
    let config = actix_peer::Config::default().max_connections_per_source(4);
    let bob = builder.config(config).well_known().start().await.unwrap();
    // Four keys on one host: links that are open after their handshakes.
    let mut keys = Vec::new();
    for n in 0..4 {
        let key = NodeIdentity::for_tests(&format!("key {n}"));
        let over = TlsTransport::over(host(&wires, "eve"), key);
        let node = Peer::builder().transport(over).listen(format!("eve:{}", 9_001 + n));
        let node = node.start().await.unwrap();
        let asked = Outgoing::from(Frame::empty("NAME")).over(Over::Link);
        node.request(bob.info(), asked).await.unwrap().collect().await.unwrap();
        keys.push(node);
    }
    pass(20 * SECOND).await;
    assert_eq!((bob.status().await.connections, bob.status().await.half_open), (4, 0));
    let fifth = Peer::builder().transport(transport(&wires, "eve")).listen("eve:9009");
    let fifth = fifth.start().await.unwrap();
    assert_eq!(name(&fifth, &bob).await, [Frame::text("ERRO", "Busy")]);
    let served = [Frame::text("REPL", bob.id().to_string())];
    assert_eq!(name(&start("ada", transport(&wires, "ada")).await, &bob).await, served);
    keys.pop().unwrap().stop().await;
    pass(SECOND).await;
    assert_eq!(name(&fifth, &bob).await, served);
}

#[actix::test]
async fn an_unanswered_dial_ends_in_time() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let mut listener = host(&wires, "bob").listen(&"bob:9000".parse().unwrap()).await.unwrap();
    let accept = async {
        let io = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        pass(100 * SECOND).await;
        drop(io);
    };
    let at: actix_peer::overlay::Address = "bob:9000".parse().unwrap();
    let dial = async {
        let begun = Instant::now();
        let error = transport(&wires, "ada").dial(&at).await.unwrap_err();
        let late = IdentityFault::Late { at: at.clone(), within: 10 * SECOND };
        assert_eq!(IdentityFault::of(&error), Some(&late));
        begun.elapsed().as_secs()
    };
    assert_eq!(tokio::join!(accept, dial).1, 10);
    // A node has a shorter timeout than the transport.
    let accept = async {
        loop {
            std::mem::forget(poll_fn(|cx| listener.poll_accept(cx)).await);
        }
    };
    let ada = start("ada", transport(&wires, "ada")).await;
    let asked = async {
        let begun = Instant::now();
        let error = ada.request(&at, Outgoing::from(Frame::empty("ECHO"))).await.unwrap_err();
        assert!(!error.may_have_been_handled());
        begun.elapsed().as_secs()
    };
    let took = futures::future::select(Box::pin(accept), Box::pin(asked)).await;
    assert!(matches!(took, futures::future::Either::Right((5, _))));
}

/// A node that answers one request with these bytes, and then closes the connection cleanly or
/// aborts it.
async fn cut_reply(polite: bool) -> Result<Vec<Frame>, RequestError> {
    let wires = MemoryNetwork::new(1);
    let ada = start("ada", transport(&wires, "ada")).await;
    let over = transport(&wires, "eve");
    let eve = async {
        let mut listener = over.listen(&"eve:9000".parse().unwrap()).await.unwrap();
        let io = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        let Io { mut reader, mut writer, .. } = over.secure(io).await.unwrap();
        reader.read_u8().await.unwrap();
        writer.write_all(b"REPL\0\0\0\x03one").await.unwrap();
        writer.flush().await.unwrap();
        if polite {
            writer.shutdown().await.unwrap();
        }
        drop(writer);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.ok();
    };
    let at: actix_peer::overlay::Address = "eve:9000".parse().unwrap();
    let asked = async {
        pass(SECOND).await;
        let message = Outgoing::from(Frame::text("GIVE", "all")).over(Over::Classic);
        ada.request(&at, message).await?.collect().await
    };
    tokio::join!(eve, asked).1
}

#[actix::test]
async fn replies_that_are_cut_between_two_frames_are_an_error() {
    tokio::time::pause();
    assert_eq!(cut_reply(true).await.unwrap(), [Frame::text("REPL", "one")]);
    let error = cut_reply(false).await.unwrap_err();
    assert!(matches!(error, RequestError::Reply(ReadError::Frame(FrameError::Io(_)))), "{error:?}");
    assert!(error.may_have_been_handled());
}

#[actix::test]
async fn encrypted_data_is_sent_at_once_and_not_with_the_next_write() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, bob) = (
        start("ada", transport(&wires, "ada")).await,
        start("bob", transport(&wires, "bob")).await,
    );
    let begun = Instant::now();
    // Around the capacity of the network's pipes and of the library's buffers.
    for len in (0..40).map(|n| 8_000 * n).chain([60_000, 65_000, 500_000, 1_000_000]) {
        for over in [Over::Classic, Over::Link] {
            let frame = Frame::new("ECHO", vec![7; len]);
            let message = Outgoing::from(frame.clone()).over(over);
            let replies = ada.request(bob.info(), message).await.unwrap().collect().await;
            assert!(replies.unwrap() == [frame], "{len} {over:?}");
        }
    }
    assert_eq!(begun.elapsed(), std::time::Duration::ZERO);
}

#[actix::test]
async fn nodes_exchange_concurrent_large_messages_over_tcp_in_both_directions() {
    let (ada, bob) = (tcp("ada").await, tcp("bob").await);
    let data = vec![7; 1 << 20];
    let ask = async |from: &Peer, to: &Peer, over| {
        let message = Outgoing::from(Frame::new("ECHO", data.clone())).over(over);
        let replies = from.request(to.info(), message).await.unwrap().collect().await.unwrap();
        assert!(replies == [Frame::new("ECHO", data.clone())]);
    };
    for over in [Over::Classic, Over::Link] {
        let here = futures::future::join_all((0..8).map(|_| ask(&ada, &bob, over)));
        let there = futures::future::join_all((0..8).map(|_| ask(&bob, &ada, over)));
        tokio::join!(here, there);
    }
    let seen = counts(&bob).await;
    assert_eq!((seen.errors_handshake, seen.errors_io), (0, 0), "{seen:?}");
    ada.stop().await;
    bob.stop().await;
}

async fn tcp(name: &str) -> Peer {
    use actix::Actor;
    let echo = actix_peer::handler::from_fn(async |msg: actix_peer::Incoming| {
        actix_peer::Reply::one(msg.frame)
    });
    let identity = NodeIdentity::for_tests(name);
    let builder = Peer::builder().identity(identity).handle("ECHO", echo.start()).unwrap();
    let node = builder.start().await.unwrap();
    assert_eq!(*node.id(), id_of(name));
    node
}

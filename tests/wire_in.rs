//! What a foreign program writes to a node, and what it gets back, byte by byte (WIRE.md parts 1
//! and 2).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::prelude::Actor;
use actix_peer::{
    Builder, Config, Incoming, Peer, Reply, connection::Counts, frame::Frame, handler,
    transport::memory::MemoryNetwork,
};
use support::{Noting, dial, host, node, rest, say};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};

/// Options of a node "ada" with the well-known handlers and an echo, and how often that was asked.
fn ada(wires: &MemoryNetwork) -> (Builder, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let echo = handler::from_fn(async move |msg: Incoming| {
        count.fetch_add(1, Ordering::Relaxed);
        Reply::one(msg.frame)
    });
    (node(wires, "ada").well_known().handle("ECHO", echo.start()).unwrap(), asked)
}

async fn start(wires: &MemoryNetwork) -> Peer {
    ada(wires).0.start().await.unwrap()
}

#[actix::test]
async fn the_well_known_codes_are_answered_in_the_words_of_the_originals() {
    let wires = MemoryNetwork::new(1);
    let _ada = ada(&wires).0.max_peers(2).start().await.unwrap();
    let rows: &[(&[u8], &[u8])] = &[
        (b"NAME\0\0\0\0", b"REPL\0\0\0\x03ada"),
        (b"NAME\0\0\0\x01x", b"REPL\0\0\0\x03ada"),
        (b"PING\0\0\0\0", b"PONG\0\0\0\x03ada"),
        (b"LIST\0\0\0\0", b"REPL\0\0\0\x010"),
        (b"JOIN\0\0\0\x0cada ada 9000", b"ERRO\0\0\0\x1cJoin: attempt to insert self"),
        (b"JOIN\0\0\0\x0bbob h1 9001", b"REPL\0\0\0\x15Join: peer added: bob"),
        (b"JOIN\0\0\0\x0bbob h1 9001", b"ERRO\0\0\0\x1fJoin: peer already inserted bob"),
        (b"LIST\0\0\0\0", b"REPL\0\0\0\x011REPL\0\0\0\x0bbob h1 9001"),
        (
            b"JOIN\0\0\0\x1e10.0.0.1:9002 10.0.0.1 9002   ",
            b"REPL\0\0\0\x1fJoin: peer added: 10.0.0.1:9002",
        ),
        (b"JOIN\0\0\0\x0beve h2 9003", b"ERRO\0\0\0\x14Join: too many peers"),
        (
            b"LIST\0\0\0\0",
            b"REPL\0\0\0\x012REPL\0\0\0\x0bbob h1 9001REPL\0\0\0\x1b10.0.0.1:9002 10.0.0.1 9002",
        ),
        (b"QUIT\0\0\0\x03bob", b"REPL\0\0\0\x17Quit: peer removed: bob"),
        (b"QUIT\0\0\0\x03bob", b"ERRO\0\0\0\x19Quit: peer not found: bob"),
        (b"QUIT\0\0\0\0", b"ERRO\0\0\0\x16Quit: peer not found: "),
        (b"QUIT\0\0\0\x04\x1b[2J", b"ERRO\0\0\0\x16Quit: peer not found: "),
    ];
    for (request, reply) in rows {
        let got = say(&wires, "ada:9000", request).await;
        assert_eq!(got.escape_ascii().to_string(), reply.escape_ascii().to_string());
    }
}

#[actix::test]
async fn a_join_that_is_not_id_host_and_port_is_refused_in_words() {
    let wires = MemoryNetwork::new(1);
    let ada = start(&wires).await;
    for text in [
        "",
        "bob",
        "bob h1",
        "bob h1 9001 x",
        "bob h1 0",
        "bob h1 65536",
        "bob h1 -1",
        "bob h1 port",
        "b\x1bb h1 9001",
        "bob h1\0 9001",
        "bob h1 \u{661}",
    ] {
        let mut request = b"JOIN\0\0\0".to_vec();
        request.push(u8::try_from(text.len()).unwrap());
        request.extend_from_slice(text.as_bytes());
        let reply = say(&wires, "ada:9000", &request).await;
        assert_eq!(reply, b"ERRO\0\0\0\x19Join: incorrect arguments", "{text:?}");
    }
    assert_eq!(say(&wires, "ada:9000", b"JOIN\0\0\0\x02\xff\xfe").await[..4], *b"ERRO");
    assert!(ada.peers().list().await.unwrap().is_empty());
}

#[actix::test]
async fn a_code_is_looked_up_as_it_is_and_then_in_upper_case() {
    let wires = MemoryNetwork::new(1);
    let own = handler::from_fn(async |_: Incoming| Reply::one(Frame::text("REPL", "lower")));
    let builder = ada(&wires).0.handle("ping", own.start()).unwrap();
    let _ada = builder.start().await.unwrap();
    assert_eq!(say(&wires, "ada:9000", b"name\0\0\0\0").await, b"REPL\0\0\0\x03ada");
    assert_eq!(say(&wires, "ada:9000", b"Name\0\0\0\0").await, b"REPL\0\0\0\x03ada");
    assert_eq!(say(&wires, "ada:9000", b"ping\0\0\0\0").await, b"REPL\0\0\0\x05lower");
    assert_eq!(say(&wires, "ada:9000", b"Ping\0\0\0\0").await, b"PONG\0\0\0\x03ada");
}

const UNKNOWN: &[u8] = b"ERRO\0\0\0\x14Unknown message type";
const TOO_LONG: &[u8] = b"ERRO\0\0\0\x10Message too long";

#[actix::test]
async fn what_is_not_served_is_refused_in_one_frame_counted_and_closed() {
    let wires = MemoryNetwork::new(1);
    let ada = start(&wires).await;
    // Nothing, a code of the framework, zero bytes, HTTP, SSH, and a TLS client hello.
    let foreign: [&[u8]; 6] = [
        b"NOPE\0\0\0\0",
        b"@LNK\0\0\0\x02{}",
        b"\0\0\0\0\0\0\0\0",
        b"GET / HTTP/1.1\r\nhost: ada\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for bytes in foreign {
        let reply = say(&wires, "ada:9000", bytes).await;
        assert!(reply == UNKNOWN || reply == TOO_LONG, "{}", reply.escape_ascii());
    }
    let Counts { unknown_codes, errors_too_long, .. } = ada.status().await.counts;
    assert_eq!((unknown_codes + errors_too_long, unknown_codes >= 3), (6, true));
}

#[actix::test]
async fn a_length_over_the_limit_is_refused_at_once_and_nothing_is_read_for_it() {
    let wires = MemoryNetwork::new(1);
    let ada = start(&wires).await;
    for header in [
        b"ECHO\xff\xff\xff\xff",
        b"ECHO\x00\x10\x00\x01",
        b"NAME\x00\x00\x04\x01",
        b"JOIN\x7f\xff\xff\xff",
    ] {
        assert_eq!(say(&wires, "ada:9000", header).await, TOO_LONG);
    }
    assert_eq!(ada.status().await.counts.errors_too_long, 4);
}

#[actix::test]
async fn a_node_that_is_told_so_refuses_without_a_word_as_the_originals_do() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().explain_refusals(false);
    let ada = ada(&wires).0.config(config).start().await.unwrap();
    assert_eq!(say(&wires, "ada:9000", b"NOPE\0\0\0\0").await, b"");
    assert_eq!(say(&wires, "ada:9000", b"ECHO\xff\xff\xff\xff").await, b"");
    assert_eq!(ada.status().await.counts.unknown_codes, 1);
}

#[actix::test]
async fn a_second_frame_is_ignored() {
    let wires = MemoryNetwork::new(1);
    let _ada = start(&wires).await;
    let both = b"ECHO\0\0\0\x02hiECHO\0\0\0\x02ho";
    assert_eq!(say(&wires, "ada:9000", both).await, b"ECHO\0\0\0\x02hi");
}

#[actix::test]
async fn a_request_may_come_in_any_pieces() {
    let wires = MemoryNetwork::new(1);
    let _ada = start(&wires).await;
    let request = b"ECHO\0\0\0\x05hello";
    for at in 1..request.len() {
        let mut io = dial(&wires, "ada:9000").await;
        for piece in [&request[..at], &request[at..]] {
            io.writer.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(rest(&mut io).await, request);
    }
    let mut io = dial(&wires, "ada:9000").await;
    for byte in request {
        io.writer.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(rest(&mut io).await, request);
}

#[actix::test]
async fn a_caller_that_closes_its_half_still_gets_its_reply() {
    let wires = MemoryNetwork::new(1);
    let _ada = start(&wires).await;
    let mut io = dial(&wires, "ada:9000").await;
    io.writer.write_all(b"LIST\0\0\0\0").await.unwrap();
    io.writer.shutdown().await.unwrap();
    assert_eq!(rest(&mut io).await, b"REPL\0\0\0\x010");
}

#[actix::test]
async fn a_frame_that_is_cut_anywhere_is_no_message() {
    let wires = MemoryNetwork::new(1);
    let (builder, asked) = ada(&wires);
    let ada = builder.start().await.unwrap();
    let request = b"ECHO\0\0\0\x05hello";
    for at in 0..request.len() {
        let mut io = dial(&wires, "ada:9000").await;
        io.writer.write_all(&request[..at]).await.unwrap();
        io.writer.shutdown().await.unwrap();
        assert_eq!(rest(&mut io).await, b"", "cut after {at} bytes");
    }
    let counts = ada.status().await.counts;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    let cuts = (counts.connections_silent, counts.errors_cut_header, counts.errors_cut_body);
    assert_eq!(cuts, (1, 7, 5));
}

#[actix::test]
async fn whoever_does_not_say_a_header_in_ten_seconds_is_left() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = start(&wires).await;
    let mut silent = dial(&wires, "ada:9000").await;
    let mut slow = dial(&wires, "ada:9000").await;
    let begun = Instant::now();
    let dripping = async {
        for byte in b"ECHO\0\0\0" {
            slow.writer.write_all(&[*byte]).await.unwrap();
            sleep(Duration::from_millis(1_500)).await;
        }
        rest(&mut slow).await
    };
    let (silent, slow) = tokio::join!(rest(&mut silent), dripping);
    assert_eq!((silent.len(), slow.len()), (0, 0));
    assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());
    assert_eq!(ada.status().await.counts.errors_late, 2);
    assert_eq!(ada.status().await.connections, 0);
}

#[actix::test]
async fn a_body_that_comes_too_slowly_is_left() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (builder, asked) = ada(&wires);
    let _ada = builder.start().await.unwrap();
    let mut io = dial(&wires, "ada:9000").await;
    io.writer.write_all(b"ECHO\0\0\0\x05hell").await.unwrap();
    let begun = Instant::now();
    rest(&mut io).await;
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[actix::test]
async fn a_handler_that_answers_nothing_closes_and_nothing_else() {
    let wires = MemoryNetwork::new(1);
    let mute = handler::from_fn(async |_: Incoming| Reply::none());
    let _ada = ada(&wires).0.handle("MUTE", mute.start()).unwrap().start().await.unwrap();
    assert_eq!(say(&wires, "ada:9000", b"MUTE\0\0\0\0").await, b"");
}

#[actix::test]
async fn header_and_small_body_of_a_reply_are_one_write() {
    let wires = MemoryNetwork::new(1);
    let noting = Noting::new(wires.transport(host("ada")));
    let _ada = ada(&wires).0.transport(noting.clone()).start().await.unwrap();
    assert_eq!(say(&wires, "ada:9000", b"NAME\0\0\0\0").await, b"REPL\0\0\0\x03ada");
    assert_eq!(noting.writes(), [b"REPL\0\0\0\x03ada"]);
    assert_eq!(say(&wires, "ada:9000", b"NOPE\0\0\0\0").await, UNKNOWN);
    assert_eq!(noting.writes(), [UNKNOWN]);
}

#[actix::test]
async fn a_caller_that_does_not_wait_for_the_reply_harms_nobody() {
    let wires = MemoryNetwork::new(1);
    let (builder, asked) = ada(&wires);
    let ada = builder.start().await.unwrap();
    let mut io = dial(&wires, "ada:9000").await;
    io.writer.write_all(b"ECHO\0\0\0\x02hi").await.unwrap();
    drop(io);
    while asked.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(say(&wires, "ada:9000", b"NAME\0\0\0\0").await, b"REPL\0\0\0\x03ada");
    assert_eq!(ada.status().await.counts.exchanges_in, 2);
}

#[actix::test]
async fn the_connection_is_closed_when_the_reply_is_written_even_if_the_caller_stays() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = start(&wires).await;
    let mut io = dial(&wires, "ada:9000").await;
    io.writer.write_all(b"NAME\0\0\0\0").await.unwrap();
    let mut reply = [0; 11];
    io.reader.read_exact(&mut reply).await.unwrap();
    let end = timeout(Duration::from_millis(10), io.reader.read(&mut reply)).await;
    assert_eq!(end.unwrap().unwrap(), 0);
    // The caller holds on to its half; the node does not.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(ada.status().await.connections, 0);
}

//! The callee's side: the bytes that a foreign program writes to a node, and the bytes that it
//! receives (src/protocol.md#classic-exchanges).

use std::time::Duration;

use crate::{
    common::frames::{frame, shown},
    support::{Recording, to_the_end},
};
use actix::prelude::*;
use actix_peer::{
    Builder, Config, Incoming, Peer, PeerInfo, Reply,
    frame::Frame,
    handler::from_fn,
    node::Counts,
    overlay::Host,
    transport::{Io, Transport, memory::MemoryNetwork},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// The bytes of one write, and all bytes that return until the end of file.
type Row<'a> = (&'a [u8], &'a [u8]);

/// A node named ada, on a real socket.
pub(crate) fn ada() -> Builder {
    Peer::builder().id("ada").well_known()
}

pub(crate) async fn connect(node: &Peer) -> TcpStream {
    TcpStream::connect(node.info().address().to_string()).await.unwrap()
}

/// Writes `bytes` at once and reads until the end of file.
pub(crate) async fn say(node: &Peer, bytes: &[u8]) -> String {
    let mut stream = connect(node).await;
    stream.write_all(bytes).await.unwrap();
    to_the_end(&mut stream).await
}

async fn plays(node: &Peer, rows: &[Row<'_>]) {
    for (said, expected) in rows {
        assert_eq!(say(node, said).await, shown(expected), "to {}", shown(said));
    }
}

async fn counts(node: &Peer) -> Counts {
    node.status().await.counts
}

/// A node and a foreign program in one process, under a clock that advances only when both wait.
async fn paused(builder: Builder) -> (Peer, MemoryNetwork) {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let host: Host = "ada".parse().unwrap();
    let node = builder.transport(wires.transport(host)).listen("ada:9000").start().await.unwrap();
    (node, wires)
}

async fn dial(wires: &MemoryNetwork) -> Io {
    let program = wires.transport("127.0.0.1".parse::<Host>().unwrap());
    program.dial(&"ada:9000".parse().unwrap()).await.unwrap()
}

/// Writes the pieces with a pause between them, long enough for the node to read each separately.
async fn say_in_pieces<'a>(
    wires: &MemoryNetwork,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> String {
    let mut io = dial(wires).await;
    for piece in pieces {
        io.writer.write_all(piece).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    to_the_end(&mut io.reader).await
}

/// Writes `begin`, then one byte after each `pause`, until the node closes. Returns the reply and
/// the number of seconds.
async fn drip(wires: &MemoryNetwork, begin: &[u8], pause: Duration) -> (String, u64) {
    let mut io = dial(wires).await;
    let begun = Instant::now();
    io.writer.write_all(begin).await.unwrap();
    let mut heard = Vec::new();
    while timeout(pause, io.reader.read_to_end(&mut heard)).await.is_err() {
        io.writer.write_all(b"\0").await.unwrap();
    }
    (shown(&heard), begun.elapsed().as_secs())
}

/// The request changes the table, so any handling of a part of it is visible.
const JOIN: &[u8] = b"JOIN\0\0\0\x12bob 127.0.0.1 9001";
const JOINED: &[u8] = b"REPL\0\0\0\x15Join: peer added: bob";

// ---- well-known codes ----

#[actix::test]
async fn a_node_answers_name_list_and_ping() {
    let node = ada().start().await.unwrap();
    let alone: &[Row<'_>] = &[
        (b"NAME\0\0\0\0", b"REPL\0\0\0\x03ada"),
        (b"NAME\0\0\0\x08whatever", b"REPL\0\0\0\x03ada"),
        (b"LIST\0\0\0\0", b"REPL\0\0\0\x010"),
        (b"PING\0\0\0\0", b"PONG\0\0\0\x03ada"),
        (b"PING\0\0\0\x02\xff\xfe", b"PONG\0\0\0\x03ada"),
    ];
    plays(&node, alone).await;
    for peer in ["bob 127.0.0.1 9001", "127.0.0.1:9002 localhost 65535", "eve ::1 1"] {
        node.peers().add(peer.parse().unwrap()).await.unwrap();
    }
    plays(&node, &[(
        b"LIST\0\0\0\0",
        b"REPL\0\0\0\x013REPL\0\0\0\x12bob 127.0.0.1 9001REPL\0\0\0\x1e127.0.0.1:9002 localhost 65535REPL\0\0\0\x09eve ::1 1",
    )])
    .await;
}

#[actix::test]
async fn a_node_without_an_id_is_named_after_its_host_and_port() {
    let node = Peer::builder().well_known().start().await.unwrap();
    let id = format!("127.0.0.1:{}", node.info().port());
    assert_eq!(say(&node, b"NAME\0\0\0\0").await, shown(&frame(b"REPL", &id)));
}

#[actix::test]
async fn a_join_is_answered_in_the_words_of_the_originals() {
    let node = ada().max_peers(2).start().await.unwrap();
    let rows: &[Row<'_>] = &[
        (b"JOIN\0\0\0\x12ada 127.0.0.1 9000", b"ERRO\0\0\0\x1cJoin: attempt to insert self"),
        (JOIN, JOINED),
        (JOIN, b"ERRO\0\0\0\x1fJoin: peer already inserted bob"),
        (b"JOIN\0\0\0\x12bob 127.0.0.1 9999", b"ERRO\0\0\0\x1fJoin: peer already inserted bob"),
        (b"JOIN\0\0\0\x13\x20 c:1\tlocalhost\r\n1 ", b"REPL\0\0\0\x15Join: peer added: c:1"),
        (b"JOIN\0\0\0\x12dan 127.0.0.1 9003", b"ERRO\0\0\0\x14Join: too many peers"),
        // A full table does not matter for a known id: a restarted peer is admitted.
        (JOIN, b"ERRO\0\0\0\x1fJoin: peer already inserted bob"),
        (
            b"LIST\0\0\0\0",
            b"REPL\0\0\0\x012REPL\0\0\0\x12bob 127.0.0.1 9001REPL\0\0\0\x0fc:1 localhost 1",
        ),
    ];
    plays(&node, rows).await;
}

#[actix::test]
async fn a_join_without_an_id_a_host_and_a_port_is_refused() {
    let node = ada().start().await.unwrap();
    let shapes =
        ["", " \t\n", "bob", "bob 127.0.0.1", "bob 127.0.0.1 9001 x", "bob 127.0.0.1\x0b9001"];
    let ids = ["bob\0", "bo\x1bb", "b\u{f6}b", "bob/../eve", &"a".repeat(65)];
    let hosts = ["256.0.0.1", "-host-", "host;rm", "127.0.0.1:1", "h\0st", &"a".repeat(64)];
    let ports = ["0", "65536", "-1", "+1", "0x50", "18446744073709551617", "port", "9001\0"];
    let data = shapes.map(str::to_owned).into_iter();
    let data = data.chain(ids.map(|id| format!("{id} 127.0.0.1 9001")));
    let data = data.chain(hosts.map(|host| format!("bob {host} 9001")));
    let data = data.chain(ports.map(|port| format!("bob 127.0.0.1 {port}")));
    let not_utf8 = b"JOIN\0\0\0\x12b\xf6b 127.0.0.1 9001".to_vec();
    for said in data.map(|data| frame(b"JOIN", &data)).chain([not_utf8]) {
        plays(&node, &[(&said, b"ERRO\0\0\0\x19Join: incorrect arguments")]).await;
    }
    plays(&node, &[(b"LIST\0\0\0\0", b"REPL\0\0\0\x010")]).await;
}

#[actix::test]
async fn a_quit_is_answered_in_the_words_of_the_originals() {
    let node = ada().start().await.unwrap();
    let rows: &[Row<'_>] = &[
        (JOIN, JOINED),
        (b"QUIT\0\0\0\x03eve", b"ERRO\0\0\0\x19Quit: peer not found: eve"),
        (b"QUIT\0\0\0\x03BOB", b"ERRO\0\0\0\x19Quit: peer not found: BOB"),
        // Text that cannot be an id is not echoed.
        (b"QUIT\0\0\0\0", b"ERRO\0\0\0\x16Quit: peer not found: "),
        (b"QUIT\0\0\0\x07bob bob", b"ERRO\0\0\0\x16Quit: peer not found: "),
        (b"QUIT\0\0\0\x07bob\x1b[2J", b"ERRO\0\0\0\x16Quit: peer not found: "),
        (b"QUIT\0\0\0\x03b\xffb", b"ERRO\0\0\0\x16Quit: peer not found: "),
        (b"LIST\0\0\0\0", b"REPL\0\0\0\x011REPL\0\0\0\x12bob 127.0.0.1 9001"),
        (b"QUIT\0\0\0\x06\x20bob\r\n", b"REPL\0\0\0\x17Quit: peer removed: bob"),
        (b"QUIT\0\0\0\x03bob", b"ERRO\0\0\0\x19Quit: peer not found: bob"),
        (b"LIST\0\0\0\0", b"REPL\0\0\0\x010"),
    ];
    plays(&node, rows).await;
}

#[actix::test]
async fn a_well_known_request_has_at_most_a_kibibyte_of_data() {
    let node = ada().start().await.unwrap();
    let heard = say(&node, &frame(b"NAME", "x".repeat(1024))).await;
    assert_eq!(heard, shown(b"REPL\0\0\0\x03ada"));
    let heard = say(&node, &frame(b"NAME", "x".repeat(1025))).await;
    assert_eq!(heard, shown(b"ERRO\0\0\0\x10Message too long"));
}

// ---- codes and replies ----

/// A handler that answers with this word.
fn says(word: &'static str) -> Recipient<Incoming> {
    from_fn(async move |msg: Incoming| {
        Reply::one(Frame::text("REPL", format!("{word} got {}", msg.code())))
    })
    .start()
    .recipient()
}

#[actix::test]
async fn a_lower_case_code_is_served_by_the_upper_case_handler_unless_it_has_its_own() {
    let builder = ada().handle("ECHO", says("upper")).unwrap();
    let builder = builder.handle("echo", says("lower")).unwrap();
    let builder = builder.handle("MiXd", says("mixed")).unwrap();
    let node = builder.start().await.unwrap();
    let rows: &[Row<'_>] = &[
        (b"name\0\0\0\0", b"REPL\0\0\0\x03ada"),
        (b"PiNg\0\0\0\0", b"PONG\0\0\0\x03ada"),
        (b"join\0\0\0\x12bob 127.0.0.1 9001", JOINED),
        (b"list\0\0\0\0", b"REPL\0\0\0\x011REPL\0\0\0\x12bob 127.0.0.1 9001"),
        (b"quit\0\0\0\x03bob", b"REPL\0\0\0\x17Quit: peer removed: bob"),
        (b"ECHO\0\0\0\0", b"REPL\0\0\0\x0eupper got ECHO"),
        (b"Echo\0\0\0\0", b"REPL\0\0\0\x0eupper got Echo"),
        (b"echo\0\0\0\0", b"REPL\0\0\0\x0elower got echo"),
        (b"MiXd\0\0\0\0", b"REPL\0\0\0\x0emixed got MiXd"),
        // Only the upper-case form is tried: a handler whose code has a lower-case letter serves
        // exactly that code.
        (b"MIXD\0\0\0\0", b"ERRO\0\0\0\x14Unknown message type"),
        (b"mixd\0\0\0\0", b"ERRO\0\0\0\x14Unknown message type"),
    ];
    plays(&node, rows).await;
}

#[actix::test]
async fn a_handler_answers_with_any_number_of_frames() {
    let frames = from_fn(async |msg: Incoming| match msg.frame.as_str() {
        Ok("none") => Reply::none(),
        Ok("empty") => Reply::one(Frame::empty("REPL")),
        Ok("two") => Reply::many([Frame::text("REPL", "1"), Frame::text("ERRO", "2")]),
        Ok("body") => Reply::body("REPL", 3, &b"abcdef"[..]),
        _ => Reply::one(msg.frame),
    });
    let node = ada().handle("MANY", frames.start()).unwrap().start().await.unwrap();
    let rows: &[Row<'_>] = &[
        (b"MANY\0\0\0\x04none", b""),
        (b"MANY\0\0\0\x05empty", b"REPL\0\0\0\0"),
        (b"MANY\0\0\0\x03two", b"REPL\0\0\0\x011ERRO\0\0\0\x012"),
        (b"MANY\0\0\0\x04body", b"REPL\0\0\0\x03abc"),
        (b"MANY\0\0\0\x02\xff\0", b"MANY\0\0\0\x02\xff\0"),
        (b"MANY\0\0\0\0", b"MANY\0\0\0\0"),
    ];
    plays(&node, rows).await;
}

#[actix::test]
async fn an_unknown_code_gets_one_error_and_a_clean_end() {
    let node = ada().start().await.unwrap();
    let rows: &[&[u8]] = &[
        b"NOPE\0\0\0\0",
        b"NOPE\0\0\0\x05hello",
        b"NOPE\xff\xff\xff\xff",
        b"\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"REPL\0\0\0\x02hi",
        b"ERRO\0\0\0\x02no",
        b"PONG\0\0\0\x03ada",
        b"QUER\0\0\0\x09c:1 key 2",
        // Codes of the framework.
        b"@XYZ\0\0\0\0",
        b"@xyz\0\0\0\x05hello",
        b"@FWE\0\0\0\0",
        // Other protocols: TLS, SSH, HTTP, a web socket's mask, a port scanner.
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
        b"\x05\x01\0\x05\x01\0\x05\x01",
        b"HELP\r\n\r\n",
    ];
    for said in rows {
        plays(&node, &[(said, b"ERRO\0\0\0\x14Unknown message type")]).await;
    }
    assert_eq!(counts(&node).await.unknown_codes, rows.len() as u64);
    // Another protocol may begin with a known code.
    plays(&node, &[(b"QUIT\r\n\r\n", b"ERRO\0\0\0\x10Message too long")]).await;
}

/// Checks every refusal that a single connection can cause.
async fn is_refused(explains: bool) {
    let broken = from_fn(async |msg: Incoming| match msg.frame.as_str() {
        Ok("late") => std::future::pending().await,
        Ok("reserved") => Reply::one(Frame::text("@LNK", "{}")),
        _ => panic!("on request"),
    });
    let builder = ada().config(Config::default().explain_refusals(explains).max_frame_len(99));
    let (node, wires) = paused(builder.handle("FAIL", broken.start()).unwrap()).await;
    let rows: &[Row<'_>] = &[
        (b"NOPE\0\0\0\0", b"ERRO\0\0\0\x14Unknown message type"),
        (b"NAME\0\0\x04\x01", b"ERRO\0\0\0\x10Message too long"),
        (b"FAIL\0\0\0\x64", b"ERRO\0\0\0\x10Message too long"),
        (b"FAIL\0\0\0\x05panic", b"ERRO\0\0\0\x0eHandler failed"),
        (b"FAIL\0\0\0\x08reserved", b"ERRO\0\0\0\x0eHandler failed"),
        (b"FAIL\0\0\0\x04late", b"ERRO\0\0\0\x11Handler timed out"),
    ];
    for (said, expected) in rows {
        let expected = if explains { shown(expected) } else { String::new() };
        assert_eq!(say_in_pieces(&wires, [*said]).await, expected, "to {}", shown(said));
    }
    let counts = counts(&node).await;
    assert_eq!((counts.unknown_codes, counts.errors_too_long), (1, 2));
    assert_eq!((counts.errors_handler_failed, counts.errors_handler_late), (2, 1));
}

#[actix::test]
async fn a_refusal_is_one_error_in_fixed_words() {
    is_refused(true).await;
}

#[actix::test]
async fn a_node_without_explanations_closes_as_the_originals_do() {
    is_refused(false).await;
}

#[actix::test]
async fn a_connection_over_the_limit_receives_the_busy_error() {
    let node = ada().config(Config::default().max_connections(1)).start().await.unwrap();
    let mut first = connect(&node).await;
    assert_eq!(to_the_end(&mut connect(&node).await).await, shown(b"ERRO\0\0\0\x04Busy"));
    first.write_all(b"NAME\0\0\0\0").await.unwrap();
    assert_eq!(to_the_end(&mut first).await, shown(b"REPL\0\0\0\x03ada"));
}

#[actix::test]
async fn a_claimed_length_of_four_gibibytes_is_refused_at_once() {
    let (node, wires) = paused(ada().handle("ECHO", says("echo")).unwrap()).await;
    let begun = Instant::now();
    for said in [b"NAME\xff\xff\xff\xff", b"echo\xff\xff\xff\xff", b"ECHO\0\x10\0\x01"] {
        let mut io = dial(&wires).await;
        io.writer.write_all(said).await.unwrap();
        assert_eq!(to_the_end(&mut io.reader).await, shown(b"ERRO\0\0\0\x10Message too long"));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(counts(&node).await.errors_too_long, 3);
}

// ---- one frame for each connection, in any pieces, or none ----

#[actix::test]
async fn a_frame_is_the_same_wherever_it_is_split() {
    let (node, wires) = paused(ada()).await;
    let bob = "bob".parse().unwrap();
    for at in 1..JOIN.len() {
        let (begin, rest) = JOIN.split_at(at);
        assert_eq!(say_in_pieces(&wires, [begin, rest]).await, shown(JOINED), "split at {at}");
        assert!(node.peers().remove(&bob).await.unwrap().is_some());
    }
    assert_eq!(say_in_pieces(&wires, JOIN.chunks(1)).await, shown(JOINED), "byte by byte");
    assert_eq!(say_in_pieces(&wires, b"NAME\0\0\0\0".chunks(1)).await, shown(b"REPL\0\0\0\x03ada"));
}

#[actix::test]
async fn bytes_behind_the_first_frame_are_never_handled() {
    let (node, wires) = paused(ada()).await;
    let both = [b"NAME\0\0\0\0", JOIN].concat();
    assert_eq!(say_in_pieces(&wires, [&both[..]]).await, shown(b"REPL\0\0\0\x03ada"));
    let mut later = dial(&wires).await;
    later.writer.write_all(b"PING\0\0\0\0").await.unwrap();
    assert_eq!(to_the_end(&mut later.reader).await, shown(b"PONG\0\0\0\x03ada"));
    // The node has closed its half, and discards what still arrives for a while.
    later.writer.write_all(JOIN).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert!(node.peers().list().await.unwrap().is_empty());
    let counts = counts(&node).await;
    assert_eq!((counts.connections_accepted, counts.exchanges_in, counts.frames_in), (2, 2, 2));
}

#[actix::test]
async fn a_caller_that_closes_its_half_still_receives_the_reply() {
    let slow = from_fn(async |msg: Incoming| {
        sleep(Duration::from_secs(20)).await;
        Reply::one(msg.frame)
    });
    let (_node, wires) = paused(ada().handle("SLOW", slow.start()).unwrap()).await;
    let mut io = dial(&wires).await;
    io.writer.write_all(b"SLOW\0\0\0\x03zzz").await.unwrap();
    io.writer.shutdown().await.unwrap();
    assert_eq!(to_the_end(&mut io.reader).await, shown(b"SLOW\0\0\0\x03zzz"));
}

#[actix::test]
async fn a_request_that_is_cut_anywhere_is_neither_handled_nor_answered() {
    let node = ada().start().await.unwrap();
    for bytes in 0..JOIN.len() {
        let mut stream = connect(&node).await;
        stream.write_all(&JOIN[..bytes]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(to_the_end(&mut stream).await, "", "after {bytes} bytes");
    }
    let counts = counts(&node).await;
    assert_eq!((counts.connections_silent, counts.errors_truncated_header), (1, 7));
    assert_eq!((counts.errors_truncated_body, counts.exchanges_in, counts.frames_out), (18, 18, 0));
    plays(&node, &[(b"LIST\0\0\0\0", b"REPL\0\0\0\x010"), (JOIN, JOINED)]).await;
}

#[actix::test]
async fn a_silent_or_slow_caller_is_disconnected_in_time() {
    let (node, wires) = paused(ada()).await;
    let rows: &[(&[u8], f32, u64)] = &[
        (b"", 3600.0, 10),
        (b"N", 3600.0, 10),
        // The eighth byte of the header would arrive after 10.5 s.
        (b"N", 1.5, 10),
        (b"JOIN\0\0\0\x64", 3600.0, 30),
        (b"JOIN\0\0\0\x64", 1.0, 30),
    ];
    for (begin, pause, seconds) in rows {
        let closed = drip(&wires, begin, Duration::from_secs_f32(*pause)).await;
        assert_eq!(closed, (String::new(), *seconds), "{} every {pause} s", shown(begin));
    }
    assert_eq!(counts(&node).await.errors_late, 5);
    assert_eq!(node.status().await.connections, 0);
}

// ---- writes ----

#[actix::test]
async fn the_header_and_small_data_of_a_reply_are_sent_in_one_write() {
    let wires = MemoryNetwork::new(1);
    let (transport, writes) = Recording::new(&wires, "ada");
    let large = from_fn(async |_: Incoming| Reply::one(Frame::new("REPL", vec![b'x'; 60_000])));
    let builder = ada().transport(transport).listen("ada:9000");
    let node = builder.handle("BIG_", large.start()).unwrap().start().await.unwrap();
    node.peers().add("bob 127.0.0.1 9001".parse::<PeerInfo>().unwrap()).await.unwrap();
    let rows: &[&[u8]] = &[
        b"NAME\0\0\0\0",
        b"PING\0\0\0\0",
        b"LIST\0\0\0\0",
        b"JOIN\0\0\0\x03bob",
        b"QUIT\0\0\0\x03eve",
        b"NOPE\0\0\0\0",
        b"BIG_\0\0\0\0",
    ];
    for said in rows {
        let reply = say_in_pieces(&wires, [*said]).await;
        assert!(!reply.is_empty());
        assert_eq!(writes.take(), [reply]);
    }
}

//! Rates, bytes in memory, bans, and the length limits of messages.

use std::{net::IpAddr, time::Duration};

use actix::prelude::*;
use actix_peer::{
    Builder, Config, Events, Incoming, Outgoing, Over, Peer, PeerEvent, Reply, RequestError,
    frame::{Frame, FrameError},
    handler,
    limits::{Misbehavior, Offender, Source},
    link::Reason,
    overlay::Host,
    transport::{Io, Transport, memory::MemoryNetwork},
};
use futures::TryStreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::{
    common::{
        SECOND, handlers,
        nodes::{counts, event_within, on_host, replies},
    },
    nodes::{BUSY, NAME, connect, heard, name, node, settle},
};

const TOO_LONG: &str = "ERRO\0\0\0\x10Message too long";
const HELLO: &str = r#"{"version":1,"id":"eve","host":"eve","port":9,"window":1000000,"max_message":1000,"max_open":9,"incarnation":1,"features":[]}"#;
const STEP: usize = 64 << 10;

/// A node with handlers: `ECHO`, `LEN_` that answers with the length of its data, and `SINK` that
/// is a stream.
fn builder(wires: &MemoryNetwork, host: &str) -> Builder {
    if host == "node" {
        tokio::time::pause();
    }
    let len = handler::from_fn(async |msg: Incoming| {
        Reply::one(Frame::text("REPL", msg.frame.data().len().to_string()))
    });
    on_host(wires, host)
        .well_known()
        .handle("ECHO", handlers::echo())
        .unwrap()
        .handle("LEN_", len.start())
        .unwrap()
        .handle_stream("SINK", handler::from_fn(handlers::measure).start())
        .unwrap()
}

async fn say(wires: &MemoryNetwork, host: &str, bytes: &[u8]) -> Io {
    let mut io = connect(wires, host).await;
    io.writer.write_all(bytes).await.ok();
    io
}

/// A header that announces this much data.
fn header(code: &str, len: usize) -> Vec<u8> {
    [code.as_bytes(), &u32::try_from(len).unwrap().to_be_bytes()].concat()
}

async fn ask(from: &Peer, to: &Peer, message: impl Into<Outgoing>) -> Result<String, RequestError> {
    let replies = replies(from, to, message).await?;
    Ok(replies.first().unwrap().as_str().unwrap().to_owned())
}

async fn event<T>(events: &mut Events, which: impl Fn(PeerEvent) -> Option<T>) -> T {
    event_within(10_000 * SECOND, events, which).await
}

#[actix::test]
async fn a_connection_that_is_refused_as_busy_displaces_no_half_open_connection() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().max_connections(4).max_half_open(4);
    let node = node(&wires, config).await;
    let mut quiet = Vec::new();
    for n in 0..4 {
        quiet.push(connect(&wires, &format!("quiet{n}")).await);
    }
    settle().await;
    for _ in 0..3 {
        assert_eq!(heard(&mut connect(&wires, "late").await).await, BUSY);
    }
    let counted = counts(&node).await;
    assert_eq!((counted.connections_displaced, counted.connections_refused), (0, 3));
    for mut io in quiet {
        io.writer.write_all(b"NAME\0\0\0\0").await.unwrap();
        assert_eq!(heard(&mut io).await, NAME);
    }
}

// ---- lengths ----

#[actix::test]
async fn a_message_over_the_length_limit_of_its_code_is_refused_on_the_header() {
    let wires = MemoryNetwork::new(1);
    let builder = builder(&wires, "node").max_len("ECHO", 8).unwrap();
    let builder = builder.max_len("LEN_", 2 << 20).unwrap().max_len("SINK", 100_000).unwrap();
    let node = builder.max_len("PING", 0).unwrap().start().await.unwrap();
    for (code, len) in
        [("ECHO", 9), ("LEN_", (2 << 20) + 1), ("SINK", 100_001), ("PING", 1), ("NAME", 1_025)]
    {
        let begun = Instant::now();
        // No byte of the data follows.
        assert_eq!(
            heard(&mut say(&wires, "flood", &header(code, len)).await).await,
            TOO_LONG,
            "{code}"
        );
        assert!(begun.elapsed() < 2 * SECOND);
    }
    assert_eq!(counts(&node).await.errors_too_long, 5);
    for (code, len) in [("LEN_", 2 << 20), ("SINK", 100_000)] {
        let request = [header(code, len), vec![7; len]].concat();
        assert!(
            heard(&mut say(&wires, "honest", &request).await).await.ends_with(&len.to_string())
        );
    }
    // The limit holds for any handler of the code, and can be changed.
    node.set_max_len("ECHO", 9).unwrap();
    assert!(
        heard(&mut say(&wires, "honest", b"ECHO\0\0\0\x09123456789").await)
            .await
            .starts_with("ECHO")
    );
    let replaced = node.unregister("ECHO".parse().unwrap()).unwrap();
    node.restore("ECHO".parse().unwrap(), replaced).unwrap();
    assert_eq!(heard(&mut say(&wires, "flood", &header("ECHO", 10)).await).await, TOO_LONG);
}

#[actix::test]
async fn the_length_limit_of_a_code_holds_on_links_and_the_link_stays_open() {
    let wires = MemoryNetwork::new(1);
    let bob = builder(&wires, "node").max_len("ECHO", 8).unwrap().max_len("SINK", 200_000).unwrap();
    let bob = bob.max_len("LEN_", 5 << 20).unwrap().start().await.unwrap();
    let ada = builder(&wires, "ada").start().await.unwrap();
    let send = |code: &'static str, len: usize| {
        Outgoing::from(Frame::new(code, vec![b'a'; len])).over(Over::Link)
    };
    for (code, len) in [("ECHO", 9), ("ECHO", 500_000), ("SINK", 200_001), ("LEN_", (5 << 20) + 1)]
    {
        // Nodes of this crate know the limits of their peers, and do not send the message.
        match ask(&ada, &bob, send(code, len)).await {
            Err(RequestError::NotSendable(FrameError::TooLong { .. })) => {}
            other => panic!("{code} {len}: {other:?}"),
        }
        assert_eq!(ask(&ada, &bob, send("ECHO", 8)).await.unwrap(), "aaaaaaaa");
    }
    // More than a window, and more than the default limit of a message.
    assert_eq!(ask(&ada, &bob, send("LEN_", 5 << 20)).await.unwrap(), (5 << 20).to_string());
    assert_eq!(ask(&ada, &bob, send("SINK", 200_000)).await.unwrap(), "200000");
    assert_eq!(ada.status().await.counts.connections_dialled, 1);
    let status = bob.status().await;
    assert_eq!((status.partial_bytes, status.links[0].held), (0, 0));
    // The limits hold for other senders as well, and the reason says whether a handler was called.
    let frame = |code, exchange: u8, flags, len| {
        let payload = [&[0, 0, 0, exchange, flags][..], &vec![b'a'; len]].concat();
        [header(code, payload.len()), payload].concat()
    };
    let parts = [5, 4, 4, 2].map(|flags| frame("SINK", 3, flags, 64 << 10)).concat();
    let said = [frame("ECHO", 1, 3, 9), parts, frame("ECHO", 5, 3, 8), frame("@BYE", 0, 0, 0)];
    let hello = [header("@LNK", HELLO.len()), HELLO.into()].concat();
    let mut eve = say(&wires, "eve", &hello).await;
    eve.writer.write_all(&said.concat()).await.unwrap();
    let heard = heard(&mut eve).await;
    for words in ["\0\x01\x08\0\x02too long", "\0\x03\x08\0\x0etoo long, after", "\x05\x02aaaaaaaa"]
    {
        assert!(heard.contains(words), "{words:?}: {heard:?}");
    }
}

#[actix::test]
async fn a_megabyte_of_data_in_a_framework_request_is_refused_by_its_length() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    let hello = header("@LNK", 1 << 20);
    for code in ["NAME", "LIST", "JOIN", "QUIT", "PING"] {
        assert_eq!(
            heard(&mut say(&wires, "flood", &header(code, 1 << 20)).await).await,
            TOO_LONG,
            "{code}"
        );
    }
    assert_eq!(heard(&mut say(&wires, "flood", &hello).await).await, TOO_LONG);
    assert_eq!(counts(&node).await.errors_too_long, 6);
}

#[actix::test]
async fn a_too_long_answer_to_a_framework_request_is_an_error() {
    let wires = MemoryNetwork::new(1);
    let ada = builder(&wires, "ada").start().await.unwrap();
    for (host, more, joined) in [("short", 60_000, true), ("long", 70_000, false)] {
        let name = handler::from_fn(async move |_: Incoming| {
            Reply::many([Frame::text("REPL", host), Frame::new("REPL", vec![b'a'; more])])
        });
        let join = handler::from_fn(async |_: Incoming| Reply::one(Frame::text("REPL", "added")));
        let list = handler::from_fn(async |_: Incoming| Reply::one(Frame::text("REPL", "0")));
        let other = Peer::builder()
            .transport(wires.transport(host.parse::<Host>().unwrap()))
            .listen(format!("{host}:9000"))
            .handle("NAME", name.start())
            .unwrap()
            .handle("JOIN", join.start())
            .unwrap()
            .handle("LIST", list.start())
            .unwrap();
        let other = other.start().await.unwrap();
        assert_eq!(ada.join(&format!("{host}:9000")).await.is_ok(), joined, "{host}");
        // Replies to the application have the limits of the application.
        let replies = ada.request(other.info(), Frame::empty("NAME")).await.unwrap();
        assert_eq!(replies.collect().await.unwrap().len(), 2);
    }
}

#[actix::test]
async fn boundary_values_of_every_length_are_refused_or_served_without_a_panic() {
    let wires = MemoryNetwork::new(1);
    let node = builder(&wires, "node").start().await.unwrap();
    for len in [0_u32, 1, 1_024, 1_025, 1 << 20, (1 << 20) + 1, i32::MAX as u32, 1 << 31, u32::MAX]
    {
        for code in ["NAME", "LEN_", "ECHO", "SINK", "@FWD", "@LNK", "NONE"] {
            let mut io =
                say(&wires, "flood", &[code.as_bytes(), &len.to_be_bytes()].concat()).await;
            io.writer.shutdown().await.ok();
            heard(&mut io).await;
            node.unban(Source::of(&"flood:1".parse().unwrap()));
        }
    }
    settle().await;
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
    let status = node.status().await;
    assert_eq!((status.connections, status.partial_bytes, status.restarts.len()), (0, 0, 0));
}

// ---- the budget ----

/// Sends all but the last byte of a frame with `len` bytes of data.
async fn all_but_one(wires: &MemoryNetwork, host: &str, len: usize) -> Io {
    let mut io = connect(wires, host).await;
    let bytes = [header("LEN_", len), vec![7; len - 1]].concat();
    // Bytes that the node does not read stay here.
    let mut left = &bytes[..];
    timeout(SECOND / 1_000, async {
        while let Ok(written) = io.writer.write(left).await
            && written > 0
        {
            left = left.get(written..).unwrap();
        }
    })
    .await
    .ok();
    io
}

#[actix::test]
async fn the_bytes_of_incomplete_frames_are_bounded_for_the_whole_node() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().max_partial_bytes(32 * STEP).max_connections_per_source(100);
    let node = builder(&wires, "node").config(config).start().await.unwrap();
    let begun = Instant::now();
    let mut flood = Vec::new();
    for n in 0..50 {
        flood.push(all_but_one(&wires, &format!("flood{}", n % 2), 1 << 20).await);
    }
    settle().await;
    let status = node.status().await;
    assert_eq!(status.partial_bytes, 32 * STEP, "the whole budget is used");
    let read = status.counts.bytes_in;
    assert!(read <= 32 * STEP as u64 + 50 * (8 << 10), "{read} bytes were read");
    // Small requests are served as usual.
    for _ in 0..10 {
        assert_eq!(name(connect(&wires, "honest").await).await, NAME);
        let request = [header("LEN_", 4 << 10), vec![7; 4 << 10]].concat();
        assert_eq!(heard(&mut say(&wires, "honest", &request).await).await, "REPL\0\0\0\x044096");
    }
    assert!(begun.elapsed() < SECOND);
    // All of them end at the deadline of the frames, whether the node read from them or not.
    tokio::time::sleep(31 * SECOND).await;
    let status = node.status().await;
    assert_eq!((status.partial_bytes, status.connections, status.counts.errors_late), (0, 0, 50));
    let request = [header("LEN_", 1 << 20), vec![7; 1 << 20]].concat();
    assert_eq!(heard(&mut say(&wires, "honest", &request).await).await, "REPL\0\0\0\x071048576");
    drop(flood);
}

#[actix::test]
async fn a_connection_that_waits_for_memory_continues_when_memory_is_freed() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().max_partial_bytes(16 * STEP);
    let node = builder(&wires, "node").config(config).start().await.unwrap();
    let mut first = all_but_one(&wires, "first", 16 * STEP).await;
    settle().await;
    assert_eq!(node.status().await.partial_bytes, 16 * STEP);
    let second = async {
        let request = [header("LEN_", 500_000), vec![7; 500_000]].concat();
        heard(&mut say(&wires, "second", &request).await).await
    };
    let free = async {
        tokio::time::sleep(5 * SECOND).await;
        first.writer.write_all(&[7]).await.unwrap();
        heard(&mut first).await
    };
    let (second, first) = futures::future::join(second, free).await;
    assert_eq!((&*first, &*second), ("REPL\0\0\0\x071048576", "REPL\0\0\0\x06500000"));
    assert_eq!(node.status().await.partial_bytes, 0);
}

#[actix::test]
async fn a_message_in_parts_over_a_link_is_refused_when_no_memory_is_left() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().max_partial_bytes(16 * STEP);
    let bob = builder(&wires, "node").config(config).start().await.unwrap();
    let ada = builder(&wires, "ada").start().await.unwrap();
    let send = |len: usize| Outgoing::from(Frame::new("LEN_", vec![7; len])).over(Over::Link);
    assert_eq!(ask(&ada, &bob, send(900_000)).await.unwrap(), "900000");
    let flood = all_but_one(&wires, "flood", 16 * STEP).await;
    settle().await;
    let refused = ask(&ada, &bob, send(900_000)).await;
    assert!(
        matches!(refused, Err(RequestError::Reset { reason: Reason::BUSY, .. })),
        "{refused:?}"
    );
    // The same link continues, and small messages pass.
    assert_eq!(ask(&ada, &bob, send(2_000)).await.unwrap(), "2000");
    drop(flood);
    settle().await;
    assert_eq!(ask(&ada, &bob, send(900_000)).await.unwrap(), "900000");
    assert_eq!(ada.status().await.counts.connections_dialled, 1);
    let status = bob.status().await;
    assert_eq!((status.partial_bytes, status.links[0].held), (0, 0));
}

/// Answers each connection to `host` with all but the last byte of a long frame, and never ends.
async fn answers_in_part(wires: &MemoryNetwork, host: &str, len: usize) {
    let transport = wires.transport(host.parse::<Host>().unwrap());
    let mut listener = transport.listen(&format!("{host}:9000").parse().unwrap()).await.unwrap();
    let bytes = [header("REPL", len), vec![7; len - 1]].concat();
    actix::spawn(async move {
        while let Ok(mut io) = std::future::poll_fn(|cx| listener.poll_accept(cx)).await {
            let bytes = bytes.clone();
            actix::spawn(async move {
                io.writer.write_all(&bytes).await.ok();
                tokio::time::sleep(1_000 * SECOND).await;
                drop(io);
            });
        }
    });
}

#[actix::test]
async fn the_bytes_of_incomplete_replies_are_bounded_for_all_own_requests() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().max_partial_replies(32 * STEP).links(false);
    let ada = builder(&wires, "node").config(config).start().await.unwrap();
    let bob = builder(&wires, "bob").start().await.unwrap();
    answers_in_part(&wires, "eve", 1 << 20).await;
    let asked = (0..20).map(|_| {
        let ada = ada.clone();
        actix::spawn(
            async move { ada.request("eve:9000", Frame::empty("NONE")).await?.collect().await },
        )
    });
    let asked: Vec<_> = asked.collect();
    for _ in 0..100 {
        settle().await;
        assert!(ada.status().await.partial_replies <= 32 * STEP);
    }
    let (refused, held): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|asked| asked.is_finished());
    assert!(!refused.is_empty() && !held.is_empty(), "{} {}", refused.len(), held.len());
    for error in refused {
        let error = error.await.unwrap().unwrap_err();
        assert!(matches!(error, RequestError::NoRoom { limit } if limit == 32 * STEP), "{error:?}");
        assert!(error.may_have_been_handled());
    }
    // Short replies arrive as usual.
    for len in [2, 60_000] {
        let echo = Frame::new("ECHO", vec![b'a'; len]);
        assert_eq!(ask(&ada, &bob, echo).await.unwrap().len(), len);
    }
    // The waiting requests time out, and all memory is free again.
    for late in held {
        assert!(matches!(late.await.unwrap(), Err(RequestError::Reply(_))));
    }
    assert_eq!(ada.status().await.partial_replies, 0);
    let echo = Frame::new("ECHO", vec![b'a'; 1 << 20]);
    assert_eq!(ask(&ada, &bob, echo).await.unwrap().len(), 1 << 20);
}

#[actix::test]
async fn replies_in_parts_over_a_link_and_many_short_replies_count_as_incomplete_bytes() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().max_partial_replies(4 * STEP);
    let ada = builder(&wires, "node").config(config).start().await.unwrap();
    let many = handler::from_fn(async |_: Incoming| {
        Reply::many((0..10).map(|_| Frame::new("REPL", vec![7; 60_000])))
    });
    let bob = builder(&wires, "bob").handle("MANY", many.start()).unwrap().start().await.unwrap();
    for over in [Over::Link, Over::Classic] {
        for message in [Frame::new("ECHO", vec![b'a'; 500_000]), Frame::empty("MANY")] {
            let error = ask(&ada, &bob, Outgoing::from(message).over(over)).await.unwrap_err();
            assert!(matches!(error, RequestError::NoRoom { .. }), "{over:?} {error:?}");
            let echo = Outgoing::from(Frame::new("ECHO", vec![b'a'; 200_000])).over(over);
            assert_eq!(ask(&ada, &bob, echo).await.unwrap().len(), 200_000);
        }
        // Replies that are read one by one hold nothing.
        let asked = Outgoing::from(Frame::empty("MANY")).over(over);
        let replies = ada.request(bob.info(), asked).await.unwrap();
        assert_eq!(replies.try_fold(0, async |n, _| Ok(n + 1)).await.unwrap(), 10);
    }
    assert_eq!(ada.status().await.partial_replies, 0);
}

// ---- rates ----

#[actix::test]
async fn requests_over_the_rate_of_a_source_are_refused_and_others_are_served() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().max_frames_per_source(10);
    let node = node(&wires, config).await;
    let mut served = 0;
    for _ in 0..60 {
        match &*name(connect(&wires, "flood").await).await {
            NAME => served += 1,
            other => assert_eq!(other, BUSY),
        }
    }
    assert!((20..25).contains(&served), "{served}");
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
    assert_eq!(counts(&node).await.requests_too_fast, 60 - served);
    // Refused requests do not count against the source.
    tokio::time::sleep(SECOND / 5).await;
    assert_eq!(name(connect(&wires, "flood").await).await, NAME);
}

#[actix::test]
async fn a_link_over_the_rate_of_its_source_is_slowed_down_and_loses_nothing() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().max_frames_per_source(1_000);
    let bob = builder(&wires, "node").config(config).start().await.unwrap();
    let ada = builder(&wires, "ada").start().await.unwrap();
    let eve = builder(&wires, "eve").start().await.unwrap();
    let begun = Instant::now();
    for n in 0..10_000 {
        ada.notify(bob.info(), Outgoing::from(Frame::text("ECHO", n.to_string())).over(Over::Link))
            .await
            .unwrap();
        if n == 9_000 {
            // A source within its rate does not wait.
            let at = Instant::now();
            ask(&eve, &bob, Outgoing::from(Frame::text("ECHO", "hi")).over(Over::Link))
                .await
                .unwrap();
            assert!(at.elapsed() < SECOND / 10);
        }
    }
    assert_eq!(
        ask(&ada, &bob, Outgoing::from(Frame::text("ECHO", "end")).over(Over::Link)).await.unwrap(),
        "end"
    );
    // 2,000 at once, then 1,000 in a second.
    assert!((7 * SECOND..12 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let counted = counts(&bob).await;
    assert!(counted.reads_paused > 0);
    assert_eq!(
        (counted.exchanges_in, counted.links_broken, counted.requests_too_fast),
        (10_002, 0, 0)
    );
    assert_eq!(bob.bans(), []);
}

#[actix::test]
async fn bytes_over_the_rate_of_a_source_are_read_later() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().max_bytes_per_source(100_000);
    let node = builder(&wires, "node").config(config).start().await.unwrap();
    let (begun, len) = (Instant::now(), 1_000_000);
    let request = [header("SINK", len), vec![7; len]].concat();
    assert_eq!(heard(&mut say(&wires, "fast", &request).await).await, "REPL\0\0\0\x071000000");
    assert!((7 * SECOND..10 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!(counts(&node).await.reads_paused > 0);
}

#[actix::test]
async fn a_hundred_empty_frames_end_a_link_and_count_against_its_source() {
    let wires = MemoryNetwork::new(1);
    let bob = builder(&wires, "node").start().await.unwrap();
    let mut events = bob.events();
    // An empty grant of credit.
    let empty = b"@CRD\0\0\0\x09\0\0\0\0\0\0\0\0\0";
    for n in 0..6 {
        let mut io = say(&wires, "eve", &header("@LNK", HELLO.len())).await;
        io.writer.write_all(HELLO.as_bytes()).await.unwrap();
        io.writer.write_all(&empty.repeat(99)).await.unwrap();
        settle().await;
        assert_eq!(bob.status().await.links.len(), 1, "{n}");
        io.writer.write_all(empty).await.unwrap();
        heard(&mut io).await;
    }
    assert_eq!(counts(&bob).await.links_broken, 6);
    let banned = event(&mut events, |event| match event {
        PeerEvent::Banned { whom, why, .. } => Some((whom, why)),
        _ => None,
    });
    let eve = Offender::from(&"eve:1".parse().unwrap());
    assert_eq!(banned.await, (eve, Misbehavior::BrokeLink));
}

#[actix::test]
async fn a_classic_connection_carries_one_frame_however_many_empty_ones_follow() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    let mut io = say(&wires, "flood", &b"NAME\0\0\0\0".repeat(1_000)).await;
    assert_eq!(heard(&mut io).await, NAME);
    assert_eq!(counts(&node).await.exchanges_in, 1);
}

#[actix::test]
async fn a_peer_that_reads_no_replies_is_disconnected_and_others_are_served() {
    let wires = MemoryNetwork::new(1);
    let bob =
        builder(&wires, "node").config(Config::default().ban_at(u32::MAX)).start().await.unwrap();
    let mut events = bob.events();
    let ada = builder(&wires, "ada").start().await.unwrap();
    let mut eve = say(&wires, "eve", &header("@LNK", HELLO.len())).await;
    eve.writer.write_all(HELLO.as_bytes()).await.unwrap();
    let (mut exchange, mut sent) = (1_u32, 0);
    // Each refusal is a reply as well.
    while sent < 10 << 20 {
        let mut requests = Vec::new();
        for _ in 0..100 {
            let payload = [&exchange.to_be_bytes()[..], &[1 | 2]].concat();
            requests.extend([header("NONE", payload.len()), payload].concat());
            exchange += 2;
        }
        match timeout(SECOND, eve.writer.write_all(&requests)).await {
            Ok(Ok(())) => sent += requests.len(),
            _ => break,
        }
    }
    assert!(sent < 1 << 20, "{sent} bytes were read");
    assert_eq!(ask(&ada, &bob, Frame::text("ECHO", "hi")).await.unwrap(), "hi");
    settle().await;
    let reason = event(&mut events, |event| match event {
        PeerEvent::LinkClosed { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason.await, Reason::PROTOCOL);
    assert_eq!(bob.status().await.links.len(), 1);
}

// ---- bans ----

fn flood() -> Offender {
    Source::of(&"flood:1".parse().unwrap()).into()
}

/// Sends unknown codes until the source is banned. Returns how many it sent.
async fn misbehave(wires: &MemoryNetwork, node: &Peer) -> usize {
    for n in 0.. {
        if !node.bans().is_empty() {
            return n;
        }
        heard(&mut say(wires, "flood", b"NONE\0\0\0\0").await).await;
        settle().await;
    }
    unreachable!()
}

/// Whether a connection from this source is closed without a reply.
async fn is_refused(wires: &MemoryNetwork) -> bool {
    let mut io = say(wires, "flood", b"NAME\0\0\0\0").await;
    let mut heard = Vec::new();
    timeout(SECOND, io.reader.read_to_end(&mut heard))
        .await
        .expect("the connection ends in time")
        .ok();
    heard != NAME.as_bytes()
}

#[actix::test]
async fn a_misbehaving_source_is_banned_for_longer_each_time_and_others_are_served() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    let mut events = node.events();
    for seconds in [60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
        let time = Duration::from_secs(seconds);
        assert!((100..110).contains(&misbehave(&wires, &node).await));
        let begins = event(&mut events, |event| match event {
            PeerEvent::Banned { whom, why, time } => Some((whom, why, time)),
            _ => None,
        });
        assert_eq!(begins.await, (flood(), Misbehavior::UnknownCode, time));
        let before = counts(&node).await;
        for _ in 0..20 {
            assert!(is_refused(&wires).await);
        }
        let now = counts(&node).await;
        assert_eq!(now.connections_banned - before.connections_banned, 20);
        assert_eq!(now.exchanges_in, before.exchanges_in);
        assert_eq!(name(connect(&wires, "honest").await).await, NAME);
        // The ban expires.
        let begun = Instant::now();
        let ends = event(&mut events, |event| match event {
            PeerEvent::BanEnded { whom, why } => Some((whom, why)),
            _ => None,
        });
        assert_eq!(ends.await, (flood(), Misbehavior::UnknownCode));
        assert!(begun.elapsed() > time - SECOND, "{:?}", begun.elapsed());
        assert!(!is_refused(&wires).await);
    }
    assert_eq!(counts(&node).await.bans, 8);
}

#[actix::test]
async fn occasional_faults_of_honest_peers_cause_no_ban() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    for _ in 0..400 {
        heard(&mut say(&wires, "flood", b"NONE\0\0\0\0").await).await;
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(node.bans(), []);
    assert!(!is_refused(&wires).await);
}

#[actix::test]
async fn each_misbehavior_counts_against_its_source() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().ban_at(1).header_timeout(SECOND).body_timeout(SECOND);
    let node = builder(&wires, "node").config(config).start().await.unwrap();
    let offences: [(&[u8], bool, Misbehavior); 6] = [
        (b"NONE\0\0\0\0", true, Misbehavior::UnknownCode),
        (b"NAM", true, Misbehavior::Truncated),
        (b"ECHO\0\0\0\x05abc", true, Misbehavior::Truncated),
        (b"NAM", false, Misbehavior::Late),
        (b"ECHO\0\0\0\x05abc", false, Misbehavior::Late),
        (b"ECHO\xff\0\0\0", true, Misbehavior::TooLong),
    ];
    for (bytes, ends, why) in offences {
        let mut io = say(&wires, "flood", bytes).await;
        if ends {
            io.writer.shutdown().await.unwrap();
        }
        heard(&mut io).await;
        settle().await;
        let bans = node.bans();
        assert_eq!(
            bans.iter().map(|ban| (&ban.whom, ban.why)).collect::<Vec<_>>(),
            [(&flood(), why)],
            "{bytes:?}"
        );
        assert!(node.unban(flood()));
    }
    // A silent connection is no misbehavior, and neither is a request that is refused for reasons
    // of the node.
    let mut io = connect(&wires, "flood").await;
    io.writer.shutdown().await.unwrap();
    heard(&mut io).await;
    settle().await;
    assert_eq!(node.bans(), []);
}

#[actix::test]
async fn a_manual_ban_ends_links_at_once_and_can_be_lifted() {
    let wires = MemoryNetwork::new(1);
    let bob = builder(&wires, "node").start().await.unwrap();
    let ada = builder(&wires, "flood").start().await.unwrap();
    let send = || Outgoing::from(Frame::text("ECHO", "hi")).over(Over::Link);
    assert_eq!(ask(&ada, &bob, send()).await.unwrap(), "hi");
    assert!(bob.ban(flood(), 1_000 * SECOND));
    settle().await;
    assert_eq!(bob.status().await.links.len(), 0);
    assert!(ask(&ada, &bob, send()).await.is_err());
    assert_eq!(bob.bans()[0].why, Misbehavior::ByHand);
    assert!(bob.unban(flood()) && !bob.unban(flood()));
    // Ada took the silence for a node without links, and remembers that for a while.
    tokio::time::sleep(700 * SECOND).await;
    assert_eq!(ask(&ada, &bob, send()).await.unwrap(), "hi");
}

#[actix::test]
async fn loopback_is_exempt_from_automatic_bans_unless_it_is_limited() {
    for limit in [false, true] {
        let config = Config::default().ban_at(2).limit_loopback(limit);
        let node = Peer::builder().config(config).well_known().start().await.unwrap();
        let mut events = node.events();
        let at = node.info().address().to_string();
        for _ in 0..3 {
            let mut stream = tokio::net::TcpStream::connect(&at).await.unwrap();
            stream.write_all(b"NONE\0\0\0\0").await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
        let loopback: IpAddr = [127, 0, 0, 1].into();
        if limit {
            event(&mut events, |event| matches!(event, PeerEvent::Banned { .. }).then_some(()))
                .await;
            assert_eq!(node.bans()[0].whom, loopback.into());
        } else {
            assert_eq!(node.bans(), []);
            // A manual ban applies to loopback as well.
            assert!(node.ban(loopback, SECOND));
        }
        let mut stream = tokio::net::TcpStream::connect(&at).await.unwrap();
        stream.write_all(b"NAME\0\0\0\0").await.ok();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.ok();
        assert_eq!(heard, b"");
        node.stop().await;
    }
}

#[actix::test]
async fn loopback_may_use_all_connections_of_the_node_unless_it_is_limited() {
    for (limit, served) in [(false, 20), (true, 4)] {
        let config = Config::default().max_connections_per_source(4).limit_loopback(limit);
        let builder = Peer::builder().config(config).handle("ECHO", handlers::echo()).unwrap();
        let node = builder.start().await.unwrap();
        let at = node.info().address().to_string();
        let mut open = Vec::new();
        let mut answered = 0;
        for _ in 0..20 {
            let mut stream = tokio::net::TcpStream::connect(&at).await.unwrap();
            // The header of a request whose data does not arrive: the connection stays open.
            stream.write_all(b"ECHO\0\0\0\x02").await.unwrap();
            open.push(stream);
        }
        for mut stream in open {
            stream.write_all(b"ab").await.ok();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.ok();
            answered += usize::from(!heard.ends_with(b"Busy") && !heard.is_empty());
        }
        assert_eq!(answered, served, "limit_loopback({limit})");
        node.stop().await;
    }
}

#[actix::test]
async fn a_flood_of_sources_fills_no_map_and_others_are_served() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default().ban_at(2)).await;
    for n in 0..3_000 {
        for _ in 0..2 {
            let mut io = say(&wires, &format!("s{n}"), b"NAM").await;
            io.writer.shutdown().await.ok();
            heard(&mut io).await;
        }
    }
    assert!(node.bans().len() <= 1_024);
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
}

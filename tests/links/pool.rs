//! The pool of links: links are opened on demand, shared, and closed. Peers without links are
//! remembered.

use std::{collections::BTreeSet, time::Duration};

use actix_peer::{
    Config, Outgoing, Over, PeerEvent, RequestError,
    frame::Frame,
    link::Reason,
    message::Via,
    node::Direction,
    overlay::{Address, Host},
    transport::{Transport, memory::MemoryNetwork},
};
use futures::{
    FutureExt,
    future::{join, join_all},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::{SECOND, ask, echo, event, id_of, links, node, node_with, pass, transport, via};

/// The limit of the backoff.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

fn host(name: &str) -> Host {
    name.parse().unwrap()
}

fn link(text: &str) -> Outgoing {
    echo(text).over(Over::Link)
}

#[actix::test]
async fn callers_that_want_a_link_share_one_dial_and_each_can_cancel() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    wires.latency(SECOND / 10..SECOND / 10);
    let (ada, bob) = (node(&wires, "ada").await, node(&wires, "bob").await);
    let asked = (0..100).map(|n| {
        let (ada, bob) = (ada.clone(), bob.clone());
        async move {
            let text = n.to_string();
            let asked = ask(&ada, &bob, link(&text));
            // Every other caller cancels early, and so does the first one, which began the dial.
            let patience = if n % 2 == 0 { SECOND / 20 } else { 10 * SECOND };
            tokio::time::timeout(patience, asked).await.map(|answer| answer.unwrap() == text)
        }
    });
    for (n, answer) in join_all(asked).await.into_iter().enumerate() {
        assert_eq!(answer.ok(), (n % 2 == 1).then_some(true), "{n}");
    }
    assert_eq!((wires.dials(), links(&ada).await.len()), (1, 1));
}

#[actix::test]
async fn a_link_serves_both_directions() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, bob) = (node(&wires, "ada").await, node(&wires, "bob").await);
    assert_eq!(ask(&ada, &bob, link("out")).await.unwrap(), "out");
    assert_eq!(ask(&bob, &ada, link("back")).await.unwrap(), "back");
    assert_eq!((wires.dials(), wires.connections()), (1, 1));
}

#[actix::test]
async fn two_nodes_that_dial_each_other_at_once_keep_one_link_and_lose_nothing() {
    tokio::time::pause();
    for (latency, seed) in [(1, 1), (5, 2), (50, 3), (50, 4), (50, 5)] {
        let wires = MemoryNetwork::new(seed);
        wires.latency(Duration::from_millis(latency)..Duration::from_millis(2 * latency));
        let (ada, bob) = (node(&wires, "ada").await, node(&wires, "bob").await);
        let many = |from, to| join_all((0..10).map(move |_| ask(from, to, link("x"))));
        let (here, there) = join(many(&ada, &bob), many(&bob, &ada)).await;
        for answer in here.into_iter().chain(there) {
            answer.unwrap_or_else(|error| panic!("{seed}: {error:?}"));
        }
        pass(SECOND).await;
        let (of_ada, of_bob) = (links(&ada).await, links(&bob).await);
        assert_eq!((of_ada.len(), of_bob.len(), wires.connections()), (1, 1, 1), "{seed}");
        // The link that was opened by the node with the smaller id.
        let (by_ada, by_bob) = if ada.id() < bob.id() {
            (Direction::Out, Direction::In)
        } else {
            (Direction::In, Direction::Out)
        };
        assert_eq!((of_ada[0].direction, of_bob[0].direction), (by_ada, by_bob));
        let dials = wires.dials();
        ask(&ada, &bob, link("x")).await.unwrap();
        ask(&bob, &ada, link("x")).await.unwrap();
        assert_eq!(wires.dials(), dials);
    }
}

#[actix::test]
async fn an_unreachable_peer_is_dialled_again_after_growing_pauses() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = node(&wires, "ada").await;
    let nobody: Address = "bob:9000".parse().unwrap();
    let begun = Instant::now();
    let mut dialled = Vec::new();
    while begun.elapsed() < 200 * SECOND {
        let before = wires.dials();
        let error = ada.request(&nobody, link("x")).await.unwrap_err();
        assert!(matches!(error, RequestError::Connect { .. }), "{error:?}");
        assert!(!error.may_have_been_handled());
        if wires.dials() > before {
            dialled.push(begun.elapsed());
        }
        pass(SECOND / 20).await;
    }
    let pauses: Vec<_> = dialled.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses[0] < SECOND, "{pauses:?}");
    assert!(pauses[..6].is_sorted(), "{pauses:?}");
    // At most the limit, and not all the same.
    assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE + SECOND / 10), "{pauses:?}");
    assert!(pauses[10..].iter().any(|pause| *pause < LONGEST_PAUSE - SECOND / 2), "{pauses:?}");
    // A peer that appears is reached after one more pause.
    let bob = node(&wires, "bob").await;
    pass(LONGEST_PAUSE).await;
    assert_eq!(ask(&ada, &bob, link("there")).await.unwrap(), "there");
}

#[actix::test]
async fn an_idle_link_closes_on_both_sides_and_reopens_on_demand() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let config = Config::default().link_idle_timeout(20 * SECOND);
    let ada = node_with(&wires, "ada", config).await;
    let bob = node(&wires, "bob").await;
    let mut events = bob.events();
    ask(&ada, &bob, link("x")).await.unwrap();
    pass(15 * SECOND).await;
    ask(&ada, &bob, link("used")).await.unwrap();
    pass(15 * SECOND).await;
    assert_eq!(wires.connections(), 1);
    pass(11 * SECOND).await;
    assert_eq!((wires.connections(), links(&ada).await.len(), links(&bob).await.len()), (0, 0, 0));
    let opened = event(&mut events, |event| match event {
        PeerEvent::LinkOpened { peer, direction } => Some((peer.id().clone(), *direction)),
        _ => None,
    });
    assert_eq!(opened.await, (ada.id().clone(), Direction::In));
    let closed = event(&mut events, |event| match event {
        PeerEvent::LinkClosed { peer, reason, .. } => Some((peer.id().clone(), *reason)),
        _ => None,
    });
    assert_eq!(closed.await, (ada.id().clone(), Reason::GOING_AWAY));
    ask(&ada, &bob, link("again")).await.unwrap();
    assert_eq!((wires.connections(), wires.dials()), (1, 2));
}

#[actix::test]
async fn at_the_link_limit_the_link_that_was_idle_longest_is_closed() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let hub = node_with(&wires, "hub", Config::default().max_links(2)).await;
    let (ada, bob, cyd) =
        (node(&wires, "ada").await, node(&wires, "bob").await, node(&wires, "cyd").await);
    for peer in [&ada, &bob, &ada, &cyd] {
        ask(&hub, peer, link("x")).await.unwrap();
        pass(SECOND).await;
    }
    let with: BTreeSet<_> = links(&hub).await.into_iter().map(|link| link.peer).collect();
    assert_eq!(with, BTreeSet::from([ada.id().clone(), cyd.id().clone()]));
    // Both links are in use: a caller that insists on a link gets an error, the others use classic
    // exchanges.
    let never = |to| hub.request(to, Outgoing::body("SINK", 9, NeverRead).over(Over::Link));
    let held = [never(ada.info()).await.unwrap(), never(cyd.info()).await.unwrap()];
    let error = ask(&hub, &bob, link("x")).await.unwrap_err();
    assert!(matches!(error, RequestError::Busy), "{error:?}");
    assert_eq!(via(&hub, &bob).await.unwrap(), Via::Classic);
    drop(held);
    pass(SECOND).await;
    assert_eq!(via(&hub, &bob).await.unwrap(), Via::Link);
}

/// A source that gives one byte, and then nothing more.
struct NeverRead;

impl tokio::io::AsyncRead for NeverRead {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        if into.remaining() < 9 {
            return std::task::Poll::Pending;
        }
        into.put_slice(&[0]);
        std::task::Poll::Ready(Ok(()))
    }
}

#[actix::test]
async fn with_few_links_every_request_between_all_pairs_of_nodes_is_answered_soon() {
    tokio::time::pause();
    for seed in 0..8 {
        let wires = MemoryNetwork::new(seed);
        wires.latency(SECOND / 100..SECOND / 20);
        let config = || Config::default().max_links(3);
        let names: Vec<_> = (0..12).map(|n| format!("n{n}")).collect();
        let nodes = join_all(names.iter().map(|name| node_with(&wires, name, config()))).await;
        let asking = nodes.iter().enumerate().map(async |(n, from)| {
            for round in 0..12 {
                let some = (1..nodes.len()).filter(|other| (other + round / 3) % 3 == round % 3);
                let asked = some.map(async |other| {
                    let (begun, to) = (Instant::now(), &nodes[(n + other) % nodes.len()]);
                    // A new link is not ended to make room before its first message.
                    ask(from, to, echo("x")).await.unwrap();
                    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
                });
                join_all(asked).await;
            }
        });
        join_all(asking).await;
    }
}

#[actix::test]
async fn a_link_that_is_silent_for_three_intervals_is_closed_with_its_exchanges() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let config = || Config::default().keep_alive(2 * SECOND);
    let (ada, bob) =
        (node_with(&wires, "ada", config()).await, node_with(&wires, "bob", config()).await);
    ask(&ada, &bob, link("x")).await.unwrap();
    // Open without a message for more than three intervals.
    pass(10 * SECOND).await;
    assert_eq!(wires.connections(), 1);
    let mut events = ada.events();
    wires.partition(&[host("ada")], &[host("bob")]);
    let cut = Instant::now();
    let error = ask(&ada, &bob, link("into the void")).await.unwrap_err();
    assert!(error.may_have_been_handled(), "{error:?}");
    assert!((4..=8).contains(&cut.elapsed().as_secs()), "{:?}", cut.elapsed());
    let closed = event(&mut events, |event| match event {
        PeerEvent::LinkClosed { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(closed.await, Reason::TIMED_OUT);
    wires.heal();
    pass(10 * SECOND).await;
    assert_eq!(ask(&ada, &bob, link("healed")).await.unwrap(), "healed");
}

#[actix::test]
async fn the_status_describes_each_link() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    wires.latency(SECOND / 20..SECOND / 20);
    let (ada, bob) = (node(&wires, "ada").await, node(&wires, "bob").await);
    ask(&ada, &bob, link("x")).await.unwrap();
    let unanswered =
        ada.request(bob.info(), Outgoing::body("SINK", 9, NeverRead).over(Over::Link)).await;
    pass(16 * SECOND).await;
    let (out, back) = (links(&ada).await.remove(0), links(&bob).await.remove(0));
    assert_eq!((&out.peer, out.direction), (bob.id(), Direction::Out));
    assert_eq!((&back.peer, back.direction), (ada.id(), Direction::In));
    assert_eq!(out.address, *bob.info().address());
    assert_eq!((out.open, back.open, out.closing), (1, 1, false));
    assert_eq!(out.age.as_secs(), 16);
    assert!(out.bytes_out > 100 && out.bytes_in > 100, "{out:?}");
    assert!(out.bytes_out.abs_diff(back.bytes_in) <= 21, "{out:?} {back:?}");
    assert!(out.credit < 3 << 20 && out.credit > 1 << 20, "{out:?}");
    assert_eq!(out.round_trip.unwrap().as_millis() / 10, 10);
    let json = serde_json::to_value(&out).unwrap();
    assert_eq!(json["peer"], bob.id().as_str());
    drop(unanswered);
}

#[actix::test]
async fn classic_only_nodes_and_nodes_with_links_serve_each_other() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let memory = 600 * SECOND;
    let ada = node(&wires, "ada").await;
    let old = node_with(&wires, "old", Config::default().links(false)).await;
    let dials = async || {
        let before = wires.dials();
        assert_eq!(via(&ada, &old).await.unwrap(), Via::Classic);
        wires.dials() - before
    };
    assert_eq!(dials().await, 2, "a link is tried, then a classic exchange");
    for _ in 0..5 {
        assert_eq!(dials().await, 1, "the node remembers that the peer has no links");
    }
    let error = ask(&ada, &old, link("x")).await.unwrap_err();
    assert!(matches!(error, RequestError::NoLink(_)), "{error:?}");
    pass(memory).await;
    assert_eq!(dials().await, 2, "the node forgets it after some time");
    assert_eq!(via(&old, &ada).await.unwrap(), Via::Classic);
    assert!(links(&ada).await.is_empty() && links(&old).await.is_empty());
    // One-way messages as well.
    ada.notify(old.info(), Frame::text("ECHO", "x")).await.unwrap();
    pass(SECOND).await;
    assert_eq!(wires.connections(), 0);
}

#[actix::test]
async fn a_node_opens_no_link_to_itself() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = node(&wires, "ada").await;
    assert_eq!(via(&ada, &ada).await.unwrap(), Via::Classic);
    let error = ask(&ada, &ada, link("x")).await.unwrap_err();
    assert!(matches!(error, RequestError::NoLink(_)), "{error:?}");
}

#[actix::test]
async fn a_peer_that_violates_the_link_protocol_is_told_so_and_harms_no_other_link() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, bob) = (node(&wires, "ada").await, node(&wires, "bob").await);
    ask(&ada, &bob, link("x")).await.unwrap();
    let rude: [&[u8]; 4] = [
        b"@LNK\0\0\0\x02{}",
        b"@LNK\0\0\0\x09not json!",
        // A hello, then a number of the wrong parity; then a frame without a header.
        b"\0\0\0\x05\0\0\0\x02\x01",
        b"\0\0\0\x01x",
    ];
    let hello = format!(
        r#"{{"version":1,"id":"{}","host":"eve","port":9000,"window":65536,
        "max_message":1024,"max_open":8,"incarnation":1,"features":[]}}"#,
        id_of("eve")
    );
    for (n, bytes) in rude.into_iter().enumerate() {
        let mut io = transport(&wires, "eve").dial(bob.info().address()).await.unwrap();
        let mut sent = Vec::new();
        if n >= 2 {
            sent.extend_from_slice(b"@LNK\0\0\0");
            sent.push(u8::try_from(hello.len()).unwrap());
            sent.extend_from_slice(hello.as_bytes());
            sent.extend_from_slice(b"ECHO");
        }
        sent.extend_from_slice(bytes);
        io.writer.write_all(&sent).await.unwrap();
        io.writer.flush().await.unwrap();
        let mut answer = Vec::new();
        io.reader.read_to_end(&mut answer).now_or_never();
        pass(SECOND).await;
        io.reader.read_to_end(&mut answer).await.ok();
        let end = answer.windows(9).any(|bytes| bytes.ends_with(b"\0\0\0\0\x08"));
        assert!(end, "{n}: {:?}", String::from_utf8_lossy(&answer));
    }
    let counts = bob.status().await.counts;
    assert_eq!(counts.links_broken, 4, "{counts:?}");
    assert_eq!(ask(&ada, &bob, link("and on")).await.unwrap(), "and on");
    assert_eq!(wires.dials(), 5);
}

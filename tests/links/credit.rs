//! Back-pressure: what a slow handler, a slow reader and handlers that call each other delay.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Builder, Config, Incoming, Outgoing, Over, Peer, Reply, RequestError, frame::Frame, handler,
    transport::memory::MemoryNetwork,
};
use futures::{
    FutureExt, StreamExt,
    future::{join, join_all},
    stream,
};
use tokio::time::{Instant, timeout};

use crate::{Recorder, SECOND, Taken, ask, builder, echo, links, node, node_with, pass};

const WINDOW: u32 = 64 << 10;

/// The default of `reply_timeout`.
const LIMIT: Duration = Duration::from_secs(35);

fn small() -> Config {
    Config::default().link_window(WINDOW).max_frame_len(16 << 10)
}

fn kib(n: usize) -> Frame {
    Frame::text("NOTE", format!("{n:<1024}"))
}

#[actix::test]
async fn a_slow_handler_slows_only_its_sender() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let taken = Taken::default();
    let slow = Recorder::start(&taken, SECOND);
    let bob = builder(&wires, "bob").config(small()).handle("NOTE", slow).unwrap();
    let bob = bob.start().await.unwrap();
    let (ada, cyd) = (node(&wires, "ada").await, node(&wires, "cyd").await);
    let sent = Arc::new(AtomicUsize::new(0));
    let sending = {
        let (ada, bob, sent) = (ada.clone(), bob.info().clone(), Arc::clone(&sent));
        actix_rt::spawn(async move {
            for n in 0..200 {
                ada.notify(&bob, kib(n)).await.unwrap();
                sent.store(n + 1, Ordering::SeqCst);
            }
        })
    };
    pass(SECOND / 2).await;
    // One full window is in flight, then the sender waits.
    let on_their_way = sent.load(Ordering::SeqCst) - taken.len();
    assert!((32..=64).contains(&on_their_way), "{on_their_way}");
    let held = links(&bob).await[0].held;
    assert!((WINDOW / 2..=WINDOW).contains(&held), "{held}");
    // Other senders do not wait. Nor does the same sender in the other direction, or with its
    // replies.
    let begun = Instant::now();
    assert_eq!(ask(&cyd, &bob, echo("cyd")).await.unwrap(), "cyd");
    assert_eq!(ask(&bob, &ada, echo("bob")).await.unwrap(), "bob");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // At the pace of the handler all messages are handled, in order, within the same bound.
    while taken.len() < 200 {
        pass(SECOND).await;
        assert!(links(&bob).await.iter().all(|link| link.held <= WINDOW));
    }
    sending.await.unwrap();
    assert_eq!(begun.elapsed().as_secs().abs_diff(200), 1, "{:?}", begun.elapsed());
    let numbers: Vec<usize> = taken.all().iter().map(|text| text.trim().parse().unwrap()).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}

#[actix::test]
async fn credit_reserved_for_short_messages_is_available_to_a_long_message() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let never = handler::from_fn(async |_| std::future::pending().await);
    let bob = builder(&wires, "bob").config(small()).handle("NOTE", never.start()).unwrap();
    let (ada, bob) = (node(&wires, "ada").await, bob.start().await.unwrap());
    ask(&ada, &bob, echo("the link is open")).await.unwrap();
    ada.notify(bob.info(), Frame::text("NOTE", "short")).await.unwrap();
    // Four of these almost fill the window, and no credit is returned.
    for _ in 0..4 {
        let long = Frame::new("NOTE", vec![0; 15 << 10]);
        timeout(SECOND, ada.notify(bob.info(), long)).await.unwrap().unwrap();
    }
    pass(SECOND).await;
    assert!(links(&bob).await[0].held > 60 << 10);
}

#[actix::test]
async fn messages_sent_together_arrive_in_order_at_the_pace_of_the_handler() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let taken = Taken::default();
    let slow = Recorder::start(&taken, SECOND / 100);
    let bob = builder(&wires, "bob").config(small()).handle("NOTE", slow).unwrap();
    let (ada, bob) = (node(&wires, "ada").await, bob.start().await.unwrap());
    let begun = Instant::now();
    assert_eq!(ada.notify_all(bob.info(), (0..300).map(kib)).await.unwrap(), 300);
    // All messages except one window have been handled by then.
    assert!(begun.elapsed() > 2 * SECOND, "{:?}", begun.elapsed());
    assert!(links(&bob).await[0].held <= WINDOW);
    pass(SECOND).await;
    let numbers: Vec<usize> = taken.all().iter().map(|text| text.trim().parse().unwrap()).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    // A message that cannot be sent ends the call. The messages before it are sent.
    let mut messages: Vec<_> = (300..400).map(kib).collect();
    messages[70] = Frame::text("@BAD", "a code of the framework");
    let error = ada.notify_all(bob.info(), messages).await.unwrap_err();
    assert_eq!(error.sent, 70);
    assert!(!error.source.may_have_been_handled());
    pass(2 * SECOND).await;
    assert_eq!(taken.len(), 370);
    assert_eq!(ada.notify_all("nobody at all", [kib(0)]).await.unwrap_err().sent, 0);
}

#[actix::test]
async fn a_request_waits_for_credit_at_most_as_long_as_for_its_reply() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let never = handler::from_fn(async |_| std::future::pending().await);
    let bob = builder(&wires, "bob").config(small()).handle("NOTE", never.start()).unwrap();
    let bob = bob.start().await.unwrap();
    let limit = 5 * SECOND;
    let ada = node_with(&wires, "ada", Config::default().reply_timeout(limit)).await;
    // One-way messages fill the window, and no credit is returned.
    while ada.notify(bob.info(), kib(0)).now_or_never().is_some_and(|told| told.is_ok())
        || links(&ada).await.is_empty()
    {
        pass(SECOND / 100).await;
    }
    let begun = Instant::now();
    let error = ada.request(bob.info(), Frame::new("ECHO", vec![0; 4 << 10])).await.unwrap_err();
    assert!(matches!(error, RequestError::NoCredit(_)), "{error:?}");
    assert!(!error.may_have_been_handled());
    assert_eq!(begun.elapsed().as_secs(), limit.as_secs());
}

#[actix::test]
async fn a_caller_that_does_not_read_its_replies_delays_only_those_replies() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let endless = handler::from_fn(async move |_| {
        let count = Arc::clone(&count);
        Reply::stream(stream::iter(0..).map(move |n: usize| {
            count.store(n, Ordering::SeqCst);
            Frame::new("PART", vec![0; 1 << 10])
        }))
    });
    let bob = builder(&wires, "bob").handle("MORE", endless.start()).unwrap();
    let config = Config::default().stall_timeout(100 * SECOND).reply_timeout(100 * SECOND);
    let bob = bob.config(config.clone()).start().await.unwrap();
    let ada = node_with(&wires, "ada", config).await;
    let unread = Outgoing::from(Frame::empty("MORE")).over(Over::Link);
    let mut unread = ada.request(bob.info(), unread).await.unwrap();
    pass(SECOND).await;
    let ahead = given.load(Ordering::SeqCst);
    assert!((200..=300).contains(&ahead), "{ahead} KiB are produced ahead of the reader");
    let others = (0..50).map(|n| ask(&ada, &bob, echo(&n.to_string())).map(move |r| (n, r)));
    for (n, echoed) in join_all(others).await {
        assert_eq!(echoed.unwrap(), n.to_string());
    }
    assert_eq!(given.load(Ordering::SeqCst), ahead);
    // When the reader continues, the other messages continue as well.
    for _ in 0..10_000 {
        assert_eq!(unread.next().await.unwrap().unwrap().data().len(), 1 << 10);
    }
}

/// A node that sends `n` to the other one as `n - 1`, and answers with the answer to that.
fn circle(wires: &MemoryNetwork, name: &str, other: &Arc<OnceLock<Peer>>) -> Builder {
    let other = Arc::clone(other);
    let next = handler::from_fn(async move |msg: Incoming| {
        let n: u32 = msg.frame.as_str().unwrap().parse().unwrap();
        let Some(left) = n.checked_sub(1) else { return Reply::one(Frame::text("REPL", "done")) };
        let (to, from) = other.get().map(|other| (other.info().clone(), other)).unwrap();
        let asked = async {
            from.request(&to, Frame::text("CIRC", left.to_string())).await?.collect().await
        };
        match asked.await {
            Ok(frames) => Reply::many(frames),
            Err(error) => Reply::error(error.to_string()),
        }
    });
    builder(wires, name).handle("CIRC", next.start()).unwrap()
}

/// Two nodes whose handlers call each other.
async fn circles() -> (Peer, Peer) {
    let wires = MemoryNetwork::new(1);
    let (to_bob, to_ada) = <(Arc<OnceLock<_>>, Arc<OnceLock<_>>)>::default();
    let ada = circle(&wires, "ada", &to_bob).start().await.unwrap();
    let bob = circle(&wires, "bob", &to_ada).start().await.unwrap();
    to_bob.set(bob.clone()).unwrap();
    to_ada.set(ada.clone()).unwrap();
    (ada, bob)
}

/// Sends a request that the two nodes pass on to each other `depth` times.
async fn go_round(from: &Peer, to: &Peer, depth: u32) -> Result<String, RequestError> {
    let message = Outgoing::from(Frame::text("CIRC", depth.to_string())).over(Over::Link);
    timeout(60 * SECOND, ask(from, to, message)).await.expect("all exchanges end in time")
}

/// Checks that all requests work again, and that no exchange is left.
async fn works_again(ada: &Peer, bob: &Peer) {
    pass(60 * SECOND).await;
    assert_eq!(go_round(ada, bob, 100).await.unwrap(), "done");
    for node in [ada, bob] {
        assert!(links(node).await.iter().all(|link| link.open == 0 && link.held == 0));
    }
}

#[actix::test]
async fn handlers_that_call_each_other_in_a_circle_complete_or_fail_in_time() {
    tokio::time::pause();
    let (ada, bob) = circles().await;
    // As deep as there are permits: each request is answered.
    for depth in [0, 1, 2, 50, 100] {
        assert_eq!(go_round(&ada, &bob, depth).await.unwrap(), "done", "{depth}");
    }
    // Deeper, and without an end: an error in time.
    for depth in [1_000, u32::MAX] {
        let begun = Instant::now();
        let answer = go_round(&ada, &bob, depth).await;
        assert_ne!(answer.unwrap_or_else(|error| error.to_string()), "done");
        assert!(begun.elapsed() <= LIMIT, "{:?}", begun.elapsed());
    }
    works_again(&ada, &bob).await;
}

#[actix::test]
async fn many_circles_of_handlers_from_both_sides_at_once_end_in_time() {
    tokio::time::pause();
    let (ada, bob) = circles().await;
    let here = join_all((0..40).map(|depth| go_round(&ada, &bob, depth)));
    let there = join_all((0..40).map(|depth| go_round(&bob, &ada, depth)));
    let (here, there) = join(here, there).await;
    assert_eq!(here.len() + there.len(), 80);
    works_again(&ada, &bob).await;
}

#[actix::test]
async fn two_nodes_that_flood_each_other_with_bodies_do_not_block_each_other() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    wires.latency(Duration::from_millis(1)..Duration::from_millis(5));
    let config = || small().max_link_requests(8);
    let ada = node_with(&wires, "ada", config()).await;
    let bob = node_with(&wires, "bob", config()).await;
    let flood = |from: Peer, to: Peer| {
        join_all((0..24_u32).map(move |n| {
            let (from, to) = (from.clone(), to.clone());
            async move {
                let len = n * 10_000;
                let body = Outgoing::body("SINK", len, crate::zeros(len)).over(Over::Link);
                assert_eq!(ask(&from, &to, body).await.unwrap(), len.to_string());
            }
        }))
    };
    let both = join(flood(ada.clone(), bob.clone()), flood(bob.clone(), ada.clone()));
    timeout(30 * SECOND, both).await.expect("all exchanges end in time");
}

#[actix::test]
async fn a_request_over_the_exchange_limit_of_the_peer_waits_for_its_turn() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let most = Arc::new(AtomicUsize::new(0));
    let (open, highest) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&most));
    let slow = handler::from_fn(async move |msg: Incoming| {
        highest.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        pass(SECOND).await;
        open.fetch_sub(1, Ordering::SeqCst);
        Reply::one(msg.frame)
    });
    let bob = builder(&wires, "bob").handle("SLOW", slow.start()).unwrap();
    let bob = bob.config(Config::default().max_link_requests(4)).start().await.unwrap();
    let ada = node(&wires, "ada").await;
    let begun = Instant::now();
    let all = join_all((0..20).map(|_| ask(&ada, &bob, Frame::text("SLOW", "x").into()))).await;
    assert!(all.into_iter().all(|answer| answer.is_ok()));
    assert_eq!((most.load(Ordering::SeqCst), begun.elapsed().as_secs()), (4, 5));
}

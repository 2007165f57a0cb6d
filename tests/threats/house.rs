//! Faults inside the process: handlers, stabilizers, listeners, arbiters, the clock and stops.
//!
//! A handler cannot answer twice: it returns one [`Reply`]. `tests/node` holds what a single
//! handler, listener or stabilizer does to its node.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll},
    time::Duration,
};

use actix::{Actor, Arbiter, System};
use actix_peer::{
    Builder, Child, Config, Incoming, Over, Peer, PeerEvent, PingSweep, Refusal, Reply,
    RequestError, Stabilizer,
    frame::Frame,
    handler,
    link::Reason,
    message::Outgoing,
    overlay::{Address, Host, StabilizerAction, StabilizerEvent, View},
    peer::NodeDown,
    transport::{Io, Listener, Transport, memory::MemoryNetwork, tcp::Tcp},
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use tokio::{
    net::{TcpListener, TcpStream, lookup_host},
    time::{advance, sleep, timeout},
};

use crate::{
    common::{
        SECOND, handlers,
        nodes::{counts, known, on_host, replies},
        sources::{code_of, root},
    },
    nodes::{NAME, connect, name, settle},
};

/// A network whose clock advances when all tasks wait.
fn network() -> MemoryNetwork {
    tokio::time::pause();
    MemoryNetwork::new(1)
}

/// A node on the host `host`, with a handler that echoes.
fn on(wires: &MemoryNetwork, host: &str) -> Builder {
    on_host(wires, host).well_known().handle("ECHO", handlers::echo()).unwrap()
}

async fn ask(
    from: &Peer,
    to: &Peer,
    over: Over,
    code: &'static str,
) -> Result<Vec<Frame>, RequestError> {
    replies(from, to, Outgoing::from(Frame::text(code, "x")).over(over)).await
}

fn serves(node: &Peer, code: &'static str, handler: impl Into<actix::Recipient<Incoming>>) {
    assert!(node.handle(code, handler).unwrap().is_none());
}

#[actix::test]
async fn any_number_of_panics_holds_no_permit_forever_and_fails_only_the_callers() {
    let wires = network();
    let config = Config::default().max_requests_per_code(2).max_requests(4);
    let ada = on(&wires, "ada").config(config).start().await.unwrap();
    let bob = on(&wires, "bob").start().await.unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let panicky = handler::from_fn(async move |_: Incoming| -> Reply {
        counted.fetch_add(1, Ordering::Relaxed);
        panic!("on request")
    });
    serves(&ada, "FAIL", panicky.start());
    for _ in 0..100 {
        for over in [Over::Classic, Over::Link] {
            let error = ask(&bob, &ada, over, "FAIL").await.unwrap_err();
            assert!(error.may_have_been_handled() && failed(&error), "{error}");
        }
        assert_eq!(ask(&bob, &ada, Over::Link, "ECHO").await.unwrap().len(), 1);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 200);
    let status = ada.status().await;
    assert_eq!((status.counts.errors_handler_failed, status.counts.errors_busy), (200, 0));
    assert!(status.restarts.is_empty());
}

/// Whether a request ended because its handler failed.
fn failed(error: &RequestError) -> bool {
    matches!(error, RequestError::Reset { reason: Reason::HANDLER_FAILED, .. })
}

/// Panics when it is cloned a second time.
#[derive(Debug)]
struct Brittle(Arc<AtomicUsize>);

impl Clone for Brittle {
    fn clone(&self) -> Self {
        assert_eq!(self.0.fetch_add(1, Ordering::Relaxed), 0, "a brittle clone");
        Self(Arc::clone(&self.0))
    }
}

impl Stabilizer for Brittle {
    fn name(&self) -> &str {
        "brittle"
    }
    fn every(&self) -> Duration {
        SECOND
    }
    fn step(&mut self, _: StabilizerEvent, _: &View<'_>) -> Vec<StabilizerAction> {
        panic!("a brittle step")
    }
}

#[actix::test]
async fn a_stabilizer_that_cannot_be_recreated_is_abandoned_and_the_node_keeps_serving() {
    let wires = network();
    let brittle = Brittle(Arc::new(AtomicUsize::new(0)));
    let ada = on(&wires, "ada").stabilizer(brittle).start().await.unwrap();
    let mut events = ada.events();
    let gave_up = PeerEvent::GaveUp { child: Child::Stabilizer("brittle".to_owned()) };
    let given_up = async { while events.next().await != Some(gave_up.clone()) {} };
    timeout(60 * SECOND, given_up).await.unwrap();
    assert_eq!(ask(&ada, &ada, Over::Classic, "ECHO").await.unwrap().len(), 1);
    assert!(ada.stop().await.is_clean());
}

/// A transport that listens once. Then its listener fails, and it panics twice when it should
/// listen again.
#[derive(Debug)]
struct Treacherous<T>(T, Arc<AtomicUsize>);

struct Dying(Box<dyn Listener>, bool);

impl<T: Transport> Transport for Treacherous<T> {
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let time = self.1.fetch_add(1, Ordering::Relaxed);
            assert!(![1, 2].contains(&time), "the transport cannot listen again");
            Ok(Box::new(Dying(self.0.listen(at).await?, time == 0)) as Box<dyn Listener>)
        })
    }
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        self.0.dial(to)
    }
    fn own_host(&self, listening: &Address) -> Host {
        self.0.own_host(listening)
    }
}

impl Listener for Dying {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>> {
        let polled = self.0.poll_accept(cx);
        assert!(polled.is_pending() || !self.1, "requested by the test");
        polled
    }
    fn local_address(&self) -> Address {
        self.0.local_address()
    }
}

#[actix::test]
async fn a_failed_listener_that_cannot_be_replaced_at_once_is_replaced_later() {
    let wires = network();
    let inner = wires.transport("node".parse::<Host>().unwrap());
    let transport = Treacherous(inner, Arc::new(AtomicUsize::new(0)));
    let builder = Peer::builder().transport(transport).listen("node:9000").id("node");
    let node = builder.well_known().start().await.unwrap();
    assert_eq!(name_or_nothing(&wires).await, "");
    sleep(2 * SECOND).await;
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
    assert_eq!(node.status().await.restarts["listener"], 1);
}

#[actix::test]
async fn a_failed_listener_on_a_host_name_is_replaced_at_all_addresses_of_the_name() {
    let transport = Treacherous(Tcp::default(), Arc::new(AtomicUsize::new(0)));
    let node = Peer::builder().transport(transport).listen("localhost:0").start().await.unwrap();
    let (mut events, port) = (node.events(), node.info().port());
    drop(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    let back = PeerEvent::Restarted { child: Child::Listener, times: 1 };
    let is_back = async { while events.next().await != Some(back.clone()) {} };
    timeout(30 * SECOND, is_back).await.unwrap();
    for at in lookup_host(("localhost", port)).await.unwrap() {
        // A machine without IPv6 has only the other address.
        if TcpListener::bind((at.ip(), 0)).await.is_ok() {
            TcpStream::connect(at).await.unwrap();
        }
    }
}

/// The answer on a connection that may end at once.
async fn name_or_nothing(wires: &MemoryNetwork) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut io = connect(wires, "honest").await;
    io.writer.write_all(b"NAME\0\0\0\0").await.ok();
    let mut heard = Vec::new();
    io.reader.read_to_end(&mut heard).await.ok();
    String::from_utf8(heard).unwrap()
}

#[actix::test]
async fn a_handler_that_blocks_its_own_arbiter_delays_no_other_handler() {
    #[expect(clippy::disallowed_methods, reason = "the application's choice")]
    let arbiter = Arbiter::new();
    let (release, blocked) = mpsc::channel::<()>();
    let (began, begun) = tokio::sync::oneshot::channel();
    let blocked = Arc::new(Mutex::new((Some(began), blocked)));
    let (tell, told) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(move || {
        let block = handler::from_fn(async move |_: Incoming| {
            let mut blocked = blocked.lock().unwrap();
            if let Some(began) = blocked.0.take() {
                began.send(()).unwrap();
            }
            // Like a handler that makes a blocking call.
            blocked.1.recv().ok();
            Reply::one(Frame::text("REPL", "released"))
        });
        tell.send(block.start()).ok();
    });
    let node = Peer::builder().well_known().start().await.unwrap();
    serves(&node, "WAIT", told.await.unwrap());
    let waiting = ask(&node, &node, Over::Classic, "WAIT");
    let others = async {
        begun.await.unwrap();
        for _ in 0..100 {
            assert_eq!(ask(&node, &node, Over::Classic, "NAME").await.unwrap().len(), 1);
        }
        release.send(()).unwrap();
    };
    let (waited, ()) = tokio::join!(waiting, others);
    assert_eq!(waited.unwrap(), [Frame::text("REPL", "released")]);
    assert_eq!(node.status().await.counts.standstills, 0);
    arbiter.stop();
}

#[actix::test]
async fn a_thread_that_stalled_for_five_seconds_is_reported_and_continues() {
    let wires = network();
    let node = on(&wires, "node").start().await.unwrap();
    let mut events = node.events();
    sleep(100 * SECOND).await;
    assert_eq!(counts(&node).await.standstills, 0);
    // A task that is not polled while time passes sees the clock jump.
    advance(5 * SECOND).await;
    settle().await;
    let Some(Some(PeerEvent::StoodStill { time })) = events.next().now_or_never() else {
        panic!("the node does not report the stall")
    };
    assert!((4..=5).contains(&time.as_secs()), "{time:?}");
    assert_eq!(counts(&node).await.standstills, 1);
    advance(3 * SECOND).await;
    sleep(10 * SECOND).await;
    assert_eq!(counts(&node).await.standstills, 1);
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
}

#[actix::test]
async fn a_handler_whose_arbiter_ends_fails_only_its_callers() {
    #[expect(clippy::disallowed_methods, reason = "the application's choice")]
    let arbiter = Arbiter::new();
    let (tell, told) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(move || {
        let never = handler::from_fn(async move |_: Incoming| std::future::pending().await);
        tell.send(never.start()).ok();
    });
    let node = Peer::builder().well_known().start().await.unwrap();
    serves(&node, "NEVR", told.await.unwrap());
    let asked = node.request(node.info(), Frame::empty("NEVR")).await.unwrap();
    while node.status().await.counts.exchanges_in == 0 {
        tokio::task::yield_now().await;
    }
    arbiter.stop();
    arbiter.join().unwrap();
    assert!(failed(&asked.collect().await.unwrap_err()));
    let gone = ask(&node, &node, Over::Classic, "NEVR").await.unwrap();
    assert_eq!(gone, [Refusal::HandlerGone.to_frame()]);
    assert_eq!(ask(&node, &node, Over::Classic, "NAME").await.unwrap().len(), 1);
}

#[actix::test]
async fn a_node_whose_arbiter_ends_reports_it_at_once_and_frees_its_port() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || {
        let system = System::new();
        system.block_on(async {
            let node = Peer::builder().well_known().workers(1).start().await.unwrap();
            tell.send((node, System::current())).ok();
        });
        system.run().unwrap();
    });
    let (node, system) = told.await.unwrap();
    let address = node.info().address().to_string();
    let asker = Peer::builder().start().await.unwrap();
    assert_eq!(ask(&asker, &node, Over::Classic, "NAME").await.unwrap().len(), 1);
    assert!(!node.status().await.stopping);
    system.stop();
    tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
    assert_eq!(timeout(SECOND, node.peers().list()).await.unwrap().err(), Some(NodeDown));
    let error = timeout(SECOND, ask(&node, &asker, Over::Any, "NAME")).await.unwrap();
    assert!(matches!(error, Err(RequestError::Stopped { sent: false })), "{error:?}");
    assert!(timeout(SECOND, node.status()).await.unwrap().stopping);
    assert!(ask(&asker, &node, Over::Classic, "NAME").await.is_err());
    assert!(TcpListener::bind(address).await.is_ok());
    timeout(SECOND, node.stop()).await.expect("the stop does not wait");
}

#[test]
fn no_mailbox_is_filled_past_its_bound() {
    let lints = std::fs::read_to_string(root().join(".clippy.toml")).unwrap();
    for method in [
        "actix::Addr::do_send",
        "actix::Recipient::do_send",
        "actix::io::SinkWrite::new",
        "actix::io::FramedWrite::new",
        "tokio::sync::mpsc::unbounded_channel",
    ] {
        assert!(
            lints.contains(&format!("path = \"{method}\"")),
            "{method} is not disallowed in .clippy.toml"
        );
    }
    let text = code_of(&["src"]);
    for (at, _) in text.match_indices(".do_send(") {
        let before: Vec<_> = text[..at].lines().rev().take(9).collect();
        let paid = before.iter().any(|line| line.contains("reason = \"bounded by credit\""));
        assert!(paid, "{before:?}");
    }
}

#[actix::test]
async fn a_link_survives_a_clock_jump_of_both_nodes_and_a_dead_link_is_still_detected() {
    let wires = network();
    let (ada, bob) =
        (on(&wires, "ada").start().await.unwrap(), on(&wires, "bob").start().await.unwrap());
    ask(&ada, &bob, Over::Link, "ECHO").await.unwrap();
    sleep(7 * SECOND).await;
    for _ in 0..3 {
        // The machine was suspended. The link may be idle for a minute.
        advance(40 * SECOND).await;
        settle().await;
        assert_eq!(wires.connections(), 1);
        ask(&ada, &bob, Over::Link, "ECHO").await.unwrap();
        sleep(SECOND).await;
    }
    assert_eq!(ada.status().await.counts.links_opened, 1);
    wires.partition(&["ada".parse().unwrap()], &["bob".parse().unwrap()]);
    sleep(21 * SECOND).await;
    assert!(ada.status().await.links.is_empty() && bob.status().await.links.is_empty());
}

#[actix::test]
async fn a_clock_jump_makes_no_peer_look_dead_to_the_ping_sweep() {
    let wires = network();
    let sweep = PingSweep::new().misses(1);
    let ada = on(&wires, "ada").stabilizer(sweep).start().await.unwrap();
    let bob = on(&wires, "bob").start().await.unwrap();
    wires.latency(SECOND / 5..SECOND / 4);
    ada.peers().add(bob.info().clone()).await.unwrap();
    let cyd = "cyd".parse().unwrap();
    let _crashed = wires.crash(&cyd);
    sleep(6 * SECOND).await;
    // The ping is in flight.
    ada.peers().add("cyd cyd 9000".parse().unwrap()).await.unwrap();
    advance(60 * SECOND).await;
    settle().await;
    assert_eq!(known(&ada).await, ["bob", "cyd"]);
    wires.latency(Duration::ZERO..Duration::from_millis(1));
    sleep(12 * SECOND).await;
    assert_eq!(known(&ada).await, ["bob"], "the next sweep detects the dead peer");
}

#[actix::test]
async fn concurrent_stops_and_aborts_from_many_handles_end_once_with_one_report() {
    let wires = network();
    let node = on(&wires, "node").start().await.unwrap();
    let slow = handler::from_fn(async |msg: Incoming| {
        sleep(5 * SECOND).await;
        Reply::one(msg.frame)
    });
    serves(&node, "SLOW", slow.start());
    let asker = on(&wires, "asker").start().await.unwrap();
    let asked = asker.request(node.info(), Frame::text("SLOW", "x")).await.unwrap();
    settle().await;
    let mut events = node.events();
    let (second, third) = (node.clone(), node.clone());
    let (a, b, c, replies) =
        tokio::join!(node.stop(), second.stop(), third.stop(), asked.collect());
    assert!(a.is_clean() && a == b && b == c, "{a:?} {b:?} {c:?}");
    assert_eq!(replies.unwrap(), [Frame::text("SLOW", "x")]);
    assert_eq!(node.abort().await, a);
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(event);
    }
    seen.retain(|event| matches!(event, PeerEvent::Stopping | PeerEvent::Stopped));
    assert_eq!(seen, [PeerEvent::Stopping, PeerEvent::Stopped]);
}

#[actix::test]
async fn an_abort_ends_a_stop_that_waits() {
    let wires = network();
    let node = on(&wires, "node").start().await.unwrap();
    let never = handler::from_fn(async |_: Incoming| std::future::pending().await);
    serves(&node, "NEVR", never.start());
    let asker = on(&wires, "asker").start().await.unwrap();
    let asked = asker.request(node.info(), Frame::empty("NEVR")).await.unwrap();
    settle().await;
    let begun = tokio::time::Instant::now();
    let abort = async {
        sleep(SECOND).await;
        node.abort().await
    };
    let (stopped, aborted, replies) = tokio::join!(node.stop(), abort, asked.collect());
    assert!(begun.elapsed() < 3 * SECOND, "{:?}", begun.elapsed());
    assert_eq!((stopped.aborted.len(), &aborted), (1, &stopped));
    assert!(replies.is_err() || replies.is_ok_and(|replies| replies.is_empty()));
}

#[actix::test]
async fn a_node_can_be_stopped_or_dropped_before_it_has_run() {
    let wires = network();
    for _ in 0..3 {
        let node = on(&wires, "node").start().await.unwrap();
        assert!(node.stop().await.is_clean());
        // Dropped during its start (unless the worker was quick), and without a `stop`: nothing is
        // left, and the address is free.
        drop(on(&wires, "node").workers(1).start().now_or_never());
        settle().await;
        drop(on(&wires, "node").start().await.unwrap());
        settle().await;
        assert_eq!(wires.connections(), 0);
    }
}

#[actix::test]
async fn a_node_that_is_dropped_at_work_ends_as_in_a_crash_and_its_callers_get_errors() {
    let wires = network();
    let node = on(&wires, "node").start().await.unwrap();
    let never = handler::from_fn(async |_: Incoming| std::future::pending().await);
    serves(&node, "NEVR", never.start());
    let asker = on(&wires, "asker").start().await.unwrap();
    for over in [Over::Classic, Over::Link] {
        let message = Outgoing::from(Frame::empty("NEVR")).over(over);
        drop(asker.request(node.info(), message).await.unwrap());
    }
    let asked = asker.request(node.info(), Frame::empty("NEVR")).await.unwrap();
    settle().await;
    drop(node);
    let replies = timeout(2 * SECOND, asked.collect()).await.expect("the request fails at once");
    assert!(replies.is_err() || replies.is_ok_and(|replies| replies.is_empty()));
    settle().await;
    assert_eq!(wires.connections(), 0);
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn hundreds_of_connections_start_no_threads() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let wires = network();
    let node = on(&wires, "node").start().await.unwrap();
    let before = threads();
    let mut all = Vec::new();
    for n in 0..500 {
        all.push(connect(&wires, &format!("host{}", n % 40)).await);
    }
    settle().await;
    assert_eq!(node.status().await.connections, 500);
    // Other tests of this process have threads.
    assert!(threads() < before + 20);
}

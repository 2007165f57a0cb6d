//! The life of a node: start, supervision, events, pause and stop.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use actix::prelude::{Actor, Handler};
use actix_peer::{
    Child, Config, Incoming, Peer, PeerEvent, PingSweep, Reply, Stabilizer, StartError,
    frame::{Frame, TypeCode},
    handler,
    message::RequestError,
    node::{Direction, Removed},
    overlay::{Added, Address, Host, PeerInfo, StabilizerAction, StabilizerEvent, View},
    transport::{Io, Listener, Transport, memory::MemoryNetwork},
};
use futures::{StreamExt, future::BoxFuture};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep, timeout},
};

use crate::common::nodes::on_host;

/// A builder of a node on the host `name`, with the well-known handlers and one that sleeps.
fn on(wires: &MemoryNetwork, name: &str) -> actix_peer::Builder {
    let sleepy = handler::from_fn(async |msg: Incoming| {
        let seconds = msg.frame.as_str().unwrap().parse().unwrap();
        sleep(Duration::from_secs(seconds)).await;
        Reply::one(Frame::text("REPL", "awake"))
    });
    let builder = on_host(wires, name).config(Config::default().links(false));
    builder.well_known().handle("SLOW", sleepy.start()).unwrap()
}

async fn known(peer: &Peer) -> Vec<String> {
    let list = peer.peers().list().await.unwrap();
    list.iter().map(|entry| entry.info().id().to_string()).collect()
}

fn info(text: &str) -> PeerInfo {
    text.parse().unwrap()
}

// ---- start ----

#[actix::test]
async fn a_node_reports_its_host_and_port_and_is_named_after_them() {
    let peer = Peer::builder().start().await.unwrap();
    let address = peer.info().address().clone();
    assert!(address.port() > 0);
    assert_eq!(peer.id().as_str(), format!("127.0.0.1:{}", address.port()));
    let named = Peer::builder().id("ada").host("localhost").start().await.unwrap();
    assert!(named.info().to_string().starts_with("ada localhost "));
    let everywhere = Peer::builder().listen("0.0.0.0:0").start().await.unwrap();
    assert_ne!(everywhere.info().host().to_string(), "0.0.0.0");
}

#[actix::test]
async fn a_failed_start_is_a_typed_error_and_leaves_nothing_running() {
    let first = Peer::builder().start().await.unwrap();
    let taken = first.info().address().to_string();
    let error = Peer::builder().listen(&taken).start().await.unwrap_err();
    assert!(
        matches!(&error, StartError::AddressInUse { address } if address.to_string() == taken),
        "{error}"
    );
    let error = Peer::builder().listen("192.0.2.1:0").start().await.unwrap_err();
    assert!(matches!(error, StartError::AddressNotAvailable { .. }), "{error}");
    let error = Peer::builder().listen("no port").start().await.unwrap_err();
    assert!(matches!(error, StartError::InvalidListenAddress { .. }), "{error}");
    let error = Peer::builder().id("two words").start().await.unwrap_err();
    assert!(matches!(error, StartError::InvalidId(_)), "{error}");
    let error = Peer::builder().host("a b").start().await.unwrap_err();
    assert!(matches!(error, StartError::InvalidHost(_)), "{error}");
    let config = Config::default().links(false).max_connections(0);
    let error = Peer::builder().config(config).start().await.unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with("option `max_connections` is 0 connections: set it to"), "{error}");
    let config = Config::default().links(false).handler_timeout(Duration::ZERO);
    assert!(matches!(Peer::builder().config(config).start().await, Err(StartError::Config(_))));
    // None of the failed starts holds the port.
    first.stop().await;
    drop(Peer::builder().listen(&taken).start().await.unwrap());
}

#[actix::test]
async fn an_unreachable_host_is_refused_at_the_start() {
    let hosts = ["0.0.0.0", "[::]", "224.0.0.251", "[ff02::fb]", "255.255.255.255", "240.0.0.1"];
    for host in hosts.into_iter().chain(["[::ffff:10.0.0.1]", "0.1.2.3"]) {
        let error = Peer::builder().listen("0.0.0.0:0").host(host).start().await.unwrap_err();
        assert!(matches!(error, StartError::UnreachableHost(_)), "{host}: {error}");
        assert!(error.to_string().contains(host.trim_matches(['[', ']'])), "{error}");
    }
    // The advertised host is another one, or is determined by the node.
    for host in [Some("192.0.2.7"), Some("node.example"), Some("[2001:db8::7]"), None] {
        let builder = Peer::builder().listen("0.0.0.0:0");
        let builder = match host {
            Some(host) => builder.host(host),
            None => builder,
        };
        let node = builder.start().await.unwrap();
        assert_ne!(node.info().host().to_string(), "0.0.0.0");
        node.stop().await;
    }
}

#[test]
fn starting_a_node_outside_an_arbiter_is_a_typed_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(Peer::builder().start()).unwrap_err();
    assert!(matches!(error, StartError::NoArbiter), "{error}");
}

#[actix::test]
async fn a_handle_is_send_and_sync_and_sends_requests_from_any_thread() {
    fn is_send_and_sync<T: Send + Sync + Clone>(_: &T) {}
    let peer = Peer::builder().well_known().id("ada").start().await.unwrap();
    is_send_and_sync(&peer);
    let there = peer.clone();
    let asked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            there
                .request(there.info(), Frame::empty("NAME"))
                .await
                .unwrap()
                .collect()
                .await
                .unwrap()
        })
    });
    let asked = tokio::task::spawn_blocking(|| asked.join().unwrap()).await.unwrap();
    assert_eq!(asked, [Frame::text("REPL", "ada")]);
}

// ---- table ----

#[actix::test]
async fn the_peer_table_is_accessible_by_id_and_by_position() {
    let peer = Peer::builder().id("me").max_peers(3).start().await.unwrap();
    let peers = peer.peers();
    for n in [1, 3] {
        assert_eq!(peers.add(info(&format!("p{n} 10.0.0.{n} 9000"))).await.unwrap(), Added::Added);
    }
    assert_eq!(peers.add(info("p1 10.0.0.9 9000")).await.unwrap(), Added::AlreadyKnown);
    assert_eq!(peers.add(info("me 10.0.0.9 9000")).await.unwrap(), Added::Own);
    assert_eq!(peers.insert_at(1, info("p2 10.0.0.2 9000")).await.unwrap(), Added::Added);
    assert_eq!(peers.add(info("p4 10.0.0.4 9000")).await.unwrap(), Added::Full);
    assert_eq!(known(&peer).await, ["p1", "p2", "p3"]);
    assert_eq!(peers.get_at(1).await.unwrap().unwrap().info(), &info("p2 10.0.0.2 9000"));
    assert!(peers.get(&"p3".parse().unwrap()).await.unwrap().is_some());
    assert!(peers.get_at(3).await.unwrap().is_none());
    assert!(peers.remove_at(0).await.unwrap().is_some());
    assert!(peers.remove(&"p3".parse().unwrap()).await.unwrap().is_some());
    assert!(peers.remove(&"p3".parse().unwrap()).await.unwrap().is_none());
    assert_eq!(known(&peer).await, ["p2"]);
}

// ---- supervision ----

/// A transport whose listeners panic after this many accepted connections.
#[derive(Debug)]
struct Fragile {
    inner: actix_peer::transport::memory::MemoryTransport,
    lives: Arc<AtomicUsize>,
}

struct FragileListener(Box<dyn Listener>, Arc<AtomicUsize>);

impl Transport for Fragile {
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let inner = self.inner.listen(at).await?;
            Ok(Box::new(FragileListener(inner, Arc::clone(&self.lives))) as Box<dyn Listener>)
        })
    }
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        self.inner.dial(to)
    }
    fn own_host(&self, listening: &Address) -> Host {
        self.inner.own_host(listening)
    }
}

impl Listener for FragileListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>> {
        let polled = self.0.poll_accept(cx);
        assert!(
            polled.is_pending() || self.1.fetch_sub(1, Ordering::Relaxed) != 1,
            "a fragile listener"
        );
        polled
    }
    fn local_address(&self) -> Address {
        self.0.local_address()
    }
}

#[actix::test]
async fn a_failed_listener_is_restarted_on_the_same_address_and_counted() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let fragile = Fragile {
        inner: wires.transport("a".parse::<Host>().unwrap()),
        lives: Arc::new(AtomicUsize::new(3)),
    };
    let a = on(&wires, "a").transport(fragile).start().await.unwrap();
    let b = on(&wires, "b").start().await.unwrap();
    let mut events = a.events();
    let ask = async || b.request("a:9000", Frame::empty("NAME")).await?.collect().await;
    assert!(ask().await.is_ok());
    assert!(ask().await.is_ok());
    // The third connection ends the listener. The fourth one reaches its successor.
    assert_eq!(ask().await.unwrap(), []);
    let restarted = PeerEvent::Restarted { child: Child::Listener, times: 1 };
    timeout(Duration::from_secs(1), async {
        while events.next().await != Some(restarted.clone()) {}
    })
    .await
    .unwrap();
    assert_eq!(ask().await.unwrap(), [Frame::text("REPL", "a")]);
    assert_eq!(a.status().await.restarts["listener"], 1);
}

#[actix::test]
async fn a_failed_peer_list_is_restarted_with_its_table() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let a = on(&wires, "a").start().await.unwrap();
    a.peers().add(info("p1 10.0.0.1 9000")).await.unwrap();
    for times in 1..=3 {
        a.crash_peer_list().await;
        assert_eq!(known(&a).await, ["p1"]);
        assert_eq!(a.status().await.restarts["peer list"], times);
    }
}

#[actix::test]
async fn a_part_that_keeps_failing_is_abandoned_and_the_node_keeps_serving() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let dying = on(&wires, "a").every(Duration::from_secs(1), "dying", async |_| panic!("always"));
    let a = dying.start().await.unwrap();
    let mut events = a.events();
    let gave_up = PeerEvent::GaveUp { child: Child::Stabilizer("dying".to_owned()) };
    let begun = Instant::now();
    timeout(Duration::from_secs(60), async {
        while events.next().await != Some(gave_up.clone()) {}
    })
    .await
    .unwrap();
    assert!(begun.elapsed() > Duration::from_secs(10), "restarts have a backoff");
    assert_eq!(a.status().await.restarts["stabilizer dying"], 10);
    assert_eq!(
        a.request("a:9000", Frame::empty("NAME")).await.unwrap().collect().await.unwrap().len(),
        1
    );
}

#[derive(Clone, Debug)]
struct Counting {
    name: &'static str,
    every: Duration,
    runs: Arc<AtomicUsize>,
    panics_at: usize,
}

impl Stabilizer for Counting {
    fn name(&self) -> &str {
        self.name
    }
    fn every(&self) -> Duration {
        self.every
    }
    fn step(&mut self, event: StabilizerEvent, _: &View<'_>) -> Vec<StabilizerAction> {
        assert_eq!(event, StabilizerEvent::Tick);
        assert_ne!(self.runs.fetch_add(1, Ordering::Relaxed), self.panics_at);
        Vec::new()
    }
}

#[actix::test]
async fn stabilizers_run_on_their_own_schedule_and_one_that_panics_stops_no_other() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let runs: Vec<_> = (0..3).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let counting = |n: usize, name, every, panics_at| Counting {
        name,
        every,
        runs: Arc::clone(&runs[n]),
        panics_at,
    };
    let asleep = async |_| sleep(Duration::from_secs(10_000)).await;
    let a = on(&wires, "a")
        .stabilizer(counting(0, "steady", Duration::from_secs(10), usize::MAX))
        .stabilizer(counting(1, "panics once", Duration::from_secs(10), 2))
        .stabilizer(counting(2, "quick", Duration::from_secs(1), usize::MAX))
        .every(Duration::from_secs(1), "asleep", asleep);
    let a = a.start().await.unwrap();
    sleep(Duration::from_secs(95)).await;
    let runs: Vec<_> = runs.iter().map(|runs| runs.load(Ordering::Relaxed)).collect();
    // Once at the start, then every ten seconds. The one that panicked in its third run ran again
    // 50 ms later.
    assert_eq!(runs, [10, 11, 95]);
    assert_eq!(a.status().await.restarts, [("stabilizer panics once".to_owned(), 1)].into());
}

#[actix::test]
async fn a_ping_sweep_of_a_thousand_dead_peers_takes_half_a_minute() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let sweep = PingSweep::new().every(Duration::from_secs(1_000)).misses(1);
    let a = on(&wires, "a").max_peers(0).stabilizer(sweep).start().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    for n in 0..1_000 {
        // A crashed host answers nothing, which takes longest to detect.
        let _crashed = wires.crash(&format!("dead{n}").parse().unwrap());
        a.peers().add(info(&format!("p{n} dead{n} 9000"))).await.unwrap();
    }
    sleep(Duration::from_secs(998)).await;
    assert_eq!(known(&a).await.len(), 1_000);
    sleep(Duration::from_secs(34)).await;
    assert_eq!(known(&a).await.len(), 0);
}

// ---- events ----

struct Listening(Arc<Mutex<Vec<PeerEvent>>>);

impl Actor for Listening {
    type Context = actix::Context<Self>;
}

impl Handler<PeerEvent> for Listening {
    type Result = ();
    fn handle(&mut self, event: PeerEvent, _: &mut Self::Context) {
        self.0.lock().unwrap().push(event);
    }
}

#[actix::test]
async fn every_subscriber_receives_the_events_in_order() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let a = on(&wires, "a").events(Listening(Arc::clone(&heard)).start()).start().await.unwrap();
    let stream = a.events();
    let b = on(&wires, "b").start().await.unwrap();
    b.join("a:9000").await.unwrap();
    b.request("a:9000", Frame::empty("NOPE")).await.unwrap().collect().await.unwrap();
    assert!(b.stop().await.is_clean());
    a.pause();
    a.pause();
    a.resume();
    a.stop().await;
    let streamed: Vec<_> = stream.collect().await;
    let peer = b.info().clone();
    let expected = [
        PeerEvent::PeerAdded { peer: peer.clone() },
        streamed[1].clone(),
        PeerEvent::PeerRemoved { peer, why: Removed::Left },
        PeerEvent::Paused,
        PeerEvent::Resumed,
        PeerEvent::Stopping,
        PeerEvent::Stopped,
    ];
    assert_eq!(streamed, expected);
    assert!(
        matches!(&streamed[1], PeerEvent::Refused { code: Some(code), .. } if *code == TypeCode::new(b"NOPE"))
    );
    tokio::task::yield_now().await;
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard[0], PeerEvent::Started { me: a.info().clone() });
    assert_eq!(heard[1..], expected);
}

#[actix::test]
async fn a_lagging_subscriber_learns_how_many_events_it_missed() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let a =
        on(&wires, "a").config(Config::default().links(false).max_peers(0)).start().await.unwrap();
    let mut events = a.events();
    // The node keeps 1,024 of them.
    for n in 0..1_030 {
        a.peers().add(info(&format!("p{n} 10.0.0.1 9000"))).await.unwrap();
    }
    assert_eq!(events.next().await, Some(PeerEvent::Missed { events: 6 }));
    assert_eq!(events.next().await, Some(PeerEvent::PeerAdded { peer: info("p6 10.0.0.1 9000") }));
}

#[actix::test]
async fn the_status_is_serialisable_and_contains_the_counters() {
    let a = Peer::builder().id("a").well_known().start().await.unwrap();
    for _ in 0..3 {
        a.request(a.info(), Frame::text("PING", "")).await.unwrap().collect().await.unwrap();
    }
    a.request(a.info(), Frame::text("NOPE", "1234")).await.unwrap().collect().await.unwrap();
    let status = serde_json::to_value(a.status().await).unwrap();
    assert_eq!(status["id"], "a");
    let counts = &status["counts"];
    assert_eq!((&counts["exchanges_in"], &counts["exchanges_out"]), (&4.into(), &4.into()));
    assert_eq!((&counts["unknown_codes"], &counts["frames_in"]), (&1.into(), &7.into()));
    // Four requests of 8 bytes and 4 of data; three times PONG a; ERRO and its text.
    let replies = 3 * (8 + 1) + 8 + "Unknown message type".len();
    assert_eq!(counts["bytes_out"], 4 * 8 + 4 + replies);
    assert_eq!(status["codes"], serde_json::json!(["JOIN", "LIST", "NAME", "PING", "QUIT"]));
}

// ---- pause and stop ----

#[actix::test]
async fn connections_to_a_paused_node_wait_until_it_resumes() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (a, b) = (on(&wires, "a").start().await.unwrap(), on(&wires, "b").start().await.unwrap());
    a.pause();
    let ask = async || b.request("a:9000", Frame::empty("NAME")).await.unwrap().collect().await;
    assert!(timeout(Duration::from_secs(3), ask()).await.is_err());
    assert!(a.status().await.paused);
    a.resume();
    assert_eq!(timeout(Duration::from_secs(3), ask()).await.unwrap().unwrap().len(), 1);
}

#[actix::test]
async fn stop_finishes_running_requests_notifies_the_peers_and_refuses_new_requests() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (a, b) = (on(&wires, "a").start().await.unwrap(), on(&wires, "b").start().await.unwrap());
    a.join("b:9000").await.unwrap();
    assert_eq!(known(&b).await, ["a"]);
    let under_way = b.request("a:9000", Frame::text("SLOW", "5")).await.unwrap();
    tokio::task::yield_now().await;
    let (report, replies) = tokio::join!(a.stop(), under_way.collect());
    assert_eq!(replies.unwrap(), [Frame::text("REPL", "awake")]);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.told, 1);
    assert_eq!(known(&b).await, Vec::<String>::new());
    let error = b.request("a:9000", Frame::empty("NAME")).await.unwrap_err();
    assert!(matches!(error, RequestError::Connect { .. }), "{error}");
    let error = a.request("b:9000", Frame::empty("NAME")).await.unwrap_err();
    assert!(matches!(error, RequestError::Stopped { sent: false }), "{error}");
    assert_eq!(a.stop().await, report, "a second stop returns the same report");
}

#[actix::test]
async fn stop_aborts_late_requests_and_reports_them() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (a, b) = (on(&wires, "a").start().await.unwrap(), on(&wires, "b").start().await.unwrap());
    let late = b.request("a:9000", Frame::text("SLOW", "25")).await.unwrap();
    let own = a.request("b:9000", Frame::text("SLOW", "25")).await.unwrap();
    tokio::task::yield_now().await;
    let begun = Instant::now();
    let (report, late, own) = tokio::join!(a.stop(), late.collect(), own.collect());
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    let mut cut: Vec<_> = report.aborted.iter().map(|cut| (cut.direction, cut.code)).collect();
    cut.sort_by_key(|(direction, _)| *direction == Direction::Out);
    let code = Some(TypeCode::new(b"SLOW"));
    assert_eq!(cut, [(Direction::In, code), (Direction::Out, code)]);
    assert!(!report.is_clean());
    assert!(matches!(own, Err(RequestError::Stopped { sent: true })), "{own:?}");
    assert_eq!(late.unwrap(), [Frame::text("ERRO", "Going away")]);
}

#[actix::test]
async fn silent_connections_do_not_delay_a_stop() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let a = on(&wires, "a").start().await.unwrap();
    let wire = wires.transport("c".parse::<Host>().unwrap());
    let mut silent = wire.dial(&"a:9000".parse().unwrap()).await.unwrap();
    tokio::task::yield_now().await;
    let begun = Instant::now();
    assert!(a.stop().await.is_clean());
    assert!(begun.elapsed() < Duration::from_millis(10), "{:?}", begun.elapsed());
    let mut told = Vec::new();
    silent.reader.read_to_end(&mut told).await.unwrap();
    assert_eq!(told, b"ERRO\0\0\0\x0aGoing away");
}

#[actix::test]
async fn an_aborted_node_ends_without_notifying_its_peers() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (a, b) = (on(&wires, "a").start().await.unwrap(), on(&wires, "b").start().await.unwrap());
    a.join("b:9000").await.unwrap();
    let under_way = b.request("a:9000", Frame::text("SLOW", "5")).await.unwrap();
    tokio::task::yield_now().await;
    let begun = Instant::now();
    let report = a.abort().await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!((report.told, report.aborted.len()), (0, 1));
    assert_eq!(known(&b).await, ["a"], "no peer was notified");
    assert_eq!(under_way.collect().await.unwrap(), []);
}

#[actix::test]
async fn a_node_ends_when_its_last_handle_is_dropped() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let a = on(&wires, "a")
        .every(Duration::from_secs(1), "holds no handle", async |_| ())
        .start()
        .await
        .unwrap();
    let b = on(&wires, "b").start().await.unwrap();
    let second = a.clone();
    drop(a);
    sleep(Duration::from_secs(1)).await;
    assert!(b.request("a:9000", Frame::empty("NAME")).await.is_ok());
    drop(second);
    sleep(Duration::from_secs(2)).await;
    assert!(b.request("a:9000", Frame::empty("NAME")).await.is_err());
}

#[actix::test]
async fn a_node_that_leaves_keeps_running_without_peers() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(on(&wires, name).start().await.unwrap());
    }
    nodes[1].join("a:9000").await.unwrap();
    nodes[2].join("a:9000").await.unwrap();
    assert_eq!(known(&nodes[2]).await, ["a", "b"]);
    assert_eq!(nodes[2].leave().await.unwrap(), 2);
    assert_eq!(known(&nodes[2]).await, Vec::<String>::new());
    assert_eq!(
        (known(&nodes[0]).await, known(&nodes[1]).await),
        (vec!["b".to_owned()], vec!["a".to_owned()])
    );
    assert!(nodes[0].request("c:9000", Frame::empty("NAME")).await.is_ok());
}

#[actix::test]
async fn connections_over_the_limit_receive_the_busy_error() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let config = Config::default().links(false).max_connections(2);
    let (a, b) = (
        on(&wires, "a").config(config).start().await.unwrap(),
        on(&wires, "b").start().await.unwrap(),
    );
    let slow = [
        b.request("a:9000", Frame::text("SLOW", "5")).await.unwrap(),
        b.request("a:9000", Frame::text("SLOW", "5")).await.unwrap(),
    ];
    let third = b.request("a:9000", Frame::empty("NAME")).await.unwrap().collect().await.unwrap();
    assert_eq!(third, [Frame::text("ERRO", "Busy")]);
    for slow in slow {
        assert_eq!(slow.collect().await.unwrap(), [Frame::text("REPL", "awake")]);
    }
    sleep(Duration::from_secs(2)).await;
    let fourth = b.request("a:9000", Frame::empty("NAME")).await.unwrap().collect().await.unwrap();
    assert_eq!(fourth, [Frame::text("REPL", "a")]);
    assert_eq!(a.status().await.counts.connections_refused, 1);
}

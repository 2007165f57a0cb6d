//! The peer table: which peers are admitted, which stay, and the dials that they cause.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    future::{pending, poll_fn},
    io,
    net::Ipv4Addr,
    rc::Rc,
    sync::{Arc, Mutex},
};

use actix_peer::{
    Builder, Config, JoinPolicy, Peer, PeerEvent, PeerInfo, PingSweep, QuitPolicy,
    frame::Frame,
    node::Removed,
    overlay::{Address, Host, JoinConfig, JoinFailure, Learned, PeerExchange, PeerList, Shares},
    router,
    transport::{
        Io, Listener, Transport,
        memory::{MemoryNetwork, MemoryTransport},
    },
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};

use crate::{
    common::{SECOND, frames::frame, nodes::counts},
    nodes::{connect, heard, settle},
};

/// The dials of a node, with their times.
#[derive(Clone, Debug, Default)]
struct Dialled(Arc<Mutex<Vec<(Instant, Address)>>>);

impl Dialled {
    fn take(&self) -> Vec<(Instant, Address)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn hosts(&self) -> BTreeSet<String> {
        self.take().iter().map(|(_, to)| to.host().to_string()).collect()
    }
}

#[derive(Debug)]
struct Recording(MemoryTransport, Dialled);

impl Transport for Recording {
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.0.listen(at)
    }
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        self.1.0.lock().unwrap().push((Instant::now(), to.clone()));
        self.0.dial(to)
    }
    fn own_host(&self, listening: &Address) -> Host {
        self.0.own_host(listening)
    }
}

fn at(wires: &MemoryNetwork, host: &str) -> MemoryTransport {
    wires.transport(host.parse::<Host>().unwrap())
}

/// The builder of the tested node, and the record of its dials.
fn builder(wires: &MemoryNetwork) -> (Builder, Dialled) {
    tokio::time::pause();
    let dialled = Dialled::default();
    let transport = Recording(at(wires, "node"), dialled.clone());
    let builder = Peer::builder().transport(transport).listen("node:9000").id("node");
    (builder.well_known(), dialled)
}

async fn started(wires: &MemoryNetwork) -> (Peer, Dialled) {
    let (builder, dialled) = builder(wires);
    (builder.start().await.unwrap(), dialled)
}

/// A node that dials no neighbours, for what is said about the peer table alone.
async fn table_only(wires: &MemoryNetwork) -> (Peer, Dialled) {
    let (builder, dialled) = builder(wires);
    (builder.without_gossip().start().await.unwrap(), dialled)
}

/// Sends one request from `host`. Returns the answer without its header.
async fn ask(wires: &MemoryNetwork, host: &str, code: &'static str, text: &str) -> String {
    let mut io = connect(wires, host).await;
    io.writer.write_all(&frame(code, text)).await.unwrap();
    heard(&mut io).await.split_off(8)
}

async fn join(wires: &MemoryNetwork, host: &str, text: &str) -> String {
    ask(wires, host, "JOIN", text).await
}

/// The answer of a program to a request; `None` if it does not answer.
type Answer = Rc<dyn Fn(&str) -> Option<Vec<u8>>>;

/// A program at `host`, port 9000, that answers as `answer` says. Without an answer it holds the
/// connection. Returns the times of its connections.
async fn program(wires: &MemoryNetwork, host: &str, answer: Answer) -> Rc<RefCell<Vec<Instant>>> {
    let mut listener = at(wires, host)
        .listen(&format!("{}:9000", bracketed(host)).parse().unwrap())
        .await
        .unwrap();
    let times = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&times);
    actix::spawn(async move {
        loop {
            let mut io = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            seen.borrow_mut().push(Instant::now());
            let answer = Rc::clone(&answer);
            actix::spawn(async move {
                let mut header = [0; 8];
                if io.reader.read_exact(&mut header).await.is_err() {
                    return;
                }
                let code = String::from_utf8_lossy(header.get(..4).unwrap()).into_owned();
                match answer(&code) {
                    Some(bytes) => drop(io.writer.write_all(&bytes).await),
                    None => pending().await,
                }
            });
        }
    });
    times
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A program that behaves like the originals: it states its name, and does not know `PING`.
fn original(id: &'static str) -> Answer {
    Rc::new(move |code| match code {
        "NAME" => Some(frame("REPL", id)),
        "JOIN" => Some(frame("REPL", "Join: peer added: node")),
        "LIST" => Some(frame("REPL", "0")),
        _ => Some(Vec::new()),
    })
}

/// Joins, and then lists `entries`.
fn lister(id: &'static str, entries: impl Fn() -> Vec<String> + 'static) -> Answer {
    Rc::new(move |code| match code {
        "NAME" => Some(frame("REPL", id)),
        "LIST" => {
            let entries = entries();
            let count = entries.len().to_string();
            let all = std::iter::once(&count).chain(&entries);
            Some(all.flat_map(|entry| frame("REPL", entry)).collect())
        }
        _ => Some(frame("REPL", "Join: peer added: node")),
    })
}

async fn table(node: &Peer) -> PeerList {
    node.peers().list().await.unwrap()
}

async fn known(node: &Peer) -> Vec<String> {
    table(node).await.iter().map(|entry| entry.info().id().to_string()).collect()
}

async fn verified(node: &Peer) -> Vec<String> {
    let list = table(node).await;
    let verified = list.iter().filter(|entry| entry.verified().is_some());
    verified.map(|entry| entry.info().id().to_string()).collect()
}

#[actix::test]
async fn a_malformed_join_is_refused_and_changes_nothing() {
    let wires = MemoryNetwork::new(1);
    let (node, dialled) = started(&wires).await;
    let long = "a".repeat(65);
    for text in [
        "",
        " ",
        "eve",
        "eve 10.0.0.1",
        "eve 10.0.0.1 9000 9000",
        "eve 10.0.0.1 0",
        "eve 10.0.0.1 65536",
        "eve 10.0.0.1 -1",
        "e/ve 10.0.0.1 9000",
        "eve 10.0.0.256 9000",
        "eve 10.0.0.1\0 9000",
        "eve\x1b[2J 10.0.0.1 9000",
        &format!("{long} 10.0.0.1 9000"),
    ] {
        assert_eq!(join(&wires, "10.0.0.1", text).await, "Join: incorrect arguments", "{text:?}");
    }
    sleep(20 * SECOND).await;
    assert!(table(&node).await.is_empty() && dialled.take().is_empty());
}

/// Addresses of other nodes or of no node, which a node at 9.9.9.9 may not claim.
const FOREIGN: [&str; 17] = [
    "9.9.9.8",
    "10.0.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "127.0.0.1",
    "localhost",
    "::1",
    "::ffff:9.9.9.9",
    "::ffff:127.0.0.1",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "victim",
    "fd00::1",
    "fe80::1",
];

#[actix::test]
async fn a_join_that_names_another_host_is_refused_without_a_dial() {
    let wires = MemoryNetwork::new(1);
    let (builder, dialled) = builder(&wires);
    let node = builder.stabilizer(PingSweep::new()).start().await.unwrap();
    for host in FOREIGN {
        let said = join(&wires, "9.9.9.9", &format!("eve {host} 9000")).await;
        assert_eq!(said, "Join: not your address", "{host}");
    }
    sleep(60 * SECOND).await;
    assert!(table(&node).await.is_empty());
    assert_eq!(dialled.take(), [], "third parties were dialled");
    assert_eq!(counts(&node).await.joins_refused, FOREIGN.len() as u64);
}

#[actix::test]
async fn an_open_node_accepts_only_addresses_that_the_caller_could_reach() {
    let wires = MemoryNetwork::new(1);
    let (builder, _) = builder(&wires);
    let open = builder.join_policy(JoinPolicy::Open).start().await.unwrap();
    let mut joined = Vec::new();
    for (n, host) in FOREIGN.iter().enumerate() {
        if join(&wires, "9.9.9.9", &format!("e{n} {host} 9000")).await.contains("peer added") {
            joined.push(*host);
        }
    }
    assert_eq!(joined, ["9.9.9.8", "victim"]);
    assert_eq!(verified(&open).await.len(), 2);
}

#[actix::test]
async fn a_peer_that_never_listens_is_asked_three_times_and_removed() {
    let wires = MemoryNetwork::new(1);
    let (node, dialled) = started(&wires).await;
    let mut events = node.events();
    let begun = Instant::now();
    assert_eq!(join(&wires, "9.9.9.9", "eve 9.9.9.9 9000").await, "Join: peer added: eve");
    // It is in the table and in the list at once, as the originals expect.
    assert_eq!(ask(&wires, "other", "LIST", "").await, "1REPL\0\0\0\x10eve 9.9.9.9 9000");
    assert!(verified(&node).await.is_empty());
    assert_eq!(node.status().await.unverified, 1);
    sleep(9 * SECOND).await;
    assert_eq!(known(&node).await, ["eve"]);
    sleep(4 * SECOND).await;
    assert!(known(&node).await.is_empty());
    let dialled = dialled.take();
    assert!(dialled.iter().all(|(_, to)| to.to_string() == "9.9.9.9:9000"));
    let times: Vec<_> = dialled.iter().map(|(at, _)| (*at - begun).as_millis() / 100).collect();
    assert_eq!(times, [5, 30, 100]);
    let mut removed = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let PeerEvent::PeerRemoved { peer, why } = event {
            removed.push((peer.id().to_string(), why));
        }
    }
    assert_eq!(removed, [("eve".to_owned(), Removed::Unverified)]);
    assert_eq!(counts(&node).await.peers_not_verified, 1);
}

#[actix::test]
async fn an_original_that_listens_after_it_has_joined_is_verified_and_stays() {
    let wires = MemoryNetwork::new(1);
    let (builder, _) = builder(&wires);
    let node = builder.stabilizer(PingSweep::new()).start().await.unwrap();
    join(&wires, "9.9.9.9", "al 9.9.9.9 9000").await;
    sleep(2 * SECOND).await;
    program(&wires, "9.9.9.9", original("al")).await;
    assert!(verified(&node).await.is_empty());
    sleep(2 * SECOND).await;
    assert_eq!(verified(&node).await, ["al"]);
    sleep(120 * SECOND).await;
    assert_eq!(verified(&node).await, ["al"]);
}

#[actix::test]
async fn a_closed_node_refuses_every_join() {
    let wires = MemoryNetwork::new(1);
    let (builder, dialled) = builder(&wires);
    let node = builder.join_policy(JoinPolicy::Closed).start().await.unwrap();
    assert_eq!(join(&wires, "9.9.9.9", "eve 9.9.9.9 9000").await, "Join: not allowed");
    program(&wires, "9.9.9.1", original("al")).await;
    node.join("9.9.9.1:9000").await.unwrap();
    assert_eq!(verified(&node).await, ["al"]);
    assert_eq!(dialled.hosts(), BTreeSet::from(["9.9.9.1".to_owned()]));
}

#[actix::test]
async fn a_list_causes_no_dial_to_an_address_that_its_sender_could_not_reach() {
    let wires = MemoryNetwork::new(1);
    let (node, dialled) = started(&wires).await;
    let hosts = [
        "10.0.0.5",
        "127.0.0.1",
        "localhost",
        "::1",
        "0.0.0.0",
        "255.255.255.255",
        "239.0.0.1",
        "169.254.169.254",
        "::ffff:9.9.9.2",
        "fd00::1",
        "9.9.9.2",
    ];
    let entries = move || {
        let named = hosts.iter().enumerate();
        named.map(|(n, host)| format!("p{n} {host} 9000")).collect()
    };
    program(&wires, "9.9.9.1", lister("al", entries)).await;
    program(&wires, "9.9.9.2", original("p10")).await;
    let config = JoinConfig::new().fan_out(100);
    let report = node.join_with("9.9.9.1:9000".parse().unwrap(), config).await.unwrap();
    assert_eq!(dialled.hosts(), BTreeSet::from(["9.9.9.1", "9.9.9.2"].map(str::to_owned)));
    assert_eq!(verified(&node).await, ["al", "p10"]);
    assert_eq!(report.failed().len(), 10);
    assert!(report.failed().iter().all(|(_, failure)| *failure == JoinFailure::NotAllowed));
    // A node of the same site may list its neighbours.
    let neighbour = || vec!["n 10.0.0.5 9000".to_owned(), "m 127.0.0.1 9000".to_owned()];
    program(&wires, "10.0.0.4", lister("inner", neighbour)).await;
    node.join("10.0.0.4:9000").await.unwrap();
    assert_eq!(dialled.hosts(), BTreeSet::from(["10.0.0.4", "10.0.0.5"].map(str::to_owned)));
}

#[actix::test]
async fn an_unresponsive_address_is_dialled_at_most_three_times_a_minute_whoever_lists_it() {
    let wires = MemoryNetwork::new(1);
    let (node, dialled) = started(&wires).await;
    let victim = || vec![format!("v{} 9.9.9.2 9000", fastrand::u32(..))];
    program(&wires, "9.9.9.1", lister("al", victim)).await;
    let begun = Instant::now();
    for _ in 0..12 {
        node.join("9.9.9.1:9000").await.unwrap();
        sleep(10 * SECOND).await;
    }
    let victim = |(_, to): &(Instant, Address)| to.host().to_string() == "9.9.9.2";
    let times: Vec<_> =
        dialled.take().into_iter().filter(victim).map(|(at, _)| (at - begun).as_secs()).collect();
    assert_eq!(times, [0, 10, 20, 60, 70, 80]);
    assert_eq!(counts(&node).await.dials_held_back, 6);
}

#[actix::test]
async fn a_made_up_network_costs_a_walk_no_more_than_its_limit_of_questions() {
    let wires = MemoryNetwork::new(1);
    let (node, dialled) = table_only(&wires).await;
    // Each host lists a hundred others, all of which do the same.
    let next = Rc::new(Cell::new(0));
    let entries = move || {
        let new = |_| {
            next.set(next.get() + 1);
            format!("x{} 9.{}.{}.1 9000", next.get(), next.get() / 200, next.get() % 200)
        };
        (0..100).map(new).collect::<Vec<_>>()
    };
    let entries = Rc::new(entries);
    program(
        &wires,
        "9.9.9.1",
        lister("al", {
            let entries = Rc::clone(&entries);
            move || entries()
        }),
    )
    .await;
    let config = JoinConfig::new().hops(1_000).fan_out(1_000);
    let begun = Instant::now();
    let report = node.join_with("9.9.9.1:9000".parse().unwrap(), config).await.unwrap();
    assert_eq!(report.asked(), 64);
    assert!(dialled.take().len() <= 64);
    // 32 unverified addresses in a second.
    assert!((1..=3).contains(&(Instant::now() - begun).as_secs()));
}

#[actix::test]
async fn a_flood_of_joins_gets_only_its_share_and_is_gone_after_15_seconds() {
    let wires = MemoryNetwork::new(1);
    let (node, dialled) = started(&wires).await;
    let mut outcomes = BTreeMap::new();
    let mut ids = 0;
    let mut flood = async |host: String| {
        ids += 1;
        let said = join(&wires, &host, &format!("e{ids} {host} {ids}")).await;
        let said = if said.starts_with("Join: peer added") { "added".to_owned() } else { said };
        *outcomes.entry(said).or_insert(0) += 1;
    };
    for _ in 0..50 {
        flood("9.9.9.9".to_owned()).await;
    }
    for n in 0..50 {
        flood(format!("9.9.9.{}", n + 10)).await;
    }
    for n in 0..50 {
        flood(format!("11.{n}.0.1")).await;
    }
    let expected = [
        // A quarter for one address, half for unverified peers (or for one network). All but one of
        // the first address are replaced by others; one of each address stays.
        ("Join: too many new peers", 37),
        ("Join: too many peers at your address", 18),
        ("added", 95),
    ];
    let outcomes: Vec<_> = outcomes.iter().map(|(said, n)| (said.as_str(), *n)).collect();
    assert_eq!(outcomes, expected);
    sleep(15 * SECOND).await;
    assert!(table(&node).await.is_empty());
    // At most three questions for each, and none to other hosts.
    let dialled = dialled.take();
    assert!(dialled.len() <= 3 * 64, "{}", dialled.len());
}

/// Hostile nodes send `joins` joins from a few networks. Some of them answer with their names.
async fn flood(joins: u32) {
    let wires = MemoryNetwork::new(1);
    let (builder, dialled) = builder(&wires);
    let builder = builder.config(Config::default().max_peers(32));
    let node = builder.stabilizer(PingSweep::new()).start().await.unwrap();
    let honest = [("al", "20.0.0.1"), ("bo", "21.0.0.1"), ("cy", "22.0.0.1")];
    for (id, host) in honest {
        program(&wires, host, original(id)).await;
        join(&wires, host, &format!("{id} {host} 9000")).await;
    }
    sleep(SECOND).await;
    assert_eq!(verified(&node).await, ["al", "bo", "cy"]);
    dialled.take();
    // Four networks with ten addresses each. A program there states the name of its own entry only.
    let hosts: Vec<_> = (0..40).map(|n| format!("66.0.{}.{}", n / 10, n % 10 + 1)).collect();
    for host in &hosts {
        let name = format!("evil-{host}").leak();
        program(&wires, host, original(name)).await;
    }
    let mut random = fastrand::Rng::with_seed(3);
    let mut added = 0;
    for round in 0..joins {
        let host = random.choice(&hosts).unwrap();
        let claimed = match round % 4 {
            0 => format!("evil-{host} {host} 9000"),
            1 => format!("x{round} {host} 9000"),
            2 => format!("y{round} {host} {}", 1 + round % 60_000),
            _ => format!("z{round} 20.0.0.1 {}", 1 + round % 60_000),
        };
        added += usize::from(join(&wires, host, &claimed).await.starts_with("Join: peer added"));
        if round % 8 == 0 {
            sleep(SECOND / 4).await;
        }
        if round % 100 == 0 {
            check_shares(&table(&node).await, 32);
        }
    }
    assert!(added > 40, "{added}");
    let verified = verified(&node).await;
    assert!(
        ["al", "bo", "cy"].iter().all(|id| verified.contains(&(*id).to_owned())),
        "{verified:?}"
    );
    check_shares(&table(&node).await, 32);
    // Only the honest peers are pinged, and only the hostile ones are asked for their name.
    let mut asked: BTreeSet<_> = hosts.into_iter().collect();
    asked.extend(honest.map(|(_, host)| host.to_owned()));
    assert!(dialled.hosts().is_subset(&asked), "third parties were dialled");
}

#[actix::test]
async fn verified_peers_stay_through_a_flood_of_joins_and_no_third_party_is_dialled() {
    flood(3_000).await;
}

#[actix::test]
#[ignore = "takes a minute"]
async fn verified_peers_stay_through_a_hundred_thousand_joins_over_the_network() {
    flood(100_000).await;
}

#[actix::test]
async fn two_addresses_that_fill_the_share_of_unverified_peers_exclude_no_new_peer() {
    let wires = MemoryNetwork::new(1);
    let (builder, dialled) = builder(&wires);
    let node = builder.config(Config::default().max_peers(32)).start().await.unwrap();
    let mut events = node.events();
    let honest = [("al", "20.0.0.1"), ("bo", "21.0.0.1"), ("cy", "22.0.0.1")];
    let mut ids = 0;
    let mut hostile = async |host: &str| {
        ids += 1;
        join(&wires, host, &format!("e{ids} {host} {ids}")).await
    };
    // Eight each: a quarter of the table for an address, half of it for unverified peers.
    for n in 0..40 {
        hostile(if n % 2 == 0 { "66.0.0.1" } else { "67.0.0.1" }).await;
    }
    assert_eq!(table(&node).await.unverified(), 16);
    for (id, host) in honest {
        program(&wires, host, original(id)).await;
        let said = join(&wires, host, &format!("{id} {host} 9000")).await;
        assert_eq!(said, format!("Join: peer added: {id}"));
        // The hostile addresses do not regain the entry.
        for host in ["66.0.0.1", "67.0.0.1", "66.0.0.1", "67.0.0.1"] {
            hostile(host).await;
        }
        check_shares(&table(&node).await, 32);
    }
    sleep(SECOND).await;
    assert_eq!(verified(&node).await, ["al", "bo", "cy"]);
    let mut removed = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let PeerEvent::PeerRemoved { peer, why } = event {
            removed.push((peer.id().to_string(), why));
        }
    }
    let oldest = ["e1", "e2", "e3"].map(|id| (id.to_owned(), Removed::Displaced));
    assert_eq!(removed, oldest);
    assert_eq!(counts(&node).await.peers_displaced, 3);
    // Removed peers are not asked.
    assert!(dialled.take().iter().all(|(_, to)| !(1..=3).contains(&to.port())));
}

/// Checks that no peer exceeds its shares of the table.
fn check_shares(list: &PeerList, limit: usize) {
    let (mut addresses, mut networks) = (BTreeMap::new(), BTreeMap::new());
    for entry in list.iter() {
        let host = entry.seen_at().to_string();
        let network = host.rsplit_once('.').unwrap().0.to_owned();
        *addresses.entry(host).or_insert(0) += 1;
        *networks.entry(network).or_insert(0) += 1;
    }
    assert!(list.len() <= limit && list.unverified() <= limit / 2);
    assert!(addresses.values().all(|count| *count <= limit / 4), "{addresses:?}");
    assert!(networks.values().all(|count| *count <= limit / 2), "{networks:?}");
}

#[test]
fn the_shares_of_the_table_hold_in_a_hundred_thousand_joins() {
    let mut now = Instant::now().into_std();
    let mut list = PeerList::new("node".parse().unwrap(), 128);
    let shares = Shares::default();
    let join = |list: &mut PeerList, id: &str, ip: Ipv4Addr, now| {
        let info: PeerInfo = format!("{id} {ip} 9000").parse().unwrap();
        let candidate = actix_peer::overlay::Candidate::new(info, Learned::Joined);
        shares.admit(list, candidate, now)
    };
    let honest = ["al", "bo", "cy"];
    for (n, id) in (1..).zip(honest) {
        join(&mut list, id, Ipv4Addr::new(20, n, 0, 1), now);
        list.verify(&id.parse().unwrap(), now);
    }
    let mut random = fastrand::Rng::with_seed(5);
    for n in 0..100_000 {
        now += SECOND / 100;
        let ip = Ipv4Addr::new(66, 0, random.u8(..8), random.u8(..));
        let id = format!("e{n}");
        join(&mut list, &id, ip, now);
        // Half of them answer with their name.
        if random.bool() {
            list.verify(&id.parse().unwrap(), now);
        }
        // The others are removed after three questions.
        let late: Vec<_> = list
            .iter()
            .filter(|entry| entry.verified().is_none() && now - entry.added() > 12 * SECOND)
            .map(|entry| entry.info().id().clone())
            .collect();
        late.iter().for_each(|id| drop(list.remove(id)));
        if n % 100 == 0 {
            check_shares(&list, 128);
        }
    }
    check_shares(&list, 128);
    assert!(honest.iter().all(|id| list.contains(&id.parse().unwrap())));
}

#[actix::test]
async fn a_quit_that_names_another_peer_is_refused() {
    let wires = MemoryNetwork::new(1);
    let (node, _) = started(&wires).await;
    join(&wires, "9.9.9.9", "al 9.9.9.9 9000").await;
    node.peers().add("bo 9.9.9.8 9000".parse().unwrap()).await.unwrap();
    for (host, id) in [("9.9.9.7", "al"), ("victim", "al"), ("9.9.9.9", "bo"), ("127.0.0.1", "al")]
    {
        assert_eq!(ask(&wires, host, "QUIT", id).await, "Quit: not your address", "{id} by {host}");
    }
    assert_eq!(ask(&wires, "9.9.9.7", "QUIT", "cy").await, "Quit: peer not found: cy");
    assert_eq!(known(&node).await, ["al", "bo"]);
    assert_eq!(counts(&node).await.quits_refused, 4);
    assert_eq!(ask(&wires, "9.9.9.9", "QUIT", "al").await, "Quit: peer removed: al");
    assert_eq!(ask(&wires, "9.9.9.8", "QUIT", "bo").await, "Quit: peer removed: bo");
}

#[actix::test]
async fn a_forwarded_join_or_quit_that_names_the_forwarding_peer_is_refused() {
    let wires = MemoryNetwork::new(1);
    let (node, _) = table_only(&wires).await;
    let other = |host: &'static str| {
        let builder = Peer::builder().transport(at(&wires, host)).listen(format!("{host}:9000"));
        builder.id(host).well_known().without_gossip()
    };
    let victim = other("victim").start().await.unwrap();
    victim.peers().add(node.info().clone()).await.unwrap();
    let by_the_victim = router::from_fn(|_: &actix_peer::PeerId, peers: &PeerList| {
        peers.get_at(0).map(|entry| entry.info().clone())
    });
    let eve = other("eve").router(by_the_victim).start().await.unwrap();
    eve.peers().add(victim.info().clone()).await.unwrap();
    node.peers().add(victim.info().clone()).await.unwrap();
    for (code, text, expected) in [
        ("NAME", "", "node"),
        ("QUIT", "victim", "Quit: not your address"),
        ("JOIN", "eve victim 9001", "Join: not your address"),
    ] {
        let frame = Frame::text(code, text);
        let replies = eve.route(node.id(), frame).await.unwrap().collect().await.unwrap();
        assert_eq!(replies.first().unwrap().as_str(), Ok(expected));
    }
    assert_eq!(known(&node).await, ["victim"]);
}

#[actix::test]
async fn an_open_node_trusts_every_join_and_quit_as_the_originals_do() {
    let wires = MemoryNetwork::new(1);
    let (builder, _) = builder(&wires);
    let node = builder.quit_policy(QuitPolicy::Open).start().await.unwrap();
    node.peers().add("bo 9.9.9.8 9000".parse().unwrap()).await.unwrap();
    assert_eq!(ask(&wires, "9.9.9.9", "QUIT", "bo").await, "Quit: peer removed: bo");
}

/// Bytes of a question for a name.
const QUESTION: usize = 8;

#[actix::test]
async fn a_join_makes_the_node_send_little_to_its_own_host_and_nothing_to_others() {
    let wires = MemoryNetwork::new(1);
    let (node, dialled) = started(&wires).await;
    let questions = program(&wires, "9.9.9.9", original("another")).await;
    let others = program(&wires, "victim", original("victim")).await;
    let mut sent = 0;
    for n in 0..200 {
        let host = if n % 2 == 0 { "9.9.9.9" } else { "victim" };
        let text = format!("e{n} {host} {}", if n == 0 { 9_000 } else { 10_000 + n });
        sent += 8 + text.len();
        join(&wires, "9.9.9.9", &text).await;
    }
    let added = table(&node).await.len();
    assert_eq!(added, 32, "an address gets a quarter of the table");
    sleep(60 * SECOND).await;
    let dials = dialled.take();
    assert!(
        dials.iter().all(|(_, to)| to.host().to_string() == "9.9.9.9"),
        "third parties were dialled"
    );
    // Each is asked for its name at most three times. The questions are shorter than the joins.
    assert!((added..=3 * added).contains(&dials.len()), "{}", dials.len());
    assert!(dials.len() * QUESTION <= sent);
    assert_eq!((questions.borrow().len(), others.borrow().len()), (1, 0));
}

#[actix::test]
async fn a_list_makes_the_node_send_third_parties_less_than_its_own_length() {
    let wires = MemoryNetwork::new(1);
    let (node, dialled) = started(&wires).await;
    // Twenty hosts, each under five names, with new names each time.
    let long = Rc::new(Cell::new(0));
    let entries = {
        let long = Rc::clone(&long);
        move || {
            let entry = |n| format!("v{} 9.9.8.{} 9000", fastrand::u32(..), n % 20 + 1);
            let entries: Vec<_> = (0..100).map(entry).collect();
            long.set(long.get() + entries.iter().map(|entry| 8 + entry.len()).sum::<usize>());
            entries
        }
    };
    program(&wires, "9.9.9.1", lister("al", entries)).await;
    let codes = Rc::new(RefCell::new(Vec::new()));
    for n in 1..=20 {
        let codes = Rc::clone(&codes);
        let silent: Answer = Rc::new(move |code| {
            codes.borrow_mut().push(code.to_owned());
            Some(Vec::new())
        });
        program(&wires, &format!("9.9.8.{n}"), silent).await;
    }
    let begun = Instant::now();
    for _ in 0..12 {
        let config = JoinConfig::new().hops(1_000).fan_out(1_000);
        node.join_with("9.9.9.1:9000".parse().unwrap(), config).await.unwrap();
        sleep(5 * SECOND).await;
    }
    let minutes = usize::try_from(begun.elapsed().as_secs() / 60 + 1).unwrap();
    let mut dials = BTreeMap::new();
    for (_, to) in dialled.take() {
        *dials.entry(to.host().to_string()).or_insert(0) += 1;
    }
    dials.remove("9.9.9.1").unwrap();
    assert_eq!(dials.len(), 20);
    // Three a minute for each, and only questions for a name.
    assert!(dials.values().all(|count| *count <= 3 * minutes), "{dials:?}");
    assert!(codes.borrow().iter().all(|code| code == "NAME"), "{:?}", codes.borrow());
    assert!(codes.borrow().len() <= dials.values().sum::<usize>());
    assert!(codes.borrow().len() * QUESTION <= long.get(), "{dials:?}");
    assert_eq!(known(&node).await, ["al"]);
}

#[actix::test]
async fn table_keys_that_remote_peers_choose_are_forgotten() {
    let wires = MemoryNetwork::new(1);
    let (builder, _) = builder(&wires);
    // Without a limit of the table, ids still do not fill the memory.
    let node = builder.max_peers(0).start().await.unwrap();
    for n in 0..1_100 {
        let said = join(
            &wires,
            &format!("11.{}.{}.1", n / 200, n % 200),
            &format!("e{n} 11.{}.{}.1 9000", n / 200, n % 200),
        )
        .await;
        let expected = if n < 1_024 {
            format!("Join: peer added: e{n}")
        } else {
            "Join: too many new peers".to_owned()
        };
        assert_eq!(said, expected);
    }
    sleep(120 * SECOND).await;
    assert!(table(&node).await.is_empty());
}

#[actix::test]
async fn an_endless_list_is_read_for_at_most_64_kib() {
    let wires = MemoryNetwork::new(1);
    let (node, _) = started(&wires).await;
    let entries = || (0..100_000).map(|n| format!("x{n} 9.9.9.1 {}", n % 60_000 + 1)).collect();
    program(&wires, "9.9.9.1", lister("al", entries)).await;
    let config = JoinConfig::new().fan_out(1);
    let report = node.join_with("9.9.9.1:9000".parse().unwrap(), config).await.unwrap();
    assert_eq!(report.added().len(), 1);
    // One read, and not three megabytes.
    assert!(counts(&node).await.bytes_in < 200_000, "{}", counts(&node).await.bytes_in);
}

#[actix::test]
async fn a_frozen_peer_is_removed_after_three_misses() {
    let wires = MemoryNetwork::new(1);
    let (builder, _) = builder(&wires);
    let node = builder.stabilizer(PingSweep::new()).start().await.unwrap();
    let frozen = Rc::new(Cell::new(false));
    let pongs: Answer = {
        let frozen = Rc::clone(&frozen);
        Rc::new(move |code| match (frozen.get(), code) {
            (true, _) => None,
            (false, "PING") => Some(frame("PONG", "al")),
            (false, _) => Some(frame("REPL", "al")),
        })
    };
    program(&wires, "9.9.9.9", pongs).await;
    join(&wires, "9.9.9.9", "al 9.9.9.9 9000").await;
    sleep(12 * SECOND).await;
    assert_eq!(verified(&node).await, ["al"]);
    // It accepts connections as before, and sends nothing.
    frozen.set(true);
    let begun = Instant::now();
    while !known(&node).await.is_empty() {
        sleep(SECOND / 10).await;
    }
    let took = Instant::now() - begun;
    assert!((10 * SECOND..=21 * SECOND).contains(&took), "{took:?}");
}

/// How long a peer stays in the table when another node has its address and answers `PING` with
/// this code.
async fn after_another_came(answers: &'static str) -> u64 {
    let wires = MemoryNetwork::new(1);
    let (builder, _) = builder(&wires);
    let node = builder.stabilizer(PingSweep::new()).start().await.unwrap();
    let id = Rc::new(RefCell::new("al"));
    let named: Answer = {
        let id = Rc::clone(&id);
        Rc::new(move |code| match code {
            "PING" if answers == "PONG" => Some(frame("PONG", *id.borrow())),
            "PING" => Some(Vec::new()),
            _ => Some(frame("REPL", *id.borrow())),
        })
    };
    program(&wires, "9.9.9.9", named).await;
    join(&wires, "9.9.9.9", "al 9.9.9.9 9000").await;
    sleep(60 * SECOND).await;
    assert_eq!(verified(&node).await, ["al"]);
    *id.borrow_mut() = "eve";
    let begun = Instant::now();
    while !known(&node).await.is_empty() {
        sleep(SECOND).await;
        assert!(begun.elapsed() < 600 * SECOND, "the peer was not removed");
    }
    begun.elapsed().as_secs()
}

#[actix::test]
async fn another_node_at_the_address_of_a_peer_is_not_taken_for_that_peer() {
    assert!(after_another_came("PONG").await <= 20);
}

#[actix::test]
async fn another_original_at_the_address_of_an_original_is_not_taken_for_it() {
    // It is asked for its name in every fourth sweep.
    assert!(after_another_came("").await <= 65);
}

/// Node and peer, which know each other, each with a ping sweep.
async fn pair(wires: &MemoryNetwork) -> [Peer; 2] {
    let node = async |host: &'static str, sweep| {
        let builder = Peer::builder().transport(at(wires, host)).listen(format!("{host}:9000"));
        builder.id(host).well_known().stabilizer(sweep).start().await.unwrap()
    };
    let ada = node("ada", PingSweep::new()).await;
    let bob = node("bob", PingSweep::new()).await;
    bob.join("ada:9000").await.unwrap();
    sleep(7 * SECOND).await;
    assert_eq!(
        (verified(&ada).await, verified(&bob).await),
        (vec!["bob".into()], vec!["ada".into()])
    );
    [ada, bob]
}

fn divide(wires: &MemoryNetwork) {
    wires.partition(&["ada".parse().unwrap()], &["bob".parse().unwrap()]);
}

/// Waits until neither knows the other.
async fn torn(nodes: &[Peer; 2]) {
    let begun = Instant::now();
    while !(known(&nodes[0]).await.is_empty() && known(&nodes[1]).await.is_empty()) {
        sleep(SECOND / 10).await;
        assert!(begun.elapsed() <= 25 * SECOND, "the peers were not removed");
    }
}

#[actix::test]
async fn after_a_partition_has_healed_both_sides_list_each_other_within_twenty_seconds() {
    tokio::time::pause();
    // The partition heals at any moment of the pause between two questions, early and late.
    for lasts in (0..22).chain([100, 300, 560]) {
        let wires = MemoryNetwork::new(1);
        let nodes = pair(&wires).await;
        divide(&wires);
        torn(&nodes).await;
        sleep(lasts * SECOND).await;
        assert!(known(&nodes[0]).await.is_empty() && known(&nodes[1]).await.is_empty());
        wires.heal();
        sleep(20 * SECOND).await;
        for (node, other) in nodes.iter().zip(["bob", "ada"]) {
            assert_eq!(verified(node).await, [other], "after {lasts} s");
            node.abort().await;
        }
    }
}

/// A peer is given up, the partition heals, and then `case` keeps the peer away.
async fn kept_away(case: &str) {
    let wires = MemoryNetwork::new(1);
    let (builder, dialled) = builder(&wires);
    let node = builder.stabilizer(PingSweep::new()).start().await.unwrap();
    program(&wires, "9.9.9.9", original("al")).await;
    join(&wires, "9.9.9.9", "al 9.9.9.9 9000").await;
    sleep(20 * SECOND).await;
    assert_eq!(verified(&node).await, ["al"]);
    wires.partition(&["node".parse().unwrap()], &["9.9.9.9".parse().unwrap()]);
    sleep(25 * SECOND).await;
    assert!(known(&node).await.is_empty());
    wires.heal();
    match case {
        "removed" => drop(node.peers().remove(&"al".parse().unwrap()).await.unwrap()),
        "banned" => {
            node.ban("9.9.9.9".parse::<std::net::IpAddr>().unwrap(), 1_000 * SECOND);
        }
        // No other peer can leave for it.
        _ => {
            let said = ask(&wires, "9.9.9.8", "QUIT", "al").await;
            assert_eq!(said, "Quit: not your address");
            let said = ask(&wires, "9.9.9.9", "QUIT", "al").await;
            assert_eq!(said, "Quit: peer not found: al");
        }
    }
    dialled.take();
    sleep(60 * SECOND).await;
    assert!(known(&node).await.is_empty(), "{case}");
    assert_eq!(dialled.take(), [], "{case}");
}

#[actix::test]
async fn a_peer_that_the_application_removed_is_not_asked_after_a_partition() {
    kept_away("removed").await;
}

#[actix::test]
async fn a_banned_peer_is_not_asked_after_a_partition() {
    kept_away("banned").await;
}

#[actix::test]
async fn a_peer_that_quit_is_not_asked_after_a_partition_and_no_other_peer_can_quit_for_it() {
    kept_away("quit").await;
}

#[actix::test]
async fn a_hundred_dead_peers_cost_a_bounded_number_of_dials_and_then_none() {
    let wires = MemoryNetwork::new(1);
    let (builder, dialled) = builder(&wires);
    let node =
        builder.without_gossip().max_peers(0).stabilizer(PingSweep::new()).start().await.unwrap();
    for n in 0..100 {
        let host = format!("dead{n}");
        let _crashed = wires.crash(&host.parse().unwrap());
        node.peers().add(format!("p{n} {host} 9000").parse().unwrap()).await.unwrap();
    }
    sleep(60 * SECOND).await;
    assert!(known(&node).await.is_empty());
    dialled.take();
    sleep(60 * SECOND).await;
    // Sixteen in each sweep, which takes two seconds, with pauses of five.
    let dials = dialled.take();
    assert!((8 * 16..=9 * 16).contains(&dials.len()), "{}", dials.len());
    let hosts: BTreeSet<_> = dials.iter().map(|(_, to)| to.host().to_string()).collect();
    assert_eq!(hosts.len(), 64);
    sleep(540 * SECOND).await;
    dialled.take();
    sleep(600 * SECOND).await;
    assert_eq!(dialled.take(), []);
}

#[actix::test]
async fn a_flapping_peer_is_removed_and_added_again_at_most_once_in_ten_seconds() {
    let wires = MemoryNetwork::new(1);
    let (builder, _) = builder(&wires);
    // The shortest times that the options allow.
    let sweep = PingSweep::new().every(SECOND / 4).misses(1);
    let node = builder.stabilizer(sweep).start().await.unwrap();
    let up = Rc::new(Cell::new(true));
    let answer: Answer = {
        let up = Rc::clone(&up);
        Rc::new(move |_| Some(if up.get() { frame("REPL", "al") } else { Vec::new() }))
    };
    let pongs: Answer = Rc::new(move |code| match code {
        "PING" => answer(code).filter(|said| !said.is_empty()).map(|_| frame("PONG", "al")),
        _ => answer(code),
    });
    program(&wires, "9.9.9.9", pongs).await;
    node.peers().add("al 9.9.9.9 9000".parse().unwrap()).await.unwrap();
    sleep(5 * SECOND).await;
    let mut events = node.events();
    let begun = Instant::now();
    let mut times = Vec::new();
    for second in 0..120 {
        up.set(second % 2 == 0);
        sleep(SECOND).await;
        while let Some(Some(event)) = events.next().now_or_never() {
            if let PeerEvent::PeerAdded { .. } = event {
                times.push(begun.elapsed().as_secs());
            }
        }
    }
    assert!((2..=12).contains(&times.len()), "{times:?}");
    assert!(times.windows(2).all(|two| two[1] - two[0] >= 10), "{times:?}");
}

#[actix::test]
async fn of_two_nodes_with_one_id_the_first_stays_and_the_second_is_told_why() {
    let wires = MemoryNetwork::new(1);
    let (builder, dialled) = builder(&wires);
    let node = builder.stabilizer(PingSweep::new()).start().await.unwrap();
    program(&wires, "9.9.9.1", original("al")).await;
    program(&wires, "9.9.9.2", original("al")).await;
    join(&wires, "9.9.9.1", "al 9.9.9.1 9000").await;
    let second = join(&wires, "9.9.9.2", "al 9.9.9.2 9000").await;
    assert_eq!(second, "Join: peer already inserted al");
    sleep(60 * SECOND).await;
    let list = table(&node).await;
    let entry = list.get_at(0).unwrap();
    assert_eq!(entry.info().to_string(), "al 9.9.9.1 9000");
    assert!(entry.verified().is_some());
    assert_eq!(dialled.hosts(), BTreeSet::from(["9.9.9.1".to_owned()]));
    // The second node cannot remove it, and cannot join where another program states its id.
    assert_eq!(ask(&wires, "9.9.9.2", "QUIT", "al").await, "Quit: not your address");
    join(&wires, "9.9.9.2", "bo 9.9.9.2 9000").await;
    sleep(SECOND).await;
    assert_eq!(known(&node).await, ["al"]);
    settle().await;
}

#[actix::test]
async fn a_claim_of_a_listed_id_causes_questions_only_to_the_listed_peer_at_a_bounded_rate() {
    let wires = MemoryNetwork::new(1);
    let (node, dialled) = table_only(&wires).await;
    program(&wires, "9.9.9.1", original("al")).await;
    let others = program(&wires, "9.9.9.2", original("al")).await;
    join(&wires, "9.9.9.1", "al 9.9.9.1 9000").await;
    sleep(SECOND).await;
    dialled.take();
    let mut events = node.events();
    for _ in 0..200 {
        let said = join(&wires, "9.9.9.2", "al 9.9.9.2 9000").await;
        assert_eq!(said, "Join: peer already inserted al");
        sleep(SECOND / 10).await;
    }
    let dialled = dialled.take();
    assert!((3..=5).contains(&dialled.len()), "{dialled:?}");
    assert!(dialled.iter().all(|(_, to)| to.to_string() == "9.9.9.1:9000"), "{dialled:?}");
    assert!(others.borrow().is_empty());
    let mut told = 0;
    while let Some(Some(event)) = events.next().now_or_never() {
        told += usize::from(matches!(event, PeerEvent::TwoAddresses { .. }));
    }
    assert_eq!(told, 1);
    // A classic `QUIT` of the second node does not say which of the two leaves, so the listed one
    // is asked.
    assert_eq!(ask(&wires, "9.9.9.1", "QUIT", "al").await, "Quit: not your address");
    assert_eq!(known(&node).await, ["al"]);
}

/// A listed peer never answers, and its id is claimed at another address, where a program states
/// this name. Returns the address at which the id is listed then.
async fn claimed_elsewhere(answers: &'static str) -> String {
    let wires = MemoryNetwork::new(1);
    let (node, dialled) = table_only(&wires).await;
    node.peers().add("al 9.9.9.1 9000".parse().unwrap()).await.unwrap();
    program(&wires, "9.9.9.2", original(answers)).await;
    let mut events = node.events();
    join(&wires, "9.9.9.2", "al 9.9.9.2 9000").await;
    sleep(20 * SECOND).await;
    let to: Vec<_> = dialled.take().iter().map(|(_, to)| to.host().to_string()).collect();
    assert_eq!(to, ["9.9.9.1", "9.9.9.1", "9.9.9.1", "9.9.9.2"]);
    let entry = table(&node).await.get(&"al".parse().unwrap()).unwrap().clone();
    assert!(entry.verified().is_some());
    let mut removed = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let PeerEvent::PeerRemoved { peer, why } = event {
            removed.push((peer.host().to_string(), why));
        }
    }
    let moved = [("9.9.9.1".to_owned(), Removed::Moved)];
    let moves = entry.info().host().to_string() != "9.9.9.1";
    assert_eq!(removed, if moves { &moved[..] } else { &[] });
    entry.info().host().to_string()
}

#[actix::test]
async fn a_claimed_id_moves_when_its_address_missed_three_times_and_the_new_one_answers() {
    assert_eq!(claimed_elsewhere("al").await, "9.9.9.2");
}

#[actix::test]
async fn a_claimed_id_stays_when_another_id_answers_at_the_new_address() {
    assert_eq!(claimed_elsewhere("eve").await, "9.9.9.1");
}

#[cfg(feature = "tls")]
#[actix::test]
async fn a_proven_id_joins_only_for_itself_and_is_verified_without_a_dial() {
    use actix_peer::transport::tls::{NodeIdentity, TlsTransport};

    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let dialled = Dialled::default();
    let plain = Recording(at(&wires, "node"), dialled.clone());
    let transport = TlsTransport::over(plain, NodeIdentity::for_tests("node"));
    let builder =
        Peer::builder().transport(transport).listen("node:9000").well_known().without_gossip();
    let node = builder.start().await.unwrap();
    let eve = TlsTransport::over(at(&wires, "eve"), NodeIdentity::for_tests("eve"));
    let (own, other) = (NodeIdentity::for_tests("eve"), NodeIdentity::for_tests("al"));
    for (id, host, expected) in [
        (other.id(), "eve", "Not your id"),
        // Its own id, but not its own host.
        (own.id(), "al", "Join: not your address"),
        (own.id(), "eve", "Join: peer added"),
    ] {
        let mut io = eve.dial(&"node:9000".parse().unwrap()).await.unwrap();
        io.writer.write_all(&frame("JOIN", format!("{id} {host} 9000"))).await.unwrap();
        let heard = heard(&mut io).await;
        assert!(heard.contains(expected), "{heard}");
    }
    assert_eq!(verified(&node).await, [own.id().as_str()]);
    sleep(20 * SECOND).await;
    assert_eq!(dialled.take(), []);
}

#[actix::test]
async fn a_peer_that_makes_up_ten_thousand_peers_gets_its_share_and_costs_bounded_dials() {
    let wires = MemoryNetwork::new(1);
    let (builder, dialled) = builder(&wires);
    let exchange = PeerExchange::new().every(SECOND).seed(1);
    let config = Config::default().max_peers(64);
    let node = builder.config(config).peer_exchange(exchange).start().await.unwrap();
    // The first hundred exist, each in a network of its own.
    let at = move |n: usize| format!("66.{}.{}.1", n / 200, n % 200);
    for n in 0..100 {
        program(&wires, &at(n), original(format!("evil{n}").leak())).await;
    }
    let told = Rc::new(Cell::new(0));
    let tell = Rc::clone(&told);
    let liar: Answer = Rc::new(move |code| match code {
        "NAME" => Some(frame("REPL", "liar")),
        "@PEX" => {
            let first = tell.replace(tell.get() + 16);
            let lines = (first..first + 16).map(|n| format!("evil{n} {} 9000 0\n", at(n)));
            Some(frame("@PEX", format!("1\n{}", lines.collect::<String>())))
        }
        _ => Some(Vec::new()),
    });
    program(&wires, "65.0.0.1", liar).await;
    node.peers().add("liar 65.0.0.1 9000".parse().unwrap()).await.unwrap();
    dialled.take();
    let mut dials = Vec::new();
    while told.get() < 10_000 {
        sleep(SECOND * 10).await;
        let list = table(&node).await;
        let listed = Learned::Listed { by: "liar".parse().unwrap() };
        assert!(list.iter().filter(|entry| *entry.learned() == listed).count() <= 64 / 8);
        assert!(list.iter().all(|entry| entry.verified().is_some()));
        dials.extend(dialled.take().into_iter().map(|(_, to)| to));
    }
    let list = table(&node).await;
    assert!(list.len() > 7, "{}", list.len());
    // At most four hints of each answer, each once. Peers in the table are asked for more.
    let there: BTreeSet<_> = (0..100).map(&at).chain(["65.0.0.1".to_owned()]).collect();
    dials.retain(|to| !there.contains(&to.host().to_string()));
    assert!(dials.len() <= told.get() / 16 * 4, "{}", dials.len());
    assert_eq!(dials.iter().collect::<BTreeSet<_>>().len(), dials.len());
}

#[actix::test]
async fn frequent_requests_for_peers_get_the_same_answer_without_unreachable_addresses() {
    let wires = MemoryNetwork::new(1);
    let (builder, _) = builder(&wires);
    let exchange = PeerExchange::new().every(SECOND * 3_600).seed(1);
    let node = builder.peer_exchange(exchange).start().await.unwrap();
    for n in 1..=40 {
        let peer = format!("p{n} 20.0.{n}.1 9000").parse().unwrap();
        node.peers().add(peer).await.unwrap();
    }
    node.peers().add("near 10.0.0.1 9000".parse().unwrap()).await.unwrap();
    let told = ask(&wires, "66.0.0.1", "@PEX", "1").await;
    assert!((15..=16).contains(&(told.lines().count() - 1)), "{told}");
    assert_eq!(ask(&wires, "66.0.0.1", "@PEX", "1").await, told);
    let mut all = told.clone();
    for _ in 0..9 {
        sleep(SECOND * 31).await;
        all += &ask(&wires, "66.0.0.1", "@PEX", "1").await;
    }
    assert!(!all.contains("near") && !all.starts_with(&told.repeat(2)));
    // A peer that was not seen for ten minutes is not returned.
    sleep(SECOND * 600).await;
    assert_eq!(ask(&wires, "66.0.0.1", "@PEX", "1").await, "1\n");
    for text in ["", "2", "1\n", "\0"] {
        let said = ask(&wires, "66.0.0.1", "@PEX", text).await;
        assert_eq!(said, "Peer exchange: not a question of this version");
    }
}

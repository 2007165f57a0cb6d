//! Membership after a fault: each listed node knows that it is listed, or was told why it is not.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_peer::{
    Builder, JoinPolicy, Outgoing, Over, Peer, PeerEvent, PingSweep,
    frame::{Frame, TypeCode},
    node::Events,
    overlay::{Address, Host, JoinFailure, Stabilizer, StabilizerAction, StabilizerEvent, View},
    transport::{
        Io, Listener, Transport,
        memory::{MemoryNetwork, MemoryTransport},
    },
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, nodes::on_host};

/// The promised time after the end of a fault.
const HEALED: Duration = Duration::from_secs(30);

/// A builder with the options of the examples.
fn builder(wires: &MemoryNetwork, id: &str, host: &str) -> Builder {
    on_host(wires, host).id(id).well_known()
}

async fn node(wires: &MemoryNetwork, id: &str, host: &str) -> Peer {
    builder(wires, id, host).stabilizer(PingSweep::new()).start().await.unwrap()
}

/// The verified peers that a node lists, with their addresses.
async fn listed(node: &Peer) -> BTreeMap<String, String> {
    let list = node.peers().list().await.unwrap();
    let verified = list.iter().filter(|entry| entry.verified().is_some());
    verified
        .map(|entry| (entry.info().id().to_string(), entry.info().address().to_string()))
        .collect()
}

/// Whether each node lists all others at their addresses.
async fn all_know_all(nodes: &[&Peer]) -> bool {
    for node in nodes {
        let listed = listed(node).await;
        let others = nodes.iter().filter(|other| other.id() != node.id());
        for other in others {
            if listed.get(other.id().as_str()) != Some(&other.info().address().to_string()) {
                return false;
            }
        }
    }
    true
}

async fn heal_in_time(nodes: &[&Peer], what: &str) {
    let begun = Instant::now();
    while !all_know_all(nodes).await {
        if begun.elapsed() > HEALED {
            let mut tables = Vec::new();
            for node in nodes {
                tables.push((node.info().to_string(), listed(node).await));
            }
            panic!("{what}: {tables:#?}");
        }
        sleep(SECOND / 10).await;
    }
}

/// Three nodes that have joined through the first one.
async fn three(wires: &MemoryNetwork) -> [Peer; 3] {
    let ada = node(wires, "ada", "ada").await;
    let bob = node(wires, "bob", "bob").await;
    bob.join("ada:9000").await.unwrap();
    let cyd = node(wires, "cyd", "cyd").await;
    cyd.join("ada:9000").await.unwrap();
    sleep(7 * SECOND).await;
    assert!(all_know_all(&[&ada, &bob, &cyd]).await);
    [ada, bob, cyd]
}

#[actix::test]
async fn a_restarted_seed_and_its_peers_list_each_other_within_thirty_seconds() {
    tokio::time::pause();
    for crashes in [true, false] {
        for away in [1, 8, 40] {
            let wires = MemoryNetwork::new(1);
            let [ada, bob, cyd] = three(&wires).await;
            if crashes {
                ada.abort().await;
            } else {
                ada.stop().await;
            }
            sleep(away * SECOND).await;
            let ada = node(&wires, "ada", "ada").await;
            let dan = node(&wires, "dan", "dan").await;
            dan.join("ada:9000").await.unwrap();
            let what = format!("crashes: {crashes}, away for {away} s");
            heal_in_time(&[&ada, &bob, &cyd], &what).await;
            // A new node that joined through the seed is not isolated.
            assert!(!listed(&ada).await.is_empty() && !listed(&dan).await.is_empty());
            for peer in [ada, bob, cyd, dan] {
                peer.abort().await;
            }
        }
    }
}

#[actix::test]
async fn a_node_that_rejoins_through_a_contact_in_its_table_is_listed_there() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = node(&wires, "ada", "ada").await;
    let bob = node(&wires, "bob", "bob").await;
    bob.join("ada:9000").await.unwrap();
    ada.abort().await;
    let ada = node(&wires, "ada", "ada").await;
    bob.join("ada:9000").await.unwrap();
    sleep(SECOND).await;
    assert!(all_know_all(&[&ada, &bob]).await);
}

/// The ping sweep of a machine that is suspended now and then.
#[derive(Clone)]
struct Sleepy(PingSweep, Arc<AtomicBool>);

impl Stabilizer for Sleepy {
    fn name(&self) -> &str {
        Stabilizer::name(&self.0)
    }
    fn every(&self) -> Duration {
        Stabilizer::every(&self.0)
    }
    fn step(&mut self, event: StabilizerEvent, view: &View<'_>) -> Vec<StabilizerAction> {
        if self.1.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.0.step(event, view)
    }
}

#[actix::test]
async fn a_node_that_slept_for_eleven_minutes_is_listed_again_within_thirty_seconds() {
    tokio::time::pause();
    for (sleeper, id) in ["ada", "bob"].into_iter().enumerate() {
        let wires = MemoryNetwork::new(1);
        let asleep = Arc::new(AtomicBool::new(false));
        let mut nodes = Vec::new();
        for (n, id) in ["ada", "bob", "cyd"].into_iter().enumerate() {
            let flag = if n == sleeper { Arc::clone(&asleep) } else { Arc::default() };
            let sweep = Sleepy(PingSweep::new(), flag);
            let node = builder(&wires, id, id).stabilizer(sweep).start().await.unwrap();
            if n > 0 {
                node.join("ada:9000").await.unwrap();
            }
            nodes.push(node);
        }
        sleep(7 * SECOND).await;
        asleep.store(true, Ordering::Relaxed);
        wires.stall(&id.parse().unwrap(), 690 * SECOND);
        sleep(690 * SECOND).await;
        let others: Vec<_> = nodes.iter().filter(|node| node.id().as_str() != id).collect();
        assert!(!listed(others[0]).await.contains_key(id), "the suspended node was not removed");
        assert_eq!(
            listed(&nodes[sleeper]).await.len(),
            2,
            "the suspended node must still list the others"
        );
        asleep.store(false, Ordering::Relaxed);
        heal_in_time(&nodes.iter().collect::<Vec<_>>(), &format!("{id} slept")).await;
        for node in nodes {
            node.abort().await;
        }
    }
}

/// Joins. If the id is listed elsewhere, the node keeps trying.
async fn join_now_or_later(node: &Peer, contact: &str) {
    if let Err(error) = node.join(contact).await {
        assert!(error.is_tried_again(), "{error}");
        let elsewhere = matches!(error.cause(), Some(JoinFailure::Elsewhere { .. }));
        assert!(elsewhere, "{error}");
    }
}

/// A node that crashes and restarts at once on another host, where it joins through a node that
/// lists it.
async fn moves(options: impl Fn(&str) -> Builder) {
    let start =
        async |host: &str| options(host).stabilizer(PingSweep::new()).start().await.unwrap();
    let seed = start("seed").await;
    let old = start("old").await;
    old.join("seed:9000").await.unwrap();
    let third = start("third").await;
    third.join("seed:9000").await.unwrap();
    sleep(7 * SECOND).await;
    assert!(all_know_all(&[&seed, &old, &third]).await);
    old.abort().await;
    sleep(SECOND).await;
    let new = start("new").await;
    assert_eq!(new.id(), old.id());
    join_now_or_later(&new, "seed:9000").await;
    heal_in_time(&[&seed, &new, &third], "it has moved").await;
}

#[actix::test]
async fn a_claimed_id_at_a_new_address_is_listed_there_within_thirty_seconds() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    moves(|host| {
        let id = if matches!(host, "old" | "new") { "mover" } else { host };
        builder(&wires, id, host)
    })
    .await;
}

#[cfg(feature = "tls")]
#[actix::test]
async fn a_proven_id_at_a_new_address_is_listed_there_within_thirty_seconds() {
    use actix_peer::transport::tls::{NodeIdentity, TlsTransport};

    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    moves(|host| {
        let key = if matches!(host, "old" | "new") { "mover" } else { host };
        let transport = wires.transport(host.parse::<Host>().unwrap());
        let transport = TlsTransport::over(transport, NodeIdentity::for_tests(key));
        Peer::builder().transport(transport).listen(format!("{host}:9000")).well_known()
    })
    .await;
}

#[actix::test]
async fn stop_sends_quit_to_every_peer_in_the_table_or_with_a_link() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = node(&wires, "ada", "ada").await;
    let bob = node(&wires, "bob", "bob").await;
    let cyd = node(&wires, "cyd", "cyd").await;
    // Added to the table by hand.
    ada.peers().add(bob.info().clone()).await.unwrap();
    bob.peers().add(ada.info().clone()).await.unwrap();
    // Cyd has a link and lists the node, which does not list cyd.
    cyd.peers().add(ada.info().clone()).await.unwrap();
    let over_a_link = Outgoing::from(Frame::empty("NAME")).over(Over::Link);
    cyd.request(ada.info(), over_a_link).await.unwrap().collect().await.unwrap();
    assert!(!listed(&ada).await.contains_key("cyd"));
    let report = ada.stop().await;
    assert_eq!(report.told, 2);
    assert!(listed(&bob).await.is_empty() && listed(&cyd).await.is_empty());
}

/// What the events told a node about its peers and ids.
#[derive(Debug, Default)]
struct Heard {
    /// The reason of the last refusal, by peer.
    unknown: BTreeMap<String, Option<String>>,
    /// Ids at two addresses, and the node whose table says so.
    twice: Vec<(String, String, String, Option<String>)>,
}

impl Heard {
    fn take(&mut self, events: &mut Events) {
        while let Some(Some(event)) = events.next().now_or_never() {
            match event {
                PeerEvent::UnknownThere { peer, refused } => {
                    self.unknown.insert(peer.id().to_string(), refused);
                }
                PeerEvent::TwoAddresses { id, listed, other, told_by } => {
                    let told_by = told_by.map(|peer| peer.id().to_string());
                    self.twice.push((
                        id.to_string(),
                        listed.to_string(),
                        other.to_string(),
                        told_by,
                    ));
                }
                _ => {}
            }
        }
    }
}

fn heard(events: &mut Events) -> Heard {
    let mut heard = Heard::default();
    heard.take(events);
    heard
}

async fn asked(from: &Peer, to: &Peer, over: Over) -> Vec<String> {
    let ping = Outgoing::from(Frame::empty("PING")).over(over);
    let replies = from.request(to.info(), ping).await.unwrap().collect().await.unwrap();
    assert!(replies.iter().all(|reply| reply.code() == TypeCode::PONG));
    replies.iter().map(|reply| reply.as_str().unwrap().to_owned()).collect()
}

#[actix::test]
async fn a_pong_says_over_a_link_whether_the_caller_is_listed_and_classically_only_the_id() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = builder(&wires, "ada", "ada").without_gossip().start().await.unwrap();
    let bob = builder(&wires, "bob", "bob").without_gossip().start().await.unwrap();
    assert_eq!(asked(&bob, &ada, Over::Link).await, ["ada", "unknown"]);
    ada.peers().add(bob.info().clone()).await.unwrap();
    assert_eq!(asked(&bob, &ada, Over::Link).await, ["ada", "listed"]);
    assert_eq!(asked(&bob, &ada, Over::Classic).await, ["ada"]);
    let other = builder(&wires, "bob", "other").without_gossip().start().await.unwrap();
    assert_eq!(asked(&other, &ada, Over::Link).await, ["ada", "elsewhere bob:9000"]);
    // Keep-alives and pings keep no link open.
    assert_eq!(bob.status().await.links.len(), 1);
    for _ in 0..20 {
        sleep(5 * SECOND).await;
        if bob.status().await.links.is_empty() {
            return;
        }
        asked(&bob, &ada, Over::Any).await;
    }
    panic!("the link is still open");
}

#[actix::test]
async fn a_node_introduces_itself_to_a_restarted_peer_with_the_next_ping_over_a_link() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let [ada, bob, cyd] = three(&wires).await;
    ada.peers().remove(bob.id()).await.unwrap();
    let over_a_link = Outgoing::from(Frame::empty("NAME")).over(Over::Link);
    bob.request(ada.info(), over_a_link).await.unwrap().collect().await.unwrap();
    let begun = Instant::now();
    while !all_know_all(&[&ada, &bob, &cyd]).await {
        sleep(SECOND / 10).await;
    }
    assert!(begun.elapsed() <= 20 * SECOND, "{:?}", begun.elapsed());
}

#[actix::test]
async fn a_peer_that_does_not_list_a_node_says_why_once_and_is_asked_at_most_four_times_a_minute() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let closed = builder(&wires, "closed", "closed").join_policy(JoinPolicy::Closed);
    let closed = closed.start().await.unwrap();
    let bob = node(&wires, "bob", "bob").await;
    let mut events = bob.events();
    bob.peers().add(closed.info().clone()).await.unwrap();
    sleep(HEALED).await;
    let why = BTreeMap::from([("closed".to_owned(), Some("Join: not allowed".to_owned()))]);
    assert_eq!(heard(&mut events).unknown, why);
    let before = bob.status().await.counts;
    assert_eq!(before.unknown_there, 1);
    sleep(600 * SECOND).await;
    assert!(heard(&mut events).unknown.is_empty());
    let introductions = bob.status().await.counts.introductions - before.introductions;
    assert!((20..=40).contains(&introductions), "{introductions}");
    // The peer stays in the table: removing it is up to the application.
    assert!(listed(&bob).await.contains_key("closed"));
}

#[actix::test]
async fn a_node_that_does_not_serve_name_introduces_itself_to_no_peer() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = node(&wires, "ada", "ada").await;
    let client = on_host(&wires, "client").stabilizer(PingSweep::new()).start().await.unwrap();
    client.peers().add(ada.info().clone()).await.unwrap();
    sleep(60 * SECOND).await;
    assert_eq!(client.status().await.counts.introductions, 0);
    assert!(listed(&ada).await.is_empty());
}

/// Runs two nodes with one id. Returns what each node was told, and which one stays in the table
/// when the second one sends `QUIT` over a link or without one.
async fn two_live(builder: impl Fn(&str) -> Builder, over_a_link: bool) {
    let start =
        async |host: &str| builder(host).stabilizer(PingSweep::new()).start().await.unwrap();
    let seed = start("seed").await;
    let (mut at_seed, first) = (seed.events(), start("first").await);
    first.join("seed:9000").await.unwrap();
    sleep(7 * SECOND).await;
    let second = start("second").await;
    let (mut at_first, mut at_second) = (first.events(), second.events());
    join_now_or_later(&second, "seed:9000").await;
    sleep(2 * HEALED).await;
    let twice = [&mut at_seed, &mut at_first, &mut at_second].map(|events| heard(events).twice);
    assert!(twice.iter().any(|twice| !twice.is_empty()), "no node is told");
    for (id, ..) in twice.iter().flatten() {
        assert_eq!(id, first.id().as_str());
    }
    let counts = seed.status().await.counts;
    assert!((1..=4).contains(&counts.ids_at_two_addresses), "{counts:?}");
    if over_a_link {
        let name = Outgoing::from(Frame::empty("NAME")).over(Over::Link);
        second.request(seed.info(), name).await.unwrap().collect().await.unwrap();
    }
    second.stop().await;
    sleep(HEALED).await;
    let listed = listed(&seed).await;
    assert_eq!(listed.get(first.id().as_str()).map(String::as_str), Some("first:9000"));
    for peer in [seed, first] {
        peer.abort().await;
    }
}

#[actix::test]
async fn of_two_live_nodes_with_one_id_both_are_told_and_the_first_stays_when_the_second_quits() {
    tokio::time::pause();
    for over_a_link in [true, false] {
        let wires = MemoryNetwork::new(1);
        let id = |host: &str| if host == "seed" { "seed" } else { "twin" };
        two_live(|host| builder(&wires, id(host), host), over_a_link).await;
    }
}

#[cfg(feature = "tls")]
#[actix::test]
async fn of_two_live_nodes_with_one_key_the_second_is_listed_when_the_first_is_gone() {
    use actix_peer::transport::tls::{NodeIdentity, TlsTransport};

    tokio::time::pause();
    for over_a_link in [true, false] {
        let wires = MemoryNetwork::new(1);
        let key = |host: &str| if host == "seed" { "seed" } else { "twin" };
        let builder = |host: &str| {
            let transport = wires.transport(host.parse::<Host>().unwrap());
            let transport = TlsTransport::over(transport, NodeIdentity::for_tests(key(host)));
            Peer::builder().transport(transport).listen(format!("{host}:9000")).well_known()
        };
        two_live(builder, over_a_link).await;
    }
}

/// A network in which only some hosts resolve a host name.
#[derive(Debug)]
struct Named {
    wires: MemoryTransport,
    /// The host names that this host resolves.
    names: BTreeMap<&'static str, &'static str>,
}

impl Named {
    fn meaning(&self, host: &Host) -> io::Result<Host> {
        match host {
            Host::Ip(_) => Ok(host.clone()),
            Host::Name(name) => match self.names.get(&**name) {
                Some(means) => Ok(means.parse().unwrap()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }
}

impl Transport for Named {
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.wires.listen(at)
    }
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            let to = Address::new(self.meaning(to.host())?, to.port());
            self.wires.dial(&to).await
        })
    }
    fn resolve<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, io::Result<Vec<Host>>> {
        Box::pin(std::future::ready(self.meaning(host).map(|host| vec![host])))
    }
    fn is_here(&self, host: &Host) -> bool {
        host == self.wires.host()
    }
    fn own_host(&self, listening: &Address) -> Host {
        self.wires.own_host(listening)
    }
}

#[actix::test]
async fn nodes_meet_through_a_list_even_if_only_one_of_them_resolves_a_host_name() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let start = async |id: &str, ip: &str, host: &str, names: &[(&'static str, &'static str)]| {
        let wires = wires.transport(ip.parse::<Host>().unwrap());
        let transport = Named { wires, names: names.iter().copied().collect() };
        let builder = Peer::builder().transport(transport).listen(format!("{ip}:9000"));
        let builder = builder.id(id).host(host).well_known().stabilizer(PingSweep::new());
        builder.start().await.unwrap()
    };
    let names = [("inner.example", "10.0.0.1")];
    let named = start("named", "10.0.0.1", "inner.example", &[]).await;
    let seed = start("seed", "10.0.0.2", "10.0.0.2", &names).await;
    let mut events = named.events();
    named.join("10.0.0.2:9000").await.unwrap();
    let third = start("third", "10.0.0.3", "10.0.0.3", &[]).await;
    third.join("10.0.0.2:9000").await.unwrap();
    sleep(HEALED).await;
    assert_eq!(listed(&third).await.get("named").map(String::as_str), Some("10.0.0.1:9000"));
    assert_eq!(listed(&seed).await.get("named").map(String::as_str), Some("inner.example:9000"));
    assert_eq!(listed(&named).await.len(), 2);
    // The node accepts both addresses as its own.
    sleep(600 * SECOND).await;
    let heard = heard(&mut events);
    assert!(heard.unknown.is_empty() && heard.twice.is_empty(), "{heard:?}");
    assert_eq!(listed(&third).await.len(), 2);
}

/// The state of the seeded test.
struct Life {
    peer: Peer,
    host: String,
    asleep: Arc<AtomicBool>,
    events: Events,
    heard: Heard,
}

struct World {
    wires: MemoryNetwork,
    random: fastrand::Rng,
    lives: BTreeMap<String, Life>,
    hosts: usize,
}

impl World {
    async fn start(&mut self, id: &str, host: String) -> Peer {
        let asleep = Arc::new(AtomicBool::new(false));
        let sweep = Sleepy(PingSweep::new(), Arc::clone(&asleep));
        let peer = builder(&self.wires, id, &host).stabilizer(sweep).start().await.unwrap();
        let (events, heard) = (peer.events(), Heard::default());
        let life = Life { peer: peer.clone(), host, asleep, events, heard };
        self.lives.insert(id.to_owned(), life);
        peer
    }

    fn new_host(&mut self) -> String {
        self.hosts += 1;
        format!("h{}", self.hosts)
    }

    /// The address of a running node other than this one.
    fn other(&mut self, id: &str) -> String {
        let others: Vec<_> = self.lives.iter().filter(|(other, _)| *other != id).collect();
        let at = self.random.usize(..others.len());
        others[at].1.peer.info().address().to_string()
    }

    async fn end(&mut self, id: &str, crashes: bool) -> String {
        let life = self.lives.remove(id).unwrap();
        if crashes {
            life.peer.abort().await;
        } else {
            life.peer.stop().await;
        }
        life.host
    }

    /// The nodes that list a peer that does not list them and were not told why.
    async fn faults(&mut self) -> Vec<String> {
        let mut tables = BTreeMap::new();
        for (id, life) in &mut self.lives {
            life.heard.take(&mut life.events);
            tables.insert(id.clone(), listed(&life.peer).await);
        }
        let mut faults = Vec::new();
        for (id, life) in &self.lives {
            let (own, at) = (&tables[id], life.peer.info().address().to_string());
            for (other, listed_at) in own {
                let there = self.lives.get(other);
                if there.is_none_or(|there| there.peer.info().address().to_string() != *listed_at) {
                    continue;
                }
                let knows = tables[other].get(id) == Some(&at);
                let why = life.heard.unknown.get(other).is_some_and(Option::is_some);
                let twice = life.heard.twice.iter().any(|(_, _, _, by)| by.as_ref() == Some(other));
                if !knows && !why && !twice {
                    faults.push(format!("{id} lists {other}, which has {:?}", tables[other]));
                }
            }
        }
        faults
    }

    /// Causes a fault and ends it. The kinds: a restart on the same host, a restart on a new host, a
    /// machine that sleeps, and a second node with the same id.
    async fn fault(&mut self, kind: usize, id: &str, away: Duration, crashes: bool, what: &str) {
        match kind {
            0 | 1 => {
                let host = self.end(id, crashes).await;
                sleep(away).await;
                let host = if kind == 0 { host } else { self.new_host() };
                let peer = self.start(id, host).await;
                // A crashed seed restarts without a contact: other nodes still list it. A stopped
                // seed may be forgotten if all nodes that joined through it restarted.
                if kind == 1 || id != "ada" || !crashes {
                    let contact = self.other(id);
                    join_now_or_later(&peer, &contact).await;
                }
            }
            2 => {
                let life = &self.lives[id];
                let host = life.host.parse().unwrap();
                life.asleep.store(true, Ordering::Relaxed);
                self.wires.stall(&host, 690 * SECOND);
                sleep(690 * SECOND).await;
                self.lives[id].asleep.store(false, Ordering::Relaxed);
            }
            _ => {
                let host = self.new_host();
                let twin = node(&self.wires, id, &host).await;
                let mut events = twin.events();
                let contact = self.other(id);
                twin.join(&contact).await.ok();
                sleep(HEALED).await;
                assert!(
                    !heard(&mut events).twice.is_empty(),
                    "{what}: the second node with this id was not told"
                );
                if crashes {
                    twin.abort().await
                } else {
                    twin.stop().await
                };
            }
        }
    }

    async fn heals(&mut self, what: &str) {
        let begun = Instant::now();
        loop {
            let mut faults = self.faults().await;
            let nodes: Vec<_> = self.lives.values().map(|life| life.peer.clone()).collect();
            if !all_know_all(&nodes.iter().collect::<Vec<_>>()).await {
                faults.push("not all know all".to_owned());
            }
            if faults.is_empty() {
                return;
            }
            assert!(begun.elapsed() <= HEALED, "{what}: {faults:#?}");
            sleep(SECOND / 2).await;
        }
    }
}

/// Runs a network with one random fault after another.
async fn random_faults(seed: u64) {
    let (wires, random) = (MemoryNetwork::new(seed), fastrand::Rng::with_seed(seed));
    wires.latency(Duration::from_millis(1)..Duration::from_millis(30));
    let mut world = World { wires, random, lives: BTreeMap::new(), hosts: 0 };
    for id in ["ada", "bob", "cyd", "dan"] {
        let host = world.new_host();
        let peer = world.start(id, host).await;
        if id != "ada" {
            peer.join("h1:9000").await.unwrap();
        }
    }
    world.heals("the beginning").await;
    for step in 0..6 {
        let ids: Vec<_> = world.lives.keys().cloned().collect();
        let id = world.random.choice(&ids).unwrap().clone();
        let away = *world.random.choice(&[1, 8, 40]).unwrap();
        let crashes = world.random.bool();
        let kind = world.random.usize(..4);
        let what = format!("seed {seed}, step {step}: {id}, kind {kind}, {away} s, {crashes}");
        world.fault(kind, &id, away * SECOND, crashes, &what).await;
        world.heals(&what).await;
    }
    for life in world.lives.into_values() {
        life.peer.abort().await;
    }
}

#[actix::test]
async fn after_any_faults_listings_are_mutual_within_thirty_seconds_or_the_reason_is_reported() {
    tokio::time::pause();
    for seed in 0..5 {
        random_faults(seed).await;
    }
}

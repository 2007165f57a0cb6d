//! A network of 100 nodes under the paused clock. The nodes join, fail and heal, the same way for
//! the same seed.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use actix_peer::{
    Builder, Config, Peer, PeerInfo, PingSweep,
    frame::Frame,
    overlay::{Address, JoinConfig},
    sim::{SimError, SimNetwork},
};
use tokio::time::{Instant, sleep};

const TABLE: usize = 8;
const SWEEP: Duration = Duration::from_secs(5);

struct Network {
    net: SimNetwork,
    nodes: BTreeMap<usize, Peer>,
}

impl Network {
    fn new(net: SimNetwork) -> Self {
        net.wires().latency(Duration::from_millis(1)..Duration::from_millis(30));
        Self { net, nodes: BTreeMap::new() }
    }

    /// Starts node `n` and lets it join through a running node.
    async fn add(&mut self, n: usize) {
        let sweep = PingSweep::new().every(SWEEP);
        let contact = self.some().map(|contact| contact.info().address().clone());
        let known = BTreeSet::from_iter(contact.clone());
        let recipe = move |builder: Builder| {
            let known = RefCell::new(known.clone());
            let rejoin = async move |peer| rejoin(peer, &known).await;
            let builder = builder.config(Config::default().max_peers(TABLE));
            Ok(builder.stabilizer(sweep.clone()).every(Duration::from_secs(20), "rejoin", rejoin))
        };
        let peer = self.net.start_with(&format!("n{n}"), recipe).await.unwrap();
        if let Some(contact) = contact {
            let report = peer.join_with(contact, join_config()).await.unwrap();
            assert!(!peer.peers().list().await.unwrap().is_empty(), "n{n}: {report:?}");
        }
        self.nodes.insert(n, peer);
    }

    fn some(&self) -> Option<Peer> {
        let nodes: Vec<_> = self.nodes.values().cloned().collect();
        self.net.pick(&nodes).cloned()
    }

    /// The table of each node.
    async fn tables(&self) -> BTreeMap<String, Vec<String>> {
        let mut tables = BTreeMap::new();
        for peer in self.nodes.values() {
            let list = peer.peers().list().await.unwrap();
            let known = list.iter().map(|entry| entry.info().id().to_string()).collect();
            tables.insert(peer.id().to_string(), known);
        }
        tables
    }

    async fn crash(&mut self, n: usize) {
        drop(self.nodes.remove(&n).unwrap());
        self.net.crash(&format!("n{n}")).await.unwrap();
    }
}

/// The number of peers that a joining node looks for. Each connection takes an entry in two tables,
/// so less than half of a table leaves room for later nodes.
const WANTED: usize = 3;

fn join_config() -> JoinConfig {
    JoinConfig::new().hops(12).max_asks(400).target(WANTED)
}

/// A node that lost too many peers looks for others through the peers that it has heard of.
async fn rejoin(peer: Peer, known: &RefCell<BTreeSet<Address>>) {
    let Ok(list) = peer.peers().list().await else { return };
    for entry in list.iter() {
        let listed =
            async { peer.request(entry.info(), Frame::empty("LIST")).await?.collect().await };
        let listed = listed.await.unwrap_or_default();
        let listed =
            listed.iter().filter_map(|reply| reply.as_str().ok()?.parse::<PeerInfo>().ok());
        known.borrow_mut().extend(listed.map(|peer| peer.address().clone()));
    }
    if list.len() < WANTED {
        let contacts: Vec<_> = known.borrow().iter().cloned().collect();
        for contact in contacts {
            if peer
                .join_with(contact, join_config())
                .await
                .is_ok_and(|report| !report.added().is_empty())
            {
                break;
            }
        }
    }
}

/// The nodes that are reachable from the first one.
fn reached(tables: &BTreeMap<String, Vec<String>>) -> BTreeSet<&String> {
    let mut reached = BTreeSet::new();
    let mut to_visit: Vec<_> = tables.keys().take(1).collect();
    while let Some(node) = to_visit.pop() {
        if reached.insert(node) {
            to_visit.extend(tables.get(node).into_iter().flatten());
        }
    }
    reached
}

fn assert_whole(tables: &BTreeMap<String, Vec<String>>, alive: usize) {
    assert_eq!(tables.len(), alive);
    let odd: Vec<_> =
        tables.iter().filter(|(_, known)| !(1..=TABLE).contains(&known.len())).collect();
    assert!(odd.is_empty(), "{odd:?}");
    let known: BTreeSet<_> = tables.values().flatten().collect();
    let dead: Vec<_> = known.into_iter().filter(|id| !tables.contains_key(*id)).collect();
    assert_eq!(dead, Vec::<&String>::new(), "every node has removed the dead nodes");
    assert_eq!(reached(tables).len(), alive, "every live node is reachable");
}

type Life = (Vec<BTreeMap<String, Vec<String>>>, Duration, u64);

/// Runs a network. Returns all tables at three moments, and the virtual time that it took.
async fn life(nodes: usize, net: SimNetwork) -> Life {
    let begun = Instant::now();
    let mut network = Network::new(net);
    for n in 0..nodes {
        network.add(n).await;
    }
    let joined = network.tables().await;
    assert_whole(&joined, nodes);

    for _ in 0..nodes / 5 {
        let alive: Vec<_> = network.nodes.keys().copied().collect();
        let victim = *network.net.pick(&alive).unwrap();
        network.crash(victim).await;
    }
    // Three sweeps detect the dead nodes, and the remaining ones find each other.
    sleep(SWEEP * 16).await;
    let healed = network.tables().await;
    assert_whole(&healed, nodes - nodes / 5);

    let leaver = network.some().unwrap();
    let at = *network.nodes.iter().find(|(_, peer)| peer.id() == leaver.id()).unwrap().0;
    assert!(leaver.stop().await.is_clean());
    network.nodes.remove(&at);
    let left = network.tables().await;
    assert_whole(&left, nodes - nodes / 5 - 1);
    (vec![joined, healed, left], begun.elapsed(), network.net.digest())
}

/// Runs a network whose digest covers every event: equal digests mean equal runs.
fn lived(nodes: usize, seed: u64) -> Life {
    let network = SimNetwork::new(seed);
    network.run(async |net| Ok::<_, SimError>(life(nodes, net).await)).unwrap()
}

#[test]
fn a_hundred_nodes_join_lose_a_fifth_and_heal_the_same_way_for_the_same_seed() {
    let lives = std::thread::scope(|scope| {
        let lives = [(); 2].map(|()| scope.spawn(|| lived(100, 1)));
        lives.map(|life| life.join().unwrap())
    });
    assert!(lives[0] == lives[1]);
}

#[test]
fn a_different_seed_gives_a_different_network() {
    let lives: Vec<_> = (0..4).map(|seed| lived(25, seed)).collect();
    assert!(lives.windows(2).all(|two| two[0].0 != two[1].0));
}

//! A network of tables without sockets: live nodes answer at once, killed ones do not answer. Every
//! message is counted.
#![allow(
    clippy::indexing_slicing,
    reason = "the number of a node is its index in the list of nodes"
)]

use std::{
    net::IpAddr,
    ops::Sub,
    time::{Duration, Instant},
};

use actix_peer::{
    PeerInfo,
    overlay::{
        Host,
        kademlia::{Heard, KBuckets, Key, Lookup, LookupConfig},
    },
};

use crate::wire;

/// Nodes in a bucket and in an answer.
pub(crate) const K: usize = 20;

/// How often each bucket is refreshed.
pub(crate) const REFRESH: Duration = Duration::from_secs(3_600);

/// What all nodes have sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Questions without an answer.
    pub(crate) timeouts: u64,
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            messages: self.messages - before.messages,
            bytes: self.bytes - before.bytes,
            timeouts: self.timeouts - before.timeouts,
        }
    }
}

struct Node {
    info: PeerInfo,
    key: Key,
    /// Bytes of the node, and of its id, in a message.
    len: usize,
    id_len: usize,
    table: KBuckets,
    alive: bool,
}

/// The result of one look-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Rounds of `alpha` questions until the exact target had answered.
    pub(crate) rounds: Option<usize>,
    /// Questions until the `k` nearest had answered.
    pub(crate) questions: usize,
    /// Questions without an answer.
    pub(crate) timeouts: u64,
}

pub(crate) struct Network {
    seed: u64,
    nodes: Vec<Node>,
    alive: Vec<usize>,
    random: fastrand::Rng,
    now: Instant,
    pub(crate) traffic: Traffic,
}

/// The number of a node, which its address contains.
fn number(info: &PeerInfo) -> Option<usize> {
    match info.host() {
        Host::Ip(IpAddr::V4(ip)) => Some(ip.to_bits() as usize & 0xff_ffff),
        _ => None,
    }
}

impl Network {
    /// An empty network. `now` is any time.
    pub(crate) fn new(seed: u64, now: Instant) -> Self {
        let (nodes, alive, random) = (Vec::new(), Vec::new(), fastrand::Rng::with_seed(seed));
        Self { seed, nodes, alive, random, now, traffic: Traffic::default() }
    }

    /// Adds a node, whose id is as long as a public key. Through one contact it looks itself up,
    /// and then refreshes its farther buckets (section 2.3 of the Kademlia paper).
    pub(crate) fn join(&mut self) {
        let n = self.nodes.len();
        let id = Key::of_bytes(format!("{} {n}", self.seed).as_bytes());
        let text = format!("{id} 10.{}.{}.{} 9000", n >> 16, n >> 8 & 0xff, n & 0xff);
        #[expect(clippy::expect_used, reason = "64 digits, an address and a port")]
        let info: PeerInfo = text.parse().expect("a node");
        let key = Key::of(info.id());
        let (len, id_len, table) = (wire::node(&info), wire::id(info.id()), KBuckets::new(key, K));
        let contact = self.random.choice(&self.alive).map(|at| self.nodes[*at].info.clone());
        self.nodes.push(Node { info, key, len, id_len, table, alive: true });
        self.alive.push(n);
        if let Some(contact) = contact {
            self.search(n, key, vec![contact], None);
            self.refresh_buckets(n);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.alive.len()
    }

    /// Simulates one refresh interval: each node looks up itself, and a key in each of its buckets.
    pub(crate) fn refresh(&mut self, mut done: impl FnMut(usize)) {
        self.now += REFRESH;
        for (at, n) in self.alive.clone().into_iter().enumerate() {
            self.look_up(n, self.nodes[n].key, None);
            self.refresh_buckets(n);
            done(at + 1);
        }
    }

    fn refresh_buckets(&mut self, n: usize) {
        let (table, random) = (&self.nodes[n].table, &mut self.random);
        let fill = || {
            let mut bytes = [0; 32];
            random.fill(&mut bytes);
            bytes
        };
        for target in table.stale(self.now, REFRESH, fill) {
            self.look_up(n, target, None);
        }
    }

    /// Kills `count` nodes at once.
    pub(crate) fn kill(&mut self, count: usize) {
        self.random.shuffle(&mut self.alive);
        for n in self.alive.drain(..count.min(self.alive.len())) {
            self.nodes[n].alive = false;
        }
        self.alive.sort_unstable();
    }

    /// A random live node looks up another one.
    pub(crate) fn look_up_another(&mut self) -> Option<Found> {
        let from = *self.random.choice(&self.alive)?;
        if self.alive.len() < 2 {
            return None;
        }
        let to = loop {
            let to = *self.random.choice(&self.alive)?;
            if to != from {
                break to;
            }
        };
        Some(self.look_up(from, self.nodes[to].key, Some(to)))
    }

    fn look_up(&mut self, n: usize, target: Key, exact: Option<usize>) -> Found {
        let known = self.nodes[n].table.closest(target, K);
        self.search(n, target, known, exact)
    }

    fn search(
        &mut self,
        n: usize,
        target: Key,
        known: Vec<PeerInfo>,
        exact: Option<usize>,
    ) -> Found {
        self.nodes[n].table.looked_for(target, self.now);
        let exact = exact.map(|to| self.nodes[to].info.id().clone());
        let mut lookup = Lookup::new(self.nodes[n].key, target, known, LookupConfig::default());
        let (before, mut rounds) = (self.traffic.timeouts, None);
        let mut asked = Vec::new();
        for round in 1.. {
            asked.extend(std::iter::from_fn(|| lookup.next()));
            if asked.is_empty() {
                break;
            }
            for info in asked.drain(..) {
                if let Some(answer) = self.ask(n, &info, target) {
                    lookup.answered(info.id(), answer);
                    self.hear(n, info);
                } else {
                    lookup.failed(info.id());
                    self.nodes[n].table.failed(info.id());
                }
            }
            if rounds.is_none() && exact.as_ref().is_some_and(|id| lookup.has_found(id)) {
                rounds = Some(round);
            }
        }
        let timeouts = self.traffic.timeouts - before;
        Found { rounds, questions: lookup.questions(), timeouts }
    }

    fn send(&mut self, bytes: usize) {
        self.traffic.messages += 1;
        self.traffic.bytes += bytes as u64;
    }

    /// The node with this address if it is alive; otherwise counts a time-out.
    fn reach(&mut self, info: &PeerInfo) -> Option<usize> {
        let alive = number(info).filter(|n| self.nodes.get(*n).is_some_and(|node| node.alive));
        self.traffic.timeouts += u64::from(alive.is_none());
        alive
    }

    /// Asks a node for the nodes nearest to a key. The node learns of the one that asks.
    fn ask(&mut self, from: usize, to: &PeerInfo, target: Key) -> Option<Vec<PeerInfo>> {
        self.send(wire::find(self.nodes[from].len));
        let to = self.reach(to)?;
        let answer = self.nodes[to].table.closest(target, K);
        let bytes = answer.iter().filter_map(number).map(|n| self.nodes[n].len).sum();
        self.send(wire::nodes(self.nodes[to].id_len, answer.len(), bytes));
        self.was_asked(to, from);
        Some(answer)
    }

    fn ping(&mut self, from: usize, to: &PeerInfo) -> bool {
        self.send(wire::ping(self.nodes[from].len));
        let Some(to) = self.reach(to) else { return false };
        self.send(wire::here(self.nodes[to].id_len));
        true
    }

    /// If the asking node is not in the table and there is room for it, it is verified with a ping.
    fn was_asked(&mut self, at: usize, by: usize) {
        let info = self.nodes[by].info.clone();
        let table = &self.nodes[at].table;
        let known = table.get(info.id()) == Some(&info);
        if known || table.has_room(info.id()) && self.ping(at, &info) {
            self.hear(at, info);
        }
    }

    /// Records an answer of a node. If its bucket is full, the least recently seen node is pinged.
    fn hear(&mut self, at: usize, info: PeerInfo) {
        if let Heard::Check(oldest) = self.nodes[at].table.heard(info) {
            if self.ping(at, &oldest) {
                self.nodes[at].table.heard(oldest);
            } else {
                self.nodes[at].table.failed(oldest.id());
            }
        }
    }

    /// For each live node: the number of nodes that it knows, and the bytes of its table.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (usize, usize)> {
        self.alive.iter().map(|n| (self.nodes[*n].table.len(), self.nodes[*n].table.memory()))
    }
}

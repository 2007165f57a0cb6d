//! Networks of views and trees for the tests of both, under faults drawn from a seed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::overlay::{
    dice::Dice,
    trees::{
        Delivery, Gap, MessageId, Offence, Trees, TreesConfig, TreesEvent, TreesMessage,
        TreesOutput,
    },
    views::{Views, ViewsConfig, ViewsEvent, ViewsMessage, ViewsOutput},
};

pub(in crate::overlay) const MS: Duration = Duration::from_millis(1);
pub(in crate::overlay) const SECOND: Duration = Duration::from_secs(1);

/// How long a dial to a node that does not answer takes.
const DIAL: Duration = Duration::from_secs(5);

/// How long the ends of a partitioned link take to notice.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

pub(in crate::overlay) type Node = u32;

/// A pair of nodes in either order.
fn pair(a: Node, b: Node) -> [Node; 2] {
    [a.min(b), a.max(b)]
}

/// One running node.
#[derive(Debug)]
pub(in crate::overlay) struct Host {
    run: u32,
    pub(in crate::overlay) since: Instant,
    pub(in crate::overlay) views: Views<Node>,
    pub(in crate::overlay) trees: Trees<Node>,
    pub(in crate::overlay) delivered: Vec<Delivery<Node>>,
    pub(in crate::overlay) gaps: Vec<Gap<Node>>,
    pub(in crate::overlay) offences: Vec<(Node, Offence)>,
    /// The payloads that it has received, for each of which it had one already or not.
    pub(in crate::overlay) payloads: usize,
    ids: BTreeSet<MessageId<Node>>,
}

impl Host {
    fn next_tick(&self, now: Instant) -> Option<Instant> {
        let due = [self.views.next_tick(now), self.trees.next_tick()];
        due.into_iter().flatten().min()
    }

    pub(in crate::overlay) fn has(&self, id: &MessageId<Node>) -> bool {
        self.ids.contains(id) || id.author == *self.trees.me()
    }

    /// Checks what holds for deliveries at any time.
    fn note(&mut self, delivery: Delivery<Node>) {
        let node = self.views.me();
        assert!(self.ids.insert(delivery.id.clone()), "{node}: {:?} comes twice", delivery.id);
        self.delivered.push(delivery);
    }
}

/// What a hostile node answers to a message of a tree.
pub(in crate::overlay) type Hostile = fn(TreesMessage<Node>) -> Vec<TreesMessage<Node>>;

#[derive(Clone, Debug)]
enum Wire {
    Views(ViewsMessage<Node>),
    Trees(TreesMessage<Node>),
}

#[derive(Debug)]
enum Arrival {
    /// It arrives if the link is still there.
    Message { from: Node, to: Node, link: u64, message: Wire },
    /// Both ends notice that the link is broken.
    Break { ends: [Node; 2], link: u64 },
    /// A node notices that a link has ended, or that a dial failed.
    Unreachable { at: Node, peer: Node, run: u32 },
}

/// A network: what each node sends arrives in order after about 25 ms. A dead node refuses dials,
/// and a partition swallows them.
pub(in crate::overlay) struct Network {
    config: ViewsConfig,
    pub(in crate::overlay) trees: TreesConfig,
    pub(in crate::overlay) now: Instant,
    pub(in crate::overlay) dice: Dice,
    pub(in crate::overlay) nodes: BTreeMap<Node, Host>,
    arrivals: BTreeMap<(Instant, u64), Arrival>,
    /// When the last message of a stream arrives: control messages are not behind payloads.
    last: BTreeMap<(Node, Node, bool), Instant>,
    /// The open links of pairs, the smaller node first.
    links: BTreeMap<[Node; 2], u64>,
    sent: u64,
    runs: u32,
    /// The nodes on one side of a partition; empty if there is none.
    pub(in crate::overlay) side: BTreeSet<Node>,
    /// The hostile nodes. Their own trees send nothing.
    pub(in crate::overlay) hostile: BTreeMap<Node, Hostile>,
    /// The neighbours that each node has reported.
    reported: BTreeMap<Node, BTreeSet<Node>>,
    pub(in crate::overlay) events: usize,
}

impl Network {
    pub(in crate::overlay) fn new(config: ViewsConfig, seed: u64) -> Self {
        Self {
            config,
            trees: TreesConfig::default(),
            now: crate::time::now(),
            dice: Dice::new(seed),
            nodes: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            last: BTreeMap::new(),
            links: BTreeMap::new(),
            sent: 0,
            runs: 0,
            side: BTreeSet::new(),
            hostile: BTreeMap::new(),
            reported: BTreeMap::new(),
            events: 0,
        }
    }

    /// Starts a node, again if it ran before. It joins by node 0.
    pub(in crate::overlay) fn start(&mut self, node: Node) {
        self.end(node);
        self.runs += 1;
        let mut views = Views::new(node, self.config, self.dice.next(), self.now);
        views.add_contact(0, self.now);
        let trees = Trees::new(node, u64::from(self.runs), self.trees, self.now);
        let host = Host {
            run: self.runs,
            since: self.now,
            views,
            trees,
            delivered: Vec::new(),
            gaps: Vec::new(),
            offences: Vec::new(),
            payloads: 0,
            ids: BTreeSet::new(),
        };
        self.nodes.insert(node, host);
        self.reported.insert(node, BTreeSet::new());
        self.carry_out(node);
    }

    /// Ends a node without a word. The other ends of its links notice.
    pub(in crate::overlay) fn end(&mut self, node: Node) {
        self.nodes.remove(&node);
        let broken: Vec<_> =
            self.links.keys().filter(|ends| ends.contains(&node)).copied().collect();
        for ends in broken {
            self.links.remove(&ends);
            ends.into_iter()
                .for_each(|end| self.unreachable(end, ends[0] ^ ends[1] ^ end, 25 * MS));
        }
    }

    pub(in crate::overlay) fn leave(&mut self, node: Node) {
        if let Some(host) = self.nodes.get_mut(&node) {
            host.views.leave(self.now);
            self.carry_out(node);
            // What it has said arrives before the end of its links.
            self.run(30 * MS);
            self.end(node);
        }
    }

    /// Breaks the link of two nodes, if they have one. What is under way on it is lost.
    pub(in crate::overlay) fn cut(&mut self, a: Node, b: Node, after: Duration) {
        let ends = pair(a, b);
        if let Some(link) = self.links.get(&ends) {
            self.sent += 1;
            let arrival = Arrival::Break { ends, link: *link };
            self.arrivals.insert((self.now + after, self.sent), arrival);
        }
    }

    pub(in crate::overlay) fn partition(&mut self, side: BTreeSet<Node>) {
        self.side = side;
        let all: Vec<_> = self.links.keys().copied().collect();
        for [a, b] in all {
            if self.parted(a, b) {
                self.cut(a, b, KEEP_ALIVE);
            }
        }
    }

    fn parted(&self, a: Node, b: Node) -> bool {
        !self.side.is_empty() && self.side.contains(&a) != self.side.contains(&b)
    }

    fn unreachable(&mut self, at: Node, peer: Node, after: Duration) {
        let Some(host) = self.nodes.get(&at) else { return };
        let arrival = Arrival::Unreachable { at, peer, run: host.run };
        self.sent += 1;
        self.arrivals.insert((self.now + after, self.sent), arrival);
    }

    /// Does what a node asks for, and checks what holds at any time.
    fn carry_out(&mut self, node: Node) {
        let mut outputs = Vec::new();
        let Some(Host { views, .. }) = self.nodes.get_mut(&node) else { return };
        while let Some(output) = views.poll() {
            outputs.push(output);
        }
        let active: BTreeSet<_> = views.active().copied().collect();
        let passive: BTreeSet<_> = views.passive().copied().collect();
        assert!(active.len() <= self.config.active_limit, "{node}: {active:?}");
        assert!(passive.len() <= self.config.passive_limit, "{node}: {passive:?}");
        assert!(active.is_disjoint(&passive), "{node}: {active:?} {passive:?}");
        assert!(!active.contains(&node) && !passive.contains(&node));
        for output in outputs {
            match output {
                ViewsOutput::Send { to, message } => self.send(node, to, Wire::Views(message)),
                ViewsOutput::Event(ViewsEvent::NeighborUp(peer)) => {
                    self.events += 1;
                    let new = self.reported.get_mut(&node).unwrap().insert(peer);
                    assert!(new, "{node}: {peer} is up twice");
                    self.nodes.get_mut(&node).unwrap().trees.neighbor_up(peer, self.now);
                }
                ViewsOutput::Event(ViewsEvent::NeighborDown(peer, _)) => {
                    self.events += 1;
                    let known = self.reported.get_mut(&node).unwrap().remove(&peer);
                    assert!(known, "{node}: {peer} is down and was not up");
                    self.nodes.get_mut(&node).unwrap().trees.neighbor_down(&peer, self.now);
                }
                ViewsOutput::Event(ViewsEvent::Joined | ViewsEvent::Alone) => {}
            }
        }
        assert_eq!(self.reported[&node], active, "{node}");
        self.carry_out_trees(node);
    }

    fn carry_out_trees(&mut self, node: Node) {
        let mut sends = Vec::new();
        let host = self.nodes.get_mut(&node).unwrap();
        while let Some(output) = host.trees.poll() {
            match output {
                TreesOutput::Send { to, message } => sends.push((to, message)),
                TreesOutput::Deliver(delivery) => host.note(delivery),
                TreesOutput::Gap(gap) => host.gaps.push(gap),
                TreesOutput::Event(TreesEvent::Useful { peer, useful }) => {
                    host.views.set_useful(&peer, useful);
                }
                TreesOutput::Event(TreesEvent::Misbehaves { peer, offence }) => {
                    host.offences.push((peer, offence));
                }
            }
        }
        if !self.hostile.contains_key(&node) {
            sends.into_iter().for_each(|(to, message)| self.send_tree(node, to, message));
        }
    }

    /// Sends a message of a tree over the link, if there is one. Payloads may take longer.
    pub(in crate::overlay) fn send_tree(
        &mut self,
        from: Node,
        to: Node,
        message: TreesMessage<Node>,
    ) {
        if self.links.contains_key(&pair(from, to)) {
            self.send(from, to, Wire::Trees(message));
        }
    }

    /// Publishes a message of a node.
    pub(in crate::overlay) fn publish(
        &mut self,
        node: Node,
        payload: &'static str,
    ) -> MessageId<Node> {
        let payload = Bytes::from_static(payload.as_bytes());
        let host = self.nodes.get_mut(&node).unwrap();
        let id = host.trees.publish(payload, |_, _| Bytes::new(), self.now).unwrap();
        self.carry_out(node);
        id
    }

    fn send(&mut self, from: Node, to: Node, message: Wire) {
        let ends = pair(from, to);
        self.sent += 1;
        let link = match self.links.get(&ends) {
            Some(link) => *link,
            None if self.parted(from, to) => return self.unreachable(from, to, DIAL),
            None if !self.nodes.contains_key(&to) => return self.unreachable(from, to, 25 * MS),
            None => {
                self.links.insert(ends, self.sent);
                self.sent
            }
        };
        if self.parted(from, to) {
            return;
        }
        let takes = 22 * MS + MS * u32::try_from(self.dice.below(6)).unwrap();
        let bulk = matches!(&message, Wire::Trees(message) if !message.is_control());
        let stream = (from, to, bulk);
        let at = (self.now + takes).max(self.last.get(&stream).map_or(self.now, |at| *at));
        self.last.insert(stream, at);
        let message = Arrival::Message { from, to, link, message };
        self.arrivals.insert((at, self.sent), message);
    }

    /// Lets the time pass.
    pub(in crate::overlay) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let arrival = self.arrivals.first_key_value().map(|((at, _), _)| *at);
            let ticks = self.nodes.iter().filter_map(|(node, host)| {
                host.next_tick(self.now).map(|at| (at.max(self.now), *node))
            });
            let tick = ticks.min();
            match (arrival, tick) {
                (Some(at), tick) if at <= until && tick.is_none_or(|(due, _)| at <= due) => {
                    self.now = self.now.max(at);
                    let (_, arrival) = self.arrivals.pop_first().unwrap();
                    self.arrive(arrival);
                }
                (_, Some((due, node))) if due <= until => {
                    self.now = due;
                    let host = self.nodes.get_mut(&node).unwrap();
                    host.views.tick(due);
                    host.trees.tick(due);
                    self.carry_out(node);
                    // A tick that does nothing would be due for ever.
                    let next = self.nodes[&node].next_tick(self.now);
                    assert!(next.is_none_or(|next| next > due), "{node} does not do what is due");
                }
                _ => break,
            }
        }
        self.now = until;
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Message { from, to, link, message } => {
                let there = self.links.get(&pair(from, to)) == Some(&link);
                if there
                    && !self.parted(from, to)
                    && let Some(host) = self.nodes.get_mut(&to)
                {
                    match message {
                        Wire::Views(message) => host.views.receive(&from, message, self.now),
                        Wire::Trees(message) => {
                            host.payloads += usize::from(!message.is_control());
                            if let Some(answer) = self.hostile.get(&to) {
                                for message in answer(message) {
                                    self.send_tree(to, from, message);
                                }
                                return;
                            }
                            host.trees.receive(&from, message, self.now);
                        }
                    }
                    self.carry_out(to);
                }
            }
            Arrival::Break { ends: [a, b], link } => {
                if self.links.get(&[a, b]) == Some(&link) {
                    self.links.remove(&[a, b]);
                    for (at, peer) in [(a, b), (b, a)] {
                        if let Some(host) = self.nodes.get_mut(&at) {
                            host.views.unreachable(&peer, self.now);
                        }
                    }
                    self.carry_out(a);
                    self.carry_out(b);
                }
            }
            Arrival::Unreachable { at, peer, run } => {
                let linked = self.links.contains_key(&pair(at, peer));
                if let Some(host) = self.nodes.get_mut(&at)
                    && host.run == run
                    && !linked
                {
                    host.views.unreachable(&peer, self.now);
                    self.carry_out(at);
                }
            }
        }
    }

    /// The nodes that a node reaches over neighbours.
    fn component(&self, of: Node) -> BTreeSet<Node> {
        let mut found = BTreeSet::from([of]);
        let mut next = VecDeque::from([of]);
        while let Some(node) = next.pop_front() {
            for peer in self.nodes[&node].views.active() {
                if self.nodes.contains_key(peer) && found.insert(*peer) {
                    next.push_back(*peer);
                }
            }
        }
        found
    }

    /// Neighbours of which only one has the other.
    fn one_sided(&self) -> BTreeSet<(Node, Node)> {
        let lists = |of: &Node, peer: &Node| {
            self.nodes.get(of).is_some_and(|host| host.views.is_neighbor(peer))
        };
        let pairs = self
            .nodes
            .iter()
            .flat_map(|(node, host)| host.views.active().map(|peer| (*node, *peer)));
        pairs.filter(|(node, peer)| !lists(peer, node)).collect()
    }

    pub(in crate::overlay) fn assert_whole(&mut self, what: &str) {
        let all: BTreeSet<_> = self.nodes.keys().copied().collect();
        for (node, host) in &self.nodes {
            assert!(
                all.len() < 2 || host.views.active().next().is_some(),
                "{what}: {node} is alone"
            );
        }
        if let Some(first) = all.first() {
            assert_eq!(self.component(*first), all, "{what}: two components");
        }
        // An answer may be under way.
        let before = self.one_sided();
        self.run(200 * MS);
        let lasting: Vec<_> = before.intersection(&self.one_sided()).copied().collect();
        assert!(lasting.is_empty(), "{what}: one-sided {lasting:?}");
    }
}

/// Nodes that join by one contact, one after the other or at once.
pub(in crate::overlay) fn joined(
    config: ViewsConfig,
    count: Node,
    at_once: bool,
    seed: u64,
) -> Network {
    let mut network = Network::new(config, seed);
    for node in 0..count {
        network.start(node);
        if !at_once {
            network.run(20 * MS);
        }
    }
    network
}

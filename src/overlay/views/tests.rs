//! Networks of views, under faults drawn from a seed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::*;
use crate::overlay::dice::Dice;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How long a dial to a node that does not answer takes.
const DIAL: Duration = Duration::from_secs(5);

/// How long the ends of a partitioned link take to notice.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

type Node = u32;

/// A pair of nodes in either order.
fn pair(a: Node, b: Node) -> [Node; 2] {
    [a.min(b), a.max(b)]
}

#[derive(Debug)]
enum Arrival {
    /// It arrives if the link is still there.
    Message { from: Node, to: Node, link: u64, message: ViewsMessage<Node> },
    /// Both ends notice that the link is broken.
    Break { ends: [Node; 2], link: u64 },
    /// A node notices that a link has ended, or that a dial failed.
    Unreachable { at: Node, peer: Node, run: u32 },
}

/// A network: what each node sends arrives in order after about 25 ms. A dead node refuses dials,
/// and a partition swallows them.
struct Network {
    config: ViewsConfig,
    now: Instant,
    dice: Dice,
    nodes: BTreeMap<Node, (u32, Views<Node>)>,
    arrivals: BTreeMap<(Instant, u64), Arrival>,
    last: BTreeMap<(Node, Node), Instant>,
    /// The open links of pairs, the smaller node first.
    links: BTreeMap<[Node; 2], u64>,
    sent: u64,
    runs: u32,
    /// The nodes on one side of a partition; empty if there is none.
    side: BTreeSet<Node>,
    /// The neighbours that each node has reported.
    reported: BTreeMap<Node, BTreeSet<Node>>,
    events: usize,
}

impl Network {
    fn new(config: ViewsConfig, seed: u64) -> Self {
        Self {
            config,
            now: crate::time::now(),
            dice: Dice::new(seed),
            nodes: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            last: BTreeMap::new(),
            links: BTreeMap::new(),
            sent: 0,
            runs: 0,
            side: BTreeSet::new(),
            reported: BTreeMap::new(),
            events: 0,
        }
    }

    /// Starts a node, again if it ran before. It joins by node 0.
    fn start(&mut self, node: Node) {
        self.end(node);
        self.runs += 1;
        let mut views = Views::new(node, self.config, self.dice.next(), self.now);
        views.add_contact(0, self.now);
        self.nodes.insert(node, (self.runs, views));
        self.reported.insert(node, BTreeSet::new());
        self.carry_out(node);
    }

    /// Ends a node without a word. The other ends of its links notice.
    fn end(&mut self, node: Node) {
        self.nodes.remove(&node);
        let broken: Vec<_> =
            self.links.keys().filter(|ends| ends.contains(&node)).copied().collect();
        for ends in broken {
            self.links.remove(&ends);
            ends.into_iter()
                .for_each(|end| self.unreachable(end, ends[0] ^ ends[1] ^ end, 25 * MS));
        }
    }

    fn leave(&mut self, node: Node) {
        if let Some((_, views)) = self.nodes.get_mut(&node) {
            views.leave(self.now);
            self.carry_out(node);
            // What it has said arrives before the end of its links.
            self.run(30 * MS);
            self.end(node);
        }
    }

    /// Breaks the link of two nodes, if they have one. What is under way on it is lost.
    fn cut(&mut self, a: Node, b: Node, after: Duration) {
        let ends = pair(a, b);
        if let Some(link) = self.links.get(&ends) {
            self.sent += 1;
            let arrival = Arrival::Break { ends, link: *link };
            self.arrivals.insert((self.now + after, self.sent), arrival);
        }
    }

    fn partition(&mut self, side: BTreeSet<Node>) {
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
        let Some((run, _)) = self.nodes.get(&at) else { return };
        let arrival = Arrival::Unreachable { at, peer, run: *run };
        self.sent += 1;
        self.arrivals.insert((self.now + after, self.sent), arrival);
    }

    /// Does what a node asks for, and checks what holds at any time.
    fn carry_out(&mut self, node: Node) {
        let mut outputs = Vec::new();
        let Some((_, views)) = self.nodes.get_mut(&node) else { return };
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
                ViewsOutput::Send { to, message } => self.send(node, to, message),
                ViewsOutput::Event(ViewsEvent::NeighborUp(peer)) => {
                    self.events += 1;
                    let new = self.reported.get_mut(&node).unwrap().insert(peer);
                    assert!(new, "{node}: {peer} is up twice");
                }
                ViewsOutput::Event(ViewsEvent::NeighborDown(peer, _)) => {
                    self.events += 1;
                    let known = self.reported.get_mut(&node).unwrap().remove(&peer);
                    assert!(known, "{node}: {peer} is down and was not up");
                }
                ViewsOutput::Event(ViewsEvent::Joined | ViewsEvent::Alone) => {}
            }
        }
        assert_eq!(self.reported[&node], active, "{node}");
    }

    fn send(&mut self, from: Node, to: Node, message: ViewsMessage<Node>) {
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
        let at = (self.now + takes).max(self.last.get(&(from, to)).map_or(self.now, |at| *at));
        self.last.insert((from, to), at);
        let message = Arrival::Message { from, to, link, message };
        self.arrivals.insert((at, self.sent), message);
    }

    /// Lets the time pass.
    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let arrival = self.arrivals.first_key_value().map(|((at, _), _)| *at);
            let ticks = self.nodes.iter().filter_map(|(node, (_, views))| {
                views.next_tick(self.now).map(|at| (at.max(self.now), *node))
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
                    self.nodes.get_mut(&node).unwrap().1.tick(due);
                    self.carry_out(node);
                    // A tick that does nothing would be due for ever.
                    let next = self.nodes[&node].1.next_tick(self.now);
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
                    && let Some((_, views)) = self.nodes.get_mut(&to)
                {
                    views.receive(&from, message, self.now);
                    self.carry_out(to);
                }
            }
            Arrival::Break { ends: [a, b], link } => {
                if self.links.get(&[a, b]) == Some(&link) {
                    self.links.remove(&[a, b]);
                    for (at, peer) in [(a, b), (b, a)] {
                        if let Some((_, views)) = self.nodes.get_mut(&at) {
                            views.unreachable(&peer, self.now);
                        }
                    }
                    self.carry_out(a);
                    self.carry_out(b);
                }
            }
            Arrival::Unreachable { at, peer, run } => {
                let linked = self.links.contains_key(&pair(at, peer));
                if let Some((now_run, views)) = self.nodes.get_mut(&at)
                    && *now_run == run
                    && !linked
                {
                    views.unreachable(&peer, self.now);
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
            for peer in self.nodes[&node].1.active() {
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
            self.nodes.get(of).is_some_and(|(_, views)| views.is_neighbor(peer))
        };
        let pairs = self
            .nodes
            .iter()
            .flat_map(|(node, (_, views))| views.active().map(|peer| (*node, *peer)));
        pairs.filter(|(node, peer)| !lists(peer, node)).collect()
    }

    fn assert_whole(&mut self, what: &str) {
        let all: BTreeSet<_> = self.nodes.keys().copied().collect();
        for (node, (_, views)) in &self.nodes {
            assert!(all.len() < 2 || views.active().next().is_some(), "{what}: {node} is alone");
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
fn joined(config: ViewsConfig, count: Node, at_once: bool, seed: u64) -> Network {
    let mut network = Network::new(config, seed);
    for node in 0..count {
        network.start(node);
        if !at_once {
            network.run(20 * MS);
        }
    }
    network
}

#[test]
fn no_node_is_alone_after_all_have_joined_by_one_contact() {
    for count in [2, 3, 12, 50, 160] {
        for active in [4, 8] {
            for at_once in [false, true] {
                let config = ViewsConfig::default().with_active(active);
                let mut network = joined(config, count, at_once, u64::from(count));
                network.run(5 * SECOND);
                network.assert_whole(&format!("{count} nodes, {active}, at once: {at_once}"));
            }
        }
    }
}

/// Whatever happens to networks of joined nodes, they are whole after it.
fn whole_after(seeds: u64, (count, at_once): (Node, bool), happens: impl Fn(&mut Network)) {
    for seed in 0..seeds {
        let mut network = joined(ViewsConfig::default(), count, at_once, seed);
        happens(&mut network);
        network.assert_whole(&format!("seed {seed}"));
    }
}

#[test]
fn the_network_is_whole_however_many_nodes_leave_while_others_join() {
    whole_after(20, (30, true), |network| {
        for node in 1..20 {
            network.run(50 * MS);
            network.leave(node);
        }
        network.run(10 * SECOND);
    });
}

#[test]
fn the_survivors_of_four_fifths_are_one_network_within_two_seconds() {
    whole_after(5, (150, false), |network| {
        network.run(60 * SECOND);
        (1..120).for_each(|node| network.end(node));
        network.run(2 * SECOND);
    });
}

#[test]
fn the_halves_of_a_partition_are_one_network_ten_seconds_after_its_end_without_an_event_storm() {
    for seed in 0..5 {
        let mut network = joined(ViewsConfig::default(), 60, false, seed);
        network.run(30 * SECOND);
        network.partition((0..30).collect());
        let before = network.events;
        network.run(60 * SECOND);
        network.side.clear();
        network.run(10 * SECOND);
        network.assert_whole(&format!("seed {seed}"));
        network.run(60 * SECOND);
        let each = (network.events - before) / 60;
        assert!(each <= 40, "seed {seed}: {each} events for each node");
    }
}

#[test]
fn whatever_happens_no_node_is_alone_twenty_seconds_after_the_last_fault() {
    for seed in 0..30 {
        let mut dice = Dice::new(seed);
        let count = 3 + Node::try_from(dice.below(30)).unwrap();
        let config = ViewsConfig::default().with_active(4 + dice.below(5));
        let mut network = joined(config, count, dice.below(2) == 0, seed);
        network.run(10 * SECOND);
        for _ in 0..40 {
            let node = |dice: &mut Dice| Node::try_from(dice.below(count as usize)).unwrap();
            match dice.below(8) {
                0 | 1 => network.cut(node(&mut dice), node(&mut dice), MS),
                2 => network.end(1 + node(&mut dice)),
                3 | 4 => network.start(node(&mut dice)),
                5 => network.leave(1 + node(&mut dice)),
                6 => {
                    let side = (0..count).filter(|_| dice.below(2) == 0).collect();
                    network.partition(side);
                    network.run(SECOND * u32::try_from(1 + dice.below(8)).unwrap());
                    network.side.clear();
                }
                _ => network.run(SECOND * u32::try_from(dice.below(10)).unwrap()),
            }
            network.run(MS * u32::try_from(dice.below(500)).unwrap());
        }
        network.run(20 * SECOND);
        network.assert_whole(&format!("seed {seed}"));
    }
}

#[test]
fn messages_of_strangers_change_no_neighbours_and_fill_no_memory() {
    let now = crate::time::now();
    let mut views: Views<Node> = Views::new(0, ViewsConfig::default(), 1, now);
    let mut dice = Dice::new(3);
    for n in 0..20_000_u32 {
        let from = 1_000 + n % 50;
        let peers: Vec<_> =
            (0..100).map(|_| 10_000 + Node::try_from(dice.below(100_000)).unwrap()).collect();
        let (origin, token, walk) = (from, u64::from(n), 200);
        let message = match dice.below(6) {
            0 => ViewsMessage::ForwardJoin { joiner: 10_000 + n, walk },
            1 => ViewsMessage::Accept { peers },
            2 => ViewsMessage::Refuse { peers },
            3 => ViewsMessage::Disconnect { peers },
            4 => ViewsMessage::Shuffle { origin, token, walk, peers },
            _ => ViewsMessage::ShuffleReply { token, peers },
        };
        views.receive(&from, message, now);
        while views.poll().is_some() {}
    }
    let config = ViewsConfig::default();
    assert!(views.active().count() <= config.active_limit);
    assert!(views.passive().count() <= config.passive_limit);
    assert!(views.asked.len() <= 2 * config.active_limit);
}

#[test]
fn peers_of_one_group_take_a_quarter_of_each_view() {
    let now = crate::time::now();
    let group = |peer: &Node| (*peer >= 100).then_some(1);
    let config = ViewsConfig::default();
    let mut views = Views::new(0, config, 1, now).with_groups(group);
    for peer in (1..=6).chain(100..200) {
        views.receive(&peer, ViewsMessage::Join, now);
        views.receive(&peer, ViewsMessage::Refuse { peers: Vec::new() }, now);
    }
    let crowd = |peers: Vec<Node>| peers.into_iter().filter(|peer| *peer >= 100).count();
    assert!(crowd(views.active().copied().collect()) <= 2);
    assert_eq!(views.active().filter(|peer| **peer < 100).count(), 6, "none made room for them");
    for peer in 200..300 {
        views.add_passive(peer);
    }
    assert!(crowd(views.passive().copied().collect()) <= 12);
}

/// The messages that a node sends to a peer, without their samples.
fn answers(views: &mut Views<Node>, peer: Node) -> Vec<ViewsMessage<Node>> {
    let mut answers = Vec::new();
    while let Some(output) = views.poll() {
        if let ViewsOutput::Send { to, mut message } = output
            && to == peer
        {
            if let ViewsMessage::Accept { peers }
            | ViewsMessage::Refuse { peers }
            | ViewsMessage::Disconnect { peers } = &mut message
            {
                peers.clear();
            }
            answers.push(message);
        }
    }
    answers
}

#[test]
fn a_full_node_takes_in_who_joins_or_has_few_neighbours_and_refuses_the_others() {
    let now = crate::time::now();
    let full = || {
        let mut views = Views::new(0, ViewsConfig::default(), 1, now);
        (1..=8).for_each(|peer| views.receive(&peer, ViewsMessage::Join, now));
        while views.poll().is_some() {}
        views
    };
    let accepts = ViewsMessage::Accept { peers: Vec::new() };
    let refuses = ViewsMessage::Refuse { peers: Vec::new() };
    for (message, answer, is_neighbor) in [
        (ViewsMessage::Join, &accepts, true),
        (ViewsMessage::Neighbor { priority: Priority::High }, &accepts, true),
        (ViewsMessage::Neighbor { priority: Priority::Low }, &refuses, false),
    ] {
        let mut views = full();
        views.receive(&9, message.clone(), now);
        assert_eq!(answers(&mut views, 9), std::slice::from_ref(answer), "{message:?}");
        assert_eq!(views.is_neighbor(&9), is_neighbor, "{message:?}");
        assert_eq!(views.active().count(), 8);
        // The neighbour that made room, or the node that was refused, may be asked later.
        assert_eq!(views.passive().count(), 1);
    }
}

#[test]
fn a_lost_neighbour_is_asked_again_with_growing_pauses() {
    let mut now = crate::time::now();
    let mut views = Views::new(0, ViewsConfig::default(), 1, now);
    (1..=8).for_each(|peer| views.receive(&peer, ViewsMessage::Join, now));
    views.unreachable(&5, now);
    while views.poll().is_some() {}
    let (begun, mut asked) = (now, Vec::new());
    while asked.len() < 6 {
        now = views.next_tick(now).unwrap().max(now);
        views.tick(now);
        let high = ViewsMessage::Neighbor { priority: Priority::High };
        if answers(&mut views, 5).contains(&high) {
            asked.push((now - begun).as_secs_f64());
            views.unreachable(&5, now);
        }
        assert!(now - begun < 60 * SECOND, "{asked:?}");
    }
    let pauses: Vec<_> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    assert!((0.8..=1.2).contains(&asked[0]), "{asked:?}");
    assert!(pauses.iter().all(|pause| (0.8..=4.8).contains(pause)), "{pauses:?}");
    assert!(pauses.last().unwrap() > &3.0, "{pauses:?}");
}

#[test]
fn a_neighbour_may_send_256_walks_at_once_and_then_64_a_second() {
    let now = crate::time::now();
    let mut views = Views::new(0, ViewsConfig::default(), 1, now);
    (1..=2).for_each(|peer| views.receive(&peer, ViewsMessage::Join, now));
    while views.poll().is_some() {}
    let mut passed_on = |now| {
        for joiner in 100..1_000 {
            views.receive(&1, ViewsMessage::ForwardJoin { joiner, walk: 6 }, now);
        }
        answers(&mut views, 2).len()
    };
    assert_eq!([passed_on(now), passed_on(now + SECOND)], [256, 64]);
}

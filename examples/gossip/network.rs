//! The simulated network: nodes with views and trees, and a queue of what arrives when.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use actix_peer::overlay::{
    trees::{Delivery, Trees, TreesConfig, TreesEvent, TreesMessage, TreesOutput},
    views::{Views, ViewsConfig, ViewsEvent, ViewsMessage, ViewsOutput},
};
use bytes::Bytes;
use indexmap::IndexMap;

use crate::traffic::Traffic;

pub(crate) type Id = u32;

/// The mean time of a message from one node to another, in microseconds. 25 ms.
const HOP: u64 = 25_000;
/// How far a time is from the mean at most, in microseconds. 10 %.
const SPREAD: u64 = 2_500;
/// How long a dial into the other part of a partitioned network takes to fail.
const DIAL: Duration = Duration::from_secs(5);
/// How long the ends of a partitioned link take to notice.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// The size of a payload. Only its length counts.
const PAYLOAD: &[u8] = &[0; 2_048];

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) views: Views<Id>,
    pub(crate) trees: Trees<Id>,
    pub(crate) alive: bool,
    /// It takes part in the views and forwards no message of the tree.
    pub(crate) silent: bool,
    /// The part of a partitioned network.
    side: bool,
    /// When the last message to a peer arrives, apart for payloads: links keep the order.
    last: IndexMap<(Id, bool), u64>,
    /// The time of the tick that is in the queue.
    tick: Option<u64>,
}

enum Wire {
    Views(ViewsMessage<Id>),
    Trees(TreesMessage<Id>),
}

enum Arrival {
    Message { from: Id, to: Id, wire: Wire },
    Unreachable { at: Id, peer: Id },
    Tick(Id),
}

/// A queue of arrivals by time. Those of one time keep their order.
#[derive(Default)]
struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Arrival>>,
    free: Vec<usize>,
    pushed: u64,
}

impl Queue {
    fn push(&mut self, at: u64, arrival: Arrival) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(arrival);
        self.pushed += 1;
        self.heap.push(Reverse((at, self.pushed, slot)));
    }

    fn pop(&mut self, until: u64) -> Option<(u64, Arrival)> {
        let Reverse((at, _, slot)) = *self.heap.peek()?;
        if at > until {
            return None;
        }
        self.heap.pop();
        self.free.push(slot);
        Some((at, self.slots[slot].take()?))
    }
}

pub(crate) struct Network {
    begin: Instant,
    /// The time since the beginning, in microseconds.
    pub(crate) now: u64,
    views: ViewsConfig,
    trees: TreesConfig,
    pub(crate) rng: fastrand::Rng,
    pub(crate) nodes: Vec<Node>,
    queue: Queue,
    pub(crate) parted: bool,
    /// Whether the views stand still, so that nothing is repaired.
    pub(crate) frozen: bool,
    /// What has arrived for the frozen views.
    deferred: Vec<Arrival>,
    pub(crate) traffic: Traffic,
    /// The neighbours that came and went.
    pub(crate) changes: u64,
    pub(crate) offences: u64,
}

impl Network {
    pub(crate) fn new(views: ViewsConfig, trees: TreesConfig, seed: u64) -> Self {
        Self {
            begin: tokio::time::Instant::now().into_std(),
            now: 0,
            views,
            trees,
            rng: fastrand::Rng::with_seed(seed),
            nodes: Vec::new(),
            queue: Queue::default(),
            parted: false,
            frozen: false,
            deferred: Vec::new(),
            traffic: Traffic::default(),
            changes: 0,
            offences: 0,
        }
    }

    fn instant(&self) -> Instant {
        self.begin + Duration::from_micros(self.now)
    }

    /// Starts a node, which joins by node 0.
    pub(crate) fn start(&mut self, silent: bool) {
        let id = id_of(self.nodes.len());
        let now = self.instant();
        let mut views = Views::new(id, self.views, self.rng.u64(..), now);
        views.add_contact(0, now);
        let trees = Trees::new(id, 1, self.trees, now);
        let last = IndexMap::new();
        let side = self.rng.bool();
        self.nodes.push(Node { views, trees, alive: true, silent, side, last, tick: None });
        if id > 0 {
            self.nodes[id as usize].views.tick(now);
        }
        self.carry_out(id);
    }

    /// Ends nodes without a word. The other ends of their links notice after a hop.
    pub(crate) fn kill(&mut self, killed: &[Id]) {
        for id in killed {
            self.nodes[*id as usize].alive = false;
        }
        for id in killed {
            let ends: Vec<_> = self.nodes[*id as usize].views.active().copied().collect();
            for end in ends {
                self.unreachable(end, *id, Duration::from_micros(HOP));
            }
        }
    }

    /// Parts the network in two. The ends of the links between them notice after a while.
    pub(crate) fn part(&mut self) {
        self.parted = true;
        for at in 0..id_of(self.nodes.len()) {
            let cut = self.nodes[at as usize].views.active().copied();
            let cut: Vec<_> = cut.filter(|peer| self.are_apart(at, *peer)).collect();
            for peer in cut {
                self.unreachable(at, peer, KEEP_ALIVE);
            }
        }
    }

    fn are_apart(&self, a: Id, b: Id) -> bool {
        self.parted && self.nodes[a as usize].side != self.nodes[b as usize].side
    }

    fn unreachable(&mut self, at: Id, peer: Id, after: Duration) {
        self.queue.push(self.now + micros(after), Arrival::Unreachable { at, peer });
    }

    /// Publishes a message of a node.
    pub(crate) fn publish(&mut self, author: Id) {
        let now = self.instant();
        let trees = &mut self.nodes[author as usize].trees;
        let published = trees.publish(Bytes::from_static(PAYLOAD), |_, _| Bytes::new(), now);
        if let Ok(id) = published {
            self.traffic.published(id, self.now, self.nodes.len());
        }
        self.carry_out(author);
    }

    /// Lets the views go on. What they have missed arrives now.
    pub(crate) fn thaw(&mut self) {
        self.frozen = false;
        for arrival in std::mem::take(&mut self.deferred) {
            self.queue.push(self.now, arrival);
        }
    }

    /// Lets the time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + micros(time);
        while let Some((at, arrival)) = self.queue.pop(until) {
            self.now = at;
            self.arrive(arrival);
        }
        self.now = until;
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = self.instant();
        let at = match arrival {
            Arrival::Message { to, .. } => to,
            Arrival::Unreachable { at, .. } | Arrival::Tick(at) => at,
        };
        if !self.nodes[at as usize].alive {
            return;
        }
        if self.frozen
            && matches!(
                arrival,
                Arrival::Message { wire: Wire::Views(_), .. } | Arrival::Unreachable { .. }
            )
        {
            self.deferred.push(arrival);
            return;
        }
        if let Arrival::Message { from, to, .. } = arrival
            && self.are_apart(from, to)
        {
            return;
        }
        let node = &mut self.nodes[at as usize];
        match arrival {
            Arrival::Message { from, wire: Wire::Views(message), .. } => {
                node.views.receive(&from, message, now);
            }
            Arrival::Message { from, wire: Wire::Trees(message), .. } => {
                self.traffic.arrived(message.is_control(), node.silent);
                if node.silent {
                    return;
                }
                node.trees.receive(&from, message, now);
            }
            Arrival::Unreachable { peer, .. } => node.views.unreachable(&peer, now),
            Arrival::Tick(_) => {
                // Another one may have been planned for an earlier time.
                if node.tick != Some(self.now) {
                    return;
                }
                node.tick = None;
                if !self.frozen {
                    node.views.tick(now);
                }
                node.trees.tick(now);
            }
        }
        self.carry_out(at);
    }

    /// Does what a node asks for.
    fn carry_out(&mut self, at: Id) {
        let now = self.instant();
        while let Some(output) = self.nodes[at as usize].views.poll() {
            let trees = &mut self.nodes[at as usize].trees;
            match output {
                ViewsOutput::Send { to, message } => self.send(at, to, Wire::Views(message)),
                ViewsOutput::Event(ViewsEvent::NeighborUp(peer)) => {
                    trees.neighbor_up(peer, now);
                    self.changes += 1;
                }
                ViewsOutput::Event(ViewsEvent::NeighborDown(peer, _)) => {
                    trees.neighbor_down(&peer, now);
                    self.changes += 1;
                }
                _ => {}
            }
        }
        while let Some(output) = self.nodes[at as usize].trees.poll() {
            let node = &mut self.nodes[at as usize];
            match output {
                TreesOutput::Send { to, message } if !node.silent => {
                    self.send(at, to, Wire::Trees(message));
                }
                TreesOutput::Deliver(delivery) => self.delivered(at, &delivery),
                TreesOutput::Gap(_) => self.traffic.gaps += 1,
                TreesOutput::Event(TreesEvent::Useful { peer, useful }) => {
                    node.views.set_useful(&peer, useful);
                }
                TreesOutput::Event(TreesEvent::Misbehaves { .. }) => self.offences += 1,
                _ => {}
            }
        }
        self.plan_tick(at, now);
    }

    fn delivered(&mut self, at: Id, delivery: &Delivery<Id>) {
        self.traffic.delivered(at, &delivery.id, delivery.hops, delivery.late, self.now);
    }

    fn plan_tick(&mut self, at: Id, now: Instant) {
        let node = &mut self.nodes[at as usize];
        let views = if self.frozen { None } else { node.views.next_tick(now) };
        let due = [views, node.trees.next_tick()].into_iter().flatten().min();
        let Some(due) = due else { return };
        let due = micros(due.saturating_duration_since(self.begin)).max(self.now) + 1;
        if node.tick.is_none_or(|planned| due < planned) {
            node.tick = Some(due);
            self.queue.push(due, Arrival::Tick(at));
        }
    }

    fn send(&mut self, from: Id, to: Id, wire: Wire) {
        if self.are_apart(from, to) {
            if matches!(wire, Wire::Views(_)) {
                self.unreachable(from, to, DIAL);
            }
            return;
        }
        if !self.nodes[to as usize].alive {
            if matches!(wire, Wire::Views(_)) {
                self.unreachable(from, to, Duration::from_micros(HOP));
            }
            return;
        }
        let bulk = matches!(&wire, Wire::Trees(message) if !message.is_control());
        let takes = HOP - SPREAD + self.rng.u64(..=2 * SPREAD);
        let last = self.nodes[from as usize].last.entry((to, bulk)).or_default();
        *last = (self.now + takes).max(*last);
        let at = *last;
        self.queue.push(at, Arrival::Message { from, to, wire });
    }

    /// The nodes that are alive and not silent.
    pub(crate) fn honest(&self) -> Vec<Id> {
        let honest = self.nodes.iter().filter(|node| node.alive && !node.silent);
        honest.map(|node| *node.views.me()).collect()
    }

    /// The components of the nodes for which `is_in` holds, over their neighbours, the largest
    /// first.
    pub(crate) fn components(&self, is_in: impl Fn(Id) -> bool) -> Vec<Vec<Id>> {
        let mut seen: Vec<_> = (0..id_of(self.nodes.len())).map(|id| !is_in(id)).collect();
        let mut components = Vec::new();
        for first in 0..id_of(self.nodes.len()) {
            if std::mem::replace(&mut seen[first as usize], true) {
                continue;
            }
            let mut component = vec![first];
            let mut next = 0;
            while let Some(id) = component.get(next) {
                next += 1;
                for peer in self.nodes[*id as usize].views.active().copied().collect::<Vec<_>>() {
                    if !std::mem::replace(&mut seen[peer as usize], true) {
                        component.push(peer);
                    }
                }
            }
            components.push(component);
        }
        components.sort_by_key(|component| Reverse(component.len()));
        components
    }

    pub(crate) fn is_honest(&self, id: Id) -> bool {
        let node = &self.nodes[id as usize];
        node.alive && !node.silent
    }
}

pub(crate) fn id_of(index: usize) -> Id {
    Id::try_from(index).unwrap_or(Id::MAX)
}

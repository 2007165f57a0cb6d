//! The machine alone, in simulated time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::{Duration, Instant},
};

use bytes::Bytes;
use foca::State;
use proptest::prelude::*;

use super::{
    identity::Identity,
    member::PAIR_EVERY,
    wire::{Datagram, Said},
    *,
};
use crate::overlay::{PeerId, PeerInfo};

const SECOND: Duration = Duration::from_secs(1);

fn begin() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn info(n: usize) -> PeerInfo {
    format!("n{n} 10.0.{}.{} 9000", n / 250, n % 250 + 1).parse().unwrap()
}

/// The next event: a datagram arrives, or a node that was blocked continues.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival(Instant, u64, usize, usize, Bytes);

/// Nodes on a network with latency and loss, which may be blocked, be partitioned or die.
struct Sim {
    now: Instant,
    nodes: Vec<Membership>,
    numbers: BTreeMap<PeerId, usize>,
    on_the_way: BinaryHeap<Reverse<Arrival>>,
    sent: u64,
    loss: f64,
    rng: fastrand::Rng,
    dead: Vec<bool>,
    still_until: Vec<Instant>,
    side: Vec<u8>,
    events: Vec<(Instant, usize, MemberEvent)>,
}

impl Sim {
    fn new(nodes: usize, config: &SwimConfig, seed: u64) -> Self {
        let now = begin();
        let make = |n| Membership::new(info(n), 1_000, config.clone(), seed + n as u64, now);
        let mut sim = Self {
            now,
            nodes: (0..nodes).map(make).collect(),
            numbers: (0..nodes).map(|n| (info(n).id().clone(), n)).collect(),
            on_the_way: BinaryHeap::new(),
            sent: 0,
            loss: 0.0,
            rng: fastrand::Rng::with_seed(seed),
            dead: vec![false; nodes],
            still_until: vec![now; nodes],
            side: vec![0; nodes],
            events: Vec::new(),
        };
        for n in 1..nodes {
            sim.nodes[n].set_contacts([info(0)]);
        }
        sim
    }

    /// Sends the pending messages and records the events.
    fn collect(&mut self, n: usize) {
        while let Some((to, data)) = self.nodes[n].next_send() {
            let to = self.numbers[to.id()];
            self.sent += 1;
            if self.side[n] == self.side[to] && self.rng.f64() >= self.loss {
                let at = self.now + Duration::from_millis(self.rng.u64(1..20));
                self.on_the_way.push(Reverse(Arrival(at, self.sent, n, to, data)));
            }
        }
        while let Some(event) = self.nodes[n].next_event() {
            self.events.push((self.now, n, event));
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let wakes = (0..self.nodes.len())
                .filter(|n| !self.dead[*n])
                .filter_map(|n| Some((self.nodes[n].next_deadline()?.max(self.still_until[n]), n)));
            let wake = wakes.min();
            let arrival = self.on_the_way.peek().map(|Reverse(arrival)| arrival.0);
            let next = [wake.map(|(at, _)| at), arrival].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let Reverse(Arrival(_, number, from, to, data)) = self.on_the_way.pop().unwrap();
                if self.still_until[to] > self.now {
                    let later = Arrival(self.still_until[to], number, from, to, data);
                    self.on_the_way.push(Reverse(later));
                } else if !self.dead[to] && self.side[from] == self.side[to] {
                    self.nodes[to].receive(info(from).id(), &data, self.now).ok();
                    self.collect(to);
                }
            } else if let Some((_, n)) = wake {
                self.nodes[n].tick(self.now);
                self.collect(n);
            }
        }
        self.now = end;
    }

    fn up(&self, n: usize) -> usize {
        let up = |member: &&Member| member.state() != MemberState::Down;
        self.nodes[n].members().iter().filter(up).count()
    }

    fn is_whole(&self) -> bool {
        let all = self.nodes.len() - 1;
        (0..=all).all(|n| self.up(n) == all)
    }

    /// The time until `is_whole`.
    fn whole_after(&mut self, most: Duration) -> Option<Duration> {
        let begun = self.now;
        while self.now < begun + most {
            if self.is_whole() {
                return Some(self.now - begun);
            }
            self.run(SECOND / 10);
        }
        None
    }

    /// When the first and the last node recorded that `victim` is down, after it stopped.
    fn found(&mut self, victim: usize, most: Duration) -> (Duration, Duration, usize) {
        let begun = self.now;
        self.events.clear();
        self.dead[victim] = true;
        self.run(most);
        let is_it = |event: &MemberEvent| *event == MemberEvent::Down(info(victim));
        let times: Vec<_> =
            self.events.iter().filter(|(_, _, e)| is_it(e)).map(|(at, ..)| *at - begun).collect();
        (*times.first().unwrap(), *times.last().unwrap(), times.len())
    }

    /// Blocks each of the first `slow` nodes for 12 s every 5 to 15 s, during `time`. Returns how
    /// often each was blocked. Earlier events are forgotten.
    fn stall_again_and_again(&mut self, slow: usize, time: Duration) -> Vec<usize> {
        self.whole_after(60 * SECOND).unwrap();
        self.events.clear();
        let (mut stalls, end) = (vec![0; slow], self.now + time);
        while self.now < end {
            for (n, times) in stalls.iter_mut().enumerate() {
                if self.still_until[n] + Duration::from_secs(self.rng.u64(5..15)) < self.now {
                    self.still_until[n] = self.now + 12 * SECOND;
                    *times += 1;
                }
            }
            self.run(SECOND);
        }
        stalls
    }

    fn downs(&self) -> usize {
        self.events.iter().filter(|(.., event)| matches!(event, MemberEvent::Down(_))).count()
    }
}

/// The first and the last detection in a network that has come to rest.
fn detection(nodes: usize, config: &SwimConfig, seed: u64, most: Duration) -> (f64, f64) {
    let mut sim = Sim::new(nodes, config, seed);
    let whole = sim.whole_after(60 * SECOND);
    assert!(whole.is_some(), "{nodes} nodes did not find each other");
    sim.run(5 * SECOND);
    assert_eq!(sim.downs(), 0);
    let sent = sim.sent;
    sim.run(10 * SECOND);
    let load = (sim.sent - sent) as f64 / 10.0 / nodes as f64;
    let (first, last, all) = sim.found(nodes / 2, most);
    assert_eq!(all, nodes - 1, "every node reported it, once");
    println!(
        "{nodes} nodes: whole after {whole:?}, {load:.1} messages/s each, down {first:?}/{last:?}"
    );
    (first.as_secs_f64(), last.as_secs_f64())
}

#[test]
fn a_dead_node_is_detected_by_all_and_no_other_node_is_taken_for_down() {
    for nodes in [3, 20] {
        let (first, last) = detection(nodes, &SwimConfig::lan(20), 7, 60 * SECOND);
        assert!(first <= 10.0 && last <= 12.0, "{nodes}: {first} {last}");
    }
    let (_, last) = detection(20, &SwimConfig::fast(), 8, 60 * SECOND);
    assert!(last <= 4.0, "{last}");
}

#[test]
fn among_64_nodes_a_dead_one_is_detected_within_10_seconds_by_the_first_and_12_by_the_last() {
    let (first, last) = detection(64, &SwimConfig::lan(64), 1, 20 * SECOND);
    assert!(first <= 10.0 && last <= 12.0, "{first} {last}");
}

#[test]
fn of_64_nodes_with_8_that_stall_each_is_taken_for_down_once_a_stall_and_no_other_ever() {
    let mut sim = Sim::new(64, &SwimConfig::lan(64), 1);
    let stalls = sim.stall_again_and_again(8, 60 * SECOND);
    assert!(stalls.iter().all(|times| *times >= 2), "{stalls:?}");
    let mut told = BTreeMap::new();
    for (_, who, event) in &sim.events {
        if let MemberEvent::Down(peer) = event {
            *told.entry((sim.numbers[peer.id()], *who)).or_insert(0) += 1;
        }
    }
    assert!(!told.is_empty());
    for ((slow, who), times) in told {
        let most = stalls.get(slow).copied().unwrap_or_default();
        assert!(times <= most, "{who} took {slow} for down {times} times in {most} stalls");
    }
}

#[test]
fn a_partition_that_heals_becomes_one_network_again_within_20_seconds() {
    let mut sim = Sim::new(16, &SwimConfig::lan(16), 3);
    sim.whole_after(60 * SECOND).unwrap();
    (0..8).for_each(|n| sim.side[n] = 1);
    sim.run(60 * SECOND);
    assert!((0..16).all(|n| sim.up(n) == 7), "each side goes on by itself");
    sim.side.fill(0);
    let healed = sim.whole_after(60 * SECOND).unwrap();
    assert!(healed <= 20 * SECOND, "{healed:?}");
}

#[test]
fn a_member_that_left_is_down_at_once() {
    let mut sim = Sim::new(8, &SwimConfig::lan(8), 5);
    sim.whole_after(60 * SECOND).unwrap();
    let now = sim.now;
    sim.nodes[3].leave(now);
    sim.collect(3);
    sim.dead[3] = true;
    sim.run(3 * SECOND);
    let others = (0..8).filter(|n| *n != 3);
    assert!(
        others.clone().all(|n| sim.up(n) == 6),
        "{:?}",
        others.map(|n| sim.up(n)).collect::<Vec<_>>()
    );
}

#[test]
fn metadata_reaches_all_members() {
    let mut sim = Sim::new(8, &SwimConfig::lan(8), 5);
    sim.whole_after(60 * SECOND).unwrap();
    let now = sim.now;
    sim.nodes[3].set_metadata(b"store", now).unwrap();
    assert!(sim.nodes[3].set_metadata(&[0; MAX_METADATA + 1], now).is_err());
    sim.collect(3);
    sim.run(5 * SECOND);
    for n in (0..8).filter(|n| *n != 3) {
        let members = sim.nodes[n].members();
        let third = members.iter().find(|member| member.info() == &info(3)).unwrap();
        assert_eq!((third.metadata(), third.state()), (&b"store"[..], MemberState::Up));
    }
    assert_eq!(sim.downs(), 0);
}

#[test]
fn a_node_that_is_blocked_takes_no_member_for_down_and_is_reported_once() {
    let mut sim = Sim::new(20, &SwimConfig::lan(20), 11);
    sim.whole_after(60 * SECOND).unwrap();
    sim.events.clear();
    sim.still_until[4] = sim.now + 30 * SECOND;
    sim.run(60 * SECOND);
    let about = |event: &MemberEvent| *event == MemberEvent::Down(info(4));
    assert!(sim.events.iter().all(
        |(_, who, event)| *who != 4 && (about(event) || !matches!(event, MemberEvent::Down(_)))
    ));
    assert_eq!(sim.downs(), 19, "once for each that sees it");
    assert!(sim.is_whole());
}

#[test]
#[ignore = "a minute; prints figures"]
fn figures() {
    for (name, config) in [("lan", 0), ("wan", 1), ("fast", 2)] {
        for nodes in [3_usize, 20, 64, 100, 128] {
            let of = [SwimConfig::lan, SwimConfig::wan];
            let config = of
                .get(config)
                .map_or_else(SwimConfig::fast, |of| of(u32::try_from(nodes).unwrap()));
            print!("{name}: ");
            detection(nodes, &config, 1, SECOND * if name == "wan" { 240 } else { 60 });
        }
    }
}

#[test]
#[ignore = "minutes; prints figures"]
fn false_positives() {
    for loss in [0.05, 0.1, 0.2] {
        let mut sim = Sim::new(64, &SwimConfig::lan(64), 1);
        sim.whole_after(60 * SECOND).unwrap();
        (sim.loss, sim.events) = (loss, Vec::new());
        sim.run(600 * SECOND);
        println!("64 nodes, {loss} loss, 10 minutes: {} downs", sim.downs());
    }
    let mut sim = Sim::new(64, &SwimConfig::lan(64), 1);
    let stalls: usize = sim.stall_again_and_again(8, 300 * SECOND).iter().sum();
    println!("8 of 64 stall 12 s, {stalls} stalls: {} downs", sim.downs());
    for nodes in [16, 64, 128] {
        for cut in [30, 120] {
            let mut sim = Sim::new(nodes, &SwimConfig::lan(u32::try_from(nodes).unwrap()), 1);
            sim.whole_after(60 * SECOND).unwrap();
            (0..nodes / 2).for_each(|n| sim.side[n] = 1);
            sim.run(cut * SECOND);
            sim.side.fill(0);
            println!(
                "{nodes} nodes, {cut} s of partition: whole after {:?}",
                sim.whole_after(200 * SECOND)
            );
        }
    }
}

// ---- messages that are not believed ----

/// A message from `n1` to `n0`.
fn gossip(src: usize, updates: Vec<foca::Member<Identity>>) -> Bytes {
    let (src, dst) = (Identity::new(&info(src), 1_000), Identity::new(&info(0), 1_000));
    let header = foca::Header { src, src_incarnation: 0, dst, message: foca::Message::Gossip };
    let data = Datagram { header, updates }.encode().unwrap();
    Said::Gossip(&data).encode().unwrap()
}

fn about(n: usize, bump: u64, incarnation: u16, state: State) -> foca::Member<Identity> {
    foca::Member::new(Identity::new(&info(n), bump), incarnation, state)
}

/// Four nodes that know each other.
fn four() -> Sim {
    let mut sim = Sim::new(4, &SwimConfig::lan(4), 2);
    sim.whole_after(60 * SECOND).unwrap();
    sim.run(SECOND);
    sim.events.clear();
    sim
}

impl Sim {
    fn lie(&mut self, from: usize, update: foca::Member<Identity>) {
        self.nodes[0].receive(info(from).id(), &gossip(from, vec![update]), self.now).unwrap();
        self.collect(0);
    }
}

#[test]
fn one_reporter_cannot_mark_an_answering_member_down_nor_speak_for_others() {
    let mut sim = four();
    for _ in 0..30 {
        sim.lie(1, about(2, 1_000, 0, State::Down));
        sim.lie(1, about(2, u64::MAX / 2, 0, State::Alive));
        sim.lie(1, about(2, u64::MAX / 2, 0, State::Down));
        sim.lie(1, about(2, 1_000, 1_001, State::Suspect));
        sim.run(SECOND / 10);
    }
    assert_eq!(sim.downs(), 0, "{:?}", sim.events);
    assert!(sim.is_whole());
    assert!(sim.nodes[0].counts().refused >= 30);
}

#[test]
fn two_reporters_or_one_and_an_own_failed_question_take_a_member_down() {
    let mut sim = four();
    sim.lie(1, about(2, 1_000, 0, State::Down));
    sim.lie(3, about(2, 1_000, 0, State::Down));
    assert_eq!(sim.downs(), 1);
    let mut sim = four();
    sim.dead[2] = true;
    sim.lie(1, about(2, 1_000, 0, State::Down));
    assert_eq!(sim.downs(), 0);
    sim.run(2 * SECOND);
    assert!(sim.events.iter().any(|(_, n, _)| *n == 0), "own questions were not answered");
}

#[test]
fn made_up_members_never_count_and_are_bounded() {
    let mut sim = four();
    sim.nodes[0].tick(sim.now);
    for n in 4..2_000 {
        let data = gossip(1, vec![about(n, 1, 0, State::Alive)]);
        sim.nodes[0].receive(info(1).id(), &data, sim.now).unwrap();
        while sim.nodes[0].next_send().is_some() {}
        assert!(sim.nodes[0].checks.len() <= 256);
    }
    assert_eq!((sim.up(0), sim.nodes[0].engine.iter_membership_state().len()), (3, 3));
    assert!(sim.nodes[0].engine.updates_backlog() <= 4);
}

#[test]
fn no_member_can_speak_for_another() {
    let mut sim = four();
    let forged = sim.nodes[0].receive(info(3).id(), &gossip(1, Vec::new()), sim.now);
    assert_eq!(forged, Err(SwimRefused::NotTheSender));
    let own = sim.nodes[0].receive(info(0).id(), &gossip(0, Vec::new()), sim.now);
    assert_eq!(own, Err(SwimRefused::NotTheSender));
}

#[test]
fn down_and_up_of_a_member_are_reported_at_most_once_in_ten_seconds() {
    let (mut records, now) = (member::MemberRecords::default(), begin());
    let id = Identity::new(&info(1), 1);
    for tenth in 0..600 {
        let now = now + SECOND * tenth / 10;
        records.turned(&id, tenth % 2 == 0, now);
        records.tick(now);
    }
    let told = records.events.len();
    assert!((8..=14).contains(&told), "{told} in a minute, with {PAIR_EVERY:?} between pairs");
}

proptest! {
    #[test]
    fn any_bytes_are_accepted_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..4_u8) {
        let now = begin();
        let mut node = Membership::new(info(0), 1_000, SwimConfig::fast(), 1, now);
        node.receive(info(1).id(), &gossip(1, Vec::new()), now).unwrap();
        let data = [&[1, kind][..], &bytes].concat();
        node.receive(info(1).id(), &data, now).ok();
        node.tick(now + SECOND);
        prop_assert!(node.members().len() <= 2);
    }
}

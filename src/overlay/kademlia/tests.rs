//! The table against a model, and whole networks of tables that look each other up.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::overlay::{PeerId, PeerInfo};

const K: usize = 20;

fn peer(name: usize) -> PeerInfo {
    format!("n{name} 10.0.0.1 {}", name % 60_000 + 1).parse().unwrap()
}

fn elsewhere(name: usize) -> PeerInfo {
    format!("n{name} 10.0.0.2 9000").parse().unwrap()
}

fn key(peer: &PeerInfo) -> Key {
    Key::of(peer.id())
}

/// Peers in the furthest bucket of `own`, which are half of all peers.
fn far(own: Key) -> impl Iterator<Item = PeerInfo> {
    (0..).map(peer).filter(move |peer| own.distance(key(peer)).common_bits() == 0)
}

#[test]
fn a_node_that_answers_keeps_its_place_against_any_number_of_newcomers() {
    let own = Key::of_bytes(b"me");
    let mut table = KBuckets::new(own, 2);
    let all: Vec<_> = far(own).take(100).collect();
    assert_eq!(table.heard(all[0].clone()), Heard::Added);
    assert_eq!(table.heard(all[1].clone()), Heard::Added);
    for newcomer in &all[2..] {
        // The node that was silent for longest is asked, and answers.
        let Heard::Check(asked) = table.heard(newcomer.clone()) else { panic!() };
        assert_eq!(table.heard(all[2].clone()), Heard::Waiting);
        assert_eq!(table.heard(asked), Heard::Known);
    }
    assert_eq!(table.len(), 2);
    assert!(table.get(all[0].id()).is_some() && table.get(all[1].id()).is_some());
}

#[test]
fn a_node_that_does_not_answer_makes_room_for_the_last_node_heard_of() {
    let own = Key::of_bytes(b"me");
    let mut table = KBuckets::new(own, 2);
    let all: Vec<_> = far(own).take(5).collect();
    for peer in &all {
        table.heard(peer.clone());
    }
    assert_eq!(table.failed(all[0].id()), Some(all[4].clone()));
    assert_eq!(table.closest(own, 9).len(), 2);
    assert_eq!(
        table.failed(all[1].id()),
        Some(all[3].clone()),
        "two waited: the cache is as long as a bucket"
    );
    // No node waits any more: it stays in the table, but is not told to others.
    assert_eq!(table.failed(all[3].id()), None);
    assert_eq!((table.len(), table.closest(own, 9)), (2, vec![all[4].clone()]));
    assert_eq!(table.heard(all[3].clone()), Heard::Known);
    assert_eq!(table.closest(own, 9).len(), 2);
    // The next node that answers takes the place of one that does not, without waiting.
    table.failed(all[3].id());
    assert_eq!(table.heard(all[1].clone()), Heard::Added);
    assert_eq!((table.len(), table.good(), table.get(all[3].id())), (2, 2, None));
}

#[test]
fn failing_nodes_are_asked_again_in_turn_and_removed_after_60_times() {
    let own = Key::of_bytes(b"me");
    let mut table = KBuckets::new(own, K);
    let all: Vec<_> = far(own).take(3).collect();
    for peer in &all {
        table.heard(peer.clone());
        table.failed(peer.id());
    }
    assert_eq!((table.good(), table.closest(own, 9)), (0, vec![]));
    for _ in 0..60 {
        let mut asked: Vec<_> = (0..3)
            .map(|_| {
                let next = table.failing(1).remove(0);
                table.failed_again(next.id());
                next
            })
            .collect();
        asked.sort();
        let mut each = all.clone();
        each.sort();
        assert_eq!(asked, each);
    }
    assert!(table.is_empty());

    table.heard(all[0].clone());
    table.failed_again(all[0].id());
    assert_eq!((table.good(), table.failing(9)), (1, vec![]), "only a failing node is asked again");
}

#[test]
fn another_address_of_a_known_id_waits_until_the_known_one_fails() {
    let mut table = KBuckets::new(Key::of_bytes(b"me"), K);
    table.heard(peer(1));
    assert_eq!(table.heard(elsewhere(1)), Heard::Check(peer(1)));
    assert_eq!(table.get(peer(1).id()), Some(&peer(1)));
    assert_eq!(table.failed(peer(1).id()), Some(elsewhere(1)));
    assert_eq!(table.get(peer(1).id()), Some(&elsewhere(1)));
}

#[test]
fn the_node_itself_is_never_in_its_table() {
    let mut table = KBuckets::new(key(&peer(1)), K);
    assert_eq!(table.heard(peer(1)), Heard::Own);
    assert!(table.is_empty() && table.failed(peer(1).id()).is_none());
}

#[test]
fn buckets_without_a_look_up_are_refreshed_as_far_in_as_the_nearest_neighbour() {
    let own = Key::of_bytes(b"me");
    let (mut table, now, every) =
        (KBuckets::new(own, K), Instant::now().into_std(), Duration::from_secs(3_600));
    assert!(table.stale(now, every, || [7; 32]).is_empty(), "no node to ask");
    (0..100).for_each(|n| drop(table.heard(peer(n))));
    let nearest = (0..100).map(|n| own.distance(key(&peer(n))).common_bits()).max().unwrap();
    let stale = table.stale(now, every, || [7; 32]);
    let bits: Vec<_> = stale.iter().map(|key| own.distance(*key).common_bits()).collect();
    assert_eq!(bits, (0..=nearest).collect::<Vec<_>>());
    stale.iter().for_each(|key| table.looked_for(*key, now));
    assert!(table.stale(now + every / 2, every, || [7; 32]).is_empty());
    assert_eq!(table.stale(now + every, every, || [7; 32]).len(), nearest + 1);
}

#[test]
fn the_memory_of_a_table_is_bounded_for_any_number_of_newcomers() {
    let own = Key::of_bytes(b"me");
    let mut table = KBuckets::new(own, 2);
    let empty = table.memory();
    let id = "x".repeat(64);
    table.heard(format!("{id} host.example 9000").parse().unwrap());
    let one = table.memory() - empty;
    assert!((64 + 12 + 2 * 16 + 32..1_024).contains(&one), "{one}");
    far(own).take(1_000).for_each(|peer| drop(table.heard(peer)));
    assert!(table.memory() - empty < 4_096, "two in the bucket, two that wait");
}

#[derive(Clone, Debug)]
enum Step {
    Heard(usize),
    Elsewhere(usize),
    Failed(usize),
    FailedAgain(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..200_usize).prop_map(Step::Heard),
        1 => (0..200_usize).prop_map(Step::Elsewhere),
        2 => (0..200_usize).prop_map(Step::Failed),
        2 => (0..200_usize).prop_map(Step::FailedAgain),
    ]
}

proptest! {
    #[test]
    fn no_bucket_exceeds_its_limit_and_the_nearest_are_those_of_a_sorted_list(
        steps in prop::collection::vec(step(), 0..400), k in 1_usize..6, target: [u8; 32],
    ) {
        let own = Key::of_bytes(b"me");
        let mut table = KBuckets::new(own, k);
        // The nodes in the table, and whether each left its last question unanswered.
        let mut model: BTreeMap<PeerId, (PeerInfo, bool)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Heard(n) | Step::Elsewhere(n) => {
                    let info = if matches!(step, Step::Heard(_)) { peer(n) } else { elsewhere(n) };
                    match table.heard(info.clone()) {
                        Heard::Added => {
                            // It may have taken the place of one node that does not answer.
                            let len = model.len();
                            model.retain(|id, (_, failed)| !*failed || table.get(id).is_some());
                            prop_assert!(model.len() + 1 >= len);
                            let before = model.insert(info.id().clone(), (info, false));
                            prop_assert_eq!(before, None);
                        }
                        Heard::Known => {
                            let known = model.get_mut(info.id()).unwrap();
                            prop_assert_eq!(&known.0, &info);
                            known.1 = false;
                        }
                        Heard::Check(asked) => prop_assert_eq!(&model[asked.id()].0, &asked),
                        Heard::Waiting | Heard::Own => {}
                    }
                }
                Step::FailedAgain(n) => {
                    // Too few times to be removed.
                    table.failed_again(peer(n).id());
                }
                Step::Failed(n) => {
                    let next = table.failed(peer(n).id());
                    if next.is_some() || table.get(peer(n).id()).is_none() {
                        model.remove(peer(n).id());
                    } else if let Some(known) = model.get_mut(peer(n).id()) {
                        known.1 = true;
                    }
                    if let Some(next) = next {
                        model.insert(next.id().clone(), (next, false));
                    }
                }
            }
        }
        prop_assert_eq!(table.len(), model.len());
        let mut in_bucket = BTreeMap::new();
        for (info, _) in model.values() {
            prop_assert_eq!(table.get(info.id()), Some(info));
            *in_bucket.entry(own.distance(key(info)).common_bits()).or_insert(0) += 1;
        }
        prop_assert!(in_bucket.values().all(|count| *count <= k));
        let target = Key::new(target);
        let good = model.values().filter(|(_, failed)| !failed);
        prop_assert_eq!(table.good(), good.clone().count());
        let failing: BTreeSet<_> = table.failing(usize::MAX).into_iter().collect();
        let failed = model.values().filter(|(_, failed)| *failed);
        prop_assert_eq!(failing, failed.map(|(info, _)| info.clone()).collect::<BTreeSet<_>>());
        let mut sorted: Vec<_> = good.map(|(info, _)| info.clone()).collect();
        sorted.sort_by_key(|info| key(info).distance(target));
        sorted.truncate(7);
        prop_assert_eq!(table.closest(target, 7), sorted);
    }

    #[test]
    fn a_look_up_ends_with_any_answers_and_never_asks_itself_or_more_than_allowed(
        answers in prop::collection::vec((any::<bool>(), prop::collection::vec(0..300_usize, 0..60)), 0..200),
        known in prop::collection::vec(0..300_usize, 0..30),
    ) {
        let config = LookupConfig::default().max_questions(50);
        let mut lookup = Lookup::new(key(&peer(0)), Key::of_bytes(b"x"), known.into_iter().map(peer), config);
        let (mut answers, mut asked) = (answers.into_iter(), Vec::new());
        loop {
            let under_way: Vec<_> = std::iter::from_fn(|| lookup.next()).collect();
            prop_assert!(under_way.len() <= 3);
            if under_way.is_empty() {
                break;
            }
            for info in under_way {
                prop_assert_ne!(info.clone(), peer(0));
                prop_assert!(!asked.contains(&info), "no node is asked twice");
                asked.push(info.clone());
                match answers.next() {
                    Some((true, told)) => lookup.answered(info.id(), told.into_iter().map(peer)),
                    _ => lookup.failed(info.id()),
                }
            }
        }
        prop_assert!(lookup.is_done());
        prop_assert!(lookup.questions() <= 50 && lookup.closest().len() <= 20);
    }
}

#[test]
fn a_false_address_from_a_lying_node_costs_one_question_and_the_true_one_is_asked_next() {
    let (own, target) = (Key::of_bytes(b"me"), key(&peer(3)));
    let mut lookup = Lookup::new(own, target, [peer(1), peer(2)], LookupConfig::default());
    while lookup.next().is_some() {}
    lookup.answered(peer(1).id(), [elsewhere(3)]);
    assert_eq!(lookup.next(), Some(elsewhere(3)));
    lookup.failed(peer(3).id());
    lookup.answered(peer(2).id(), [peer(3)]);
    assert_eq!(lookup.next(), Some(peer(3)));
    lookup.answered(peer(3).id(), []);
    assert!(lookup.has_found(peer(3).id()) && lookup.is_done());
}

/// A network of tables without time: each question is answered at once.
struct Network {
    tables: Vec<Option<KBuckets>>,
    numbers: BTreeMap<PeerId, usize>,
    random: fastrand::Rng,
    messages: usize,
}

struct Found {
    closest: Vec<PeerInfo>,
    /// Rounds of `alpha` questions until the exact target answered.
    rounds: Option<usize>,
}

impl Network {
    /// Nodes that join one after the other through an existing one: a look-up of themselves, then
    /// one in each bucket further away.
    fn new(count: usize, seed: u64) -> Self {
        let (tables, numbers) = (Vec::new(), BTreeMap::new());
        let mut network =
            Self { tables, numbers, random: fastrand::Rng::with_seed(seed), messages: 0 };
        for n in 0..count {
            network.tables.push(Some(KBuckets::new(key(&peer(n)), K)));
            network.numbers.insert(peer(n).id().clone(), n);
            if n > 0 {
                let contact = network.random.usize(..n);
                network.tables[n].as_mut().unwrap().heard(peer(contact));
                network.look_up(n, key(&peer(n)), None);
                network.refresh(n);
            }
        }
        network
    }

    fn refresh(&mut self, n: usize) {
        let (table, random) = (self.tables[n].as_ref().unwrap(), &mut self.random);
        let fill = || {
            let mut bytes = [0; 32];
            random.fill(&mut bytes);
            bytes
        };
        for target in table.stale(Instant::now().into_std(), Duration::ZERO, fill) {
            self.look_up(n, target, None);
        }
    }

    /// One node asks, the other answers and records the asker, because asking proves that it is
    /// alive.
    fn ask(&mut self, from: usize, to: &PeerInfo, target: Key) -> Option<Vec<PeerInfo>> {
        self.messages += 2;
        let to = self.numbers[to.id()];
        let answer = self.tables[to].as_ref()?.closest(target, K);
        self.note(to, from);
        Some(answer)
    }

    fn note(&mut self, at: usize, of: usize) {
        let heard = self.tables[at].as_mut().unwrap().heard(peer(of));
        if let Heard::Check(asked) = heard {
            self.messages += 2;
            let alive = self.tables[self.numbers[asked.id()]].is_some();
            let table = self.tables[at].as_mut().unwrap();
            if alive {
                table.heard(asked);
            } else {
                table.failed(asked.id());
            }
        }
    }

    fn look_up(&mut self, n: usize, target: Key, exact: Option<&PeerId>) -> Found {
        let table = self.tables[n].as_ref().unwrap();
        let known = table.closest(target, K);
        let mut lookup = Lookup::new(key(&peer(n)), target, known, LookupConfig::default());
        let mut found = Found { closest: Vec::new(), rounds: None };
        for round in 1.. {
            let asked: Vec<_> = std::iter::from_fn(|| lookup.next()).collect();
            if asked.is_empty() {
                break;
            }
            for info in asked {
                if let Some(answer) = self.ask(n, &info, target) {
                    lookup.answered(info.id(), answer);
                    self.note(n, self.numbers[info.id()]);
                } else {
                    lookup.failed(info.id());
                    self.tables[n].as_mut().unwrap().failed(info.id());
                }
            }
            if found.rounds.is_none() && exact.is_some_and(|id| lookup.has_found(id)) {
                found.rounds = Some(round);
            }
        }
        found.closest = lookup.closest();
        found
    }

    fn alive(&mut self) -> usize {
        loop {
            let n = self.random.usize(..self.tables.len());
            if self.tables[n].is_some() {
                return n;
            }
        }
    }

    /// Looks up existing nodes from others. Returns how many were found, and the maximum number of
    /// rounds.
    fn look_ups(&mut self, count: usize) -> (usize, usize) {
        let rounds: Vec<_> = (0..count)
            .filter_map(|_| {
                let (from, to) = (self.alive(), self.alive());
                let found = self.look_up(from, key(&peer(to)), Some(peer(to).id()));
                if from == to { Some(0) } else { found.rounds }
            })
            .collect();
        (rounds.len(), rounds.into_iter().max().unwrap_or(0))
    }
}

fn every_look_up_finds_its_target(count: usize, most_rounds: usize) {
    let mut network = Network::new(count, 7);
    let joined = network.messages / count;
    network.messages = 0;
    let (found, rounds) = network.look_ups(300);
    let tables = network.tables.iter().flatten().map(KBuckets::len);
    let (least, most) = (tables.clone().min().unwrap(), tables.max().unwrap());
    println!(
        "{count} nodes: {found}/300 found in at most {rounds} rounds, {} messages each; \
         {joined} messages to join; tables of {least} to {most}",
        network.messages / 300
    );
    assert_eq!(found, 300);
    assert!(rounds <= most_rounds, "{rounds} rounds");
}

#[test]
fn every_look_up_among_50_and_150_nodes_finds_its_target_in_7_rounds() {
    every_look_up_finds_its_target(50, 7);
    every_look_up_finds_its_target(150, 7);
}

#[test]
#[ignore = "half a minute"]
fn every_look_up_among_500_and_2000_nodes_finds_its_target_in_7_rounds() {
    every_look_up_finds_its_target(500, 7);
    every_look_up_finds_its_target(2_000, 7);
}

#[test]
fn with_a_fifth_of_the_nodes_gone_99_of_100_look_ups_succeed_after_one_refresh() {
    let mut network = Network::new(150, 11);
    for n in 0..150 {
        if network.random.f64() < 0.2 {
            network.tables[n] = None;
        }
    }
    for n in 0..150 {
        if network.tables[n].is_some() {
            network.refresh(n);
        }
    }
    let (found, _) = network.look_ups(300);
    assert!(found >= 297, "{found} of 300");
}

#[test]
fn a_look_up_of_any_key_finds_the_nearest_nodes() {
    let mut network = Network::new(100, 3);
    for n in 0..30 {
        let target = Key::of_bytes(&[n]);
        let found = network.look_up(usize::from(n), target, None).closest;
        let mut all: Vec<_> = (0..100).filter(|other| *other != usize::from(n)).map(peer).collect();
        all.sort_by_key(|info| key(info).distance(target));
        all.truncate(K);
        assert_eq!(found, all);
    }
}

//! The measurements and the promises of one network.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::network::{Found, Network, Traffic};

/// The maximum rounds until a target has answered, for networks up to a number of nodes.
const MAX_ROUNDS: [(usize, f64); 2] = [(2_000, 7.0), (10_000, 9.0)];

/// The minimum share of look-ups that succeed one refresh interval after at most `MOST_KILLED` of
/// the network was killed.
const FOUND_AFTER: f64 = 0.99;
const MOST_KILLED: f64 = 0.2;

/// The parameters of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) lookups: usize,
    /// The share of the nodes that is killed.
    pub(crate) kill: f64,
}

/// All measurements of a run, as they are written as JSON and drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Data {
    pub(crate) plan: Plan,
    pub(crate) sizes: Vec<Size>,
}

/// Mean and maximum of a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    pub(crate) max: f64,
}

/// What was sent for one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) messages: f64,
    pub(crate) bytes: f64,
    pub(crate) timeouts: f64,
}

/// The results of a number of look-ups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LookUps {
    pub(crate) made: usize,
    pub(crate) found: usize,
    /// Rounds until the exact target had answered.
    pub(crate) rounds: Spread,
    /// Questions until the 20 nearest had answered.
    pub(crate) questions: Spread,
    /// Questions without an answer.
    pub(crate) timeouts: Spread,
}

/// A network of one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) nodes: usize,
    pub(crate) lookups: LookUps,
    /// What all nodes send for one join: the mean of the last tenth.
    pub(crate) join: Cost,
    /// What a node sends in one refresh interval, an hour.
    pub(crate) hour: Cost,
    /// Nodes in a table.
    pub(crate) known: Spread,
    /// Bytes of a table.
    pub(crate) memory: Spread,
    pub(crate) killed: usize,
    /// What a node sends in the refresh interval after others were killed.
    pub(crate) hour_after: Cost,
    pub(crate) lookups_after: LookUps,
}

/// Rounds to hundredths.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut count, mut sum, mut max) = (0.0, 0.0, 0.0_f64);
        for value in values {
            count += 1.0;
            sum += value;
            max = max.max(value);
        }
        Self { mean: if count > 0.0 { rounded(sum / count) } else { 0.0 }, max: rounded(max) }
    }
}

impl Cost {
    fn of(traffic: Traffic, nodes: usize) -> Self {
        let each = |value: u64| rounded(value as f64 / nodes.max(1) as f64);
        Self {
            messages: each(traffic.messages),
            bytes: each(traffic.bytes),
            timeouts: each(traffic.timeouts),
        }
    }
}

impl LookUps {
    fn make(network: &mut Network, count: usize) -> Self {
        let all: Vec<Found> = (0..count).filter_map(|_| network.look_up_another()).collect();
        let rounds = || all.iter().filter_map(|found| found.rounds);
        Self {
            made: all.len(),
            found: rounds().count(),
            rounds: Spread::of(rounds().map(|rounds| rounds as f64)),
            questions: Spread::of(all.iter().map(|found| found.questions as f64)),
            timeouts: Spread::of(all.iter().map(|found| found.timeouts as f64)),
        }
    }
}

impl Size {
    /// Builds a network with this number of nodes and measures it. `progress` receives the step and
    /// how many nodes it has done.
    pub(crate) fn measure(
        nodes: usize,
        plan: Plan,
        now: Instant,
        progress: &mut dyn FnMut(&str, usize),
    ) -> Self {
        let mut network = Network::new(plan.seed, now);
        let last = (nodes / 10).max(1);
        let mut before = Traffic::default();
        for n in 0..nodes {
            if n == nodes - last {
                before = network.traffic;
            }
            network.join();
            progress("join", n + 1);
        }
        let join = Cost::of(network.traffic - before, last);
        let lookups = LookUps::make(&mut network, plan.lookups);
        before = network.traffic;
        network.refresh(|done| progress("refresh", done));
        let hour = Cost::of(network.traffic - before, network.len());
        let known = Spread::of(network.tables().map(|(known, _)| known as f64));
        let memory = Spread::of(network.tables().map(|(_, bytes)| bytes as f64));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of the nodes"
        )]
        let killed = (nodes as f64 * plan.kill) as usize;
        network.kill(killed);
        before = network.traffic;
        network.refresh(|done| progress("refresh after the loss", done));
        let hour_after = Cost::of(network.traffic - before, network.len());
        let lookups_after = LookUps::make(&mut network, plan.lookups);
        Self { nodes, lookups, join, hour, known, memory, killed, hour_after, lookups_after }
    }

    /// The promises that this network broke.
    pub(crate) fn broken(&self) -> Vec<String> {
        let (nodes, mut broken) = (self.nodes, Vec::new());
        let LookUps { made, found, rounds, .. } = self.lookups;
        if found < made {
            broken.push(format!("{nodes} nodes: {found} of {made} look-ups found their target"));
        }
        let limit = MAX_ROUNDS.iter().find(|(max_nodes, _)| nodes <= *max_nodes);
        if let Some((_, limit)) = limit.filter(|(_, limit)| rounds.max > *limit) {
            broken.push(format!("{nodes} nodes: {} rounds, more than {limit}", rounds.max));
        }
        let LookUps { made, found, .. } = self.lookups_after;
        let promised = self.killed as f64 <= nodes as f64 * MOST_KILLED;
        if promised && (found as f64) < made as f64 * FOUND_AFTER {
            let killed = self.killed;
            broken.push(format!("{nodes} nodes, {killed} killed: {found} of {made} found"));
        }
        broken
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plan() -> Plan {
        Plan { seed: 7, lookups: 100, kill: 0.2 }
    }

    pub(crate) fn measured(nodes: usize, plan: Plan) -> Size {
        let now = tokio::time::Instant::now().into_std();
        Size::measure(nodes, plan, now, &mut |_, _| {})
    }

    #[test]
    fn a_network_of_60_keeps_its_promises_and_is_the_same_for_the_same_seed() {
        let one = measured(60, plan());
        assert_eq!(one.broken(), Vec::<String>::new());
        assert_eq!(one, measured(60, plan()));
        assert_ne!(measured(25, plan()), measured(25, Plan { seed: 8, ..plan() }));
        assert!(one.hour.timeouts == 0.0 && one.hour_after.timeouts > 0.0, "the dead are asked");
    }

    #[test]
    fn a_network_of_one_or_two_has_costs_and_no_surprises() {
        assert_eq!(measured(1, plan()).lookups.made, 0);
        let two = measured(2, plan());
        assert_eq!((two.lookups.found, two.known.max, two.lookups.rounds.max), (100, 1.0, 1.0));
        assert_eq!(two.broken(), Vec::<String>::new());
    }

    #[test]
    fn a_promise_that_is_not_kept_is_named() {
        let mut size = measured(20, plan());
        size.lookups.found -= 1;
        size.lookups.rounds.max = 8.0;
        size.lookups_after.found = 98;
        assert_eq!(size.broken().len(), 3);
        (size.nodes, size.killed) = (5_000, 1_001);
        assert_eq!(size.broken().len(), 1, "nine rounds, and a fifth");
    }
}

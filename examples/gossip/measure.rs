//! The measurements.

use std::time::Duration;

use actix_peer::overlay::{trees::TreesConfig, views::ViewsConfig};
use serde::{Deserialize, Serialize};

use crate::{
    network::{Id, Network, micros},
    traffic::{Message, Traffic},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How many nodes publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Senders {
    /// One node, two messages in a second.
    One,
    /// A tenth of the nodes, at most 100, together 120 messages in a second.
    Many,
    /// All nodes at the same time, once in a second.
    All,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) kill: f64,
    pub(crate) senders: Senders,
    pub(crate) hostile: u32,
    /// In seconds.
    pub(crate) partition: u64,
    pub(crate) topic: u32,
    pub(crate) active: usize,
}

/// What was measured in one network.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) nodes: u32,
    pub(crate) joined: Joined,
    pub(crate) steady: Steady,
    pub(crate) hostile: Option<Hostile>,
    pub(crate) partition: Option<Partition>,
    pub(crate) kill: Option<Kill>,
    pub(crate) topic: Option<Topic>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Joined {
    pub(crate) alone: usize,
    pub(crate) components: usize,
    pub(crate) degree: f64,
}

/// How messages arrived.
#[derive(Debug, Serialize)]
pub(crate) struct Steady {
    pub(crate) messages: usize,
    /// Duplicates for each delivery.
    pub(crate) rmr: f64,
    /// Links that the last delivery of a message passed.
    pub(crate) ldh_mean: f64,
    pub(crate) ldh_max: u8,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Deliveries that did not happen.
    pub(crate) missed: usize,
    pub(crate) late: u64,
    pub(crate) gaps: u64,
    /// Control messages for each delivery.
    pub(crate) control: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Hostile {
    pub(crate) before: Steady,
    pub(crate) during: Steady,
    pub(crate) after: Steady,
    /// The share of the honest nodes' neighbours that are hostile.
    pub(crate) share: f64,
    pub(crate) components: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct Partition {
    /// Until the honest nodes are one component. `None` if it took more than a minute.
    pub(crate) whole_ms: Option<f64>,
    /// Neighbours that came or went for each node, from the beginning of the partition to a minute
    /// after its end.
    pub(crate) changes: f64,
    /// Until all have what was published on both sides at its end.
    pub(crate) reached_ms: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kill {
    pub(crate) survivors: usize,
    /// Of the survivors, in percent, before any repair.
    pub(crate) largest: f64,
    /// Of the largest component, what a broadcast reached before any repair, in percent.
    pub(crate) reached: f64,
    /// Of the survivors, what a broadcast at the time of the failure reached in a second of repair.
    pub(crate) in_one_second: f64,
    /// Until all survivors had it. `None` if it took more than a minute.
    pub(crate) all_ms: Option<f64>,
    /// Until the survivors were one component.
    pub(crate) whole_ms: Option<f64>,
    /// Broadcasts, one in a second, until one reached every survivor within its second.
    pub(crate) rounds: Option<usize>,
    pub(crate) missed: usize,
}

/// The measurement after the loss of a share of a network.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) share: f64,
    pub(crate) kill: Kill,
}

#[derive(Debug, Serialize)]
pub(crate) struct Topic {
    pub(crate) subscribers: u32,
    pub(crate) steady: Steady,
    /// Of the nodes that have not subscribed, in percent.
    pub(crate) others: f64,
}

/// The measurement of one network.
pub(crate) struct Measurement<'a> {
    network: Network,
    plan: Plan,
    progress: &'a mut dyn FnMut(&str),
}

impl<'a> Measurement<'a> {
    /// Lets nodes join, one after the other.
    pub(crate) fn new(nodes: u32, plan: Plan, progress: &'a mut dyn FnMut(&str)) -> Self {
        let views = ViewsConfig::default().with_active(plan.active);
        let mut network = Network::new(views, TreesConfig::default(), plan.seed);
        let pause = (20 * MS).min(20 * SECOND / nodes);
        for node in 0..nodes {
            if node % 1_000 == 0 {
                progress(&format!("{node} nodes have joined"));
            }
            network.start(false);
            network.run(pause);
        }
        network.run(5 * SECOND);
        Self { network, plan, progress }
    }

    pub(crate) fn all(nodes: u32, plan: Plan, progress: &'a mut dyn FnMut(&str)) -> Figures {
        let mut of = Self::new(nodes, plan, progress);
        let joined = of.joined();
        of.network.run(30 * SECOND);
        let steady = of.steady();
        let hostile = (plan.hostile > 0).then(|| of.hostile());
        let partition = (plan.partition > 0).then(|| of.partition());
        let kill = (plan.kill > 0.0).then(|| of.kill(plan.kill));
        let topic = (plan.topic > 0).then(|| of.topic(nodes));
        Figures { nodes, joined, steady, hostile, partition, kill, topic }
    }

    fn joined(&self) -> Joined {
        let network = &self.network;
        let degrees = network.nodes.iter().map(|node| node.views.active().count());
        let (sum, alone) =
            degrees.fold((0, 0), |(sum, alone), n| (sum + n, alone + usize::from(n == 0)));
        let alone = if network.nodes.len() == 1 { 0 } else { alone };
        let components = network.components(|_| true).len();
        Joined { alone, components, degree: sum as f64 / network.nodes.len() as f64 }
    }

    fn begin(&mut self) {
        self.network.traffic = Traffic::default();
    }

    /// What has arrived since the last beginning.
    fn figures(&self) -> Steady {
        let (network, traffic) = (&self.network, &self.network.traffic);
        let honest = network.honest();
        let missed =
            |message: &Message| honest.iter().filter(|node| !message.has_reached(**node)).count();
        let messages = traffic.messages.len();
        let hops = traffic.messages.values().map(|message| message.hops);
        Steady {
            messages,
            rmr: traffic.redundancy(),
            ldh_mean: hops.clone().map(f64::from).sum::<f64>() / (messages as f64).max(1.0),
            ldh_max: hops.max().unwrap_or(0),
            p50_ms: traffic.delay(0.5),
            p99_ms: traffic.delay(0.99),
            max_ms: traffic.delay(1.0),
            missed: traffic.messages.values().map(missed).sum(),
            late: traffic.late,
            gaps: traffic.gaps,
            control: traffic.controls as f64 / (traffic.deliveries as f64).max(1.0),
        }
    }

    /// Lets nodes publish for a time.
    fn publish(&mut self, senders: Senders, time: Duration) {
        let all = self.network.honest();
        let at_once = senders == Senders::All;
        let (authors, pause) = match senders {
            Senders::One => (all[0..1].to_vec(), 500 * MS),
            Senders::Many => {
                let count = (all.len() / 10).clamp(1, 100);
                (all[all.len() - count..].to_vec(), SECOND / 120)
            }
            Senders::All => (all, SECOND),
        };
        let until = self.network.now + micros(time);
        let mut next = 0;
        while self.network.now < until {
            if at_once {
                authors.iter().for_each(|author| self.network.publish(*author));
            } else {
                self.network.publish(authors[next % authors.len()]);
                next += 1;
            }
            self.network.run(pause);
        }
    }

    fn steady(&mut self) -> Steady {
        (self.progress)("the tree is formed");
        let senders = self.plan.senders;
        let time = if senders == Senders::One { 10 * SECOND } else { 4 * SECOND };
        self.publish(senders, 4 * SECOND);
        self.network.run(2 * SECOND);
        (self.progress)("messages are published");
        self.begin();
        self.publish(senders, time);
        self.network.run(2 * SECOND);
        self.figures()
    }

    /// Lets silent nodes join while many publish.
    fn hostile(&mut self) -> Hostile {
        (self.progress)("hostile nodes join");
        self.publish(Senders::Many, 5 * SECOND);
        self.begin();
        self.publish(Senders::Many, 5 * SECOND);
        self.network.run(2 * SECOND);
        let before = self.figures();
        self.begin();
        let pause = 5 * SECOND / self.plan.hostile.div_ceil(10);
        for n in 0..self.plan.hostile {
            self.network.start(true);
            if n % 10 == 9 {
                self.publish(Senders::Many, pause);
            }
        }
        self.network.run(2 * SECOND);
        let during = self.figures();
        self.begin();
        self.publish(Senders::Many, 10 * SECOND);
        self.network.run(2 * SECOND);
        let after = self.figures();
        let network = &self.network;
        let components = network.components(|id| network.is_honest(id)).len();
        let neighbors = network.honest().into_iter();
        let neighbors: Vec<_> = neighbors
            .flat_map(|id| network.nodes[id as usize].views.active().copied().collect::<Vec<_>>())
            .collect();
        let hostile = neighbors.iter().filter(|id| !network.is_honest(**id)).count();
        let share = 100.0 * hostile as f64 / neighbors.len() as f64;
        Hostile { before, during, after, share, components }
    }

    fn partition(&mut self) -> Partition {
        (self.progress)("the network is partitioned");
        let network = &mut self.network;
        let before = network.changes;
        network.part();
        network.run(Duration::from_secs(self.plan.partition));
        network.traffic = Traffic::default();
        let authors: Vec<_> = network.honest().into_iter().take(20).collect();
        authors.iter().for_each(|author| network.publish(*author));
        network.run(200 * MS);
        network.parted = false;
        let end = network.now;
        let (mut whole_ms, mut reached_ms) = (None, None);
        for _ in 0..600 {
            network.run(100 * MS);
            let passed = (network.now - end) as f64 / 1_000.0;
            if whole_ms.is_none() && network.components(|id| network.is_honest(id)).len() == 1 {
                whole_ms = Some(passed);
            }
            let honest = network.honest();
            let all = |message: &Message| honest.iter().all(|node| message.has_reached(*node));
            if reached_ms.is_none() && network.traffic.messages.values().all(all) {
                reached_ms = Some(passed);
            }
        }
        let changes = (network.changes - before) as f64 / network.nodes.len() as f64;
        Partition { whole_ms, changes, reached_ms }
    }

    /// Kills a share of the nodes at once.
    pub(crate) fn kill(&mut self, share: f64) -> Kill {
        (self.progress)("nodes are killed");
        let network = &mut self.network;
        let mut honest = network.honest();
        network.rng.shuffle(&mut honest);
        let survivors = ((honest.len() as f64 * (1.0 - share)).round() as usize).max(1);
        network.frozen = true;
        network.kill(&honest[survivors..]);
        let honest = network.honest();
        let components = network.components(|id| network.is_honest(id));
        let largest = &components[0];
        // Before any repair: the views stand still.
        self.begin();
        let network = &mut self.network;
        network.publish(largest[0]);
        network.run(20 * SECOND);
        let reached = reach(network, 0, largest);
        // With repair: a broadcast at the moment at which the links break, and one in each second.
        network.traffic = Traffic::default();
        network.thaw();
        let begin = network.now;
        let (mut whole_ms, mut all_ms, mut in_one_second, mut rounds) = (None, None, 0.0, None);
        for step in 0..600_usize {
            if step % 10 == 0 && step < 200 {
                let author = honest[network.rng.usize(..honest.len())];
                network.publish(author);
            }
            network.run(100 * MS);
            let passed = (network.now - begin) as f64 / 1_000.0;
            if whole_ms.is_none() && network.components(|id| network.is_honest(id)).len() == 1 {
                whole_ms = Some(passed);
            }
            let first = reach(network, 0, &honest);
            if step == 9 {
                in_one_second = first;
            }
            if all_ms.is_none() && first >= 100.0 {
                all_ms = Some(passed);
            }
            if step % 10 == 9 && step < 200 && rounds.is_none() {
                let round = step / 10;
                rounds = (reach(network, round, &honest) >= 100.0).then_some(round + 1);
            }
        }
        let missed = self.figures().missed;
        let (survivors, largest) =
            (honest.len(), 100.0 * components[0].len() as f64 / honest.len() as f64);
        Kill { survivors, largest, reached, in_one_second, all_ms, whole_ms, rounds, missed }
    }

    /// A topic has views and a tree of its own, of its subscribers.
    fn topic(&mut self, nodes: u32) -> Topic {
        (self.progress)("a topic is formed");
        let subscribers = self.plan.topic;
        let plan = Plan { senders: Senders::One, ..self.plan };
        let mut quiet = |_: &str| {};
        let mut topic = Measurement::new(subscribers, plan, &mut quiet);
        self.begin();
        let steady = topic.steady();
        let others = f64::from(nodes.saturating_sub(subscribers)).max(1.0);
        let others = 100.0 * self.network.traffic.payloads as f64 / others;
        Topic { subscribers, steady, others }
    }
}

/// The share of nodes that a message has reached, in percent.
fn reach(network: &Network, message: usize, of: &[Id]) -> f64 {
    let Some((_, message)) = network.traffic.messages.get_index(message) else { return 0.0 };
    let reached = of.iter().filter(|id| message.has_reached(**id)).count();
    100.0 * reached as f64 / of.len() as f64
}

/// The shares of killed nodes in a curve.
const SHARES: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

/// The measurements after the loss of different shares of a network.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Curve {
    pub(crate) nodes: u32,
    pub(crate) seed: u64,
    pub(crate) points: Vec<Point>,
}

/// Measures the loss of each share in a network of its own.
pub(crate) fn curve(nodes: u32, plan: Plan, progress: &mut dyn FnMut(&str)) -> Curve {
    let mut points = Vec::new();
    for share in SHARES {
        let mut of = Measurement::new(nodes, plan, progress);
        of.network.run(30 * SECOND);
        of.publish(Senders::One, 4 * SECOND);
        points.push(Point { share, kill: of.kill(share) });
    }
    Curve { nodes, seed: plan.seed, points }
}

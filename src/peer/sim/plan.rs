//! What happens to the nodes of one simulated life: faults, drawn from a seed before it begins.

use std::{fmt, ops::Range, str::FromStr, time::Duration};

use crate::overlay::Dice;

/// How many faults a [`Plan`] has, and of which kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultLevel {
    /// No faults: every message arrives.
    None,
    /// Broken connections, latency, stalls and short partitions; every node stays up.
    Light,
    /// All kinds of [`Fault`], often several at once.
    #[default]
    Heavy,
}

impl FromStr for FaultLevel {
    type Err = UnknownFaultLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "light" => Ok(Self::Light),
            "heavy" => Ok(Self::Heavy),
            _ => Err(UnknownFaultLevel(text.to_owned())),
        }
    }
}

impl fmt::Display for FaultLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Light => "light",
            Self::Heavy => "heavy",
        })
    }
}

/// The text is not a [`FaultLevel`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a level of faults: none, light or heavy")]
pub struct UnknownFaultLevel(String);

/// What a node does at its next start after a [`Fault::Crash`] or [`Fault::Stop`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Restart {
    /// It listens on another host than before.
    pub moves: bool,
    /// It has another id than before.
    pub renamed: bool,
    /// It finds what it has stored ([`SimDisk`](super::SimDisk)). If false, its disk is empty.
    pub keeps_disk: bool,
}

/// What the handlers of [`Traffic`](super::Traffic) do with a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mood {
    /// They answer at once.
    #[default]
    Prompt,
    /// They answer after this time.
    Slow(Duration),
    /// They panic.
    Panics,
    /// They never answer.
    Silent,
}

/// One fault. Nodes are given by their number: 0 is the node `n0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// All connections between two nodes break.
    Cut(usize, usize),
    /// The next connection of the network breaks after this number of bytes, in one direction.
    CutAfter {
        /// The number of bytes.
        bytes: u64,
        /// Counted from the dialler to the listener; otherwise in the other direction.
        to_listener: bool,
    },
    /// Some nodes are separated from the others.
    Partition {
        /// The nodes on one side.
        side: Vec<usize>,
        /// A node that both sides reach.
        bridge: Option<usize>,
        /// How long it lasts.
        time: Duration,
    },
    /// Every node is separated from every other.
    Islands {
        /// How long it lasts.
        time: Duration,
    },
    /// Some nodes are separated from the others again and again.
    Flapping {
        /// The nodes on one side.
        side: Vec<usize>,
        /// How often.
        times: u32,
        /// How long the partition lasts each time, and how long the time between two is.
        time: Duration,
    },
    /// What one node sends to another does not arrive.
    OneWay {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// How long it lasts.
        time: Duration,
    },
    /// The traffic of a node stops, and arrives later.
    Stall {
        /// The node.
        node: usize,
        /// How long it lasts.
        time: Duration,
    },
    /// New connections have a log-normal latency.
    Latency {
        /// The median.
        median: Duration,
        /// How long it lasts.
        time: Duration,
    },
    /// A node sends at most this number of bytes per second.
    Bandwidth {
        /// The node.
        node: usize,
        /// Bytes per second.
        bytes: u64,
        /// How long it lasts.
        time: Duration,
    },
    /// A node ends at once, as when its process dies, and starts again.
    Crash {
        /// The node.
        node: usize,
        /// Its host ends with it: dials are not answered. Otherwise they are refused.
        with_host: bool,
        /// The time until it starts again.
        away: Duration,
        /// How it starts again.
        restart: Restart,
    },
    /// A node ends gracefully, and starts again.
    Stop {
        /// The node.
        node: usize,
        /// The time until it starts again.
        away: Duration,
        /// How it starts again.
        restart: Restart,
    },
    /// The wall clock of a node jumps.
    Clock {
        /// The node.
        node: usize,
        /// By how many seconds, forwards or back.
        seconds: i64,
    },
    /// Another node claims the id of this one and joins the network.
    Impostor {
        /// The node whose id is claimed.
        of: usize,
        /// How long the other node lives.
        time: Duration,
    },
    /// The disk of a node is slow.
    SlowDisk {
        /// The node.
        node: usize,
        /// The time of one write.
        write: Duration,
        /// How long it lasts.
        time: Duration,
    },
    /// The handlers of a node behave badly.
    Handlers {
        /// The node.
        node: usize,
        /// What they do.
        mood: Mood,
        /// How long it lasts.
        time: Duration,
    },
    /// A node bans another one.
    Ban {
        /// The node that bans.
        node: usize,
        /// The banned node.
        whom: usize,
        /// How long it lasts.
        time: Duration,
    },
    /// Connections of all nodes are hostile:
    /// [`Chaos::heavy`](crate::transport::memory::Chaos::heavy).
    Chaos {
        /// How long it lasts.
        time: Duration,
    },
}

impl Fault {
    /// The kind, as one word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Cut(..) => "cut",
            Self::CutAfter { .. } => "cut_after",
            Self::Partition { bridge: None, .. } => "partition",
            Self::Partition { bridge: Some(_), .. } => "bridge",
            Self::Islands { .. } => "islands",
            Self::Flapping { .. } => "flapping",
            Self::OneWay { .. } => "one_way",
            Self::Stall { .. } => "stall",
            Self::Latency { .. } => "latency",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Crash { with_host: false, .. } => "crash",
            Self::Crash { with_host: true, .. } => "power_off",
            Self::Stop { .. } => "stop",
            Self::Clock { .. } => "clock",
            Self::Impostor { .. } => "impostor",
            Self::SlowDisk { .. } => "slow_disk",
            Self::Handlers { mood: Mood::Prompt, .. } => "prompt_handlers",
            Self::Handlers { mood: Mood::Slow(_), .. } => "slow_handlers",
            Self::Handlers { mood: Mood::Panics, .. } => "panics",
            Self::Handlers { mood: Mood::Silent, .. } => "silent_handlers",
            Self::Ban { .. } => "ban",
            Self::Chaos { .. } => "chaos",
        }
    }

    /// How long it lasts. Zero for what happens in a moment.
    #[must_use]
    pub fn time(&self) -> Duration {
        match self {
            Self::Cut(..) | Self::CutAfter { .. } | Self::Clock { .. } => Duration::ZERO,
            Self::Partition { time, .. }
            | Self::Islands { time }
            | Self::OneWay { time, .. }
            | Self::Stall { time, .. }
            | Self::Latency { time, .. }
            | Self::Bandwidth { time, .. }
            | Self::Impostor { time, .. }
            | Self::SlowDisk { time, .. }
            | Self::Handlers { time, .. }
            | Self::Ban { time, .. }
            | Self::Chaos { time } => *time,
            Self::Flapping { times, time, .. } => time.saturating_mul(times.saturating_mul(2)),
            Self::Crash { away, .. } | Self::Stop { away, .. } => *away,
        }
    }

    /// Whether a network of this number of nodes has all nodes of the fault.
    fn fits(&self, nodes: usize) -> bool {
        let is_node = |node: &usize| *node < nodes;
        match self {
            Self::CutAfter { .. }
            | Self::Islands { .. }
            | Self::Latency { .. }
            | Self::Chaos { .. } => true,
            Self::Cut(a, b) => is_node(a) && is_node(b),
            Self::Partition { side, bridge, .. } => {
                side.iter().all(is_node) && bridge.iter().all(is_node) && side.len() < nodes
            }
            Self::Flapping { side, .. } => side.iter().all(is_node) && side.len() < nodes,
            Self::OneWay { from, to, .. } => is_node(from) && is_node(to),
            Self::Stall { node, .. }
            | Self::Bandwidth { node, .. }
            | Self::Crash { node, .. }
            | Self::Stop { node, .. }
            | Self::Clock { node, .. }
            | Self::SlowDisk { node, .. }
            | Self::Handlers { node, .. } => is_node(node),
            Self::Impostor { of, .. } => is_node(of),
            Self::Ban { node, whom, .. } => is_node(node) && is_node(whom),
        }
    }
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PlannedFault {
    /// Its number in the plan of the seed.
    pub number: usize,
    /// When it begins, after the network has formed.
    pub at: Duration,
    /// What happens.
    pub fault: Fault,
}

/// The sizes of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PlanSize {
    /// The number of nodes, at least 2.
    pub nodes: usize,
    /// How long faults may begin, in virtual time.
    pub time: Duration,
    /// How many faults there are, and of which kinds.
    pub level: FaultLevel,
}

impl Default for PlanSize {
    /// 5 nodes, 60 s, heavy faults.
    fn default() -> Self {
        Self { nodes: 5, time: Duration::from_secs(60), level: FaultLevel::Heavy }
    }
}

impl PlanSize {
    /// A life of this number of nodes, at least 2, with heavy faults for 60 s.
    #[must_use]
    pub fn nodes(nodes: usize) -> Self {
        Self { nodes: nodes.max(2), ..Self::default() }
    }

    /// Sets for how long faults may begin.
    #[must_use]
    pub const fn time(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    /// Sets how many faults there are, and of which kinds.
    #[must_use]
    pub const fn level(self, level: FaultLevel) -> Self {
        Self { level, ..self }
    }
}

/// The whole of a life, drawn from its seed: the same seed and size give the same plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Plan {
    /// The seed of everything random.
    pub seed: u64,
    /// The number of nodes.
    pub nodes: usize,
    /// How long the faults may begin.
    pub time: Duration,
    /// The level of the faults inside of nodes and of their connections.
    pub level: FaultLevel,
    /// The faults, by time.
    pub faults: Vec<PlannedFault>,
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The mean time between the beginnings of two faults.
const fn pause(level: FaultLevel) -> Option<Duration> {
    match level {
        FaultLevel::None => None,
        FaultLevel::Light => Some(secs(6)),
        FaultLevel::Heavy => Some(secs(3)),
    }
}

/// The longest fault, except for a stall that is longer than a keepalive.
const LONG: u64 = 20;

/// Draws the faults of a plan.
struct Drawing {
    dice: Dice,
    nodes: usize,
    /// When the partition ends that is in force, because the network heals all partitions at once.
    whole_at: Duration,
    /// When each node is up again.
    up_at: Vec<Duration>,
}

impl Drawing {
    fn range(&mut self, range: Range<u64>) -> u64 {
        let span = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        range.start.saturating_add(u64::try_from(self.dice.below(span)).unwrap_or(0))
    }

    fn time(&mut self, millis: Range<u64>) -> Duration {
        Duration::from_millis(self.range(millis))
    }

    fn long(&mut self) -> Duration {
        self.time(200..LONG * 1_000)
    }

    fn node(&mut self) -> usize {
        self.dice.below(self.nodes)
    }

    fn two(&mut self) -> (usize, usize) {
        let a = self.node();
        let step = 1 + self.dice.below(self.nodes.saturating_sub(1));
        (a, (a + step) % self.nodes.max(1))
    }

    /// A part of the nodes: at least one and not all.
    fn side(&mut self) -> Vec<usize> {
        let mut all: Vec<_> = (0..self.nodes).collect();
        let size = 1 + self.dice.below(self.nodes.saturating_sub(1));
        let mut side: Vec<_> = (0..size).filter_map(|_| self.dice.take(&mut all)).collect();
        side.sort_unstable();
        side
    }

    fn restart(&mut self) -> Restart {
        Restart {
            moves: self.dice.below(4) == 0,
            renamed: self.dice.below(6) == 0,
            keeps_disk: self.dice.below(3) > 0,
        }
    }

    /// A fault that may begin at this time. `None` if the drawn kind may not begin now.
    fn fault(&mut self, at: Duration, level: FaultLevel) -> Option<Fault> {
        let kinds = if level == FaultLevel::Light { 9 } else { 18 };
        let fault = match self.dice.below(kinds) {
            0 | 1 => {
                let (a, b) = self.two();
                Fault::Cut(a, b)
            }
            2 => {
                // Half of them within a hello and the first message.
                let end = if self.dice.below(2) == 0 { 600 } else { 100_000 };
                Fault::CutAfter { bytes: self.range(0..end), to_listener: self.dice.below(2) == 0 }
            }
            3 => {
                let (side, time) = (self.side(), self.long());
                let free: Vec<_> = (0..self.nodes).filter(|node| !side.contains(node)).collect();
                let bridge = match self.dice.below(4) {
                    0 if free.len() > 1 => free.get(self.dice.below(free.len())).copied(),
                    _ => None,
                };
                Fault::Partition { side, bridge, time }
            }
            4 => {
                let (from, to) = self.two();
                Fault::OneWay { from, to, time: self.long() }
            }
            5 => Fault::Stall { node: self.node(), time: self.time(100..25_000) },
            6 => Fault::Latency { median: self.time(5..800), time: self.long() },
            7 => Fault::Bandwidth {
                node: self.node(),
                bytes: self.range(5_000..500_000),
                time: self.long(),
            },
            8 => Fault::Handlers {
                node: self.node(),
                mood: Mood::Slow(self.time(1..4_000)),
                time: self.long(),
            },
            9 | 10 => Fault::Crash {
                node: self.node(),
                with_host: self.dice.below(2) == 0,
                away: self.long(),
                restart: self.restart(),
            },
            11 => Fault::Stop { node: self.node(), away: self.long(), restart: self.restart() },
            12 => {
                let seconds = self.range(1..5_000_000).cast_signed();
                let back = self.dice.below(2) == 0;
                Fault::Clock { node: self.node(), seconds: if back { -seconds } else { seconds } }
            }
            13 => Fault::Impostor { of: self.node(), time: self.long() },
            14 => {
                Fault::SlowDisk { node: self.node(), write: self.time(1..3_000), time: self.long() }
            }
            15 => {
                let mood = if self.dice.below(2) == 0 { Mood::Panics } else { Mood::Silent };
                Fault::Handlers { node: self.node(), mood, time: self.long() }
            }
            16 => match self.dice.below(3) {
                0 => Fault::Islands { time: self.time(200..8_000) },
                1 => {
                    let (side, times) = (self.side(), 2 + u32::try_from(self.dice.below(5)).ok()?);
                    Fault::Flapping { side, times, time: self.time(50..1_500) }
                }
                _ => {
                    let (node, whom) = self.two();
                    Fault::Ban { node, whom, time: self.long() }
                }
            },
            _ => Fault::Chaos { time: self.long() },
        };
        self.admit(at, fault)
    }

    /// Two partitions do not overlap, and a node that is down is not taken down.
    fn admit(&mut self, at: Duration, fault: Fault) -> Option<Fault> {
        let end = at.saturating_add(fault.time());
        match &fault {
            Fault::Partition { .. }
            | Fault::Islands { .. }
            | Fault::Flapping { .. }
            | Fault::OneWay { .. } => {
                if at < self.whole_at {
                    return None;
                }
                self.whole_at = end;
            }
            Fault::Crash { node, .. } | Fault::Stop { node, .. } => {
                let up_at = self.up_at.get_mut(*node)?;
                // The graceful end and the start of a node take their time.
                if at < up_at.saturating_add(secs(LONG)) && !up_at.is_zero() {
                    return None;
                }
                *up_at = end;
            }
            _ => {}
        }
        Some(fault)
    }
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64, size: PlanSize) -> Self {
        let nodes = size.nodes.max(2);
        let mut drawing = Drawing {
            dice: Dice::new(seed ^ 0x70_6c61_6e),
            nodes,
            whole_at: Duration::ZERO,
            up_at: vec![Duration::ZERO; nodes],
        };
        let (mut at, mut faults) = (Duration::ZERO, Vec::new());
        if let Some(pause) = pause(size.level) {
            let twice = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).saturating_mul(2);
            loop {
                at = at.saturating_add(drawing.time(0..twice.max(1)));
                if at >= size.time {
                    break;
                }
                if let Some(fault) = drawing.fault(at, size.level) {
                    faults.push(PlannedFault { number: faults.len(), at, fault });
                }
            }
        }
        Self { seed, nodes, time: size.time, level: size.level, faults }
    }

    /// The time from the beginning until no fault is in force.
    #[must_use]
    pub fn calm_at(&self) -> Duration {
        let ends =
            self.faults.iter().map(|planned| planned.at.saturating_add(planned.fault.time()));
        ends.max().unwrap_or_default().max(self.time)
    }

    /// The same life with fewer faults, in their order.
    #[must_use]
    pub fn with_faults(&self, numbers: &[usize]) -> Self {
        let mut plan = self.clone();
        plan.faults.retain(|planned| numbers.contains(&planned.number));
        plan
    }

    /// The same life with fewer nodes, at least 2, and without the faults of the others.
    #[must_use]
    pub fn with_nodes(&self, nodes: usize) -> Self {
        let mut plan = self.clone();
        plan.nodes = nodes.clamp(2, self.nodes);
        plan.faults.retain(|planned| planned.fault.fits(plan.nodes));
        plan
    }

    /// The same life, shorter: without the faults that begin later.
    #[must_use]
    pub fn until(&self, time: Duration) -> Self {
        let mut plan = self.clone();
        plan.time = time.min(self.time);
        plan.faults.retain(|planned| planned.at < plan.time);
        plan
    }

    /// The same life without the hostile connections, and without the faults inside of nodes.
    #[must_use]
    pub fn at_level(&self, level: FaultLevel) -> Self {
        Self { level: level.min(self.level), ..self.clone() }
    }

    /// The part of the plan that [`cut`](Self::cut) reads: `nodes/milliseconds/level/numbers of
    /// faults`.
    #[must_use]
    pub fn cut_text(&self) -> String {
        let numbers: Vec<_> =
            self.faults.iter().map(|planned| planned.number.to_string()).collect();
        let (nodes, time, level) = (self.nodes, self.time.as_millis(), self.level);
        format!("{nodes}/{time}/{level}/{}", numbers.join(","))
    }

    /// The part of this plan that [`cut_text`](Self::cut_text) named. `None` if the text is not
    /// one.
    #[must_use]
    pub fn cut(&self, text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let nodes = parts.next()?.parse().ok()?;
        let time = Duration::from_millis(parts.next()?.parse().ok()?);
        let level = parts.next()?.parse().ok()?;
        let numbers = parts.next()?.split(',').filter(|number| !number.is_empty());
        let numbers: Vec<usize> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
        if parts.next().is_some() {
            return None;
        }
        Some(self.with_nodes(nodes).until(time).at_level(level).with_faults(&numbers))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, time, level, faults } = self;
        let count = faults.len();
        write!(f, "seed {seed}: {nodes} nodes, {time:?}, {level} faults, {count} of them planned")?;
        faults.iter().try_for_each(|PlannedFault { number, at, fault }| {
            write!(f, "\n  {number}: at {at:?} {fault:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_is_the_same_plan_and_every_kind_of_fault_occurs() {
        let mut kinds = BTreeSet::new();
        for seed in 0..200 {
            let plan = Plan::new(seed, PlanSize::default());
            assert_eq!(plan, Plan::new(seed, PlanSize::default()));
            assert!(plan.faults.iter().all(|planned| planned.fault.fits(plan.nodes)), "{plan}");
            kinds.extend(plan.faults.iter().map(|planned| planned.fault.kind()));
        }
        assert_eq!(kinds.len(), 21, "{kinds:?}");
    }

    #[test]
    fn a_cut_plan_is_found_again_by_its_text() {
        let plan = Plan::new(7, PlanSize::default());
        let cut = plan.with_nodes(3).until(secs(40)).with_faults(&[0, 2, 3]);
        assert_eq!(plan.cut(&cut.cut_text()), Some(cut));
        for text in ["", "3/40", "3/x/heavy/1", "3/4/heavy/1/2", "3/4/wild/"] {
            assert_eq!(plan.cut(text), None, "{text}");
        }
    }

    #[test]
    fn a_life_of_one_node_or_none_has_two() {
        for nodes in 0..3 {
            assert_eq!(Plan::new(1, PlanSize { nodes, ..PlanSize::default() }).nodes, 2);
        }
    }
}

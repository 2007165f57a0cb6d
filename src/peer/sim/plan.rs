//! What happens to the nodes of one simulated life: faults, drawn from a seed before it begins.

mod drawing;
mod fault;

use std::{fmt, str::FromStr, time::Duration};

use self::drawing::{Drawing, pause};
pub use self::fault::{Fault, Mood, Restart};

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

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

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64, size: PlanSize) -> Self {
        let nodes = size.nodes.max(2);
        let mut drawing = Drawing::new(seed, nodes);
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

//! What is measured: memory and descriptors over time, and latencies, all in constant space.

use std::time::{Duration, Instant};

use serde::Serialize;

/// So many steps for each doubling: a percentile is right within 1/16.
const STEPS: u32 = 16;

/// Latencies in microseconds, counted in steps that grow with them.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    most: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; 64 * STEPS as usize], most: Duration::ZERO }
    }
}

/// The step of a number: its highest bit, and the four below it.
fn step(value: u64) -> usize {
    let value = value.max(u64::from(STEPS));
    let shift = value.ilog2() - STEPS.ilog2();
    let below = (value >> shift) - u64::from(STEPS);
    usize::try_from(u64::from(shift * STEPS) + below).unwrap_or(usize::MAX)
}

/// The least number beyond a step.
fn end(step: usize) -> u64 {
    let (shift, below) = (step / STEPS as usize, step % STEPS as usize);
    u64::try_from(STEPS as usize + below + 1).unwrap_or(u64::MAX) << shift.min(58)
}

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        self.most = self.most.max(took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(step(micros)) {
            *count += 1;
        }
    }

    /// In milliseconds: what so many thousandths of all stay below.
    pub(crate) fn below(&self, thousandths: u64) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        let mut left = (all * thousandths).div_ceil(1_000);
        let found = self.counts.iter().position(|count| {
            left = left.saturating_sub(*count);
            left == 0
        });
        found.filter(|_| all > 0).map(|step| (end(step) as f64 / 1e3).min(self.most()))
    }

    /// In milliseconds.
    pub(crate) fn most(&self) -> f64 {
        self.most.as_secs_f64() * 1e3
    }
}

/// One look at this process.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Look {
    /// Seconds since the start.
    pub(crate) at: f64,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    /// Open file descriptors.
    pub(crate) descriptors: u64,
}

impl Look {
    /// None where the system does not say.
    pub(crate) fn now(begun: Instant) -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let resident = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
        let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        Some(Self { at: begun.elapsed().as_secs_f64(), resident, descriptors })
    }
}

/// From one part of a run to a later one: the medians.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Trend {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Trend {
    /// Of what was seen after the warm-up, which is the first third of the run: its first half, and
    /// its second.
    pub(crate) fn of(looks: &[Look], value: impl Fn(&Look) -> u64) -> Option<Self> {
        let (_, rest) = looks.split_at(looks.len() / 3);
        let (early, late) = rest.split_at(rest.len() / 2);
        let median = |looks: &[Look]| {
            let mut values: Vec<_> = looks.iter().map(&value).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied()
        };
        Some(Self { from: median(early)?, to: median(late)? })
    }

    /// Whether it grew by no more than a tenth, and `slack`.
    pub(crate) const fn is_flat(self, slack: u64) -> bool {
        self.to <= self.from + self.from / 10 + slack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_right_within_a_sixteenth() {
        let mut latencies = Latencies::default();
        for micros in (1..=100_000).rev() {
            latencies.add(Duration::from_micros(micros));
        }
        for (thousandths, right) in [(500, 50.0), (900, 90.0), (990, 99.0), (999, 99.9)] {
            let below = latencies.below(thousandths).unwrap();
            assert!(
                (right..=right * (1.0 + 1.0 / 16.0)).contains(&below),
                "{thousandths}: {below}"
            );
        }
        assert_eq!((latencies.below(1_000), latencies.most()), (Some(100.0), 100.0));
        latencies.add(Duration::MAX);
        assert!(latencies.below(1_000).unwrap() > 1e12);
        assert_eq!(Latencies::default().below(500), None);
    }

    #[test]
    fn growth_after_the_warm_up_counts_and_growth_within_it_does_not() {
        let looks = |resident: fn(u64) -> u64| {
            let look = |n: u64| Look { at: n as f64, resident: resident(n), descriptors: 9 };
            Trend::of(&(0..90).map(look).collect::<Vec<_>>(), |look| look.resident).unwrap()
        };
        assert!(looks(|n| if n < 30 { n } else { 100 }).is_flat(0));
        let leak = looks(|n| 100 + n);
        assert_eq!((leak.from, leak.to), (145, 175));
        assert!(!leak.is_flat(15) && leak.is_flat(16));
        assert!(looks(|n| 1_000 - n).is_flat(0));
        assert!(Trend::of(&[], |look| look.resident).is_none());
    }
}

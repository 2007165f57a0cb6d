//! Measurements: memory and file descriptors over time, and latencies in constant space.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::memory::resident;

/// The number of steps per power of two: a percentile is exact within 1/16.
const STEPS: u32 = 16;

/// A histogram of latencies in microseconds, with logarithmic steps.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    max: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; 64 * STEPS as usize], max: Duration::ZERO }
    }
}

/// The step of a number: its highest bit, and the four bits below it.
fn step(value: u64) -> usize {
    let value = value.max(u64::from(STEPS));
    let shift = value.ilog2() - STEPS.ilog2();
    let below = (value >> shift) - u64::from(STEPS);
    usize::try_from(u64::from(shift * STEPS) + below).unwrap_or(usize::MAX)
}

/// The smallest number above a step.
fn end(step: usize) -> u64 {
    let (shift, below) = (step / STEPS as usize, step % STEPS as usize);
    u64::try_from(STEPS as usize + below + 1).unwrap_or(u64::MAX) << shift.min(58)
}

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        self.max = self.max.max(took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(step(micros)) {
            *count += 1;
        }
    }

    /// The latency below which this many thousandths of all are, in milliseconds.
    pub(crate) fn percentile(&self, thousandths: u64) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        let mut left = (all * thousandths).div_ceil(1_000);
        let found = self.counts.iter().position(|count| {
            left = left.saturating_sub(*count);
            left == 0
        });
        found.filter(|_| all > 0).map(|step| (end(step) as f64 / 1e3).min(self.max()))
    }

    /// The maximum, in milliseconds.
    pub(crate) fn max(&self) -> f64 {
        self.max.as_secs_f64() * 1e3
    }
}

/// A measurement of this process.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) at: f64,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    /// Open file descriptors.
    pub(crate) descriptors: u64,
}

impl Sample {
    /// `None` if the operating system does not report it.
    pub(crate) fn now(begun: Instant) -> Option<Self> {
        let resident = resident()?;
        let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        Some(Self { at: begun.elapsed().as_secs_f64(), resident, descriptors })
    }
}

/// The medians of an early and of a late part of a run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Trend {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Trend {
    /// Compares the two halves of the time after the warm-up, which is the first third of the run.
    pub(crate) fn of(samples: &[Sample], value: impl Fn(&Sample) -> u64) -> Option<Self> {
        let (_, rest) = samples.split_at(samples.len() / 3);
        let (early, late) = rest.split_at(rest.len() / 2);
        let median = |samples: &[Sample]| {
            let mut values: Vec<_> = samples.iter().map(&value).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied()
        };
        Some(Self { from: median(early)?, to: median(late)? })
    }

    /// Whether it grew by at most a tenth and `slack`.
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
            let value = latencies.percentile(thousandths).unwrap();
            assert!(
                (right..=right * (1.0 + 1.0 / 16.0)).contains(&value),
                "{thousandths}: {value}"
            );
        }
        assert_eq!((latencies.percentile(1_000), latencies.max()), (Some(100.0), 100.0));
        latencies.add(Duration::MAX);
        assert!(latencies.percentile(1_000).unwrap() > 1e12);
        assert_eq!(Latencies::default().percentile(500), None);
    }

    #[test]
    fn growth_after_the_warm_up_counts_and_growth_within_it_does_not() {
        let samples = |resident: fn(u64) -> u64| {
            let sample = |n: u64| Sample { at: n as f64, resident: resident(n), descriptors: 9 };
            Trend::of(&(0..90).map(sample).collect::<Vec<_>>(), |sample| sample.resident).unwrap()
        };
        assert!(samples(|n| if n < 30 { n } else { 100 }).is_flat(0));
        let leak = samples(|n| 100 + n);
        assert_eq!((leak.from, leak.to), (145, 175));
        assert!(!leak.is_flat(15) && leak.is_flat(16));
        assert!(samples(|n| 1_000 - n).is_flat(0));
        assert!(Trend::of(&[], |sample| sample.resident).is_none());
    }
}

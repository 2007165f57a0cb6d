//! The latency of connections.

use std::f64::consts::TAU;
use std::ops::Range;
use std::time::Duration;

/// The distribution of the latency of a direction, drawn when a connection is dialled.
///
/// ```
/// use std::time::Duration;
/// use actix_peer::transport::memory::Latency;
///
/// let ms = Duration::from_millis;
/// let lan = Latency::uniform(ms(1)..ms(3));
/// let internet = Latency::log_normal(ms(40), 0.6, ms(800));
/// assert_ne!(lan, internet);
/// assert_eq!(Latency::from(ms(1)..ms(3)), lan);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Latency(Distribution);

#[derive(Clone, Debug, PartialEq)]
enum Distribution {
    Uniform(Range<Duration>),
    LogNormal { median: Duration, sigma: f64, cap: Duration },
}

impl Latency {
    /// No latency, and no timer.
    pub const NONE: Self = Self(Distribution::Uniform(Duration::ZERO..Duration::ZERO));

    /// A constant latency.
    #[must_use]
    pub const fn fixed(time: Duration) -> Self {
        Self(Distribution::Uniform(time..time))
    }

    /// A uniform distribution over the range. An empty range means its start.
    #[must_use]
    pub const fn uniform(range: Range<Duration>) -> Self {
        Self(Distribution::Uniform(range))
    }

    /// A log-normal distribution with this median and a long tail, like round trips on the
    /// internet, and at most `cap`. `sigma` is the standard deviation of the logarithm. With 0 it
    /// is always the median. With 0.5 it is twice the median or more in one case of twelve, with 1
    /// in one case of four. A negative value or NaN means 0.
    #[must_use]
    pub const fn log_normal(median: Duration, sigma: f64, cap: Duration) -> Self {
        Self(Distribution::LogNormal { median, sigma, cap })
    }

    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> Duration {
        match &self.0 {
            Distribution::Uniform(range) => {
                let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                let (least, end) = (nanos(range.start), nanos(range.end));
                Duration::from_nanos(if least < end { random.u64(least..end) } else { least })
            }
            Distribution::LogNormal { median, sigma, cap } => {
                // G. E. P. Box, M. E. Muller, "A note on the generation of random normal deviates",
                // 1958. The first number is not 0, whose logarithm is none.
                let (one, two) = (1.0 - random.f64(), random.f64());
                let normal = (-2.0 * one.ln()).sqrt() * (TAU * two).cos();
                let factor = (sigma.max(0.0) * normal).exp();
                let drawn = Duration::try_from_secs_f64(median.as_secs_f64() * factor);
                drawn.unwrap_or(*cap).min(*cap)
            }
        }
    }
}

impl Default for Latency {
    /// None.
    fn default() -> Self {
        Self::NONE
    }
}

impl From<Range<Duration>> for Latency {
    fn from(range: Range<Duration>) -> Self {
        Self::uniform(range)
    }
}

impl From<Duration> for Latency {
    fn from(time: Duration) -> Self {
        Self::fixed(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(latency: &Latency, seed: u64) -> Vec<Duration> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut drawn: Vec<_> = (0..2_001).map(|_| latency.draw(&mut random)).collect();
        drawn.sort();
        drawn
    }

    #[test]
    fn a_log_normal_latency_has_its_median_its_tail_and_its_cap() {
        let (median, cap) = (Duration::from_millis(40), Duration::from_millis(200));
        let drawn = drawn(&Latency::log_normal(median, 1.0, cap), 1);
        let near = |at: usize, ms: f64| (drawn[at].as_secs_f64() * 1e3 / ms - 1.0).abs() < 0.15;
        assert!(near(1_000, 40.0), "{:?}", drawn[1_000]);
        // One standard deviation on either side: 15.9 % of all, and the factor e.
        assert!(near(318, 14.7) && near(1_682, 108.7), "{:?} {:?}", drawn[318], drawn[1_682]);
        assert_eq!(drawn[2_000], cap);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let latency = Latency::log_normal(Duration::from_millis(40), 0.5, Duration::from_secs(1));
        assert_eq!(drawn(&latency, 7), drawn(&latency, 7));
        assert_ne!(drawn(&latency, 7), drawn(&latency, 8));
    }

    #[test]
    fn no_number_is_too_odd() {
        let second = Duration::from_secs(1);
        for sigma in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert!(
                drawn(&Latency::log_normal(second, sigma, second * 2), 1)
                    .iter()
                    .all(|time| *time == second),
                "{sigma}"
            );
        }
        for latency in [
            Latency::log_normal(Duration::MAX, 9.0, Duration::MAX),
            Latency::log_normal(second, f64::INFINITY, second),
        ] {
            drawn(&latency, 1);
        }
    }
}

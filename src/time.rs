//! Layer 1: the clock, and additions of times that do not panic.
//!
//! `Instant + Duration` and `Duration * n` panic on overflow. Clippy refuses both in this crate
//! (`arithmetic_side_effects`); the functions below replace them.

pub(crate) mod gcra;

use std::time::{Duration, Instant};

/// The current time of tokio's clock, which tests may pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The maximum of an added time: every clock can represent it, and it is effectively never.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// An instant, or the time since one, to which a time can be added without a panic.
pub(crate) trait Later: Sized {
    /// The instant that is `time` later, at most [`LONGEST`] later.
    fn later(self, time: Duration) -> Self;
}

impl Later for Instant {
    fn later(self, time: Duration) -> Self {
        self.checked_add(time.min(LONGEST)).unwrap_or(self)
    }
}

impl Later for tokio::time::Instant {
    fn later(self, time: Duration) -> Self {
        self.checked_add(time.min(LONGEST)).unwrap_or(self)
    }
}

impl Later for Duration {
    fn later(self, time: Duration) -> Self {
        self.saturating_add(time.min(LONGEST))
    }
}

/// `first`, doubled `times` times, at most `longest`: a pause that backs off.
pub(crate) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(longest)
}

/// A time divided by `n`; the time itself if `n` is 0.
pub(crate) fn part(time: Duration, n: u32) -> Duration {
    time.checked_div(n).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_any_length_can_be_added_any_number_of_times() {
        let begun = tokio::time::Instant::now();
        let mut far = begun;
        for _ in 0..1_000 {
            far = far.later(Duration::MAX);
        }
        assert!(far > begun.later(LONGEST));
        assert_eq!(
            begun.into_std().later(Duration::from_secs(5)),
            begun.later(Duration::from_secs(5)).into_std()
        );
        assert_eq!(Duration::MAX.later(Duration::MAX), Duration::MAX);
        assert_eq!(part(Duration::MAX, 0), Duration::MAX);
        assert_eq!(part(Duration::from_secs(1), 8), Duration::from_millis(125));
    }

    #[test]
    fn a_pause_doubles_up_to_the_longest_any_number_of_times() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(5));
        let pauses = (0..8).map(|times| doubled(first, times, longest).as_millis());
        assert!(pauses.eq([50, 100, 200, 400, 800, 1_600, 3_200, 5_000]));
        assert_eq!(doubled(first, u32::MAX, longest), longest);
    }
}

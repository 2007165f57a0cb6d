//! Layer 1: the time, and times that are added without a panic.
//!
//! `Instant + Duration` and `Duration * n` panic when the sum is more than their type holds. Clippy
//! refuses both in this crate (`arithmetic_side_effects`); they are written as below.

use std::time::{Duration, Instant};

/// The time of tokio, which tests may pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// No time that is added is longer: every clock can count it, and it is as good as never.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// A moment to which a time can be added.
pub(crate) trait Later: Sized {
    /// The moment that is `time` later; [`LONGEST`] later at most.
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

/// The `n`th part of a time; the time itself for no parts.
pub(crate) fn part(time: Duration, n: u32) -> Duration {
    time.checked_div(n).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_any_length_can_be_added_as_often_as_one_likes() {
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
        assert_eq!(part(Duration::MAX, 0), Duration::MAX);
        assert_eq!(part(Duration::from_secs(1), 8), Duration::from_millis(125));
    }
}

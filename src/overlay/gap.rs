//! A gap in the time of this node: pure rules for what stood still.

use std::time::{Duration, Instant};

/// What was due so long ago was not looked at: the process was stopped, the machine slept, or the
/// thread was blocked. Until then others had no chance to show that they live.
const GAP: Duration = Duration::from_secs(10);

/// Whether this node stood still: `due` should have been looked at, and `now` it is looked at.
///
/// Whoever suspects others by a timer has it begin anew then instead of letting it fire: that they
/// were not heard is this node's doing. The clock is monotonic; it may or may not go on while a
/// machine sleeps.
pub(crate) fn is_gap(due: Instant, now: Instant) -> bool {
    now.saturating_duration_since(due) > GAP
}

/// Watches that a thread does not stand still: how often it looks at the clock.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A look that is so late is reported. With [`LOOK_EVERY`], five seconds of standing still are
/// always seen.
const STANDSTILL: Duration = Duration::from_secs(4);

/// How long a thread stood still that should have looked at the clock at `due`, when that is worth
/// a word: at least so long.
pub(crate) fn standstill(due: Instant, now: Instant) -> Option<Duration> {
    let late = now.saturating_duration_since(due);
    (late >= STANDSTILL).then_some(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_gap_is_more_than_ten_seconds_and_time_that_goes_back_is_none() {
        let now = tokio::time::Instant::now().into_std() + 100 * SECOND;
        assert!(!is_gap(now, now) && !is_gap(now + SECOND, now) && !is_gap(now - 10 * SECOND, now));
        assert!(is_gap(now - 11 * SECOND, now));
    }

    #[test]
    fn five_seconds_of_standing_still_are_always_seen() {
        let due = tokio::time::Instant::now().into_std();
        assert_eq!(standstill(due, due + 5 * SECOND - LOOK_EVERY), Some(4 * SECOND));
        assert_eq!(standstill(due, due + 3 * SECOND), None);
        assert_eq!(standstill(due + SECOND, due), None);
    }
}

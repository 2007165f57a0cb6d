//! Gaps in the time of this node: pure rules for detecting that it was blocked.

use std::time::{Duration, Instant};

/// A timer that fires this late means that the process was stopped, the machine slept, or the
/// thread was blocked. Until then other nodes had no chance to show that they are alive.
const GAP: Duration = Duration::from_secs(10);

/// Whether this node was blocked: the timer was due at `due`, and fires at `now`.
///
/// A caller that suspects other nodes by a timer restarts the timer in this case: the silence of
/// other nodes was caused by this node. The clock is monotonic; it may or may not advance while a
/// machine sleeps.
pub(crate) fn is_gap(due: Instant, now: Instant) -> bool {
    now.saturating_duration_since(due) > GAP
}

/// How often the watchdog of a thread reads the clock.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The minimum delay that is reported. With [`LOOK_EVERY`], a thread that is blocked for five
/// seconds is always detected.
const STANDSTILL: Duration = Duration::from_secs(4);

/// How long a thread was blocked whose watchdog was due at `due`; `None` if it is shorter than
/// the minimum.
pub(crate) fn standstill(due: Instant, now: Instant) -> Option<Duration> {
    let late = now.saturating_duration_since(due);
    (late >= STANDSTILL).then_some(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_gap_is_more_than_ten_seconds_and_a_clock_that_goes_back_is_none() {
        let now = tokio::time::Instant::now().into_std() + 100 * SECOND;
        assert!(!is_gap(now, now) && !is_gap(now + SECOND, now) && !is_gap(now - 10 * SECOND, now));
        assert!(is_gap(now - 11 * SECOND, now));
    }

    #[test]
    fn a_thread_that_is_blocked_for_five_seconds_is_always_detected() {
        let due = tokio::time::Instant::now().into_std();
        assert_eq!(standstill(due, due + 5 * SECOND - LOOK_EVERY), Some(4 * SECOND));
        assert_eq!(standstill(due, due + 3 * SECOND), None);
        assert_eq!(standstill(due + SECOND, due), None);
    }
}

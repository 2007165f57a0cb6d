//! The generic cell rate algorithm (ITU-T I.371, "virtual scheduling"): the token bucket behind all
//! rates.
//!
//! The state of a bucket is its theoretical arrival time: when its last event would have arrived at
//! exactly the rate. The cost of an event is the time that it takes at the rate. `T` is a time: an
//! instant, or the time since a fixed instant.

use std::time::Duration;

use crate::time::Later;

/// Counts an event, whether or not it is within the rate. Returns the new theoretical arrival time.
pub(crate) fn charge<T: Later + Ord>(arrival: T, now: T, cost: Duration) -> T {
    arrival.max(now).later(cost)
}

/// Counts an event if it is within the rate. Returns the new theoretical arrival time. `None` if it
/// were more than `burst` ahead of `now`.
pub(crate) fn take<T: Later + Ord + Copy>(
    arrival: T,
    now: T,
    cost: Duration,
    burst: Duration,
) -> Option<T> {
    Some(charge(arrival, now, cost)).filter(|arrival| *arrival <= now.later(burst))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_passes_at_once_and_then_one_event_in_each_of_its_times() {
        let (mut arrival, begin) = (Duration::ZERO, SECOND * 9);
        let mut passed = |now| match take(arrival, now, SECOND, SECOND * 3) {
            Some(next) => {
                arrival = next;
                true
            }
            None => false,
        };
        assert_eq!([(); 5].map(|()| passed(begin)), [true, true, true, false, false]);
        assert!(!passed(begin + SECOND / 2) && passed(begin + SECOND) && !passed(begin + SECOND));
    }

    #[test]
    fn an_event_that_is_charged_counts_although_it_exceeds_the_rate() {
        let charged = charge(SECOND, SECOND, SECOND * 60);
        assert_eq!(charged, SECOND * 61);
        assert_eq!(take(charged, SECOND * 2, SECOND, SECOND * 59), None);
        assert_eq!(take(charged, SECOND * 2, SECOND, SECOND * 60), Some(SECOND * 62));
        assert_eq!(charge(Duration::MAX, SECOND, SECOND), Duration::MAX);
    }
}

//! How often something may happen, for each of many keys, in bounded memory.
//!
//! Sans-I/O: the time is an argument.
//!
//! ```
//! use std::{net::Ipv4Addr, time::Duration};
//!
//! use actix_peer::limits::{Rate, RateLimiter};
//!
//! // Each sender may ask 20 questions in a row, and then 10 in a second.
//! let mut questions = RateLimiter::new(Rate::per_second(10, 20), 1_024);
//! let (ada, bob) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
//! let now = tokio::time::Instant::now().into_std();
//! assert!((0..20).all(|_| questions.take(&ada, now)));
//! assert!(!questions.take(&ada, now));
//! assert!(questions.take(&bob, now), "other senders are not affected");
//! assert!(questions.take(&ada, now + Duration::from_millis(100)));
//! ```

use std::{
    hash::Hash,
    time::{Duration, Instant},
};

use crate::{
    limits::ExpiringMap,
    time::{LONGEST, gcra, part},
};

/// A rate: a burst of events, and then one event in each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    burst: u32,
    every: Duration,
}

impl Rate {
    /// `burst` events in a row, and then one in each interval `every`.
    #[must_use]
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every }
    }

    /// `burst` events in a row, and then `n` in a second.
    #[must_use]
    pub fn per_second(n: u32, burst: u32) -> Self {
        Self::new(burst, part(Duration::from_secs(1), n))
    }

    /// The time that `n` events take at this rate.
    fn time_of(self, n: u32) -> Duration {
        self.every.checked_mul(n).unwrap_or(LONGEST)
    }
}

/// A [`Rate`] for each key.
///
/// It remembers a bounded number of keys, each until its whole burst is available again. If there
/// is no room for a new key, the key whose burst is available again first is forgotten. A flood of
/// keys therefore gives the key with the fewest recent events another burst, and refuses no key.
/// Each call takes the logarithm of the number of keys.
#[derive(Debug)]
pub struct RateLimiter<K> {
    rate: Rate,
    /// The theoretical arrival time of each key, at which its whole burst is available again.
    arrivals: ExpiringMap<K, ()>,
}

impl<K: Clone + Eq + Hash + Ord> RateLimiter<K> {
    /// A limiter that remembers at most `capacity` keys.
    #[must_use]
    pub fn new(rate: Rate, capacity: usize) -> Self {
        Self { rate, arrivals: ExpiringMap::new(capacity) }
    }

    /// The theoretical arrival time after another event of this key. `None` if the event exceeds
    /// the rate.
    fn next(&self, key: &K, now: Instant) -> Option<Instant> {
        let arrival = self.arrivals.expiry(key).unwrap_or(now);
        gcra::take(arrival, now, self.rate.every, self.rate.time_of(self.rate.burst))
    }

    /// Whether [`take`](Self::take) would accept an event of this key.
    #[must_use]
    pub fn allows(&self, key: &K, now: Instant) -> bool {
        self.next(key, now).is_some()
    }

    /// Counts an event of this key. False, without counting it, if it exceeds the rate.
    pub fn take(&mut self, key: &K, now: Instant) -> bool {
        let next = self.next(key, now);
        if let Some(arrival) = next {
            self.arrivals.insert(key.clone(), (), arrival, now);
        }
        next.is_some()
    }

    /// Undoes `n` events of this key.
    pub fn give_back(&mut self, key: &K, n: u32, now: Instant) {
        if let Some(arrival) = self.arrivals.expiry(key) {
            let arrival = arrival.checked_sub(self.rate.time_of(n)).unwrap_or(now);
            self.arrivals.insert(key.clone(), (), arrival, now);
        }
    }

    /// Forgets a key. Returns how many of its events still counted.
    pub fn forget(&mut self, key: &K, now: Instant) -> u32 {
        let arrival = self.arrivals.expiry(key);
        let ahead = arrival.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        self.arrivals.remove(key);
        let counted = ahead.as_nanos().div_ceil(self.rate.every.as_nanos().max(1));
        u32::try_from(counted).unwrap_or(u32::MAX)
    }

    /// The number of remembered keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 8;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn taken(limiter: &mut RateLimiter<u32>, key: u32, now: Instant) -> usize {
        (0..1_000).filter(|_| limiter.take(&key, now)).count()
    }

    #[test]
    fn a_key_has_its_burst_and_then_its_pace_and_touches_no_other() {
        let (mut limiter, begin) = (RateLimiter::new(Rate::per_second(10, 20), MOST), now());
        assert_eq!(taken(&mut limiter, 1, begin), 20);
        assert!(!limiter.allows(&1, begin) && limiter.allows(&2, begin));
        assert_eq!(taken(&mut limiter, 1, begin + Duration::from_secs(1)), 10);
        assert_eq!(taken(&mut limiter, 1, begin + Duration::from_secs(100)), 20);
        let mut none = RateLimiter::new(Rate::per_second(0, 0), MOST);
        assert_eq!(taken(&mut none, 1, begin), 0);
    }

    #[test]
    fn a_returned_permit_can_be_taken_again() {
        let (mut limiter, now) =
            (RateLimiter::new(Rate::new(5, Duration::from_secs(60)), MOST), now());
        assert_eq!(taken(&mut limiter, 1, now), 5);
        limiter.give_back(&1, 2, now);
        assert_eq!(taken(&mut limiter, 1, now), 2);
        assert_eq!(
            limiter.forget(&1, now + Duration::from_secs(30)),
            5,
            "half of one still counts"
        );
        assert_eq!((limiter.forget(&1, now), taken(&mut limiter, 1, now)), (0, 5));
        limiter.give_back(&1, u32::MAX, now);
        assert_eq!(taken(&mut limiter, 1, now), 5);
    }

    #[test]
    fn a_newcomer_evicts_the_key_that_used_the_least() {
        let (mut limiter, now) = (RateLimiter::new(Rate::new(3, Duration::from_secs(1)), 2), now());
        assert_eq!(taken(&mut limiter, 1, now), 3);
        assert!(limiter.take(&2, now) && limiter.take(&3, now));
        assert!(!limiter.take(&1, now), "the one that took all is remembered");
        assert_eq!((taken(&mut limiter, 2, now), limiter.len()), (3, 2));
    }

    proptest! {
        #[test]
        fn over_any_time_no_more_passes_than_the_rate_and_the_memory_is_bounded(
            steps in proptest::collection::vec((0_u32..40, 0_u64..400), 1..300),
        ) {
            let (rate, begin) = (Rate::per_second(10, 5), now());
            let (mut limiter, mut now) = (RateLimiter::new(rate, MOST), begin);
            let (mut many, mut passed) = (RateLimiter::new(rate, 100), 0);
            for (key, millis) in steps {
                now += Duration::from_millis(millis);
                limiter.take(&key, now);
                passed += u64::from(many.take(&0, now));
                prop_assert!(limiter.len() <= MOST);
                prop_assert!(passed <= 5 + u64::try_from((now - begin).as_millis()).unwrap() / 100);
            }
        }
    }
}

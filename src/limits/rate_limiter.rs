//! How often something may happen, for each of many keys, in bounded memory.
//!
//! Pure values: the time is an argument. The rule is GCRA (ITU-T I.371, "virtual scheduling"): what is
//! kept of a key is the moment at which its last event would have come at its pace.
//!
//! ```
//! use std::{net::Ipv4Addr, time::Duration};
//!
//! use actix_peer::limits::{Rate, RateLimiter};
//!
//! // A handler that takes 20 questions in a row from each sender, and then 10 in a second.
//! let mut questions = RateLimiter::new(Rate::per_second(10, 20), 1_024);
//! let (ada, bob) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
//! let now = tokio::time::Instant::now().into_std();
//! assert!((0..20).all(|_| questions.take(&ada, now)));
//! assert!(!questions.take(&ada, now));
//! assert!(questions.take(&bob, now), "others are not touched");
//! assert!(questions.take(&ada, now + Duration::from_millis(100)));
//! ```

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::{Duration, Instant},
};

use crate::time::{LONGEST, Later, part};

/// So many events in a row, then one in each so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    burst: u32,
    every: Duration,
}

impl Rate {
    /// `burst` events in a row, then one in each `every`.
    #[must_use]
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every }
    }

    /// `burst` events in a row, then `n` in a second.
    #[must_use]
    pub fn per_second(n: u32, burst: u32) -> Self {
        Self::new(burst, part(Duration::from_secs(1), n))
    }

    /// The time in which `n` events come at this rate.
    fn time_of(self, n: u32) -> Duration {
        self.every.checked_mul(n).unwrap_or(LONGEST)
    }
}

/// A [`Rate`] for each key.
///
/// It keeps a bounded number of keys, and each of them only until it is as good as new. When there is
/// no room, the key that is as good as new the soonest is forgotten for a newcomer: a flood of keys
/// gives the key that took the least another burst, and refuses no key. Each call costs the logarithm of the number
/// of keys.
#[derive(Debug)]
pub struct RateLimiter<K> {
    rate: Rate,
    /// Until the key is as good as new: the moment at which its last event would have come.
    due: ExpiringMap<K, ()>,
}

impl<K: Clone + Eq + Hash + Ord> RateLimiter<K> {
    /// For at most `most` keys.
    #[must_use]
    pub fn new(rate: Rate, most: usize) -> Self {
        Self { rate, due: ExpiringMap::new(most) }
    }

    /// When the next event of this key would come at its pace, if it may come now.
    fn next(&self, key: &K, now: Instant) -> Option<Instant> {
        let due = self.due.until(key).map_or(now, |due| due.max(now)).later(self.rate.every);
        (due <= now.later(self.rate.time_of(self.rate.burst))).then_some(due)
    }

    /// Whether [`take`](Self::take) would take an event of this key.
    #[must_use]
    pub fn allows(&self, key: &K, now: Instant) -> bool {
        self.next(key, now).is_some()
    }

    /// Takes an event of this key. False, and nothing is counted, when it comes too fast.
    pub fn take(&mut self, key: &K, now: Instant) -> bool {
        let next = self.next(key, now);
        if let Some(due) = next {
            self.due.set(key.clone(), (), due, now);
        }
        next.is_some()
    }

    /// Undoes `n` events of this key.
    pub fn give_back(&mut self, key: &K, n: u32, now: Instant) {
        if let Some(due) = self.due.until(key) {
            let due = due.checked_sub(self.rate.time_of(n)).unwrap_or(now);
            self.due.set(key.clone(), (), due, now);
        }
    }

    /// Forgets a key. How many of its events still counted.
    pub fn forget(&mut self, key: &K, now: Instant) -> u32 {
        let ahead =
            self.due.until(key).map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        self.due.remove(key);
        let counted = ahead.as_nanos().div_ceil(self.rate.every.as_nanos().max(1));
        u32::try_from(counted).unwrap_or(u32::MAX)
    }

    /// How many keys are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether every key is as good as new, and none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Values by key, each until a moment, and a bounded number of them.
///
/// ```
/// use std::time::Duration;
///
/// use actix_peer::limits::ExpiringMap;
///
/// let now = tokio::time::Instant::now().into_std();
/// let soon = now + Duration::from_secs(9);
/// let mut answered = ExpiringMap::new(1_024);
/// answered.set("192.0.2.1", "a node", soon, now);
/// assert_eq!(answered.get(&"192.0.2.1", now), Some(&"a node"));
/// assert_eq!(answered.get(&"192.0.2.1", soon), None);
/// ```
#[derive(Debug)]
pub struct ExpiringMap<K, V> {
    most: usize,
    of: HashMap<K, (Instant, V)>,
    /// The same keys, the one that ends first at the front.
    order: BTreeSet<(Instant, K)>,
}

impl<K: Clone + Eq + Hash + Ord, V> ExpiringMap<K, V> {
    /// For at most `most` keys.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, of: HashMap::new(), order: BTreeSet::new() }
    }

    /// The value of a key, until its time is over.
    #[must_use]
    pub fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.of.get(key).filter(|(until, _)| *until > now).map(|(_, value)| value)
    }

    /// The value of a key that is kept, also when its time is over.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.of.get_mut(key).map(|(_, value)| value)
    }

    /// Until when a key has its value.
    fn until(&self, key: &K) -> Option<Instant> {
        self.of.get(key).map(|(until, _)| *until)
    }

    /// Gives a key a value until a moment. When there is no room, the key that ends first goes for it.
    pub fn set(&mut self, key: K, value: V, until: Instant, now: Instant) {
        self.remove(&key);
        if !self.has_room(&key, now) {
            self.remove_first();
        }
        if self.most > 0 && until > now {
            self.order.insert((until, key.clone()));
            self.of.insert(key, (until, value));
        }
    }

    /// Whether this key has a value, or can get one for which none has to go.
    pub fn has_room(&mut self, key: &K, now: Instant) -> bool {
        self.forget_old(now);
        self.of.len() < self.most || self.of.contains_key(key)
    }

    /// Forgets the keys whose time is over.
    pub fn forget_old(&mut self, now: Instant) {
        while self.order.first().is_some_and(|(until, _)| *until <= now) {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.of.remove(&key);
        }
    }

    /// Forgets a key. Its value, whether or not its time was over.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (key, (until, value)) = self.of.remove_entry(key)?;
        self.order.remove(&(until, key));
        Some(value)
    }

    /// How many keys are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether no key is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
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
    fn what_is_given_back_may_be_taken_again() {
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
    fn a_newcomer_takes_the_place_of_whoever_took_the_least() {
        let (mut limiter, now) = (RateLimiter::new(Rate::new(3, Duration::from_secs(1)), 2), now());
        assert_eq!(taken(&mut limiter, 1, now), 3);
        assert!(limiter.take(&2, now) && limiter.take(&3, now));
        assert!(!limiter.take(&1, now), "the one that took all is remembered");
        assert_eq!((taken(&mut limiter, 2, now), limiter.len()), (3, 2));
    }

    #[test]
    fn what_is_remembered_ends_with_its_time_and_makes_room() {
        let (mut memory, begin) = (ExpiringMap::new(2), now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        memory.set('a', 1, at(5), begin);
        memory.set('b', 2, at(3), begin);
        assert!(memory.has_room(&'a', begin) && !memory.has_room(&'c', begin));
        memory.set('c', 3, at(4), begin);
        assert_eq!((memory.get(&'b', begin), memory.get(&'c', begin)), (None, Some(&3)));
        assert!(memory.has_room(&'d', at(4)), "one is over");
        assert_eq!((memory.len(), memory.remove(&'a'), memory.is_empty()), (1, Some(1), true));
        memory.set('e', 5, begin, begin);
        assert!(memory.is_empty(), "what is over already is not kept");
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
                prop_assert!(limiter.len() <= MOST && limiter.due.order.len() == limiter.len());
                prop_assert!(passed <= 5 + u64::try_from((now - begin).as_millis()).unwrap() / 100);
            }
        }
    }
}

//! The pace of dials to addresses where no node has answered.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    limits::ExpiringMap,
    overlay::Address,
    time::{Later, gcra, part},
};

/// How long a dial counts against its address.
const WINDOW: Duration = Duration::from_secs(60);

/// The maximum number of addresses that are remembered, at any pace.
const MAX_REMEMBERED: usize = 65_536;

/// How long an address at which a node has answered is exempt from its own limit: as long as a peer
/// that was given up is asked again.
const ANSWERED_FOR: Duration = Duration::from_secs(10 * 60);

/// The pace of dials to unverified addresses, in total and for each address.
///
/// The limit for each address protects third parties that never asked for connections. It does not
/// apply to an address at which a node answered recently. Otherwise two sides of a partition could
/// not find each other again, because each has used up its dials while the other was unreachable.
#[derive(Debug)]
pub(crate) struct DialPace {
    per_address: usize,
    between: Duration,
    /// When the next dial to any address is due.
    due: Instant,
    /// When each address was dialled, within the window.
    dialled: ExpiringMap<Address, VecDeque<Instant>>,
    /// The addresses at which a node answered recently.
    answered: ExpiringMap<Address, ()>,
}

impl DialPace {
    /// At most `per_second` dials per second in total, and `per_address` per minute to each
    /// address.
    pub(crate) fn new(per_second: u32, per_address: u32, now: Instant) -> Self {
        let number = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let capacity = number(per_second).saturating_mul(2 * 60).min(MAX_REMEMBERED);
        Self {
            per_address: number(per_address),
            between: part(Duration::from_secs(1), per_second),
            due: now,
            dialled: ExpiringMap::new(capacity),
            answered: ExpiringMap::new(capacity),
        }
    }

    /// How long to wait before dialling `to`; `None` if it was dialled too often already, or if the
    /// memory is full of other addresses and the dial cannot be counted.
    pub(crate) fn dial(&mut self, to: &Address, now: Instant) -> Option<Duration> {
        if self.answered.get(to, now).is_some() {
            return Some(self.slot(now));
        }
        if !self.dialled.has_room(to, now) {
            return None;
        }
        let mut times = self.dialled.remove(to).unwrap_or_default();
        times.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        let may = times.len() < self.per_address;
        if may {
            times.push_back(self.due.max(now));
        }
        if let Some(last) = times.back() {
            let until = last.later(WINDOW);
            self.dialled.insert(to.clone(), times, until, now);
        }
        may.then(|| self.slot(now))
    }

    /// How long to wait for the next slot in the total pace.
    fn slot(&mut self, now: Instant) -> Duration {
        let wait = self.due.saturating_duration_since(now);
        self.due = gcra::charge(self.due, now, self.between);
        wait
    }

    /// Records that the expected node has answered at this address.
    pub(crate) fn answered(&mut self, at: &Address, now: Instant) {
        self.dialled.remove(at);
        if self.answered.has_room(at, now) {
            self.answered.insert(at.clone(), (), now.later(ANSWERED_FOR), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u32) -> Address {
        format!("10.{}.{}.{}:9000", n >> 16, n >> 8 & 255, n & 255).parse().unwrap()
    }

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn an_address_that_never_answers_is_dialled_three_times_in_any_minute() {
        let begun = now();
        let mut pace = DialPace::new(32, 3, begun);
        // Also across the end of a minute.
        let tries = [0, 59, 59, 60, 60, 60, 61, 119, 119, 119, 120, 121, 200];
        let dialled =
            tries.map(|second| pace.dial(&at(1), begun + Duration::from_secs(second)).is_some());
        let expected =
            [true, true, true, true, false, false, false, true, false, false, true, true, true];
        assert_eq!(dialled, expected);
        let now = begun + Duration::from_secs(201);
        assert!(pace.dial(&at(1), now).is_some() && pace.dial(&at(1), now).is_some());
        assert!(pace.dial(&at(1), now).is_none());
        assert!(pace.dial(&at(2), now).is_some());
    }

    #[test]
    fn an_address_that_answered_within_ten_minutes_is_dialled_without_its_own_limit() {
        let begun = now();
        let mut pace = DialPace::new(32, 3, begun);
        pace.answered(&at(1), begun);
        let within = |seconds| begun + Duration::from_secs(seconds);
        assert!((0..599).all(|second| pace.dial(&at(1), within(second)).is_some()));
        let after = (600..660).filter(|second| pace.dial(&at(1), within(*second)).is_some());
        assert_eq!(after.count(), 3);
        for n in 0..100_000 {
            pace.answered(&at(n), within(700));
            assert!(pace.answered.len() <= 32 * 2 * 60);
        }
    }

    #[test]
    fn dials_to_all_addresses_are_paced_and_the_memory_is_bounded() {
        let now = now();
        let mut pace = DialPace::new(10, 3, now);
        let waits: Vec<_> = (0..1_200).filter_map(|n| pace.dial(&at(n), now)).collect();
        assert_eq!(waits.first(), Some(&Duration::ZERO));
        assert_eq!(waits.last(), Some(&Duration::from_millis(119_900)));
        assert_eq!(pace.dial(&at(5_000), now), None, "no room to count it");
        for n in 0..100_000 {
            pace.dial(&at(n), now + Duration::from_millis(u64::from(n)));
            assert!(pace.dialled.len() <= 1_200);
        }
    }
}

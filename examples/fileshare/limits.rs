//! Limits on the work and the connections that other nodes can cause. Pure values.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use actix_peer::{
    limits::{ExpiringMap, Rate, RateLimiter},
    overlay::Address,
};

/// Queries of one sender: a burst of 20, then 10 per second.
const QUERIES: Rate = Rate::new(20, Duration::from_millis(100));

/// Files that one sender announces without a search: a burst of 64, then one per second.
const ANNOUNCEMENTS: Rate = Rate::new(64, Duration::from_secs(1));

/// Dials of one address that is not of a known peer and where no node has answered: 3 per minute.
/// It may belong to a third party.
const DIALS_TO_ONE: Rate = Rate::new(3, Duration::from_secs(20));

/// Dials of all such addresses: 30 per minute.
const DIALS_TO_ALL: Rate = Rate::new(30, Duration::from_secs(2));

/// Messages to one address that is not of a known peer, where a file-sharing program has answered:
/// a burst of 256, then 8 per second. A user who searches gets all answers, and no other node can
/// make this one flood the address.
const ANSWERS_TO_ONE: Rate = Rate::new(256, Duration::from_millis(125));

/// How long an address counts as one where a node has answered.
const ANSWERED_FOR: Duration = Duration::from_secs(10 * 60);

/// Notices about one address that cannot be told of matches: one per minute.
const COMPLAINTS: Rate = Rate::new(1, Duration::from_secs(60));

/// The maximum number of senders or addresses that are remembered.
const MAX_KEYS: usize = 1_024;

/// All limits of the program on other nodes.
///
/// Senders on this machine are not limited, because all of them have one address.
#[derive(Debug)]
pub(crate) struct Limits {
    queries: RateLimiter<IpAddr>,
    announcements: RateLimiter<IpAddr>,
    dials: RateLimiter<Address>,
    all_dials: RateLimiter<()>,
    /// The addresses where a node has answered.
    answered: ExpiringMap<Address, ()>,
    answers: RateLimiter<Address>,
    complaints: RateLimiter<Address>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queries: RateLimiter::new(QUERIES, MAX_KEYS),
            announcements: RateLimiter::new(ANNOUNCEMENTS, MAX_KEYS),
            dials: RateLimiter::new(DIALS_TO_ONE, MAX_KEYS),
            all_dials: RateLimiter::new(DIALS_TO_ALL, 1),
            answered: ExpiringMap::new(MAX_KEYS),
            answers: RateLimiter::new(ANSWERS_TO_ONE, MAX_KEYS),
            complaints: RateLimiter::new(COMPLAINTS, MAX_KEYS),
        }
    }
}

impl Limits {
    /// Whether a query from this sender may be handled now.
    pub(crate) fn query_from(&mut self, sender: IpAddr, now: Instant) -> bool {
        sender.is_loopback() || self.queries.take(&sender, now)
    }

    /// Whether this sender may announce a file of its own now.
    pub(crate) fn announcement_from(&mut self, sender: IpAddr, now: Instant) -> bool {
        sender.is_loopback() || self.announcements.take(&sender, now)
    }

    /// Whether this address, which is not of a known peer, may be dialled now.
    pub(crate) fn dial_stranger(&mut self, to: &Address, now: Instant) -> bool {
        let to = &to.canonical();
        if self.answered.get(to, now).is_some() {
            return self.answers.take(to, now);
        }
        // A dial that is refused for this address does not count for all addresses.
        self.all_dials.allows(&(), now) && self.dials.take(to, now) && self.all_dials.take(&(), now)
    }

    /// Records that a file-sharing program has answered at this address. The dials of it no longer
    /// count for all addresses.
    pub(crate) fn has_answered(&mut self, at: &Address, now: Instant) {
        let at = at.canonical();
        let taken = self.dials.forget(&at, now);
        self.all_dials.give_back(&(), taken, now);
        self.answered.insert(at, (), now + ANSWERED_FOR, now);
    }

    /// Records that the node at this address did not search.
    pub(crate) fn has_not_asked(&mut self, at: &Address) {
        self.answered.remove(&at.canonical());
    }

    /// Whether to show a notice now that this address could not be told of matches.
    pub(crate) fn complain(&mut self, about: &Address, now: Instant) -> bool {
        self.complaints.take(&about.canonical(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::now;

    fn at(text: &str) -> Address {
        format!("{text}:9000").parse().unwrap()
    }

    fn dials(limits: &mut Limits, to: &str, now: Instant) -> usize {
        (0..1_000).filter(|_| limits.dial_stranger(&at(to), now)).count()
    }

    #[test]
    fn a_remote_sender_may_ask_twenty_times_and_announce_sixty_four_files_in_a_burst() {
        let now = now();
        for (sender, asks, tells) in [
            ("192.0.2.1", 20, 64),
            ("192.0.2.2", 20, 64),
            ("127.0.0.1", 1_000, 1_000),
            ("127.1.2.3", 1_000, 1_000),
            ("::1", 1_000, 1_000),
        ] {
            let (mut limits, sender) = (Limits::default(), sender.parse().unwrap());
            assert_eq!((0..1_000).filter(|_| limits.query_from(sender, now)).count(), asks);
            let told = (0..1_000).filter(|_| limits.announcement_from(sender, now)).count();
            assert_eq!(told, tells);
        }
    }

    #[test]
    fn a_stranger_is_connected_to_three_times_a_minute_and_all_of_them_thirty_times() {
        let begin = now();
        let mut limits = Limits::default();
        assert_eq!(dials(&mut limits, "192.0.2.1", begin), 3);
        assert_eq!(dials(&mut limits, "[::ffff:192.0.2.1]", begin), 0, "the same in other words");
        let all: usize = (2..100).map(|n| dials(&mut limits, &format!("192.0.2.{n}"), begin)).sum();
        assert_eq!(all, 27);
        let later = begin + Duration::from_secs(60);
        assert_eq!(dials(&mut limits, "192.0.2.1", later), 3);
    }

    #[test]
    fn a_node_that_answers_is_served_without_a_limit_until_it_denies_a_question() {
        let begin = now();
        let mut limits = Limits::default();
        limits.has_answered(&at("192.0.2.1"), begin);
        assert_eq!(dials(&mut limits, "192.0.2.1", begin), 256);
        assert_eq!(dials(&mut limits, "192.0.2.1", begin + Duration::from_secs(1)), 8);
        assert_eq!(dials(&mut limits, "192.0.2.2", begin), 3, "others are strangers");
        for n in 0..100 {
            let to = at(&format!("192.0.3.{n}"));
            assert!(limits.dial_stranger(&to, begin) && limits.dial_stranger(&to, begin));
            limits.has_answered(&to, begin);
        }
        limits.has_not_asked(&at("192.0.2.1"));
        assert_eq!(dials(&mut limits, "192.0.2.1", begin + Duration::from_secs(2)), 3);
        limits.has_answered(&at("192.0.2.1"), begin);
        assert_eq!(dials(&mut limits, "192.0.2.1", begin + ANSWERED_FOR), 3, "long ago");
    }
}

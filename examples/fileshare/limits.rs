//! How often others may make this node work or connect to somebody. Pure values.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use actix_peer::{
    limits::{ExpiringMap, Rate, RateLimiter},
    overlay::Address,
};

/// Queries of one sender: 20 in a row, 10 in a second.
const QUERIES: Rate = Rate::new(20, Duration::from_millis(100));

/// Files that one sender says unasked to have: 64 in a row, then one in a second.
const ANNOUNCEMENTS: Rate = Rate::new(64, Duration::from_secs(1));

/// Tries to reach one address that is no known peer's and where nobody has answered: 3 in a minute. It
/// may be that of somebody who never asked for a connection.
const DIALS_TO_ONE: Rate = Rate::new(3, Duration::from_secs(20));

/// Tries to reach all such addresses: 30 in a minute.
const DIALS_TO_ALL: Rate = Rate::new(30, Duration::from_secs(2));

/// Messages to one address that is no known peer's and where a node has answered as a file-sharing
/// program does: 256 in a row, 8 in a second. A person who searches gets all answers; somebody else
/// cannot turn this node into a flood of connections to it.
const ANSWERS_TO_ONE: Rate = Rate::new(256, Duration::from_millis(125));

/// How long it is remembered that a node has answered at an address.
const ANSWERED_FOR: Duration = Duration::from_secs(10 * 60);

/// What a person is told about one address that cannot be told of matches: once in a minute.
const COMPLAINTS: Rate = Rate::new(1, Duration::from_secs(60));

/// Senders and addresses that are kept in mind.
const MAX_KEYS: usize = 1_024;

/// All limits of the program on what others make it do.
///
/// Senders on this machine are not limited: all of them have one address.
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
    /// Whether a query from this sender may be worked on now.
    pub(crate) fn query_from(&mut self, sender: IpAddr, now: Instant) -> bool {
        sender.is_loopback() || self.queries.take(&sender, now)
    }

    /// Whether this sender may tell now, unasked, of a file of its own.
    pub(crate) fn announcement_from(&mut self, sender: IpAddr, now: Instant) -> bool {
        sender.is_loopback() || self.announcements.take(&sender, now)
    }

    /// Whether this address, which is no known peer's, may be connected to now.
    pub(crate) fn dial_stranger(&mut self, to: &Address, now: Instant) -> bool {
        let to = &to.canonical();
        if self.answered.get(to, now).is_some() {
            return self.answers.take(to, now);
        }
        // What the one address is refused does not count against all.
        self.all_dials.allows(&(), now) && self.dials.take(to, now) && self.all_dials.take(&(), now)
    }

    /// A node has answered at this address as a file-sharing program does. What it took to reach it
    /// does not count against other strangers.
    pub(crate) fn has_answered(&mut self, at: &Address, now: Instant) {
        let at = at.canonical();
        let taken = self.dials.forget(&at, now);
        self.all_dials.give_back(&(), taken, now);
        self.answered.insert(at, (), now + ANSWERED_FOR, now);
    }

    /// The node at this address says that it has not asked.
    pub(crate) fn has_not_asked(&mut self, at: &Address) {
        self.answered.remove(&at.canonical());
    }

    /// Whether a person is to be told now that this address could not be told of matches.
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
    fn a_sender_asks_twenty_times_and_tells_of_sixty_four_files_in_a_row_but_on_this_machine() {
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
    fn a_node_that_answers_hears_all_it_asks_for_until_it_says_that_it_has_not_asked() {
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

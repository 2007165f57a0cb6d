//! How often others may make this node work or connect to somebody. Pure values.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    time::{Duration, Instant},
};

use actix_peer::overlay::{Address, Host, Scope};

/// Queries of one sender: 10 in a second, 20 in a row.
const QUERIES: Rate = Rate { burst: 20.0, per_second: 10.0 };

/// Files that one sender says unasked to have: 64 in a row, then one in a second.
const ANNOUNCEMENTS: Rate = Rate { burst: 64.0, per_second: 1.0 };

/// Tries to reach one address that is no known peer's and where nobody has answered: 3 in a minute. It
/// may be that of somebody who never asked for a connection.
const DIALS_TO_ONE: Rate = Rate { burst: 3.0, per_second: 3.0 / 60.0 };

/// Tries to reach all such addresses: 30 in a minute.
const DIALS_TO_ALL: Rate = Rate { burst: 30.0, per_second: 30.0 / 60.0 };

/// Messages to one address that is no known peer's and where a node has answered as a file-sharing
/// program does: 256 in a row, 8 in a second. A person who searches gets all answers; somebody else
/// cannot turn this node into a flood of connections to it.
const ANSWERS_TO_ONE: Rate = Rate { burst: 256.0, per_second: 8.0 };

/// How long it is remembered that a node has answered at an address.
const ANSWERED_FOR: Duration = Duration::from_secs(10 * 60);

/// What a person is told about one address that cannot be told of matches: once in a minute.
const COMPLAINTS: Rate = Rate { burst: 1.0, per_second: 1.0 / 60.0 };

/// Senders and addresses that are kept in mind.
const MAX_KEYS: usize = 1_024;

#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: f64,
    per_second: f64,
}

/// What is left of a rate.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    const fn full(rate: Rate, at: Instant) -> Self {
        Self { tokens: rate.burst, at }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = passed.mul_add(rate.per_second, self.tokens).min(rate.burst);
        self.at = now;
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }
}

/// A rate for each key.
#[derive(Debug)]
struct Buckets<K> {
    rate: Rate,
    of: HashMap<K, Bucket>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, of: HashMap::new() }
    }

    fn take(&mut self, key: &K, now: Instant) -> bool {
        if !self.of.contains_key(key) && self.of.len() >= MAX_KEYS {
            self.make_room(now);
        }
        let rate = self.rate;
        self.of.entry(key.clone()).or_insert_with(|| Bucket::full(rate, now)).take(rate, now)
    }

    /// Forgets those that have had time to be as new, else the one that was quiet the longest.
    fn make_room(&mut self, now: Instant) {
        let whole = Duration::from_secs_f64(self.rate.burst / self.rate.per_second);
        self.of.retain(|_, bucket| now.saturating_duration_since(bucket.at) < whole);
        if self.of.len() >= MAX_KEYS {
            let quiet = self.of.iter().min_by_key(|(_, bucket)| bucket.at);
            if let Some(key) = quiet.map(|(key, _)| key.clone()) {
                self.of.remove(&key);
            }
        }
    }
}

/// All limits of the program on what others make it do.
///
/// Senders on this machine are not limited: all of them have one address.
#[derive(Debug)]
pub(crate) struct Limits {
    queries: Buckets<IpAddr>,
    announcements: Buckets<IpAddr>,
    dials: Buckets<Address>,
    all_dials: Bucket,
    /// The addresses where a node has answered, and when.
    answered: HashMap<Address, Instant>,
    answers: Buckets<Address>,
    complaints: Buckets<Address>,
}

impl Limits {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            queries: Buckets::new(QUERIES),
            announcements: Buckets::new(ANNOUNCEMENTS),
            dials: Buckets::new(DIALS_TO_ONE),
            all_dials: Bucket::full(DIALS_TO_ALL, now),
            answered: HashMap::new(),
            answers: Buckets::new(ANSWERS_TO_ONE),
            complaints: Buckets::new(COMPLAINTS),
        }
    }

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
        let to = &canonical(to);
        let lately = |at: &Instant| now.saturating_duration_since(*at) < ANSWERED_FOR;
        if self.answered.get(to).is_some_and(lately) {
            return self.answers.take(to, now);
        }
        self.all_dials.refill(DIALS_TO_ALL, now);
        // What the one address is refused does not count against all.
        self.all_dials.tokens >= 1.0
            && self.dials.take(to, now)
            && self.all_dials.take(DIALS_TO_ALL, now)
    }

    /// A node has answered at this address as a file-sharing program does. What it took to reach it
    /// does not count against other strangers.
    pub(crate) fn has_answered(&mut self, at: &Address, now: Instant) {
        let at = canonical(at);
        if let Some(dials) = self.dials.of.remove(&at) {
            let taken = DIALS_TO_ONE.burst - dials.tokens;
            self.all_dials.tokens = (self.all_dials.tokens + taken).min(DIALS_TO_ALL.burst);
        }
        if self.answered.len() >= MAX_KEYS && !self.answered.contains_key(&at) {
            let oldest = self.answered.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(address, _)| address.clone()) {
                self.answered.remove(&oldest);
            }
        }
        self.answered.insert(at, now);
    }

    /// The node at this address says that it has not asked.
    pub(crate) fn has_not_asked(&mut self, at: &Address) {
        self.answered.remove(&canonical(at));
    }

    /// Whether a person is to be told now that this address could not be told of matches.
    pub(crate) fn complain(&mut self, about: &Address, now: Instant) -> bool {
        self.complaints.take(&canonical(about), now)
    }
}

/// One spelling for each address.
fn canonical(address: &Address) -> Address {
    let host = match address.host() {
        Host::Ip(ip) => ip.to_canonical().into(),
        name @ Host::Name(_) => name.clone(),
    };
    Address::new(host, address.port())
}

/// Whether `asker` may make this node connect to `to`: never from a wider scope into a narrower
/// one, or a stranger could reach behind this node's walls.
pub(crate) fn may_name(asker: IpAddr, to: IpAddr) -> bool {
    let scope = |ip: IpAddr| Scope::of(&Host::Ip(ip.to_canonical()));
    scope(asker).zip(scope(to)).is_some_and(|(asker, to)| asker.may_name(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_sender_has_twenty_queries_in_a_row_and_ten_in_a_second() {
        let (begin, a, b) = (now(), ip("10.0.0.1"), ip("10.0.0.2"));
        let mut limits = Limits::new(begin);
        assert_eq!((0..100).filter(|_| limits.query_from(a, begin)).count(), 20);
        assert!(limits.query_from(b, begin), "others are not touched");
        let later = begin + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| limits.query_from(a, later)).count(), 10);
    }

    #[test]
    fn a_sender_tells_of_sixty_four_files_of_its_own_in_a_row() {
        let (begin, a) = (now(), ip("10.0.0.1"));
        let mut limits = Limits::new(begin);
        assert_eq!((0..100).filter(|_| limits.announcement_from(a, begin)).count(), 64);
        assert!(limits.announcement_from(ip("10.0.0.2"), begin));
    }

    fn at(text: &str) -> Address {
        format!("{text}:9000").parse().unwrap()
    }

    fn dials(limits: &mut Limits, to: &str, now: Instant) -> usize {
        (0..1_000).filter(|_| limits.dial_stranger(&at(to), now)).count()
    }

    #[test]
    fn a_stranger_is_connected_to_three_times_a_minute_and_all_of_them_thirty_times() {
        let begin = now();
        let mut limits = Limits::new(begin);
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
        let mut limits = Limits::new(begin);
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

    #[test]
    fn programs_on_this_machine_share_an_address_and_no_limit() {
        let begin = now();
        let mut limits = Limits::new(begin);
        for local in ["127.0.0.1", "127.1.2.3", "::1"] {
            assert!((0..1_000).all(|_| limits.query_from(ip(local), begin)));
            assert!((0..1_000).all(|_| limits.announcement_from(ip(local), begin)));
        }
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded() {
        let begin = now();
        let mut limits = Limits::new(begin);
        for n in 0..5_000_u32 {
            limits.query_from(IpAddr::V4(n.into()), begin);
            limits.has_answered(&Address::new(IpAddr::V4(n.into()).into(), 9000), begin);
        }
        assert!(limits.queries.of.len() <= MAX_KEYS && limits.answered.len() <= MAX_KEYS);
    }

    #[test]
    fn nobody_names_an_address_of_a_narrower_scope_than_their_own() {
        for (asker, to, may) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", true),
            ("10.0.0.1", "8.8.8.8", true),
            ("10.0.0.1", "127.0.0.1", false),
            ("8.8.8.8", "10.0.0.1", false),
            ("8.8.8.8", "169.254.169.254", false),
            ("8.8.8.8", "100.64.0.1", false),
            ("8.8.8.8", "::ffff:127.0.0.1", false),
            ("2001:4860::1", "fe80::1", false),
            ("2001:4860::1", "fd00::1", false),
            ("2001:4860::1", "::1", false),
            ("127.0.0.1", "0.0.0.0", false),
            ("8.8.8.8", "224.0.0.1", false),
            ("::", "8.8.8.8", false),
        ] {
            assert_eq!(may_name(ip(asker), ip(to)), may, "{asker} names {to}");
        }
    }
}

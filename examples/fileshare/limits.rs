//! How often others may make this node work or connect to somebody. Pure values.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Queries of one sender: 10 in a second, 20 in a row.
const QUERIES: Rate = Rate { burst: 20.0, per_second: 10.0 };

/// Files that one sender says unasked to have: 64 in a row, then one in a second.
const ANNOUNCEMENTS: Rate = Rate { burst: 64.0, per_second: 1.0 };

/// Connections to one address that is not a known peer: 3 in a minute.
const DIALS_TO_ONE: Rate = Rate { burst: 3.0, per_second: 3.0 / 60.0 };

/// Connections to all addresses that are not known peers: 30 in a minute.
const DIALS_TO_ALL: Rate = Rate { burst: 30.0, per_second: 30.0 / 60.0 };

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
#[derive(Debug)]
pub(crate) struct Limits {
    queries: Buckets<IpAddr>,
    announcements: Buckets<IpAddr>,
    dials: Buckets<(IpAddr, u16)>,
    all_dials: Bucket,
}

impl Limits {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            queries: Buckets::new(QUERIES),
            announcements: Buckets::new(ANNOUNCEMENTS),
            dials: Buckets::new(DIALS_TO_ONE),
            all_dials: Bucket::full(DIALS_TO_ALL, now),
        }
    }

    /// Whether a query from this sender may be worked on now.
    pub(crate) fn query_from(&mut self, sender: IpAddr, now: Instant) -> bool {
        self.queries.take(&sender, now)
    }

    /// Whether this sender may tell now, unasked, of a file of its own.
    pub(crate) fn announcement_from(&mut self, sender: IpAddr, now: Instant) -> bool {
        self.announcements.take(&sender, now)
    }

    /// Whether this address, which is not a known peer, may be connected to now.
    pub(crate) fn dial_stranger(&mut self, to: (IpAddr, u16), now: Instant) -> bool {
        self.all_dials.refill(DIALS_TO_ALL, now);
        // What the one address is refused does not count against all.
        self.all_dials.tokens >= 1.0
            && self.dials.take(&to, now)
            && self.all_dials.take(DIALS_TO_ALL, now)
    }
}

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Loopback,
    /// A network behind a router, or one cable.
    Private,
    Public,
}

fn scope(ip: IpAddr) -> Scope {
    match ip.to_canonical() {
        ip if ip.is_loopback() || ip.is_unspecified() => Scope::Loopback,
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // 100.64/10 is what carriers put their customers into.
            let shared = a == 100 && (64..128).contains(&b);
            if ip.is_private() || ip.is_link_local() || shared {
                Scope::Private
            } else {
                Scope::Public
            }
        }
        IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Scope::Private,
        IpAddr::V6(_) => Scope::Public,
    }
}

/// Whether `asker` may make this node connect to `to`: never from a wider scope into a narrower
/// one, or a stranger could reach behind this node's walls.
pub(crate) fn may_name(asker: IpAddr, to: IpAddr) -> bool {
    scope(to) >= scope(asker) && !to.is_unspecified() && !to.is_multicast()
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

    #[test]
    fn a_stranger_is_connected_to_three_times_a_minute_and_all_of_them_thirty_times() {
        let begin = now();
        let mut limits = Limits::new(begin);
        let dials = |limits: &mut Limits, ip: IpAddr, at| {
            (0..100).filter(|_| limits.dial_stranger((ip, 9000), at)).count()
        };
        assert_eq!(dials(&mut limits, ip("192.0.2.1"), begin), 3);
        let all: usize =
            (2..100).map(|n| dials(&mut limits, ip(&format!("192.0.2.{n}")), begin)).sum();
        assert_eq!(all, 27);
        let later = begin + Duration::from_secs(60);
        assert_eq!(dials(&mut limits, ip("192.0.2.1"), later), 3);
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded() {
        let begin = now();
        let mut limits = Limits::new(begin);
        for n in 0..5_000_u32 {
            limits.query_from(IpAddr::V4(n.into()), begin);
        }
        assert!(limits.queries.of.len() <= MAX_KEYS);
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
        ] {
            assert_eq!(may_name(ip(asker), ip(to)), may, "{asker} names {to}");
        }
    }
}

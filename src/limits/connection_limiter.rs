//! The admission of connections: how many at once, and at which rate, from each source.
//!
//! Sans-I/O: the limiter decides, and the listener acts on it.

use std::{collections::BTreeMap, time::Instant};

use indexmap::IndexMap;

use crate::{
    limits::{
        rate_limiter::{Rate, RateLimiter},
        source::Source,
    },
    overlay::Address,
};

/// Sources whose rate is remembered.
const MAX_REMEMBERED: usize = 1_024;

/// The burst of a source, in seconds of its rate.
const BURST: u32 = 2;

/// The limits of a [`ConnectionLimiter`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// Connections at once, from each source.
    pub(crate) per_source: usize,
    /// Connections whose header is not complete, from all sources.
    pub(crate) half_open: usize,
    /// New connections in a second, from each source, on average.
    pub(crate) per_second: u32,
    /// Whether loopback is limited, too.
    pub(crate) loopback: bool,
}

/// The number that a limiter gives to a connection.
pub(crate) type ConnectionId = u64;

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdmissionDenied {
    /// Its source has reached its limit.
    TooMany,
    /// Its source exceeds its rate.
    TooFast,
}

/// The connections of one source.
#[derive(Debug, Default)]
struct SourceConnections {
    open: usize,
    half_open: usize,
}

/// The admitted connections of a node, by source.
#[derive(Debug)]
pub(crate) struct ConnectionLimiter {
    config: ConnectionLimits,
    rate_limiter: RateLimiter<Source>,
    sources: IndexMap<Source, SourceConnections>,
    /// Sorted by number, so that the oldest is first.
    half_open: BTreeMap<ConnectionId, Source>,
    open: IndexMap<ConnectionId, Source>,
    next: ConnectionId,
}

impl ConnectionLimiter {
    pub(crate) fn new(config: ConnectionLimits) -> Self {
        let rate = Rate::per_second(config.per_second, config.per_second.saturating_mul(BURST));
        Self {
            config,
            rate_limiter: RateLimiter::new(rate, MAX_REMEMBERED),
            sources: IndexMap::new(),
            half_open: BTreeMap::new(),
            open: IndexMap::new(),
            next: 0,
        }
    }

    /// Admits a connection and returns its number. If too many connections are half open, also
    /// returns the number of one that has to be closed: the oldest of the source that has the most.
    pub(crate) fn admit(
        &mut self,
        from: &Address,
        now: Instant,
    ) -> Result<(ConnectionId, Option<ConnectionId>), AdmissionDenied> {
        let source = Source::of(from);
        let open = self.sources.get(&source).map_or(0, |source| source.open);
        if open >= self.config.per_source && source.is_limited(self.config.loopback) {
            return Err(AdmissionDenied::TooMany);
        }
        if !self.is_within_rate(&source, now) {
            return Err(AdmissionDenied::TooFast);
        }
        let counts = self.sources.entry(source.clone()).or_default();
        counts.open += 1;
        counts.half_open += 1;
        self.next += 1;
        self.half_open.insert(self.next, source.clone());
        self.open.insert(self.next, source);
        let too_many = self.half_open.len() > self.config.half_open;
        Ok((self.next, if too_many { self.oldest_of_busiest() } else { None }))
    }

    /// Refuses a connection for which the node has no permit, and returns the reason: its source
    /// exceeds its rate, or there are too many. No other connection is closed for it.
    pub(crate) fn deny(&mut self, from: &Address, now: Instant) -> AdmissionDenied {
        let within_rate = self.is_within_rate(&Source::of(from), now);
        if within_rate { AdmissionDenied::TooMany } else { AdmissionDenied::TooFast }
    }

    fn is_within_rate(&mut self, source: &Source, now: Instant) -> bool {
        !source.is_limited(self.config.loopback) || self.rate_limiter.take(source, now)
    }

    fn oldest_of_busiest(&mut self) -> Option<ConnectionId> {
        let (busiest, _) =
            self.sources.iter().max_by_key(|(source, counts)| (counts.half_open, *source))?;
        let (oldest, _) = self.half_open.iter().find(|(_, source)| *source == busiest)?;
        let oldest = *oldest;
        self.header_complete(oldest);
        Some(oldest)
    }

    /// Notes that the header of a connection is complete, or that it is being closed.
    pub(crate) fn header_complete(&mut self, id: ConnectionId) {
        if let Some(counts) =
            self.half_open.remove(&id).and_then(|source| self.sources.get_mut(&source))
        {
            counts.half_open -= 1;
        }
    }

    /// Notes that a connection has ended.
    pub(crate) fn closed(&mut self, id: ConnectionId) {
        self.header_complete(id);
        if let Some(source) = self.open.swap_remove(&id)
            && let Some(counts) = self.sources.get_mut(&source)
        {
            counts.open -= 1;
            if counts.open == 0 {
                self.sources.swap_remove(&source);
            }
        }
    }

    /// Connections whose header is not complete.
    pub(crate) fn half_open(&self) -> usize {
        self.half_open.len()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::time::now;

    const CONFIG: ConnectionLimits =
        ConnectionLimits { per_source: 3, half_open: 5, per_second: 10, loopback: false };

    fn at(host: &str) -> Address {
        format!("{host}:7").parse().unwrap()
    }

    #[test]
    fn a_source_has_a_limit_of_connections_that_does_not_affect_other_sources() {
        let (mut limiter, now) = (ConnectionLimiter::new(CONFIG), now());
        let first = limiter.admit(&at("10.0.0.1"), now).unwrap().0;
        for _ in 0..2 {
            limiter.admit(&at("10.0.0.1"), now).unwrap();
        }
        assert_eq!(limiter.admit(&at("10.0.0.1"), now), Err(AdmissionDenied::TooMany));
        assert_eq!(limiter.admit(&at("[::ffff:10.0.0.1]"), now), Err(AdmissionDenied::TooMany));
        limiter.admit(&at("10.0.0.2"), now).unwrap();
        limiter.closed(first);
        limiter.admit(&at("10.0.0.1"), now).unwrap();
    }

    #[test]
    fn the_addresses_of_one_ipv6_subscriber_are_one_source() {
        let (mut limiter, now) = (ConnectionLimiter::new(CONFIG), now());
        for n in 1..4 {
            limiter.admit(&at(&format!("[2001:db8:1:2::{n}]")), now).unwrap();
        }
        assert_eq!(
            limiter.admit(&at("[2001:db8:1:2:ffff::9]"), now),
            Err(AdmissionDenied::TooMany)
        );
        limiter.admit(&at("[2001:db8:1:3::1]"), now).unwrap();
    }

    #[test]
    fn connections_are_accepted_at_a_rate_with_bursts() {
        let (mut limiter, mut now) = (ConnectionLimiter::new(CONFIG), now());
        let connect = |limiter: &mut ConnectionLimiter, now| {
            let (id, _) = limiter.admit(&at("10.0.0.1"), now)?;
            limiter.closed(id);
            Ok(())
        };
        for _ in 0..20 {
            assert_eq!(connect(&mut limiter, now), Ok(()));
        }
        assert_eq!(connect(&mut limiter, now), Err(AdmissionDenied::TooFast));
        now += Duration::from_millis(100);
        assert_eq!(connect(&mut limiter, now), Ok(()));
        assert_eq!(connect(&mut limiter, now), Err(AdmissionDenied::TooFast));
    }

    #[test]
    fn with_too_many_half_open_connections_the_oldest_of_the_busiest_source_is_closed() {
        let (mut limiter, now) = (ConnectionLimiter::new(CONFIG), now());
        let other = limiter.admit(&at("10.0.0.9"), now).unwrap().0;
        let busy: Vec<_> = (0..3).map(|_| limiter.admit(&at("10.0.0.1"), now).unwrap().0).collect();
        let another = limiter.admit(&at("10.0.0.2"), now).unwrap();
        assert_eq!(another.1, None);
        let (_, closed) = limiter.admit(&at("10.0.0.3"), now).unwrap();
        assert_eq!(closed, Some(busy[0]));
        // A connection with a complete header is no longer half open.
        limiter.header_complete(other);
        assert_eq!(limiter.half_open(), 4);
    }

    #[test]
    fn a_refused_connection_closes_no_other() {
        let (mut limiter, now) = (ConnectionLimiter::new(CONFIG), now());
        for n in 0..5 {
            limiter.admit(&at(&format!("10.0.0.{n}")), now).unwrap();
        }
        for _ in 0..20 {
            assert_eq!(limiter.deny(&at("10.0.1.1"), now), AdmissionDenied::TooMany);
        }
        assert_eq!(limiter.deny(&at("10.0.1.1"), now), AdmissionDenied::TooFast);
        assert_eq!(limiter.half_open(), 5);
    }

    #[test]
    fn connections_from_loopback_are_limited_only_if_asked_for() {
        let admitted = |loopback, from: &str| {
            let mut limiter = ConnectionLimiter::new(ConnectionLimits { loopback, ..CONFIG });
            let now = now();
            (0..10).filter(|_| limiter.admit(&at(from), now).is_ok()).count()
        };
        for here in ["127.0.0.1", "127.8.8.8", "[::1]", "[::ffff:127.0.0.1]"] {
            assert_eq!((admitted(false, here), admitted(true, here)), (10, 3), "{here}");
        }
        assert_eq!((admitted(false, "10.0.0.1"), admitted(true, "10.0.0.1")), (3, 3));
    }

    #[test]
    fn loopback_has_a_rate_limit_only_if_asked_for() {
        let last = |loopback| {
            let mut limiter = ConnectionLimiter::new(ConnectionLimits { loopback, ..CONFIG });
            let now = now();
            (0..21).map(|_| limiter.deny(&at("127.0.0.1"), now)).last()
        };
        assert_eq!(last(false), Some(AdmissionDenied::TooMany));
        assert_eq!(last(true), Some(AdmissionDenied::TooFast));
    }

    proptest! {
        #[test]
        fn the_gate_stays_bounded_and_its_sums_are_right(
            steps in proptest::collection::vec((0_u8..4, 0_u32..2_000, 0_u64..50), 0..400),
        ) {
            let config = ConnectionLimits { per_source: 2, half_open: 4, per_second: 1_000, loopback: true };
            let (mut limiter, mut now) = (ConnectionLimiter::new(config), now());
            let mut open = Vec::new();
            for (what, n, millis) in steps {
                now += Duration::from_millis(millis);
                match what {
                    0 | 1 => {
                        let host = Ipv4Addr::from_bits(0x0a00_0000 + n % if what == 0 { 4 } else { 2_000 });
                        open.extend(limiter.admit(&at(&host.to_string()), now).ok().map(|(id, _)| id));
                    }
                    2 if !open.is_empty() => limiter.closed(open.swap_remove(n as usize % open.len())),
                    3 if !open.is_empty() => limiter.header_complete(open[n as usize % open.len()]),
                    _ => {}
                }
                prop_assert!(limiter.half_open() <= 4);
                prop_assert_eq!(limiter.open.len(), open.len());
                prop_assert_eq!(limiter.sources.values().map(|source| source.open).sum::<usize>(), open.len());
                prop_assert_eq!(limiter.sources.values().map(|source| source.half_open).sum::<usize>(), limiter.half_open());
                prop_assert!(limiter.sources.values().all(|counts| counts.half_open <= counts.open && counts.open <= 2));
                prop_assert!(limiter.sources.len() <= open.len() && limiter.rate_limiter.len() <= MAX_REMEMBERED);
            }
        }
    }
}

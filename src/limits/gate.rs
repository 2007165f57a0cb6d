//! The admission of connections: how many at once, and at which rate, from each source.
//!
//! Sans-I/O: the gate decides, and the listener acts on it.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use crate::{
    limits::{
        rate::{Rate, RateLimiter},
        source::Source,
    },
    overlay::Address,
};

/// Sources whose rate is remembered.
const MAX_REMEMBERED: usize = 1_024;

/// The burst of a source, in seconds of its rate.
const BURST: u32 = 2;

/// The limits of a [`Gate`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateConfig {
    /// Connections at once, from each source.
    pub(crate) per_source: usize,
    /// Connections whose header is not complete, from all sources.
    pub(crate) half_open: usize,
    /// New connections in a second, from each source, on average.
    pub(crate) per_second: u32,
    /// Whether loopback is limited, too.
    pub(crate) loopback: bool,
}

/// The number that a gate gives to a connection.
pub(crate) type ConnectionId = u64;

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// Its source has reached its limit.
    TooMany,
    /// Its source exceeds its rate.
    TooFast,
}

/// The connections of one source.
#[derive(Debug, Default)]
struct Seen {
    open: usize,
    half_open: usize,
}

/// The admitted connections of a node, by source.
#[derive(Debug)]
pub(crate) struct Gate {
    config: GateConfig,
    pace: RateLimiter<Source>,
    seen: HashMap<Source, Seen>,
    /// Sorted by number, so that the oldest is first.
    half_open: BTreeMap<ConnectionId, Source>,
    open: HashMap<ConnectionId, Source>,
    next: ConnectionId,
}

impl Gate {
    pub(crate) fn new(config: GateConfig) -> Self {
        let rate = Rate::per_second(config.per_second, config.per_second.saturating_mul(BURST));
        Self {
            config,
            pace: RateLimiter::new(rate, MAX_REMEMBERED),
            seen: HashMap::new(),
            half_open: BTreeMap::new(),
            open: HashMap::new(),
            next: 0,
        }
    }

    /// Admits a connection and returns its number. If too many connections are half open, also
    /// returns the number of one that has to be closed: the oldest of the source that has the most.
    pub(crate) fn enter(
        &mut self,
        from: &Address,
        now: Instant,
    ) -> Result<(ConnectionId, Option<ConnectionId>), TurnedAway> {
        let source = Source::of(from);
        let open = self.seen.get(&source).map_or(0, |seen| seen.open);
        if open >= self.config.per_source && source.is_limited(self.config.loopback) {
            return Err(TurnedAway::TooMany);
        }
        if !self.is_in_pace(&source, now) {
            return Err(TurnedAway::TooFast);
        }
        let seen = self.seen.entry(source.clone()).or_default();
        seen.open += 1;
        seen.half_open += 1;
        self.next += 1;
        self.half_open.insert(self.next, source.clone());
        self.open.insert(self.next, source);
        let crowded = self.half_open.len() > self.config.half_open;
        Ok((self.next, if crowded { self.oldest_of_busiest() } else { None }))
    }

    /// Refuses a connection for which the node has no permit, and returns the reason: its source
    /// exceeds its rate, or there are too many. No other connection is closed for it.
    pub(crate) fn turn_away(&mut self, from: &Address, now: Instant) -> TurnedAway {
        let in_pace = self.is_in_pace(&Source::of(from), now);
        if in_pace { TurnedAway::TooMany } else { TurnedAway::TooFast }
    }

    fn is_in_pace(&mut self, source: &Source, now: Instant) -> bool {
        !source.is_limited(self.config.loopback) || self.pace.take(source, now)
    }

    fn oldest_of_busiest(&mut self) -> Option<ConnectionId> {
        let (busiest, _) =
            self.seen.iter().max_by_key(|(source, seen)| (seen.half_open, *source))?;
        let (oldest, _) = self.half_open.iter().find(|(_, source)| *source == busiest)?;
        let oldest = *oldest;
        self.greeted(oldest);
        Some(oldest)
    }

    /// Notes that the header of a connection is complete, or that it is being closed.
    pub(crate) fn greeted(&mut self, id: ConnectionId) {
        if let Some(seen) = self.half_open.remove(&id).and_then(|source| self.seen.get_mut(&source))
        {
            seen.half_open -= 1;
        }
    }

    /// Notes that a connection has ended.
    pub(crate) fn left(&mut self, id: ConnectionId) {
        self.greeted(id);
        if let Some(source) = self.open.remove(&id)
            && let Some(seen) = self.seen.get_mut(&source)
        {
            seen.open -= 1;
            if seen.open == 0 {
                self.seen.remove(&source);
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

    const CONFIG: GateConfig =
        GateConfig { per_source: 3, half_open: 5, per_second: 10, loopback: false };

    fn at(host: &str) -> Address {
        format!("{host}:7").parse().unwrap()
    }

    #[test]
    fn a_source_has_a_limit_of_connections_that_does_not_affect_other_sources() {
        let (mut gate, now) = (Gate::new(CONFIG), now());
        let first = gate.enter(&at("10.0.0.1"), now).unwrap().0;
        for _ in 0..2 {
            gate.enter(&at("10.0.0.1"), now).unwrap();
        }
        assert_eq!(gate.enter(&at("10.0.0.1"), now), Err(TurnedAway::TooMany));
        assert_eq!(gate.enter(&at("[::ffff:10.0.0.1]"), now), Err(TurnedAway::TooMany));
        gate.enter(&at("10.0.0.2"), now).unwrap();
        gate.left(first);
        gate.enter(&at("10.0.0.1"), now).unwrap();
    }

    #[test]
    fn the_addresses_of_one_ipv6_subscriber_are_one_source() {
        let (mut gate, now) = (Gate::new(CONFIG), now());
        for n in 1..4 {
            gate.enter(&at(&format!("[2001:db8:1:2::{n}]")), now).unwrap();
        }
        assert_eq!(gate.enter(&at("[2001:db8:1:2:ffff::9]"), now), Err(TurnedAway::TooMany));
        gate.enter(&at("[2001:db8:1:3::1]"), now).unwrap();
    }

    #[test]
    fn connections_are_accepted_at_a_rate_with_bursts() {
        let (mut gate, mut now) = (Gate::new(CONFIG), now());
        let connect = |gate: &mut Gate, now| {
            let (id, _) = gate.enter(&at("10.0.0.1"), now)?;
            gate.left(id);
            Ok(())
        };
        for _ in 0..20 {
            assert_eq!(connect(&mut gate, now), Ok(()));
        }
        assert_eq!(connect(&mut gate, now), Err(TurnedAway::TooFast));
        now += Duration::from_millis(100);
        assert_eq!(connect(&mut gate, now), Ok(()));
        assert_eq!(connect(&mut gate, now), Err(TurnedAway::TooFast));
    }

    #[test]
    fn when_too_many_are_half_open_the_oldest_of_the_busiest_source_is_closed() {
        let (mut gate, now) = (Gate::new(CONFIG), now());
        let other = gate.enter(&at("10.0.0.9"), now).unwrap().0;
        let busy: Vec<_> = (0..3).map(|_| gate.enter(&at("10.0.0.1"), now).unwrap().0).collect();
        let another = gate.enter(&at("10.0.0.2"), now).unwrap();
        assert_eq!(another.1, None);
        let (_, closed) = gate.enter(&at("10.0.0.3"), now).unwrap();
        assert_eq!(closed, Some(busy[0]));
        // A connection with a complete header is no longer half open.
        gate.greeted(other);
        assert_eq!(gate.half_open(), 4);
    }

    #[test]
    fn a_refused_connection_closes_no_other() {
        let (mut gate, now) = (Gate::new(CONFIG), now());
        for n in 0..5 {
            gate.enter(&at(&format!("10.0.0.{n}")), now).unwrap();
        }
        for _ in 0..20 {
            assert_eq!(gate.turn_away(&at("10.0.1.1"), now), TurnedAway::TooMany);
        }
        assert_eq!(gate.turn_away(&at("10.0.1.1"), now), TurnedAway::TooFast);
        assert_eq!(gate.half_open(), 5);
    }

    #[test]
    fn connections_from_loopback_are_limited_only_if_asked_for() {
        let admitted = |loopback, from: &str| {
            let mut gate = Gate::new(GateConfig { loopback, ..CONFIG });
            let now = now();
            (0..10).filter(|_| gate.enter(&at(from), now).is_ok()).count()
        };
        for here in ["127.0.0.1", "127.8.8.8", "[::1]", "[::ffff:127.0.0.1]"] {
            assert_eq!((admitted(false, here), admitted(true, here)), (10, 3), "{here}");
        }
        assert_eq!((admitted(false, "10.0.0.1"), admitted(true, "10.0.0.1")), (3, 3));
    }

    #[test]
    fn loopback_has_a_rate_limit_only_if_asked_for() {
        let last = |loopback| {
            let mut gate = Gate::new(GateConfig { loopback, ..CONFIG });
            let now = now();
            (0..21).map(|_| gate.turn_away(&at("127.0.0.1"), now)).last()
        };
        assert_eq!(last(false), Some(TurnedAway::TooMany));
        assert_eq!(last(true), Some(TurnedAway::TooFast));
    }

    proptest! {
        #[test]
        fn the_gate_stays_bounded_and_its_sums_are_right(
            steps in proptest::collection::vec((0_u8..4, 0_u32..2_000, 0_u64..50), 0..400),
        ) {
            let config = GateConfig { per_source: 2, half_open: 4, per_second: 1_000, loopback: true };
            let (mut gate, mut now) = (Gate::new(config), now());
            let mut open = Vec::new();
            for (what, n, millis) in steps {
                now += Duration::from_millis(millis);
                match what {
                    0 | 1 => {
                        let host = Ipv4Addr::from_bits(0x0a00_0000 + n % if what == 0 { 4 } else { 2_000 });
                        open.extend(gate.enter(&at(&host.to_string()), now).ok().map(|(id, _)| id));
                    }
                    2 if !open.is_empty() => gate.left(open.swap_remove(n as usize % open.len())),
                    3 if !open.is_empty() => gate.greeted(open[n as usize % open.len()]),
                    _ => {}
                }
                prop_assert!(gate.half_open() <= 4);
                prop_assert_eq!(gate.open.len(), open.len());
                prop_assert_eq!(gate.seen.values().map(|seen| seen.open).sum::<usize>(), open.len());
                prop_assert_eq!(gate.seen.values().map(|seen| seen.half_open).sum::<usize>(), gate.half_open());
                prop_assert!(gate.seen.values().all(|seen| seen.half_open <= seen.open && seen.open <= 2));
                prop_assert!(gate.seen.len() <= open.len() && gate.pace.len() <= MAX_REMEMBERED);
            }
        }
    }
}

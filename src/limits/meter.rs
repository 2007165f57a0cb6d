//! The rates of frames and bytes from each source.
//!
//! Sans-I/O: it decides, and the reader waits or refuses. Each rate is one atomic. All connections
//! of a source share it, and a read updates it once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use indexmap::IndexMap;

use crate::{
    limits::source::Source,
    overlay::Address,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Later, gcra},
};

/// Sources without a connection whose rate is remembered.
const MAX_REMEMBERED: usize = 1_024;

/// The burst of a source, as a time at its rate.
const BURST: Duration = Duration::from_secs(2);

/// The maximum debt for reads beyond the burst, as a time at the rate.
const MAX_DEBT: Duration = Duration::from_secs(10);

const SECOND: u64 = 1_000_000_000; // ns

/// The limits of a [`Meter`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeterLimits {
    pub(crate) frames: u32,
    pub(crate) bytes: u32,
    /// Whether loopback is measured.
    pub(crate) loopback: bool,
}

/// One rate. Times are durations since the meter was created.
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    /// The theoretical arrival time, in nanoseconds.
    arrival: AtomicU64,
}

/// In nanoseconds: the maximum is 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Bucket {
    fn new(per_second: u32) -> Self {
        Self { per_second: u64::from(per_second.max(1)), arrival: AtomicU64::new(0) }
    }

    const fn cost(&self, n: u64) -> Duration {
        Duration::from_nanos(n.saturating_mul(SECOND) / self.per_second)
    }

    /// Replaces the theoretical arrival time by `next` of it, and returns that. If it is `None`, the
    /// time stays.
    fn update(&self, next: impl Fn(Duration) -> Option<Duration>) -> Option<Duration> {
        let next = |arrival| next(Duration::from_nanos(arrival));
        let stored = |arrival| next(arrival).map(nanos);
        let before = self.arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, stored);
        next(before.ok()?)
    }

    /// Counts `n` that have arrived. Returns how long nothing more should be accepted.
    fn charge(&self, n: u64, now: Duration) -> Duration {
        let (cost, ahead) = (self.cost(n), now.later(BURST));
        let next = |arrival| Some(gcra::charge(arrival, now, cost).min(ahead.later(MAX_DEBT)));
        self.update(next).unwrap_or(ahead).saturating_sub(ahead)
    }

    /// Counts `n` if they are within the rate.
    fn take(&self, n: u64, now: Duration) -> bool {
        self.update(|arrival| gcra::take(arrival, now, self.cost(n), BURST)).is_some()
    }

    fn arrival(&self) -> Duration {
        Duration::from_nanos(self.arrival.load(Ordering::Relaxed))
    }
}

/// The rates of one source.
#[derive(Debug)]
pub(crate) struct Meter {
    since: Instant,
    frames: Bucket,
    bytes: Bucket,
}

impl Meter {
    fn new(limits: MeterLimits, now: Instant) -> Self {
        Self { since: now, frames: Bucket::new(limits.frames), bytes: Bucket::new(limits.bytes) }
    }

    /// Counts the frames and bytes of a read. Returns how long nothing more should be read.
    pub(crate) fn charge(&self, frames: u64, bytes: u64, now: Instant) -> Duration {
        let now = now.saturating_duration_since(self.since);
        self.frames.charge(frames, now).max(self.bytes.charge(bytes, now))
    }

    /// Whether a request is within the rate. Counts the request only then; the bytes that have
    /// arrived already count in any case.
    pub(crate) fn take(&self, bytes: u64, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.since);
        let late = self.bytes.charge(bytes, now) > Duration::ZERO;
        !late && self.frames.take(1, now)
    }

    /// The later theoretical arrival time of the two.
    fn arrival(&self) -> Instant {
        self.since.later(self.frames.arrival().max(self.bytes.arrival()))
    }
}

/// The meters of all sources.
#[derive(Debug)]
pub(crate) struct Meters {
    limits: MeterLimits,
    known: Mutex<IndexMap<Source, Arc<Meter>>>,
}

impl Meters {
    pub(crate) fn new(limits: MeterLimits) -> Self {
        Self { limits, known: Mutex::default() }
    }

    /// The meter for a connection from `address`. `None` if its source is not limited.
    pub(crate) fn of(&self, address: &Address, now: Instant) -> Option<Arc<Meter>> {
        let source = Source::of(address);
        if !source.is_limited(self.limits.loopback) {
            return None;
        }
        let mut known = self.known.lock();
        if !known.contains_key(&source) {
            forget(&mut known, now);
        }
        let meter = known.entry(source).or_insert_with(|| Arc::new(Meter::new(self.limits, now)));
        Some(Arc::clone(meter))
    }
}

/// Forgets sources that have no connection and are not ahead of their rate. If that is not enough,
/// forgets the one that is the least ahead.
fn forget(known: &mut IndexMap<Source, Arc<Meter>>, now: Instant) {
    let used = |meter: &Arc<Meter>| Arc::strong_count(meter) > 1;
    if known.len() < MAX_REMEMBERED {
        return;
    }
    known.retain(|_, meter| used(meter) || meter.arrival() > now);
    let idle = || known.iter().filter(|(_, meter)| !used(meter));
    if idle().count() >= MAX_REMEMBERED
        && let Some((first, _)) = idle().min_by_key(|(source, meter)| (meter.arrival(), *source))
    {
        let first = first.clone();
        known.swap_remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::now;

    const LIMITS: MeterLimits = MeterLimits { frames: 10, bytes: 1_000, loopback: false };

    fn at(host: &str) -> Address {
        format!("{host}:7").parse().unwrap()
    }

    #[test]
    fn a_burst_passes_and_the_excess_has_to_wait() {
        let now = now();
        let meter = Meter::new(LIMITS, now);
        assert_eq!(meter.charge(20, 0, now), Duration::ZERO);
        assert_eq!(meter.charge(1, 0, now), Duration::from_millis(100));
        assert_eq!(meter.charge(0, 2_500, now), Duration::from_millis(500));
        assert_eq!(meter.charge(0, 0, now + Duration::from_millis(500)), Duration::ZERO);
    }

    #[test]
    fn a_refused_request_is_not_counted_so_that_the_next_one_is_served_in_time() {
        let now = now();
        let meter = Meter::new(LIMITS, now);
        assert!((0..20).all(|_| meter.take(8, now)));
        assert!((0..1_000).all(|_| !meter.take(0, now)));
        assert!(meter.take(8, now + Duration::from_millis(100)));
    }

    #[test]
    fn loopback_has_no_rate_limit_unless_asked_for() {
        let now = now();
        let meters = |loopback| Meters::new(MeterLimits { loopback, ..LIMITS });
        for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(meters(false).of(&at(host), now).is_none());
            assert!(meters(true).of(&at(host), now).is_some());
        }
        assert!(meters(false).of(&at("10.0.0.1"), now).is_some());
    }

    #[test]
    fn the_connections_of_a_source_share_its_rate_and_it_is_remembered() {
        let (meters, now) = (Meters::new(LIMITS), now());
        meters.of(&at("10.0.0.1"), now).unwrap().charge(20, 0, now);
        let again = meters.of(&at("[::ffff:10.0.0.1]"), now).unwrap();
        assert!(again.charge(1, 0, now) > Duration::ZERO);
    }

    #[test]
    fn a_flood_of_sources_evicts_no_connected_source_and_the_map_stays_bounded() {
        let (meters, now) = (Meters::new(LIMITS), now());
        let held = meters.of(&at("10.9.9.9"), now).unwrap();
        for n in 0..3_000_u32 {
            let host = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n);
            meters.of(&at(&host.to_string()), now).unwrap().charge(1, 0, now);
        }
        assert!(meters.known.lock().len() <= MAX_REMEMBERED + 1);
        assert!(Arc::ptr_eq(&held, &meters.of(&at("10.9.9.9"), now).unwrap()));
    }

    proptest! {
        #[test]
        fn over_any_time_no_more_passes_than_the_rate_and_a_burst(
            steps in proptest::collection::vec((0_u64..300, 1_u64..2_000), 1..200),
        ) {
            let begin = now();
            let meter = Meter::new(LIMITS, begin);
            let (mut now, mut passed) = (begin, 0);
            for (millis, bytes) in steps {
                now += Duration::from_millis(millis);
                let wait = meter.charge(0, bytes, now);
                passed += bytes;
                now += wait;
                let allowed = 1_000.0 * (2.0 + (now - begin).as_secs_f64()) + 1.0;
                prop_assert!(passed as f64 <= allowed, "{passed} {allowed}");
            }
        }

        #[test]
        fn no_number_overflows(frames: u64, bytes: u64, after in 0..u64::MAX / 4, per: u32) {
            let begin = now();
            let meter = Meter::new(MeterLimits { frames: per, bytes: per, loopback: true }, begin);
            let now = begin.checked_add(Duration::from_nanos(after)).unwrap_or(begin);
            prop_assert!(meter.charge(frames, bytes, now) <= MAX_DEBT);
            meter.take(bytes, now);
        }
    }
}

//! The records that one node keeps for others.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indexmap::IndexMap;

use crate::{
    overlay::{
        Host, PeerId, PeerInfo,
        kademlia::{Key, Record, StoreRefusal},
    },
    time::Later,
};

/// The limits of a [`RecordStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreLimits {
    /// The maximum length of a value, in bytes: 1,024.
    pub record_bytes: usize,
    /// The maximum number of records: 4,096.
    pub records: usize,
    /// The maximum number of bytes of all values: 4 MiB.
    pub bytes: usize,
    /// The maximum number of records that came from one source: 1,024.
    pub per_source: usize,
    /// The maximum number of publishers under one key: 60.
    pub per_key: usize,
    /// The maximum time that a record is kept without being sent again: 24 hours. Longer lifetimes
    /// are lowered to it.
    pub ttl: Duration,
    /// The same for a [provider](Record::is_provider): 1 hour.
    pub provider_ttl: Duration,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            record_bytes: 1_024,
            records: 4_096,
            bytes: 4 << 20,
            per_source: 1_024,
            per_key: 60,
            ttl: Duration::from_secs(24 * 3_600),
            provider_ttl: Duration::from_secs(3_600),
        }
    }
}

#[derive(Clone, Debug)]
struct StoredRecord {
    record: Record,
    source: Host,
    /// Whether it came from its publisher, not from another node that keeps it.
    direct: bool,
    until: Instant,
    /// When it arrived, or was sent on.
    heard: Instant,
    /// When it arrived from its publisher; for a copy, when it first arrived.
    said: Instant,
}

/// The records that a node keeps. They are bounded in number, in bytes, by source and by key, and
/// each is kept for a limited time.
///
/// Under one key there is one record of each publisher. A newer record replaces it
/// ([`Record::is_newer_than`]), unless the newer one comes from another node and the existing one
/// came from its publisher. That one is replaced only by its publisher.
///
/// A record that arrives when a limit is reached is refused; existing records stay until they
/// expire. If the limit is that of the key, there are two exceptions. A record that comes from its
/// publisher replaces a copy. A provider that comes from its publisher replaces the provider whose
/// last announcement is the oldest, because dead providers do not announce themselves. The provider
/// to replace is chosen from the sources that have the most providers under the key, the newcomer's
/// included: no source displaces the providers of sources that have fewer.
#[derive(Clone, Debug, Default)]
pub struct RecordStore {
    limits: StoreLimits,
    entries: BTreeMap<(Key, PeerId), StoredRecord>,
    of_source: IndexMap<Host, usize>,
    bytes: usize,
}

impl RecordStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new(limits: StoreLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of bytes of all values.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, at: &(Key, PeerId)) {
        let Some(entry) = self.entries.remove(at) else { return };
        self.bytes -= entry.record.value.len();
        if let Some(count) = self.of_source.get_mut(&entry.source) {
            *count -= 1;
            if *count == 0 {
                self.of_source.swap_remove(&entry.source);
            }
        }
    }

    /// Removes expired records. Returns how many.
    pub fn expire(&mut self, now: Instant) -> usize {
        let over = self.entries.iter().filter(|(_, entry)| entry.until <= now);
        let over: Vec<_> = over.map(|(at, _)| at.clone()).collect();
        over.iter().for_each(|at| self.remove(at));
        over.len()
    }

    fn of_key(&self, key: Key) -> impl Iterator<Item = (&(Key, PeerId), &StoredRecord)> {
        let all = self.entries.iter().skip_while(move |((other, _), _)| *other < key);
        all.take_while(move |((other, _), _)| *other == key)
    }

    /// Keeps a record that came from `source`; `direct` means that this is its publisher.
    ///
    /// # Errors
    /// See [`StoreRefusal`]. Nothing was changed.
    pub fn keep(
        &mut self,
        record: Record,
        source: Host,
        direct: bool,
        now: Instant,
    ) -> Result<(), StoreRefusal> {
        let per_source = self.limits.per_source;
        self.keep_within(per_source, record, source, direct, now)
    }

    /// As [`keep`](Self::keep), with another limit for the source.
    pub(crate) fn keep_within(
        &mut self,
        per_source: usize,
        record: Record,
        source: Host,
        direct: bool,
        now: Instant,
    ) -> Result<(), StoreRefusal> {
        let StoreLimits { record_bytes, records, bytes, per_key, ttl, provider_ttl, .. } =
            self.limits;
        let len = record.value.len();
        let left = record.time_left().min(if record.is_provider() { provider_ttl } else { ttl });
        if len > record_bytes {
            return Err(StoreRefusal::TooLong);
        }
        if left.is_zero() {
            return Err(StoreRefusal::Over);
        }
        self.expire(now);
        let (at, until) = ((record.key, record.publisher.id().clone()), now.later(left));
        let known = self.entries.get(&at);
        if let Some(known) = known {
            let same =
                record.sequence == known.record.sequence && record.value == known.record.value;
            let better = direct && !known.direct;
            if !better && known.direct && !direct && !same {
                return Err(StoreRefusal::Outdated);
            }
            if !better && !same && !record.is_newer_than(&known.record) {
                return Err(StoreRefusal::Outdated);
            }
            if same && !better {
                // Nodes that keep the record send it again, but no longer than the publisher's
                // lifetime.
                let until = if direct { until } else { known.until };
                if let Some(known) = self.entries.get_mut(&at) {
                    (known.until, known.heard) = (until, now);
                    known.said = if direct { now } else { known.said };
                }
                return Ok(());
            }
        }
        let (had, had_source) =
            known.map_or((0, None), |known| (known.record.value.len(), Some(known.source.clone())));
        let place = known.is_none();
        let from_source = self.of_source.get(&source).copied().unwrap_or(0);
        let from_source = from_source - usize::from(had_source.as_ref() == Some(&source));
        if from_source >= per_source {
            return Err(StoreRefusal::TooManyOfSource);
        }
        let mut displaced = None;
        if place && self.of_key(record.key).count() >= per_key {
            let copies = self.of_key(record.key).filter(|(_, entry)| direct && !entry.direct);
            let copy = copies.min_by_key(|(_, entry)| entry.until).map(|(at, _)| at.clone());
            let silent = || {
                let takes = direct && record.is_provider();
                takes.then(|| self.longest_silent(record.key, &source)).flatten()
            };
            displaced = Some(copy.or_else(silent).ok_or(StoreRefusal::TooManyOfKey)?);
        }
        let freed = displaced.as_ref().and_then(|at| self.entries.get(at));
        let freed = freed.map_or(0, |entry| entry.record.value.len());
        let count = self.entries.len() + usize::from(place) - usize::from(displaced.is_some());
        if count > records || self.bytes - had - freed + len > bytes {
            return Err(StoreRefusal::Full);
        }
        displaced.iter().for_each(|at| self.remove(at));
        self.remove(&at);
        self.bytes += len;
        *self.of_source.entry(source.clone()).or_default() += 1;
        self.entries
            .insert(at, StoredRecord { record, source, direct, until, heard: now, said: now });
        Ok(())
    }

    /// The provider under a key whose last announcement is the oldest, among the sources with the
    /// most providers there, counting one more from `newcomer`.
    fn longest_silent(&self, key: Key, newcomer: &Host) -> Option<(Key, PeerId)> {
        let providers = || self.of_key(key).filter(|(_, entry)| entry.record.is_provider());
        let mut of_source: IndexMap<&Host, usize> = IndexMap::from([(newcomer, 1)]);
        for (_, entry) in providers() {
            *of_source.entry(&entry.source).or_default() += 1;
        }
        let most = of_source.values().max().copied();
        let may_go = |entry: &StoredRecord| of_source.get(&entry.source).copied() == most;
        let oldest = providers().filter(|(_, entry)| may_go(entry));
        oldest.min_by_key(|(_, entry)| entry.said).map(|(at, _)| at.clone())
    }

    /// Removes the announcements of the provider at this address, because it does not answer there.
    /// Returns how many there were.
    pub fn forget_provider(&mut self, peer: &PeerInfo) -> usize {
        let is_its =
            |entry: &StoredRecord| entry.record.is_provider() && entry.record.publisher == *peer;
        let gone = self.entries.iter().filter(|(_, entry)| is_its(entry));
        let gone: Vec<_> = gone.map(|(at, _)| at.clone()).collect();
        gone.iter().for_each(|at| self.remove(at));
        gone.len()
    }

    fn current(entry: &StoredRecord, now: Instant) -> Option<Record> {
        let seconds = entry.until.saturating_duration_since(now).as_secs();
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        (seconds > 0).then(|| Record { seconds, ..entry.record.clone() })
    }

    /// The valid records under a key: those that came from their publishers first, the latest
    /// first.
    #[must_use]
    pub fn get(&self, key: Key, now: Instant) -> Vec<Record> {
        self.get_with_sources(key, now).into_iter().map(|(_, record)| record).collect()
    }

    /// The same records, with the sources that they came from.
    pub(crate) fn get_with_sources(&self, key: Key, now: Instant) -> Vec<(Host, Record)> {
        let mut entries: Vec<_> = self.of_key(key).map(|(_, entry)| entry).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.direct, entry.said)));
        let good = |entry: &StoredRecord| Some((entry.source.clone(), Self::current(entry, now)?));
        entries.into_iter().filter_map(good).collect()
    }

    /// The records that no node has sent during `every`; they count as sent from now on. At most
    /// `most`, the longest unsent first. (Section 2.5: a node that keeps a record sends it to the
    /// others, so that these do not have to.)
    pub fn due(&mut self, now: Instant, every: Duration, most: usize) -> Vec<Record> {
        let due = self.entries.iter_mut().map(|(_, entry)| entry);
        let mut due: Vec<_> =
            due.filter(|entry| now.saturating_duration_since(entry.heard) >= every).collect();
        due.sort_by_key(|entry| entry.heard);
        let due = due.into_iter().take(most);
        due.filter_map(|entry| {
            entry.heard = now;
            Self::current(entry, now)
        })
        .collect()
    }
}

/// Merges the records of a look-up, one list of which came from each node: the newest of each
/// publisher. The record that most nodes have is first, and among equals the one with the lower id.
#[must_use]
pub fn chosen(said: impl IntoIterator<Item = Record>) -> Vec<Record> {
    let mut of: BTreeMap<PeerId, Vec<Record>> = BTreeMap::new();
    for record in said {
        of.entry(record.publisher.id().clone()).or_default().push(record);
    }
    let newest = |records: Vec<Record>| {
        let count = records.len();
        let newest = records.into_iter().reduce(|a, b| if b.is_newer_than(&a) { b } else { a });
        newest.map(|record| (count, record))
    };
    let mut chosen: Vec<_> = of.into_values().filter_map(newest).collect();
    chosen.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    chosen.into_iter().map(|(_, record)| record).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::Instant as Clock;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn peer(n: usize) -> PeerInfo {
        format!("n{n} 10.0.0.1 {}", n % 60_000 + 1).parse().unwrap()
    }

    fn host(n: usize) -> Host {
        format!("h{n}").parse().unwrap()
    }

    fn key(n: usize) -> Key {
        Key::of_bytes(&n.to_be_bytes())
    }

    fn record(k: usize, publisher: usize, sequence: u64, value: &str) -> Record {
        Record::new(key(k), peer(publisher), sequence, 7_200, value.into())
    }

    fn now() -> Instant {
        Clock::now().into_std()
    }

    #[test]
    fn a_record_is_kept_for_its_lifetime_and_no_longer_than_the_limit() {
        let (now, limits) = (now(), StoreLimits { ttl: HOUR, ..StoreLimits::default() });
        let mut store = RecordStore::new(limits);
        store.keep(record(1, 1, 1, "x"), host(1), true, now).unwrap();
        let there = store.get(key(1), now + HOUR / 2);
        assert_eq!((there.len(), there[0].time_left()), (1, HOUR / 2));
        assert!(store.get(key(1), now + HOUR).is_empty());
        assert_eq!((store.expire(now + HOUR), store.len(), store.bytes()), (1, 0, 0));
        let over = Record::new(key(1), peer(1), 1, 0, Vec::new());
        assert_eq!(store.keep(over, host(1), true, now), Err(StoreRefusal::Over));
    }

    #[test]
    fn the_newest_record_of_a_publisher_is_kept_and_a_copy_never_replaces_its_own() {
        let (now, mut store) = (now(), RecordStore::default());
        store.keep(record(1, 1, 5, "copy"), host(2), false, now).unwrap();
        store.keep(record(1, 1, 6, "newer"), host(3), false, now).unwrap();
        let old = store.keep(record(1, 1, 5, "copy"), host(2), false, now);
        assert_eq!(old, Err(StoreRefusal::Outdated));
        // A record from the publisher itself wins over copies with any number.
        store.keep(record(1, 1, 2, "own"), host(1), true, now).unwrap();
        let lie = store.keep(record(1, 1, u64::MAX, "lie"), host(2), false, now);
        assert_eq!(lie, Err(StoreRefusal::Outdated));
        assert_eq!(store.get(key(1), now)[0].value(), b"own");
        store.keep(record(1, 1, 3, "next"), host(1), true, now).unwrap();
        assert_eq!(store.get(key(1), now)[0].value(), b"next");
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn a_copy_that_is_sent_again_does_not_extend_the_lifetime_of_a_record() {
        let (now, mut store) = (now(), RecordStore::default());
        store.keep(record(1, 1, 1, "x"), host(1), true, now).unwrap();
        store.keep(record(1, 1, 1, "x"), host(2), false, now + HOUR).unwrap();
        assert!(store.get(key(1), now + HOUR * 2).is_empty());
        store.keep(record(1, 1, 1, "x"), host(1), true, now + HOUR).unwrap();
        assert_eq!(store.get(key(1), now + HOUR * 2).len(), 1);
    }

    #[test]
    fn a_record_above_a_limit_is_refused_and_existing_records_stay() {
        let now = now();
        let limits = StoreLimits {
            record_bytes: 4,
            records: 6,
            bytes: 18,
            per_source: 3,
            per_key: 2,
            ttl: HOUR,
            provider_ttl: HOUR,
        };
        let mut store = RecordStore::new(limits);
        let long = store.keep(record(1, 1, 1, "12345"), host(1), true, now);
        assert_eq!(long, Err(StoreRefusal::TooLong));
        for k in 1..=3 {
            store.keep(record(k, 1, 1, "1234"), host(1), false, now).unwrap();
        }
        let fourth = store.keep(record(4, 1, 1, ""), host(1), false, now);
        assert_eq!(fourth, Err(StoreRefusal::TooManyOfSource));
        store.keep(record(1, 2, 1, "12"), host(2), false, now).unwrap();
        let third = store.keep(record(1, 3, 1, ""), host(3), false, now);
        assert_eq!(third, Err(StoreRefusal::TooManyOfKey));
        // The publisher itself replaces a copy.
        store.keep(record(1, 3, 1, "1"), host(3), true, now).unwrap();
        store.keep(record(5, 3, 1, "1234"), host(3), true, now).unwrap();
        let bytes = store.keep(record(6, 4, 1, "1234"), host(4), true, now);
        assert_eq!(bytes, Err(StoreRefusal::Full));
        store.keep(record(6, 4, 1, ""), host(4), true, now).unwrap();
        assert_eq!(store.len(), 6);
        assert_eq!(store.keep(record(7, 4, 1, ""), host(4), true, now), Err(StoreRefusal::Full));
        // Later there is room.
        store.keep(record(7, 4, 1, ""), host(4), true, now + HOUR).unwrap();
        assert_eq!(store.len(), 1);
    }

    fn provider(n: usize) -> Record {
        Record::new(key(1), peer(n), 1, 7_200, Vec::new())
    }

    fn publishers(store: &RecordStore, now: Instant) -> Vec<PeerInfo> {
        store.get(key(1), now).iter().map(|record| record.publisher().clone()).collect()
    }

    #[test]
    fn a_provider_that_announces_itself_replaces_the_one_that_is_silent_for_the_longest_time() {
        let (begun, second) = (now(), Duration::from_secs(1));
        let mut store = RecordStore::new(StoreLimits { per_key: 3, ..StoreLimits::default() });
        for n in 0..3 {
            store.keep(provider(n), host(n), true, begun + second).unwrap();
        }
        // The first one is alive.
        store.keep(provider(0), host(0), true, begun + second * 2).unwrap();
        store.keep(provider(3), host(3), true, begun + second * 3).unwrap();
        store.keep(provider(4), host(4), true, begun + second * 4).unwrap();
        // The latest come first, and a record that does not come from its publisher replaces none.
        assert_eq!(publishers(&store, begun + second * 4), [peer(4), peer(3), peer(0)]);
        let copy = store.keep(provider(5), host(5), false, begun + second * 5);
        assert_eq!(copy, Err(StoreRefusal::TooManyOfKey));
        // A source with many providers displaces only its own.
        for n in 10..100 {
            store.keep(provider(n), host(4), true, begun + second * 6).unwrap();
        }
        let there = publishers(&store, begun + second * 6);
        assert!(there.contains(&peer(0)) && there.contains(&peer(3)), "{there:?}");
        // A provider does not displace a value, and a value does not displace a provider.
        let value = store.keep(record(1, 200, 1, "x"), host(200), true, begun + second * 7);
        assert_eq!(value, Err(StoreRefusal::TooManyOfKey));
        assert_eq!((store.forget_provider(&peer(0)), store.len()), (1, 2));
    }

    #[test]
    fn a_provider_is_kept_for_an_hour_and_a_value_for_a_day() {
        let (now, mut store) = (now(), RecordStore::default());
        let long = |n, value: &str| Record::new(key(n), peer(1), 1, u32::MAX, value.into());
        store.keep(long(1, ""), host(1), true, now).unwrap();
        store.keep(long(2, "x"), host(1), true, now).unwrap();
        assert_eq!(store.get(key(1), now)[0].time_left(), HOUR);
        assert_eq!(store.get(key(2), now)[0].time_left(), HOUR * 24);
    }

    #[test]
    fn a_record_that_no_node_sent_for_a_while_is_due_once() {
        let (now, mut store) = (now(), RecordStore::default());
        store.keep(record(1, 1, 1, "x"), host(1), true, now).unwrap();
        store.keep(record(2, 1, 1, "x"), host(1), true, now).unwrap();
        assert!(store.due(now + HOUR / 2, HOUR, 9).is_empty());
        store.keep(record(2, 1, 1, "x"), host(2), false, now + HOUR / 2).unwrap();
        let due = store.due(now + HOUR, HOUR, 9);
        assert_eq!(due.iter().map(Record::key).collect::<Vec<_>>(), [key(1)]);
        assert_eq!(due[0].time_left(), HOUR);
        assert!(store.due(now + HOUR, HOUR, 9).is_empty());
    }

    #[test]
    fn the_newest_record_of_each_publisher_is_chosen_and_the_most_frequent_comes_first() {
        let said = [record(1, 2, 9, "b"), record(1, 1, 1, "old"), record(1, 1, 2, "new")];
        let values: Vec<_> = chosen(said).into_iter().map(Record::into_value).collect();
        assert_eq!(values, [b"new".to_vec(), b"b".to_vec()]);
    }

    proptest! {
        #[test]
        fn the_limits_hold_for_any_sequence_of_records(
            steps in prop::collection::vec((0..5_usize, 0..5_usize, 0..5_usize, 0..4_u64, 0..8_usize, any::<bool>(), 0..900_u64), 0..300),
        ) {
            let limits = StoreLimits { record_bytes: 6, records: 9, bytes: 30, per_source: 4, per_key: 3, ttl: HOUR, provider_ttl: HOUR };
            let (mut store, mut now) = (RecordStore::new(limits), now());
            for (k, publisher, source, sequence, len, direct, seconds) in steps {
                now += Duration::from_secs(seconds);
                let record = Record::new(key(k), peer(publisher), sequence, 4_000, vec![0; len]);
                store.keep(record, host(source), direct, now).ok();
                let values = store.entries.values();
                prop_assert_eq!(values.clone().map(|entry| entry.record.value.len()).sum::<usize>(), store.bytes);
                prop_assert!(store.len() <= 9 && store.bytes <= 30);
                for n in 0..5 {
                    let count = values.clone().filter(|entry| entry.source == host(n)).count();
                    prop_assert_eq!(store.of_source.get(&host(n)).copied().unwrap_or(0), count);
                    prop_assert!(count <= 4 && store.of_key(key(n)).count() <= 3);
                }
            }
        }
    }
}

//! The nodes that one node knows, in k-buckets (sections 2.2 and 4.1 of the paper).

use std::time::{Duration, Instant};

use crate::overlay::{
    Host, PeerId, PeerInfo,
    kademlia::key::{Distance, Key},
};

/// Buckets: one for each number of first bits that a key can share with the own one.
const BUCKETS: usize = 256;

/// Questions in a row that a node leaves without an answer before it goes although nobody waits for its place.
const MAX_FAILURES: u8 = 5;

/// What came of hearing from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// It is new, and there was room.
    Added,
    /// It was known; it counts as the one that was heard of last.
    Known,
    /// Its bucket is full, or its id is known with another address. It waits for the place of this one, which is to be
    /// asked whether it is still there: tell [`KBuckets::heard`] or [`KBuckets::failed`].
    Check(PeerInfo),
    /// As `Check`, but that one is being asked already.
    Waiting,
    /// It is the node itself.
    Own,
}

#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    info: PeerInfo,
    failures: u8,
    /// It is being asked whether it is there.
    checked: bool,
}

impl Entry {
    fn new(key: Key, info: PeerInfo) -> Self {
        Self { key, info, failures: 0, checked: false }
    }
}

/// Nodes at distances of one power of two. Those heard of last are at the end.
#[derive(Clone, Debug, Default)]
struct Bucket {
    entries: Vec<Entry>,
    /// Who would be here if there was room: the replacement cache.
    waiting: Vec<Entry>,
    /// When a key of this bucket was last looked for.
    looked: Option<Instant>,
}

impl Bucket {
    fn remove(entries: &mut Vec<Entry>, key: Key) -> Option<Entry> {
        let at = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(at))
    }

    /// The one heard of last that waits for any place, not for that of its own id.
    fn newcomer(&mut self) -> Option<Entry> {
        let known = |entry: &Entry| self.entries.iter().any(|other| other.key == entry.key);
        let at = self.waiting.iter().rposition(|entry| !known(entry))?;
        Some(self.waiting.remove(at))
    }
}

/// The table of one node: at most `k` others for each power of two of distance.
///
/// Who is known and answers stays, however many newcomers there are: they live longest who have lived long, and a table
/// cannot be taken over by a flood. Only nodes that have answered, or proved who they are, belong into it: an address that
/// others tell is a hint.
#[derive(Clone, Debug)]
pub struct KBuckets {
    own: Key,
    k: usize,
    buckets: Vec<Bucket>,
}

impl KBuckets {
    /// The empty table of the node at `own`. At most `k` nodes (20 in the paper, at least 1) for each bucket, and as
    /// many that wait for a place.
    #[must_use]
    pub fn new(own: Key, k: usize) -> Self {
        Self { own, k: k.max(1), buckets: vec![Bucket::default(); BUCKETS] }
    }

    /// The key of the node itself.
    #[must_use]
    pub const fn own(&self) -> Key {
        self.own
    }

    fn bucket(&mut self, key: Key) -> Option<&mut Bucket> {
        self.buckets.get_mut(self.own.distance(key).common_bits())
    }

    /// Whether there is a place for a node that is not in the table yet, or one to wait at: whether it is worth asking it
    /// whether it is there.
    #[must_use]
    pub fn has_room(&self, id: &PeerId) -> bool {
        let bucket = self.buckets.get(self.own.distance(Key::of(id)).common_bits());
        bucket.is_some_and(|bucket| bucket.entries.len() < self.k || bucket.waiting.len() < self.k)
    }

    /// A node has answered, or asked and proved who it is.
    pub fn heard(&mut self, info: PeerInfo) -> Heard {
        let (key, k) = (Key::of(info.id()), self.k);
        let Some(bucket) = self.bucket(key) else { return Heard::Own };
        let known = bucket.entries.iter().position(|entry| entry.key == key);
        let same =
            known.and_then(|at| bucket.entries.get(at)).is_some_and(|entry| entry.info == info);
        if same && let Some(at) = known {
            bucket.entries.remove(at);
            bucket.entries.push(Entry::new(key, info));
            // It is here and not elsewhere, as somebody may have said.
            Bucket::remove(&mut bucket.waiting, key);
            return Heard::Known;
        }
        Bucket::remove(&mut bucket.waiting, key);
        if known.is_none() && bucket.entries.len() < k {
            bucket.entries.push(Entry::new(key, info));
            return Heard::Added;
        }
        if bucket.waiting.len() >= k {
            bucket.waiting.remove(0);
        }
        bucket.waiting.push(Entry::new(key, info));
        match bucket.entries.get_mut(known.unwrap_or(0)) {
            Some(entry) if !entry.checked => {
                entry.checked = true;
                Heard::Check(entry.info.clone())
            }
            _ => Heard::Waiting,
        }
    }

    /// A node did not answer. If another one waits for its place, that one has it; else it stays, as the paper has it, but
    /// others are not told of it, until it answers or has failed five times in a row. The one that came in its place.
    pub fn failed(&mut self, id: &PeerId) -> Option<PeerInfo> {
        let key = Key::of(id);
        let bucket = self.bucket(key)?;
        let at = bucket.entries.iter().position(|entry| entry.key == key)?;
        let entry = bucket.entries.get_mut(at)?;
        entry.failures = entry.failures.saturating_add(1);
        entry.checked = false;
        let over = entry.failures >= MAX_FAILURES;
        // The same node at its other address, before anybody else.
        let next = Bucket::remove(&mut bucket.waiting, key).or_else(|| bucket.newcomer());
        if next.is_some() || over {
            bucket.entries.remove(at);
        }
        let next = next?;
        let info = next.info.clone();
        bucket.entries.push(next);
        Some(info)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries)
    }

    /// The `count` nodes nearest to a key, the nearest first, without those that left the last question unanswered.
    #[must_use]
    pub fn closest(&self, target: Key, count: usize) -> Vec<PeerInfo> {
        let good = self.entries().filter(|entry| entry.failures == 0);
        let mut all: Vec<(Distance, &Entry)> =
            good.map(|entry| (entry.key.distance(target), entry)).collect();
        all.sort_unstable_by_key(|(distance, _)| *distance);
        all.into_iter().take(count).map(|(_, entry)| entry.info.clone()).collect()
    }

    /// Whether a node is in the table, and where.
    #[must_use]
    pub fn get(&self, id: &PeerId) -> Option<&PeerInfo> {
        let key = Key::of(id);
        let bucket = self.buckets.get(self.own.distance(key).common_bits())?;
        bucket.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.info)
    }

    /// How many nodes are nearer to a key than the node itself, without those that left the last question unanswered.
    #[must_use]
    pub fn nearer(&self, target: Key) -> usize {
        let own = self.own.distance(target);
        let good = self.entries().filter(|entry| entry.failures == 0);
        good.filter(|entry| entry.key.distance(target) < own).count()
    }

    /// How many nodes are in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.entries.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.entries.is_empty())
    }

    /// Bytes that the table takes: its buckets, the places for nodes in them, used and free, and the texts of ids and host
    /// names, each as if nobody shared it. What the allocator adds is not in it.
    #[must_use]
    pub fn memory(&self) -> usize {
        /// Two counts, which stand before a text that is shared.
        const COUNTS: usize = 2 * size_of::<usize>();
        let text = |entry: &Entry| {
            let name = match entry.info.host() {
                Host::Name(name) => COUNTS + name.len(),
                Host::Ip(_) => 0,
            };
            COUNTS + entry.info.id().as_str().len() + name
        };
        let places = |entries: &Vec<Entry>| {
            entries.capacity() * size_of::<Entry>() + entries.iter().map(text).sum::<usize>()
        };
        let bucket = |bucket: &Bucket| {
            size_of::<Bucket>() + places(&bucket.entries) + places(&bucket.waiting)
        };
        size_of::<Self>() + self.buckets.iter().map(bucket).sum::<usize>()
    }

    /// A key is being looked for: its bucket needs no refresh for a while.
    pub fn looked_for(&mut self, target: Key, now: Instant) {
        if let Some(bucket) = self.bucket(target) {
            bucket.looked = Some(now);
        }
    }

    /// Keys to look for, one in each bucket in which none was looked for during `every`, out to the furthest and in to
    /// the nearest neighbour (section 2.3). `random` fills 32 bytes.
    pub fn stale(
        &self,
        now: Instant,
        every: Duration,
        mut random: impl FnMut() -> [u8; 32],
    ) -> Vec<Key> {
        let nearest = self.buckets.iter().rposition(|bucket| !bucket.entries.is_empty());
        let stale = |bucket: &Bucket| {
            bucket.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= every)
        };
        let buckets =
            self.buckets.iter().enumerate().take(nearest.map_or(0, |nearest| nearest + 1));
        buckets
            .filter(|(_, bucket)| stale(bucket))
            .map(|(bits, _)| self.own.in_bucket(bits, random()))
            .collect()
    }
}

//! The nodes that one node knows, in k-buckets (sections 2.2 and 4.1 of the paper).

use std::time::{Duration, Instant};

use crate::overlay::{
    Host, PeerId, PeerInfo,
    kademlia::key::{Distance, Key},
};

/// The number of buckets: one for each number of leading bits that a key can share with the own
/// key.
const BUCKETS: usize = 256;

/// The number of times that a node that does not answer is asked again before it is removed, if no
/// other node takes its place.
const MAX_RETRIES: u8 = 60;

/// The result of hearing from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// It is new, and there was room.
    Added,
    /// It was known, and is now the most recent one.
    Known,
    /// Its bucket is full, or its id is known with another address. It waits for the place of the
    /// node in this variant, which has to be asked whether it is alive: report the result with
    /// [`KBuckets::heard`] or [`KBuckets::failed`].
    Check(PeerInfo),
    /// As `Check`, but that node is being asked already.
    Waiting,
    /// It is the node itself.
    Own,
}

#[derive(Clone, Debug)]
struct BucketEntry {
    key: Key,
    info: PeerInfo,
    /// Whether it left the last question unanswered.
    failing: bool,
    /// How often it was asked again without an answer since it failed.
    retries: u8,
    /// Whether a check is under way that it is alive.
    checked: bool,
}

impl BucketEntry {
    fn new(key: Key, info: PeerInfo) -> Self {
        Self { key, info, failing: false, retries: 0, checked: false }
    }
}

/// Nodes at distances of one power of two, the most recent ones at the end.
#[derive(Clone, Debug, Default)]
struct Bucket {
    entries: Vec<BucketEntry>,
    /// Nodes that wait for a place: the replacement cache.
    waiting: Vec<BucketEntry>,
    /// When a key of this bucket was last looked up.
    looked: Option<Instant>,
}

impl Bucket {
    fn remove(entries: &mut Vec<BucketEntry>, key: Key) -> Option<BucketEntry> {
        let at = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(at))
    }

    /// Removes the node that was asked again most often without an answer, if there is one.
    fn remove_failing(&mut self) {
        let failing = self.entries.iter().enumerate().filter(|(_, entry)| entry.failing);
        if let Some((at, _)) = failing.max_by_key(|(_, entry)| entry.retries) {
            self.entries.remove(at);
        }
    }

    /// The most recent node that waits for any place, not for that of its own id.
    fn newcomer(&mut self) -> Option<BucketEntry> {
        let known = |entry: &BucketEntry| self.entries.iter().any(|other| other.key == entry.key);
        let at = self.waiting.iter().rposition(|entry| !known(entry))?;
        Some(self.waiting.remove(at))
    }
}

/// The table of one node: at most `k` other nodes for each power of two of distance.
///
/// A known node that answers stays, for any number of newcomers: nodes that have lived long tend to
/// live longest, and a flood cannot take the table over. Only nodes that have answered, or proved
/// their id, belong in it; an address that another node sends is only a hint.
#[derive(Clone, Debug)]
pub struct KBuckets {
    own: Key,
    k: usize,
    buckets: Vec<Bucket>,
}

impl KBuckets {
    /// Makes the empty table of the node at `own`. At most `k` nodes (20 in the paper, at least 1)
    /// for each bucket, and as many that wait for a place.
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

    /// Whether a node that is not in the table yet could get a place or wait for one, so that
    /// asking it is useful.
    #[must_use]
    pub fn has_room(&self, id: &PeerId) -> bool {
        let bucket = self.buckets.get(self.own.distance(Key::of(id)).common_bits());
        bucket.is_some_and(|bucket| bucket.entries.len() < self.k || bucket.waiting.len() < self.k)
    }

    /// Records that a node has answered, or has asked and proved its id.
    pub fn heard(&mut self, info: PeerInfo) -> Heard {
        let (key, k) = (Key::of(info.id()), self.k);
        let Some(bucket) = self.bucket(key) else { return Heard::Own };
        let known = bucket.entries.iter().position(|entry| entry.key == key);
        let same =
            known.and_then(|at| bucket.entries.get(at)).is_some_and(|entry| entry.info == info);
        if same && let Some(at) = known {
            bucket.entries.remove(at);
            bucket.entries.push(BucketEntry::new(key, info));
            // The known address is confirmed, so another claimed one is dropped.
            Bucket::remove(&mut bucket.waiting, key);
            return Heard::Known;
        }
        Bucket::remove(&mut bucket.waiting, key);
        if known.is_none() && bucket.entries.len() >= k {
            bucket.remove_failing();
        }
        if known.is_none() && bucket.entries.len() < k {
            bucket.entries.push(BucketEntry::new(key, info));
            return Heard::Added;
        }
        if bucket.waiting.len() >= k {
            bucket.waiting.remove(0);
        }
        bucket.waiting.push(BucketEntry::new(key, info));
        match bucket.entries.get_mut(known.unwrap_or(0)) {
            Some(entry) if !entry.checked => {
                entry.checked = true;
                Heard::Check(entry.info.clone())
            }
            _ => Heard::Waiting,
        }
    }

    /// Records that a node did not answer. If another node waits for its place, that node replaces
    /// it and is returned. Otherwise the node stays, as in the paper, but is not told to others
    /// until it answers, and makes room for the next node that does.
    pub fn failed(&mut self, id: &PeerId) -> Option<PeerInfo> {
        let key = Key::of(id);
        let bucket = self.bucket(key)?;
        let at = bucket.entries.iter().position(|entry| entry.key == key)?;
        let entry = bucket.entries.get_mut(at)?;
        (entry.failing, entry.checked) = (true, false);
        // The same node at its other address has precedence.
        let next = Bucket::remove(&mut bucket.waiting, key).or_else(|| bucket.newcomer())?;
        bucket.entries.remove(at);
        let info = next.info.clone();
        bucket.entries.push(next);
        Some(info)
    }

    /// The nodes that left the last question unanswered, at most `count`, those first that were
    /// asked again least often. If the network between them and this node was at fault, it may be
    /// that no other node names them after it is mended: ask them again at intervals, and report the result with
    /// [`KBuckets::heard`] or [`KBuckets::failed_again`].
    #[must_use]
    pub fn failing(&self, count: usize) -> Vec<PeerInfo> {
        let mut failing: Vec<_> = self.entries().filter(|entry| entry.failing).collect();
        failing.sort_by_key(|entry| entry.retries);
        failing.into_iter().take(count).map(|entry| entry.info.clone()).collect()
    }

    /// Records that a [failing](Self::failing) node was asked again and did not answer. It is
    /// removed after 60 times.
    pub fn failed_again(&mut self, id: &PeerId) {
        let key = Key::of(id);
        let Some(bucket) = self.bucket(key) else { return };
        let failing = |entry: &&mut BucketEntry| entry.key == key && entry.failing;
        let Some(entry) = bucket.entries.iter_mut().find(failing) else { return };
        entry.retries = entry.retries.saturating_add(1);
        if entry.retries >= MAX_RETRIES {
            Bucket::remove(&mut bucket.entries, key);
        }
    }

    fn entries(&self) -> impl Iterator<Item = &BucketEntry> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries)
    }

    /// The `count` nodes nearest to a key, nearest first, without those that left the last question
    /// unanswered.
    #[must_use]
    pub fn closest(&self, target: Key, count: usize) -> Vec<PeerInfo> {
        let good = self.entries().filter(|entry| !entry.failing);
        let mut all: Vec<(Distance, &BucketEntry)> =
            good.map(|entry| (entry.key.distance(target), entry)).collect();
        all.sort_unstable_by_key(|(distance, _)| *distance);
        all.into_iter().take(count).map(|(_, entry)| entry.info.clone()).collect()
    }

    /// The node with this id; `None` if it is not in the table.
    #[must_use]
    pub fn get(&self, id: &PeerId) -> Option<&PeerInfo> {
        let key = Key::of(id);
        let bucket = self.buckets.get(self.own.distance(key).common_bits())?;
        bucket.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.info)
    }

    /// The number of nodes that are nearer to a key than the node itself, without those that left
    /// the last question unanswered.
    #[must_use]
    pub fn nearer(&self, target: Key) -> usize {
        let own = self.own.distance(target);
        let good = self.entries().filter(|entry| !entry.failing);
        good.filter(|entry| entry.key.distance(target) < own).count()
    }

    /// The number of nodes in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.entries.len()).sum()
    }

    /// The number of nodes in the table that did not leave the last question unanswered.
    #[must_use]
    pub fn good(&self) -> usize {
        self.entries().filter(|entry| !entry.failing).count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.entries.is_empty())
    }

    /// The memory of the table, in bytes: its buckets, the places for nodes in them, used and free,
    /// and the texts of ids and host names, each counted as if it was not shared. The overhead of
    /// the allocator is not included.
    #[must_use]
    pub fn memory(&self) -> usize {
        /// The two reference counts in front of a shared text.
        const COUNTS: usize = 2 * size_of::<usize>();
        let text = |entry: &BucketEntry| {
            let name = match entry.info.host() {
                Host::Name(name) => COUNTS + name.len(),
                Host::Ip(_) => 0,
            };
            COUNTS + entry.info.id().as_str().len() + name
        };
        let places = |entries: &Vec<BucketEntry>| {
            entries.capacity() * size_of::<BucketEntry>() + entries.iter().map(text).sum::<usize>()
        };
        let bucket = |bucket: &Bucket| {
            size_of::<Bucket>() + places(&bucket.entries) + places(&bucket.waiting)
        };
        size_of::<Self>() + self.buckets.iter().map(bucket).sum::<usize>()
    }

    /// Records a look-up of a key: its bucket needs no refresh for a while.
    pub fn looked_for(&mut self, target: Key, now: Instant) {
        if let Some(bucket) = self.bucket(target) {
            bucket.looked = Some(now);
        }
    }

    /// Keys to look up, one in each bucket that had no look-up during `every`, from the furthest
    /// bucket to that of the nearest neighbour (section 2.3). `random` returns 32 random bytes.
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

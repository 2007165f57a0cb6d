//! The bounded table of known peers, by id and by position.

use std::time::Instant;

use indexmap::IndexMap;
use serde::Serialize;

use crate::overlay::{
    Address, Candidate, GivenUp, Learned, PeerEntry, PeerId, PeerInfo, given_up::Memory,
};

/// The result of adding a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Added {
    /// It has been added to the table.
    Added,
    /// A peer with this id was in the table already and is unchanged.
    AlreadyKnown,
    /// The table is full.
    Full,
    /// It is this node itself, which never enters its own table.
    Own,
    /// The table has the maximum number of peers of its address.
    TooManyOfAddress,
    /// The table has the maximum number of peers of its network.
    TooManyOfNetwork,
    /// The table has the maximum number of unverified peers.
    TooManyUnverified,
    /// The table has the maximum number of peers that introduced themselves recently.
    TooManyNewcomers,
    /// The table has the maximum number of peers that the same peer has listed.
    TooManyOfSource,
}

/// The known peers in the order in which they were added, at most `limit` of them (0 = no limit).
///
/// ```
/// use std::time::Instant;
/// use actix_peer::overlay::{Added, Learned, PeerList};
///
/// # let now = tokio::time::Instant::now().into_std();
/// let mut list = PeerList::new("me".parse()?, 1);
/// assert_eq!(list.add("a 127.0.0.1 9000".parse()?, Learned::Manual, now), Added::Added);
/// assert_eq!(list.add("b 127.0.0.1 9001".parse()?, Learned::Manual, now), Added::Full);
/// assert_eq!(list.get_at(0).map(|entry| entry.info().id().as_str()), Some("a"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PeerList {
    own: PeerId,
    own_address: Option<Address>,
    limit: usize,
    entries: IndexMap<PeerId, PeerEntry>,
    given_up: Memory,
}

impl PeerList {
    /// Makes the empty table of the node `own`.
    #[must_use]
    pub fn new(own: PeerId, limit: usize) -> Self {
        Self {
            own,
            own_address: None,
            limit,
            entries: IndexMap::new(),
            given_up: Memory::default(),
        }
    }

    /// Sets the address where the node itself listens: no other node enters the table with it.
    #[must_use]
    pub fn located(mut self, at: Address) -> Self {
        self.own_address = Some(at);
        self
    }

    /// The id of the node whose table it is.
    #[must_use]
    pub const fn own(&self) -> &PeerId {
        &self.own
    }

    /// The maximum number of peers; 0 = no limit.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The number of peers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no peers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether no more can be added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit != 0 && self.entries.len() >= self.limit
    }

    /// Whether the peer is known.
    #[must_use]
    pub fn contains(&self, id: &PeerId) -> bool {
        self.entries.contains_key(id)
    }

    /// Adds a peer at the end, without regard to [`Shares`](crate::overlay::Shares). A known peer
    /// stays as it is. The peer counts as verified unless it only introduced itself; so does a
    /// known peer with the same address.
    pub fn add(&mut self, info: PeerInfo, learned: Learned, now: Instant) -> Added {
        self.insert_at(self.entries.len(), info, learned, now)
    }

    /// Adds a peer at `position`; the peers from there on move back. Past the end it is appended. A
    /// known peer stays as it is, where it is.
    pub fn insert_at(
        &mut self,
        position: usize,
        info: PeerInfo,
        learned: Learned,
        now: Instant,
    ) -> Added {
        let candidate = Candidate::new(info, learned);
        let verified = candidate.learned != Learned::Joined;
        self.insert_candidate(position, candidate.verified(verified), now)
    }

    /// The result that adding it would have: [`Added::Added`] if there is room.
    pub(super) fn result_of_adding(&self, info: &PeerInfo) -> Added {
        if *info.id() == self.own || self.own_address.as_ref() == Some(info.address()) {
            Added::Own
        } else if self.contains(info.id()) {
            Added::AlreadyKnown
        } else if self.is_full() {
            Added::Full
        } else {
            Added::Added
        }
    }

    /// Adds a candidate at the end.
    pub(super) fn insert(&mut self, candidate: Candidate, now: Instant) -> Added {
        self.insert_candidate(self.entries.len(), candidate, now)
    }

    fn insert_candidate(&mut self, position: usize, candidate: Candidate, now: Instant) -> Added {
        let result = self.result_of_adding(&candidate.info);
        if result == Added::Added {
            let Candidate { info, learned, seen_at, verified } = candidate;
            let id = info.id().clone();
            self.given_up.forget(&id);
            let verified = verified.then_some(now);
            let entry = PeerEntry { info, learned, added: now, seen_at, verified, last_seen: None };
            self.entries.shift_insert(position.min(self.entries.len()), id, entry);
        } else if candidate.verified
            && let Some(known) = self.entries.get_mut(candidate.info.id())
            && known.info == candidate.info
        {
            known.verified.get_or_insert(now);
        }
        result
    }

    /// The peer with this id.
    #[must_use]
    pub fn get(&self, id: &PeerId) -> Option<&PeerEntry> {
        self.entries.get(id)
    }

    /// The peer at this position, from 0.
    #[must_use]
    pub fn get_at(&self, position: usize) -> Option<&PeerEntry> {
        self.entries.get_index(position).map(|(_, entry)| entry)
    }

    /// The position of the peer with this id.
    #[must_use]
    pub fn position(&self, id: &PeerId) -> Option<usize> {
        self.entries.get_index_of(id)
    }

    /// Removes the peer with this id; the peers behind it move up. It is also removed from the
    /// peers that were given up.
    pub fn remove(&mut self, id: &PeerId) -> Option<PeerEntry> {
        self.given_up.forget(id);
        self.entries.shift_remove(id)
    }

    /// Takes an entry out temporarily, with its position.
    pub(super) fn take(&mut self, id: &PeerId) -> Option<(usize, PeerEntry)> {
        let (position, _, entry) = self.entries.shift_remove_full(id)?;
        Some((position, entry))
    }

    /// Restores an entry at its position.
    pub(super) fn restore(&mut self, position: usize, entry: PeerEntry) {
        let position = position.min(self.entries.len());
        self.entries.shift_insert(position, entry.info.id().clone(), entry);
    }

    /// Removes the peer with this id because it no longer answers. If it was verified it is
    /// remembered as [given up](Self::given_up).
    pub fn give_up(&mut self, id: &PeerId, now: Instant) -> Option<PeerEntry> {
        let entry = self.entries.shift_remove(id)?;
        self.given_up.note(entry.clone(), now);
        Some(entry)
    }

    /// The verified peers that were [given up](Self::give_up) in the last ten minutes, and have
    /// neither returned nor been [removed](Self::remove) since: at most 64. If there are more,
    /// those that were verified first are kept.
    pub fn given_up(&self, now: Instant) -> impl Iterator<Item = &GivenUp> {
        self.given_up.iter(now)
    }

    /// Forgets given-up peers that are not to be asked again.
    pub(crate) fn retain_given_up(&mut self, keep: impl Fn(&GivenUp) -> bool) {
        self.given_up.retain(keep);
    }

    /// Removes the peer at this position; the peers behind it move up.
    pub fn remove_at(&mut self, position: usize) -> Option<PeerEntry> {
        self.entries.shift_remove_index(position).map(|(_, entry)| entry)
    }

    /// Records that the peer was seen alive at `now`. Returns whether it is known.
    pub fn touch(&mut self, id: &PeerId, now: Instant) -> bool {
        self.entries.get_mut(id).is_some_and(|entry| {
            entry.last_seen = Some(now);
            true
        })
    }

    /// Records that a node with this id has answered at the peer's address. A verified peer keeps
    /// its earlier time. Returns whether the peer is known.
    pub fn verify(&mut self, id: &PeerId, now: Instant) -> bool {
        self.entries.get_mut(id).is_some_and(|entry| {
            entry.verified.get_or_insert(now);
            entry.last_seen = Some(now);
            true
        })
    }

    /// The number of peers that are not verified.
    #[must_use]
    pub fn unverified(&self) -> usize {
        self.entries.values().filter(|entry| entry.verified.is_none()).count()
    }

    /// The peers in the order of their positions.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &PeerEntry> {
        self.entries.values()
    }

    /// Removes and returns all peers, and forgets those that were given up.
    pub fn clear(&mut self) -> Vec<PeerEntry> {
        self.given_up.clear();
        self.entries.drain(..).map(|(_, entry)| entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn peer(n: u8) -> PeerInfo {
        format!("p{n} 10.0.0.{n} 9000").parse().unwrap()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(u8),
        InsertAt(usize, u8),
        Remove(u8),
        RemoveAt(usize),
        Touch(u8),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0_u8..12).prop_map(Step::Add),
            3 => (0_usize..14, 0_u8..12).prop_map(|(at, n)| Step::InsertAt(at, n)),
            2 => (0_u8..12).prop_map(Step::Remove),
            2 => (0_usize..14).prop_map(Step::RemoveAt),
            2 => (0_u8..12).prop_map(Step::Touch),
            1 => Just(Step::Clear),
        ]
    }

    /// The same table as a plain vector.
    #[derive(Default)]
    struct Model {
        limit: usize,
        peers: Vec<(PeerInfo, Option<Instant>)>,
    }

    impl Model {
        fn insert(&mut self, at: usize, info: PeerInfo) -> Added {
            if info.id().as_str() == "p0" {
                Added::Own
            } else if self.find(info.id()).is_some() {
                Added::AlreadyKnown
            } else if self.limit > 0 && self.peers.len() >= self.limit {
                Added::Full
            } else {
                self.peers.insert(at.min(self.peers.len()), (info, None));
                Added::Added
            }
        }

        fn find(&self, id: &PeerId) -> Option<usize> {
            self.peers.iter().position(|(peer, _)| peer.id() == id)
        }

        fn remove_at(&mut self, at: usize) -> Option<PeerInfo> {
            (at < self.peers.len()).then(|| self.peers.remove(at).0)
        }
    }

    proptest! {
        #[test]
        fn the_table_behaves_like_a_vector_with_a_limit(limit in 0_usize..8, steps in proptest::collection::vec(step(), 0..60)) {
            let mut now = tokio::time::Instant::now().into_std();
            let mut list = PeerList::new("p0".parse().unwrap(), limit);
            let mut model = Model { limit, ..Model::default() };
            for step in steps {
                now += Duration::from_secs(1);
                match step {
                    Step::Add(n) => {
                        let end = model.peers.len();
                        prop_assert_eq!(list.add(peer(n), Learned::Manual, now), model.insert(end, peer(n)));
                    }
                    Step::InsertAt(at, n) => {
                        prop_assert_eq!(list.insert_at(at, peer(n), Learned::Joined, now), model.insert(at, peer(n)));
                    }
                    Step::Remove(n) => {
                        let id = peer(n).id().clone();
                        let at = model.find(&id);
                        prop_assert_eq!(list.position(&id), at);
                        let removed = at.and_then(|at| model.remove_at(at));
                        prop_assert_eq!(list.remove(&id).map(|entry| entry.info), removed);
                    }
                    Step::RemoveAt(at) => {
                        prop_assert_eq!(list.remove_at(at).map(|entry| entry.info), model.remove_at(at));
                    }
                    Step::Touch(n) => {
                        let id = peer(n).id().clone();
                        let at = model.find(&id);
                        if let Some(at) = at {
                            model.peers[at].1 = Some(now);
                        }
                        prop_assert_eq!(list.touch(&id, now), at.is_some());
                    }
                    Step::Clear => {
                        let cleared: Vec<_> = list.clear().into_iter().map(|entry| entry.info).collect();
                        let all: Vec<_> = model.peers.drain(..).map(|(peer, _)| peer).collect();
                        prop_assert_eq!(cleared, all);
                    }
                }
                let seen: Vec<_> = list.iter().map(|entry| (entry.info.clone(), entry.last_seen)).collect();
                prop_assert_eq!(&seen, &model.peers);
                prop_assert_eq!(list.is_full(), limit > 0 && seen.len() >= limit);
                for (at, (peer, _)) in model.peers.iter().enumerate() {
                    prop_assert_eq!(list.get_at(at), list.get(peer.id()));
                }
            }
        }
    }

    #[test]
    fn an_entry_says_how_and_when_it_was_learned() {
        let now = tokio::time::Instant::now().into_std();
        let mut list = PeerList::new("p0".parse().unwrap(), 0);
        let by = peer(2).id().clone();
        list.add(peer(1), Learned::Listed { by: by.clone() }, now);
        let entry = list.get_at(0).unwrap();
        assert_eq!(
            (entry.learned(), entry.added(), entry.last_seen()),
            (&Learned::Listed { by }, now, None)
        );
    }
}

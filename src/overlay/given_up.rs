//! The peers that were given up recently. They may only have been unreachable, so they are asked
//! again.

use std::time::{Duration, Instant};

use crate::overlay::{PeerEntry, PeerId, PeerInfo};

/// The maximum number of given-up peers that are remembered.
const MOST: usize = 64;

/// How long a given-up peer is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// A peer that no longer answered and was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    entry: PeerEntry,
    at: Instant,
}

impl GivenUp {
    /// Its former entry in the table.
    #[must_use]
    pub const fn entry(&self) -> &PeerEntry {
        &self.entry
    }

    /// Id, host and port.
    #[must_use]
    pub const fn info(&self) -> &PeerInfo {
        self.entry.info()
    }

    /// When it was given up.
    #[must_use]
    pub const fn at(&self) -> Instant {
        self.at
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= REMEMBERED_FOR
    }
}

/// The given-up peers, in the order in which they were given up: at most 64, each for ten minutes.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Vec<GivenUp>);

impl Memory {
    /// Remembers a peer that was verified. If there is no room, the peer that was known for the
    /// shortest time is evicted. A party that makes up peers that come and go therefore displaces
    /// no old ones.
    pub(super) fn note(&mut self, entry: PeerEntry, now: Instant) {
        if entry.verified().is_none() {
            return;
        }
        self.0.retain(|known| !known.is_over(now) && known.info().id() != entry.info().id());
        self.0.push(GivenUp { entry, at: now });
        if self.0.len() > MOST {
            let known_since = |(_, known): &(usize, &GivenUp)| known.entry.verified();
            let newest = self.0.iter().enumerate().max_by_key(known_since).map(|(at, _)| at);
            newest.map(|at| self.0.remove(at));
        }
    }

    pub(super) fn forget(&mut self, id: &PeerId) {
        self.0.retain(|known| known.info().id() != id);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&GivenUp) -> bool) {
        self.0.retain(keep);
    }

    pub(super) fn iter(&self, now: Instant) -> impl Iterator<Item = &GivenUp> {
        self.0.iter().filter(move |known| !known.is_over(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::{Learned, PeerList};

    const SECOND: Duration = Duration::from_secs(1);

    fn peer(n: u32) -> PeerInfo {
        format!("p{n} 10.0.0.1 9000").parse().unwrap()
    }

    fn known(list: &PeerList, now: Instant) -> Vec<String> {
        list.given_up(now).map(|known| known.info().id().to_string()).collect()
    }

    fn begin() -> (PeerList, Instant) {
        (PeerList::new("me".parse().unwrap(), 0), tokio::time::Instant::now().into_std())
    }

    #[test]
    fn a_given_up_peer_is_remembered_for_ten_minutes() {
        let (mut list, now) = begin();
        list.add(peer(1), Learned::Manual, now);
        assert!(list.give_up(peer(1).id(), now).is_some() && !list.contains(peer(1).id()));
        assert_eq!(known(&list, now + 599 * SECOND), ["p1"]);
        assert!(known(&list, now + 600 * SECOND).is_empty());
    }

    #[test]
    fn a_peer_that_was_unverified_left_was_removed_or_is_back_is_not_remembered() {
        let (mut list, now) = begin();
        list.add(peer(1), Learned::Joined, now);
        list.give_up(peer(1).id(), now);
        list.add(peer(2), Learned::Manual, now);
        list.remove(peer(2).id());
        for n in 3..7 {
            list.add(peer(n), Learned::Manual, now);
            list.give_up(peer(n).id(), now);
        }
        assert_eq!(known(&list, now), ["p3", "p4", "p5", "p6"]);
        // Left, or removed, after it was given up.
        list.remove(peer(3).id());
        list.add(peer(4), Learned::Joined, now);
        list.retain_given_up(|known| *known.info() != peer(5));
        assert_eq!(known(&list, now), ["p6"]);
        list.clear();
        assert!(known(&list, now).is_empty());
    }

    #[test]
    fn of_too_many_peers_those_known_for_the_longest_time_stay() {
        let (mut list, mut now) = begin();
        for n in 0..1_000 {
            now += SECOND / 10;
            list.add(peer(n), Learned::Manual, now);
        }
        for n in (0..1_000).rev() {
            list.give_up(peer(n).id(), now);
            assert!(list.given_up(now).count() <= MOST);
        }
        let expected: Vec<_> = (0..64).rev().map(|n| format!("p{n}")).collect();
        assert_eq!(known(&list, now), expected);
        // Later there is room again.
        now += REMEMBERED_FOR;
        list.add(peer(2_000), Learned::Manual, now);
        list.give_up(peer(2_000).id(), now);
        assert_eq!(known(&list, now), ["p2000"]);
    }
}

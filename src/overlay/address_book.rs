//! The peers that were good, saved for the time after a restart. The book is bounded, with shares
//! for each address and network, so that no single party can fill it.

mod entry;
mod text;

use std::{cmp::Reverse, collections::BTreeMap, net::IpAddr, time::Duration};

use indexmap::IndexMap;

use crate::overlay::{
    Host, PeerEntry, PeerId, PeerInfo,
    dice::Dice,
    scope::is_loopback,
    shares::{address_of, network_of},
};

pub use self::{
    entry::{BookEntry, Origin},
    text::DamagedBook,
};

/// The maximum number of entries of a book with any limit.
const MOST: usize = 65_536;

/// The maximum part of the book for one address; [`NETWORK_PART`] is that for one network. Each is
/// at least [`LEAST`]. Eight networks have at most half of the book.
const ADDRESS_PART: usize = 128;
const NETWORK_PART: usize = 16;
const LEAST: usize = 2;

/// A peer that did not answer this often in a row is not an anchor, and is evicted first.
const UNRELIABLE: u32 = 3;

/// Two peers that were seen within this time of each other count as seen at the same time. A book
/// is updated every minute by default.
const SAME_TIME: u64 = 600; // seconds

/// Peers that were good, with when and how they were seen, which a node keeps over a restart.
///
/// The book is pure: the time, in seconds of Unix time, and the seed of random choices are
/// arguments. It holds at most `limit` entries. At most 1/128 of them (and at least two) are at one
/// address (the /64 of an IPv6 address), and at most 1/16 (and at least two) in one network (/24,
/// /48). Loopback is exempt. When there is no room, a newcomer replaces the worst entry: one that
/// has not answered recently, or otherwise the youngest of the network that has the most.
///
/// ```
/// use std::time::Duration;
/// use actix_peer::overlay::{AddressBook, Origin};
///
/// let mut book = AddressBook::new(1_024, Duration::from_secs(30 * 24 * 3600));
/// let bob = "bob 192.0.2.7 9000".parse()?;
/// book.note_alive(&bob, bob.host(), Origin::Own, 1_700_000_000);
/// let text = book.to_text();
/// let mut again = AddressBook::new(1_024, Duration::from_secs(30 * 24 * 3600));
/// again.load(&text, 1_700_000_060)?;
/// assert_eq!(again.anchors(2), [bob]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AddressBook {
    limit: usize,
    forget_after: u64,
    entries: IndexMap<PeerId, BookEntry>,
}

impl AddressBook {
    /// Makes an empty book of at most `limit` entries (1 to 65,536; other values are clamped). An
    /// entry is forgotten when its peer was not seen alive for `forget_after`.
    #[must_use]
    pub fn new(limit: usize, forget_after: Duration) -> Self {
        let forget_after = forget_after.as_secs().max(1);
        Self { limit: limit.clamp(1, MOST), forget_after, entries: IndexMap::new() }
    }

    /// The maximum number of entries.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a peer.
    #[must_use]
    pub fn get(&self, id: &PeerId) -> Option<&BookEntry> {
        self.entries.get(id)
    }

    /// The entries, in no particular order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &BookEntry> {
        self.entries.values()
    }

    /// Records that a peer has answered with its id. A peer that is known with another address has
    /// moved and counts as new. Returns whether it has a place in the book.
    pub fn note_alive(
        &mut self,
        peer: &PeerInfo,
        seen_at: &Host,
        origin: Origin,
        now: u64,
    ) -> bool {
        if let Some(known) = self.entries.get_mut(peer.id())
            && known.info == *peer
            && known.seen_at == *seen_at
        {
            known.last_seen = known.last_seen.max(now);
            known.successes = known.successes.saturating_add(1);
            known.failures = 0;
            return true;
        }
        self.entries.swap_remove(peer.id());
        self.insert(BookEntry {
            info: peer.clone(),
            seen_at: seen_at.clone(),
            first_seen: now,
            last_seen: now,
            successes: 1,
            failures: 0,
            origin,
        })
    }

    /// Records a peer of the table that was seen alive at `at`, if it is verified.
    pub(crate) fn note_entry(&mut self, entry: &PeerEntry, at: u64) {
        if entry.verified().is_some() {
            self.note_alive(entry.info(), entry.seen_at(), Origin::from(entry.learned()), at);
        }
    }

    /// Records that a peer has not answered, or that another node has answered at its address.
    pub fn note_failure(&mut self, id: &PeerId) {
        if let Some(known) = self.entries.get_mut(id) {
            known.failures = known.failures.saturating_add(1);
        }
    }

    /// Removes a peer.
    pub fn remove(&mut self, id: &PeerId) -> Option<BookEntry> {
        self.entries.swap_remove(id)
    }

    /// Forgets peers that were not seen alive for long. A time in the future, from a wrong clock,
    /// counts as now.
    pub fn forget_old(&mut self, now: u64) {
        let forget_after = self.forget_after;
        self.entries.retain(|_, entry| {
            entry.last_seen = entry.last_seen.min(now);
            entry.first_seen = entry.first_seen.min(now);
            now.saturating_sub(entry.last_seen) < forget_after
        });
    }

    /// Adds an entry. If there is no room, it replaces another entry or is refused.
    fn insert(&mut self, new: BookEntry) -> bool {
        if is_loopback(&new.seen_at) {
            return self.put_where(new, |_| true);
        }
        let (address, network) = (address_of(&new.seen_at), network_of(&new.seen_at));
        // Peers on this machine are exempt, and do not count for other addresses in `::/48`.
        let elsewhere = |entry: &BookEntry| !is_loopback(&entry.seen_at);
        let at_address =
            |entry: &BookEntry| elsewhere(entry) && address_of(&entry.seen_at) == address;
        let in_network =
            |entry: &BookEntry| elsewhere(entry) && network_of(&entry.seen_at) == network;
        if self.count(at_address) >= (self.limit / ADDRESS_PART).max(LEAST) {
            return self.replace(new, at_address);
        }
        if network.is_some() && self.count(in_network) >= (self.limit / NETWORK_PART).max(LEAST) {
            return self.replace(new, in_network);
        }
        let most = self.biggest_network();
        self.put_where(new, |entry| {
            most.is_none_or(|most| network_of(&entry.seen_at) == Some(most))
        })
    }

    fn count(&self, is: impl Fn(&BookEntry) -> bool) -> usize {
        self.iter().filter(|entry| is(entry)).count()
    }

    /// The network with the most entries, if it has more than [`LEAST`].
    fn biggest_network(&self) -> Option<IpAddr> {
        let mut networks: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for network in self.iter().filter_map(|entry| network_of(&entry.seen_at)) {
            *networks.entry(network).or_default() += 1;
        }
        let most = networks.into_iter().max_by_key(|(_, count)| *count);
        most.filter(|(_, count)| *count > LEAST).map(|(network, _)| network)
    }

    fn put_where(&mut self, new: BookEntry, may_go: impl Fn(&BookEntry) -> bool) -> bool {
        if self.entries.len() < self.limit {
            self.entries.insert(new.info.id().clone(), new);
            return true;
        }
        // Peers that do not answer are evicted first.
        let is_dead = |entry: &BookEntry| entry.failures >= UNRELIABLE;
        if self.iter().any(is_dead) {
            self.replace(new, is_dead)
        } else {
            self.replace(new, may_go)
        }
    }

    /// Replaces the worst of the entries that `may_go` selects, unless it is better than a
    /// newcomer.
    fn replace(&mut self, new: BookEntry, may_go: impl Fn(&BookEntry) -> bool) -> bool {
        let worst = self.iter().filter(|entry| may_go(entry)).max_by_key(|entry| {
            let unreliable = entry.failures.min(UNRELIABLE);
            (unreliable, entry.origin, entry.first_seen, Reverse(entry.successes))
        });
        let Some(worst) = worst else { return false };
        let is_better = worst.failures == 0 && worst.origin <= new.origin;
        if is_better && worst.first_seen < new.first_seen {
            return false;
        }
        let worst = worst.info.id().clone();
        self.entries.swap_remove(&worst);
        self.entries.insert(new.info.id().clone(), new);
        true
    }

    /// The last-known good peers, at most `n`. The most recently seen ones (within ten minutes of
    /// each other) come first. Among these, peers that this node contacted come first, then those
    /// that are known for the longest time, and they are from different networks as far as
    /// possible. A node that joins again and again does not become one of them.
    #[must_use]
    pub fn anchors(&self, n: usize) -> Vec<PeerInfo> {
        let reliable = || self.iter().filter(|entry| entry.failures < UNRELIABLE);
        let last = reliable().map(|entry| entry.last_seen).max().unwrap_or(0);
        let mut best: Vec<_> = reliable().collect();
        best.sort_by_key(|entry| {
            let ago = last.saturating_sub(entry.last_seen) / SAME_TIME;
            (ago, entry.failures, entry.origin, entry.first_seen, entry.info.id())
        });
        let mut chosen: Vec<&BookEntry> = Vec::new();
        for apart in [true, false] {
            for entry in &best {
                let near = |other: &&BookEntry| {
                    other.info == entry.info
                        || (apart && group_of(&other.seen_at) == group_of(&entry.seen_at))
                };
                if chosen.len() < n && !chosen.iter().any(near) {
                    chosen.push(entry);
                }
            }
        }
        chosen.into_iter().map(|entry| entry.info.clone()).collect()
    }

    /// At most `n` random old peers. A random network is chosen first, then one of its peers, so
    /// that many addresses in few networks are chosen no more often than these networks are. Peers
    /// in `without` are not chosen. The same seed gives the same choices.
    #[must_use]
    pub fn pick_old(&self, n: usize, without: &[PeerInfo], seed: u64) -> Vec<PeerInfo> {
        let mut dice = Dice::new(seed);
        let mut groups: BTreeMap<Host, Vec<&PeerInfo>> = BTreeMap::new();
        for entry in self.iter().filter(|entry| !without.contains(&entry.info)) {
            groups.entry(group_of(&entry.seen_at)).or_default().push(&entry.info);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.iter_mut().for_each(|group| group.sort_by_key(|info| info.id()));
        let mut chosen = Vec::new();
        // One of each network before another of the same network.
        let mut again = Vec::new();
        while chosen.len() < n {
            if groups.is_empty() {
                groups = std::mem::take(&mut again);
            }
            let Some(mut group) = dice.take(&mut groups) else { break };
            chosen.extend(dice.take(&mut group).cloned());
            if !group.is_empty() {
                again.push(group);
            }
        }
        chosen
    }
}

/// The network of an address; an address without a network is its own group.
pub(super) fn group_of(host: &Host) -> Host {
    if is_loopback(host) {
        address_of(host)
    } else {
        network_of(host).map_or_else(|| address_of(host), Host::Ip)
    }
}

#[cfg(test)]
mod tests;

//! Admission to the peer table: shares of it, so that no single party can fill it.

use std::{
    cmp::Reverse,
    net::IpAddr,
    time::{Duration, Instant},
};

use indexmap::IndexMap;

use crate::overlay::{Added, Candidate, Host, Learned, PeerEntry, PeerList, scope::is_loopback};

/// The minimum of each share, in peers, even in a small table.
const LEAST: usize = 2;

/// The number of unverified peers in a table without a limit.
const UNVERIFIED_WITHOUT_LIMIT: usize = 1_024;

/// The shares of a table that other nodes can take, in percent of its limit, each at least two
/// peers. A value of 100 or more disables a share; a node uses the default or, without
/// [`Config::table_shares`](crate::Config::table_shares), [`NONE`](Self::NONE).
///
/// The shares apply to peers that introduced themselves, that became neighbours, that other peers
/// listed, or that are remembered from before a restart. Peers that the application adds itself, and the contacts of
/// its joins, are admitted while there is room, but count towards the shares. Loopback is exempt: a
/// party that can connect from loopback can do worse, and networks on one machine work without
/// configuration. A table without a limit has only one share: at most 1,024 unverified peers.
///
/// When the share of unverified peers is full, a few addresses cannot keep newcomers out. The
/// newcomer displaces the oldest unverified peer of the address that has the most of them, if the
/// newcomer's address has fewer, the newcomer included. The only unverified peer of an address is
/// therefore never displaced. Verified peers, peers that this application has added, and peers on
/// loopback are never displaced either, except that loopback peers can be displaced in a table
/// without a limit, where they count towards the share.
///
/// The idea of one share for each address and one for each network is that of Heilman et al.,
/// "Eclipse Attacks on Bitcoin's Peer-to-Peer Network" (USENIX Security 2015), section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Peers at one IPv4 address, in the /64 of an IPv6 address, or at one name. 25.
    pub address: u32,
    /// Peers in the /24 of an IPv4 address, the /48 of an IPv6 address. 50.
    pub network: u32,
    /// Peers that the same peer has listed. 12: less than an eighth.
    pub source: u32,
    /// Peers that are not verified. 50.
    pub unverified: u32,
    /// Peers that introduced themselves and have been verified for less than `newcomer_for`. 75:
    /// the last quarter is for peers that this node contacted, and for peers that have stayed long.
    pub newcomers: u32,
    /// How long a verified peer counts as a newcomer. 10 minutes: a party that fills the table has
    /// to keep its nodes running for this time first.
    pub newcomer_for: Duration,
}

impl Default for Shares {
    fn default() -> Self {
        let newcomer_for = Duration::from_secs(600);
        Self { address: 25, network: 50, source: 12, unverified: 50, newcomers: 75, newcomer_for }
    }
}

/// The unit of ownership: an address, or the /64 of an IPv6 subscriber.
pub(crate) fn address_of(host: &Host) -> Host {
    match host {
        Host::Ip(ip) => Host::Ip(masked(*ip, 32, 64)),
        Host::Name(name) => Host::Name(name.to_ascii_lowercase().into()),
    }
}

/// The network of an address.
pub(crate) fn network_of(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Ip(ip) => Some(masked(*ip, 24, 48)),
        Host::Name(_) => None,
    }
}

fn masked(ip: IpAddr, v4: u32, v6: u32) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - v4).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - v6).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

impl Shares {
    /// No shares: one party can take the whole table.
    pub const NONE: Self = Self {
        address: 100,
        network: 100,
        source: 100,
        unverified: 100,
        newcomers: 100,
        newcomer_for: Duration::ZERO,
    };

    /// The size of a share in a table with this limit; unlimited if the table has no limit.
    fn of(percent: u32, limit: usize) -> usize {
        if limit == 0 {
            return usize::MAX;
        }
        let percent = usize::try_from(percent).unwrap_or(usize::MAX);
        (limit.saturating_mul(percent) / 100).max(LEAST)
    }

    fn is_newcomer(&self, entry: &PeerEntry, now: Instant) -> bool {
        entry.learned().came_by_itself()
            && entry
                .verified()
                .is_none_or(|since| now.saturating_duration_since(since) < self.newcomer_for)
    }

    fn most_unverified(&self, limit: usize) -> usize {
        if limit == 0 { UNVERIFIED_WITHOUT_LIMIT } else { Self::of(self.unverified, limit) }
    }

    /// The peer that an unverified candidate displaces if there is no place: the oldest of the
    /// address that has the most. `None` unless the candidate's address has fewer, the candidate
    /// included.
    fn displaced_by<'a>(list: &'a PeerList, candidate: &Candidate) -> Option<&'a PeerEntry> {
        let may_go = |entry: &&PeerEntry| {
            entry.verified().is_none()
                && is_shared(entry.learned())
                && (list.limit() == 0 || !is_loopback(entry.seen_at()))
        };
        let mut addresses = IndexMap::new();
        for entry in list.iter().filter(may_go) {
            let (count, oldest) =
                addresses.entry(address_of(entry.seen_at())).or_insert((0_usize, entry));
            *count += 1;
            if entry.added() < oldest.added() {
                *oldest = entry;
            }
        }
        let own = addresses.get(&address_of(&candidate.seen_at)).map_or(0, |(count, _)| *count);
        let (most, oldest) = addresses
            .into_values()
            .min_by_key(|(count, oldest)| (Reverse(*count), oldest.added()))?;
        (own + 1 < most).then_some(oldest)
    }

    /// The peer that the candidate displaces, if any, or why the candidate is refused.
    fn decide<'a>(
        &self,
        list: &'a PeerList,
        candidate: &Candidate,
        now: Instant,
    ) -> Result<Option<&'a PeerEntry>, Added> {
        let limit = list.limit();
        let is_local = is_loopback(&candidate.seen_at);
        let crowded = !candidate.verified
            && (!is_local || limit == 0)
            && list.unverified() >= self.most_unverified(limit);
        let displaced = if crowded { Self::displaced_by(list, candidate) } else { None };
        match displaced {
            None if list.is_full() => return Err(Added::Full),
            None if crowded => return Err(Added::TooManyUnverified),
            _ if is_local || limit == 0 => return Ok(displaced),
            _ => {}
        }
        let stays = |entry: &PeerEntry| {
            displaced.is_none_or(|displaced| displaced.info().id() != entry.info().id())
        };
        let count = |is: &dyn Fn(&PeerEntry) -> bool| {
            list.iter().filter(|entry| stays(entry) && is(entry)).count()
        };
        let (address, network) = (address_of(&candidate.seen_at), network_of(&candidate.seen_at));
        if count(&|entry| address_of(entry.seen_at()) == address) >= Self::of(self.address, limit) {
            return Err(Added::TooManyOfAddress);
        }
        if network.is_some()
            && count(&|entry| network_of(entry.seen_at()) == network)
                >= Self::of(self.network, limit)
        {
            return Err(Added::TooManyOfNetwork);
        }
        let is_listed = matches!(candidate.learned, Learned::Listed { .. });
        if is_listed
            && count(&|entry| *entry.learned() == candidate.learned) >= Self::of(self.source, limit)
        {
            return Err(Added::TooManyOfSource);
        }
        let newcomers =
            || count(&|entry| !is_loopback(entry.seen_at()) && self.is_newcomer(entry, now));
        if candidate.learned == Learned::Joined && newcomers() >= Self::of(self.newcomers, limit) {
            return Err(Added::TooManyNewcomers);
        }
        Ok(displaced)
    }

    /// Adds a candidate at the end of the table if its shares allow it. A verified peer is never
    /// displaced: it stays until it does not answer, leaves, or is removed here. If the share of
    /// unverified peers is full, a candidate from an address that has fewer of them displaces the
    /// oldest of the address that has the most.
    ///
    /// ```
    /// use actix_peer::overlay::{Added, Candidate, Learned, PeerList, Shares};
    ///
    /// # let now = tokio::time::Instant::now().into_std();
    /// let mut list = PeerList::new("me".parse()?, 8);
    /// let mut join = |text: &str| {
    ///     let candidate = Candidate::new(text.parse().unwrap(), Learned::Joined);
    ///     Shares::default().admit(&mut list, candidate, now)
    /// };
    /// assert_eq!(join("a 192.0.2.7 9000"), Added::Added);
    /// assert_eq!(join("b 192.0.2.7 9001"), Added::Added);
    /// assert_eq!(join("c 192.0.2.7 9002"), Added::TooManyOfAddress);
    /// assert_eq!(join("c 198.51.100.1 9002"), Added::Added);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn admit(&self, list: &mut PeerList, candidate: Candidate, now: Instant) -> Added {
        self.admit_for(list, candidate, now).0
    }

    /// Replaces the entry with the candidate's id, and returns the old entry, if the candidate's
    /// shares allow it. Otherwise the entry stays.
    pub(crate) fn readmit(
        &self,
        list: &mut PeerList,
        candidate: Candidate,
        now: Instant,
    ) -> (Added, Option<PeerEntry>) {
        let Some((position, old)) = list.take(candidate.info.id()) else {
            return (self.admit(list, candidate, now), None);
        };
        match self.admit(list, candidate, now) {
            Added::Added => (Added::Added, Some(old)),
            refused => {
                list.restore(position, old);
                (refused, None)
            }
        }
    }

    /// As [`admit`](Self::admit), and also returns the displaced peer.
    pub(crate) fn admit_for(
        &self,
        list: &mut PeerList,
        candidate: Candidate,
        now: Instant,
    ) -> (Added, Option<PeerEntry>) {
        let decided = match list.result_of_adding(&candidate.info) {
            Added::Added | Added::Full if is_shared(&candidate.learned) => self
                .decide(list, &candidate, now)
                .map(|displaced| displaced.map(|entry| entry.info().id().clone())),
            _ => Ok(None),
        };
        match decided {
            Ok(displaced) => {
                let gone = displaced.and_then(|id| list.remove(&id));
                (list.insert(candidate, now), gone)
            }
            Err(refused) => (refused, None),
        }
    }
}

/// Whether the shares apply to a peer that was learned in this way.
const fn is_shared(learned: &Learned) -> bool {
    matches!(
        learned,
        Learned::Joined
            | Learned::Listed { .. }
            | Learned::Nearby
            | Learned::Remembered
            | Learned::Neighbor
    )
}

#[cfg(test)]
mod tests;

//! The directory of links: how each peer is reached. Over a link, by a dial that callers share, or
//! in classic exchanges ([protocol](crate::protocol#opening)).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use crate::{
    link::Role,
    overlay::{Address, PeerId},
    time::{Later, part},
};

/// The first pause after a failed dial. It doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two dials.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The maximum by which a pause is shortened, in percent, so that nodes do not dial in step.
const JITTER: u32 = 20;

/// How long a silent peer counts as a classic peer: its process may be suspended.
const MUTE_FOR: Duration = Duration::from_secs(5);

/// Remembered peers that speak no links or cannot be reached.
const MAX_REMEMBERED: usize = 1_024;

/// The number that a node gives to one of its links.
pub type LinkId = u64;

/// The limits of a [`PeerDirectory`].
#[derive(Clone, Copy, Debug)]
pub struct PeerDirectoryConfig {
    /// Links that are open at once, including those that are being closed. An idle one is closed to
    /// make room for a new one.
    pub max_links: usize,
    /// How long the directory remembers that a peer speaks no links.
    pub classic_for: Duration,
}

/// How to reach a peer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over this link.
    Link(LinkId),
    /// Dial, and report the result. Other callers have to wait meanwhile.
    Dial,
    /// Wait for the dial of another caller.
    Wait,
    /// The last dial failed: do not dial before this time.
    NotBefore(Instant),
    /// The peer speaks no links.
    Classic,
    /// Every link is busy, and there is no room for another.
    NoRoom,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    /// `after` is a link whose end makes room for the dial.
    Dialling {
        failures: u32,
        after: Option<LinkId>,
    },
    Failed {
        failures: u32,
        until: Instant,
    },
    Classic {
        until: Instant,
    },
    Open {
        link: LinkId,
    },
}

#[derive(Clone, Debug)]
struct Open {
    to: Address,
    role: Role,
    used: Instant,
    /// The number of open exchanges on it.
    busy: usize,
    /// The number of consecutive failed dials before it.
    failures: u32,
}

/// The directory of links of a node. Sans-I/O: it decides, and the caller dials and closes.
#[derive(Debug)]
pub struct PeerDirectory {
    me: PeerId,
    config: PeerDirectoryConfig,
    peers: HashMap<Address, Entry>,
    links: HashMap<LinkId, Open>,
    /// The links that are being closed, with the number of open exchanges on them.
    leaving: BTreeMap<LinkId, usize>,
}

impl PeerDirectory {
    /// An empty directory of the node `me`.
    #[must_use]
    pub fn new(me: PeerId, config: PeerDirectoryConfig) -> Self {
        Self { me, config, peers: HashMap::new(), links: HashMap::new(), leaving: BTreeMap::new() }
    }

    /// How to reach `to`. With [`Way::Dial`], an idle link may have to make room: its number is
    /// returned as well. The caller has to close it, and to dial after it has ended
    /// ([`closed`](Self::closed)).
    pub fn way(&mut self, to: &Address, now: Instant) -> (Way, Option<LinkId>) {
        let failures = match self.peers.get(to) {
            Some(Entry::Open { link }) => {
                let link = *link;
                if let Some(open) = self.links.get_mut(&link) {
                    open.used = now;
                }
                return (Way::Link(link), None);
            }
            Some(Entry::Dialling { .. }) => return (Way::Wait, None),
            Some(Entry::Failed { until, .. }) if now < *until => {
                return (Way::NotBefore(*until), None);
            }
            Some(Entry::Classic { until }) if now < *until => return (Way::Classic, None),
            Some(Entry::Failed { failures, .. }) => *failures,
            Some(Entry::Classic { .. }) | None => 0,
        };
        let mut after = None;
        if self.occupied() >= self.config.max_links {
            after = self.leaving_idle().or_else(|| self.end_one(None));
            if after.is_none() {
                return (Way::NoRoom, None);
            }
        }
        self.make_room(now);
        self.peers.insert(to.clone(), Entry::Dialling { failures, after });
        (Way::Dial, after)
    }

    /// The links whose end a dial waits for.
    fn awaited(&self) -> HashSet<LinkId> {
        let awaited = |entry: &Entry| match entry {
            Entry::Dialling { after, .. } => after.filter(|link| self.leaving.contains_key(link)),
            Entry::Failed { .. } | Entry::Classic { .. } | Entry::Open { .. } => None,
        };
        self.peers.values().filter_map(awaited).collect()
    }

    /// The number of links, including those that are being closed, and dials. A dial and the link
    /// whose end it waits for count as one.
    fn occupied(&self) -> usize {
        let dials = self.peers.values().filter(|entry| matches!(entry, Entry::Dialling { .. }));
        self.links.len() + self.leaving.len() + dials.count() - self.awaited().len()
    }

    /// A link that is being closed, on which nothing is open, and whose end no dial waits for.
    fn leaving_idle(&self) -> Option<LinkId> {
        let awaited = self.awaited();
        let idle = self.leaving.iter().filter(|(_, busy)| **busy == 0);
        idle.map(|(link, _)| *link).find(|link| !awaited.contains(link))
    }

    /// Selects the least recently used idle link, other than `new`, to be closed.
    fn end_one(&mut self, new: Option<LinkId>) -> Option<LinkId> {
        let idle = self.links.iter().filter(|(id, open)| open.busy == 0 && Some(**id) != new);
        let oldest = idle.min_by_key(|(id, open)| (open.used, **id)).map(|(id, _)| *id)?;
        self.leaves(oldest);
        Some(oldest)
    }

    /// The link to close if there are too many after the other side has opened `new`. `None` if
    /// there are not, or if no link is idle.
    pub fn too_many(&mut self, new: LinkId) -> Option<LinkId> {
        if self.links.len() > self.config.max_links { self.end_one(Some(new)) } else { None }
    }

    /// Notes that a dial was cancelled without a result.
    pub fn gave_up(&mut self, to: &Address) {
        if matches!(self.peers.get(to), Some(Entry::Dialling { .. })) {
            self.peers.remove(to);
        }
    }

    /// Notes a failed dial. Returns the time before which the peer is not dialled again. The pause
    /// doubles each time, with jitter that differs from peer to peer and is the same in every run.
    pub fn failed(&mut self, to: &Address, now: Instant) -> Instant {
        let before = match self.peers.get(to) {
            Some(Entry::Dialling { failures, .. } | Entry::Failed { failures, .. }) => *failures,
            _ => 0,
        };
        let until = now.later(self.pause(to, before));
        if !matches!(self.peers.get(to), Some(Entry::Open { .. })) {
            let failures = before.saturating_add(1);
            self.peers.insert(to.clone(), Entry::Failed { failures, until });
        }
        until
    }

    fn pause(&self, to: &Address, failures: u32) -> Duration {
        let full = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
        let mut hasher = DefaultHasher::new();
        (&self.me, to, failures).hash(&mut hasher);
        let off = u32::try_from(hasher.finish() % u64::from(JITTER + 1)).unwrap_or(0);
        full.saturating_sub(part(full.saturating_mul(off), 100))
    }

    /// Notes that the peer speaks no links.
    pub fn is_classic(&mut self, to: &Address, now: Instant) {
        self.is_classic_for(self.config.classic_for, to, now);
    }

    /// Notes that the peer accepted the connection and sent nothing. It counts as a classic peer
    /// for a short time.
    pub fn is_mute(&mut self, to: &Address, now: Instant) {
        self.is_classic_for(self.config.classic_for.min(MUTE_FOR), to, now);
    }

    fn is_classic_for(&mut self, time: Duration, to: &Address, now: Instant) {
        if !matches!(self.peers.get(to), Some(Entry::Open { .. })) {
            let until = now.later(time);
            self.peers.insert(to.clone(), Entry::Classic { until });
        }
    }

    /// Forgets that the peer speaks no links: the next message dials it again.
    pub fn doubt_classic(&mut self, to: &Address) {
        if matches!(self.peers.get(to), Some(Entry::Classic { .. })) {
            self.peers.remove(to);
        }
    }

    /// Notes an open link to the peer `id`, which listens at `to`.
    ///
    /// A link that the other side opened is accepted beyond [`PeerDirectoryConfig::max_links`],
    /// too, if no idle link can be closed ([`too_many`](Self::too_many)): accepted connections have
    /// a limit of their own.
    ///
    /// Of two links with the same peer, the one that the node with the smaller id opened stays. The
    /// number of the other one is returned. The caller has to close it after its open exchanges.
    pub fn opened(
        &mut self,
        link: LinkId,
        to: &Address,
        id: &PeerId,
        role: Role,
        now: Instant,
    ) -> Option<LinkId> {
        let failures = match self.peers.get(to) {
            Some(Entry::Dialling { failures, .. }) if role == Role::Dialler => *failures,
            _ => 0,
        };
        let open = Open { to: to.clone(), role, used: now, busy: 0, failures };
        let other = match self.peers.get(to) {
            Some(Entry::Open { link: other }) => Some(*other),
            _ => None,
        };
        let stays = if self.me < *id { Role::Dialler } else { Role::Acceptor };
        let loses = match other.and_then(|other| Some((other, self.links.get(&other)?.role))) {
            Some((other, other_role)) if role == stays || other_role == role => Some(other),
            Some(_) => Some(link),
            None => None,
        };
        if loses != Some(link) {
            self.links.insert(link, open);
            self.peers.insert(to.clone(), Entry::Open { link });
        }
        if let Some(loses) = loses {
            let busy = self.links.remove(&loses).map_or(0, |open| open.busy);
            self.leaving.insert(loses, busy);
        }
        loses
    }

    /// Sets the number of open exchanges on a link. An unknown link is ignored.
    pub fn busy(&mut self, link: LinkId, exchanges: usize, now: Instant) {
        if let Some(open) = self.links.get_mut(&link) {
            (open.busy, open.used) = (exchanges, now);
        } else if let Some(busy) = self.leaving.get_mut(&link) {
            *busy = exchanges;
        }
    }

    /// Notes that a link accepts no new exchanges. It counts as a link until it is
    /// [`closed`](Self::closed). An unknown link is ignored.
    pub fn leaves(&mut self, link: LinkId) {
        if let Some(open) = self.take(link) {
            self.leaving.insert(link, open.busy);
        }
    }

    /// Notes that a link has ended, or must not be found by its address.
    pub fn closed(&mut self, link: LinkId) {
        self.take(link);
        self.leaving.remove(&link);
    }

    /// Notes that a link that this node dialled ended, or accepts no new exchanges, before its
    /// first message. It counts as a failed dial. An unknown link is ignored.
    pub fn unused(&mut self, link: LinkId, now: Instant) {
        let Some(open) = self.take(link) else { return };
        self.leaving.insert(link, open.busy);
        if !self.peers.contains_key(&open.to) {
            let until = now.later(self.pause(&open.to, open.failures));
            let failures = open.failures.saturating_add(1);
            self.make_room(now);
            self.peers.insert(open.to, Entry::Failed { failures, until });
        }
    }

    fn take(&mut self, link: LinkId) -> Option<Open> {
        let open = self.links.remove(&link)?;
        if matches!(self.peers.get(&open.to), Some(Entry::Open { link: l }) if *l == link) {
            self.peers.remove(&open.to);
        }
        Some(open)
    }

    /// Notes that the peer is alive: the next dial does not wait, and the pauses start over.
    pub fn is_alive(&mut self, to: &Address) {
        if matches!(self.peers.get(to), Some(Entry::Failed { .. })) {
            self.peers.remove(to);
        }
    }

    /// The number of open links that accept new exchanges.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// The number of links that are being closed.
    #[must_use]
    pub fn leaving(&self) -> usize {
        self.leaving.len()
    }

    /// Forgets expired entries, and, if that is not enough, the one that expires first.
    fn make_room(&mut self, now: Instant) {
        let runs_out = |entry: &Entry| match entry {
            Entry::Failed { until, .. } | Entry::Classic { until } => Some(*until),
            Entry::Dialling { .. } | Entry::Open { .. } => None,
        };
        let remembered = self.peers.values().filter(|entry| runs_out(entry).is_some()).count();
        if remembered < MAX_REMEMBERED {
            return;
        }
        self.peers.retain(|_, entry| runs_out(entry).is_none_or(|until| now < until));
        let first = self.peers.iter().filter_map(|(to, entry)| Some((runs_out(entry)?, to)));
        if let Some(first) = first.min().map(|(_, to)| to.clone()) {
            self.peers.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: PeerDirectoryConfig =
        PeerDirectoryConfig { max_links: 2, classic_for: Duration::from_secs(600) };

    fn book(me: &str) -> (PeerDirectory, Instant) {
        (PeerDirectory::new(me.parse().unwrap(), CONFIG), tokio::time::Instant::now().into_std())
    }

    fn at(n: usize) -> Address {
        format!("10.0.{}.{}:9000", n / 250, n % 250).parse().unwrap()
    }

    fn id(id: &str) -> PeerId {
        id.parse().unwrap()
    }

    #[test]
    fn one_dials_and_the_others_wait_until_the_link_is_there() {
        let (mut book, now) = book("m");
        assert_eq!(book.way(&at(1), now), (Way::Dial, None));
        assert_eq!(book.way(&at(1), now), (Way::Wait, None));
        assert_eq!(book.opened(7, &at(1), &id("p"), Role::Dialler, now), None);
        assert_eq!(book.way(&at(1), now), (Way::Link(7), None));
        book.closed(7);
        assert_eq!(book.way(&at(1), now), (Way::Dial, None));
        book.gave_up(&at(1));
        assert_eq!(book.way(&at(1), now), (Way::Dial, None));
    }

    #[test]
    fn a_dial_that_failed_is_repeated_after_pauses_that_double_up_to_a_limit() {
        let (mut book, mut now) = book("m");
        let mut pauses = Vec::new();
        for _ in 0..10 {
            assert_eq!(book.way(&at(1), now), (Way::Dial, None));
            let until = book.failed(&at(1), now);
            assert_eq!(book.way(&at(1), now), (Way::NotBefore(until), None));
            pauses.push(until - now);
            now = until;
        }
        for (n, pause) in pauses.iter().enumerate() {
            let full = FIRST_PAUSE.saturating_mul(1 << n).min(LONGEST_PAUSE);
            assert!(*pause <= full && *pause >= full * 8 / 10, "{n}: {pause:?}");
        }
        // Another peer is not dialled in step with it, and a success forgets the failures.
        let others: Vec<_> = (2..9).map(|n| book.failed(&at(n), now)).collect();
        assert!(others.iter().any(|until| *until != others[0]));
        assert_eq!(book.way(&at(1), now).0, Way::Dial);
        book.opened(1, &at(1), &id("p"), Role::Dialler, now);
        book.closed(1);
        assert_eq!(book.way(&at(1), now).0, Way::Dial);
        assert!(book.failed(&at(1), now) - now <= FIRST_PAUSE);
    }

    #[test]
    fn that_a_peer_speaks_no_links_is_remembered_for_a_while() {
        let (mut book, now) = book("m");
        book.way(&at(1), now);
        book.is_classic(&at(1), now);
        assert_eq!(book.way(&at(1), now + Duration::from_secs(599)).0, Way::Classic);
        assert_eq!(book.way(&at(1), now + Duration::from_secs(600)).0, Way::Dial);
        book.is_classic(&at(1), now);
        book.doubt_classic(&at(1));
        assert_eq!(book.way(&at(1), now).0, Way::Dial);
    }

    #[test]
    fn a_peer_that_says_nothing_is_asked_for_a_link_again_soon() {
        let (mut book, now) = book("m");
        book.way(&at(1), now);
        book.is_mute(&at(1), now);
        assert_eq!(book.way(&at(1), now).0, Way::Classic);
        assert_eq!(book.way(&at(1), now + MUTE_FOR).0, Way::Dial);
    }

    #[test]
    fn of_two_links_the_one_that_the_smaller_id_opened_stays_whichever_came_first() {
        for (me, stays) in [("a", Role::Dialler), ("z", Role::Acceptor)] {
            for first in [Role::Dialler, Role::Acceptor] {
                let second = if first == Role::Dialler { Role::Acceptor } else { Role::Dialler };
                let (mut book, now) = book(me);
                assert_eq!(book.opened(1, &at(1), &id("m"), first, now), None);
                let ended = book.opened(2, &at(1), &id("m"), second, now);
                let (kept, lost) = if first == stays { (1, 2) } else { (2, 1) };
                assert_eq!(ended, Some(lost));
                assert_eq!(book.way(&at(1), now).0, Way::Link(kept));
                assert_eq!(book.links(), 1);
                // The end of the other link has no effect.
                book.closed(lost);
                assert_eq!(book.way(&at(1), now).0, Way::Link(kept));
            }
        }
    }

    #[test]
    fn a_peer_that_opens_a_second_link_has_lost_its_first() {
        let (mut book, now) = book("m");
        book.opened(1, &at(1), &id("z"), Role::Acceptor, now);
        assert_eq!(book.opened(2, &at(1), &id("z"), Role::Acceptor, now), Some(1));
        assert_eq!(book.way(&at(1), now).0, Way::Link(2));
    }

    #[test]
    fn the_idle_link_that_was_used_longest_ago_makes_room_and_a_busy_one_never() {
        let (mut book, now) = book("m");
        book.opened(1, &at(1), &id("p"), Role::Dialler, now);
        book.opened(2, &at(2), &id("q"), Role::Dialler, now);
        let later = now + Duration::from_secs(1);
        book.way(&at(1), later);
        assert_eq!(book.way(&at(3), later), (Way::Dial, Some(2)));
        book.busy(1, 1, later);
        assert_eq!(book.way(&at(4), later), (Way::NoRoom, None));
    }

    #[test]
    fn a_link_that_is_leaving_counts_until_it_is_over() {
        let (mut book, now) = book("m");
        book.opened(1, &at(1), &id("p"), Role::Dialler, now);
        book.opened(2, &at(2), &id("q"), Role::Dialler, now);
        book.busy(1, 1, now);
        book.busy(2, 1, now);
        book.leaves(1);
        assert_eq!((book.links(), book.leaving()), (1, 1));
        assert_eq!(book.way(&at(3), now), (Way::NoRoom, None), "something is open on both");
        book.busy(1, 0, now);
        assert_eq!(book.way(&at(3), now), (Way::Dial, Some(1)));
        // A dial counts as one link.
        assert_eq!(book.way(&at(4), now), (Way::NoRoom, None));
        book.closed(1);
        assert_eq!((book.links(), book.leaving()), (1, 0));
        assert_eq!(book.way(&at(4), now), (Way::NoRoom, None));
        book.gave_up(&at(3));
        assert_eq!(book.way(&at(4), now), (Way::Dial, None));
        // The link that loses is being closed, too.
        book.opened(3, &at(4), &id("z"), Role::Dialler, now);
        assert_eq!(book.opened(4, &at(4), &id("z"), Role::Acceptor, now), Some(4));
        assert_eq!((book.links(), book.leaving()), (2, 1));
    }

    #[test]
    fn a_link_that_ends_before_it_was_used_is_a_dial_that_failed() {
        let (mut book, mut now) = book("m");
        for n in 0..10_u32 {
            assert_eq!(book.way(&at(1), now), (Way::Dial, None));
            book.opened(n.into(), &at(1), &id("p"), Role::Dialler, now);
            book.unused(n.into(), now);
            let Way::NotBefore(until) = book.way(&at(1), now).0 else { panic!("{n}: at once") };
            let full = FIRST_PAUSE.saturating_mul(1 << n).min(LONGEST_PAUSE);
            assert!(until - now >= full * 8 / 10, "{n}: {:?}", until - now);
            book.closed(n.into());
            now = until;
        }
    }

    #[test]
    fn a_sign_of_life_ends_the_pause_after_dials_that_failed() {
        let (mut book, now) = book("m");
        for _ in 0..9 {
            book.failed(&at(1), now);
        }
        assert!(matches!(book.way(&at(1), now).0, Way::NotBefore(_)));
        book.is_alive(&at(1));
        assert_eq!(book.way(&at(1), now).0, Way::Dial);
        // There is no second dial while one is under way.
        book.is_alive(&at(1));
        assert_eq!(book.way(&at(1), now).0, Way::Wait);
        assert!(book.failed(&at(1), now) - now <= FIRST_PAUSE, "the pauses begin anew");
    }

    #[test]
    fn a_link_that_another_node_opens_ends_an_idle_one_when_there_are_too_many() {
        let (mut book, now) = book("m");
        for (n, link) in [(1, 1), (2, 2)] {
            book.opened(link, &at(n), &id("p"), Role::Acceptor, now);
            assert_eq!(book.too_many(link), None);
        }
        book.busy(1, 1, now);
        book.opened(3, &at(3), &id("r"), Role::Acceptor, now);
        assert_eq!(book.too_many(3), Some(2));
        book.busy(3, 1, now);
        book.opened(4, &at(4), &id("s"), Role::Acceptor, now);
        // All other links are in use, so the new one is accepted beyond the limit.
        assert_eq!((book.too_many(4), book.links()), (None, 3));
    }

    proptest! {
        #[test]
        fn the_book_stays_bounded_and_never_lets_two_dial_the_same_peer(
            steps in proptest::collection::vec((0_usize..7, 0_usize..6, 0_u64..120), 0..200),
        ) {
            let (mut book, mut now) = book("m");
            let (mut dialling, mut next) = (BTreeMap::new(), 0);
            for (what, n, seconds) in steps {
                now += Duration::from_secs(seconds);
                match what {
                    0 => {
                        if let (Way::Dial, after) = book.way(&at(n), now) {
                            prop_assert!(dialling.insert(n, after).is_none());
                        }
                    }
                    1 if dialling.contains_key(&n) => {
                        // It waits for the end of the link whose place it takes.
                        dialling.remove(&n).flatten().into_iter().for_each(|link| book.closed(link));
                        next += 1;
                        book.opened(next, &at(n), &id("z"), Role::Dialler, now);
                    }
                    2 if dialling.remove(&n).is_some() => drop(book.failed(&at(n), now)),
                    3 if dialling.remove(&n).is_some() => book.is_classic(&at(n), now),
                    4 => book.leaves(next - n as u64 % (next + 1)),
                    5 => book.closed(next - n as u64 % (next + 1)),
                    _ => drop(book.too_many(next)),
                }
                prop_assert!(book.occupied() <= CONFIG.max_links);
                prop_assert!(book.links() + book.leaving() <= CONFIG.max_links);
            }
        }
    }

    #[test]
    fn what_is_remembered_of_strangers_is_bounded() {
        let mut book = PeerDirectory::new(id("m"), PeerDirectoryConfig { max_links: 10, ..CONFIG });
        let now = tokio::time::Instant::now().into_std();
        for n in 0..1_200 {
            book.way(&at(n), now);
            book.is_classic(&at(n), now);
        }
        assert!(book.peers.len() <= MAX_REMEMBERED + 1, "{}", book.peers.len());
    }
}

//! The directory of links: how each peer is reached. Over a link, by a dial that callers share, or
//! in classic exchanges ([protocol](crate::protocol#opening)).

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use indexmap::{IndexMap, IndexSet};

use crate::{
    bounded::BoundedMap,
    fault_points::{FaultPoint, Sometimes, fault_point, reached},
    link::Role,
    overlay::{Address, PeerId},
    time::{Later, doubled, part},
};

/// The first pause after a failed dial. It doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two dials.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The maximum by which a pause is shortened, in percent, so that nodes do not dial in step.
const JITTER: u32 = 20;

/// How long a peer that gave no answer counts as a classic peer.
const UNSURE_FOR: Duration = Duration::from_secs(5);

/// The maximum number of peers without a link that are remembered.
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

/// What shows that a peer speaks no links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassicSign {
    /// It answered the hello with something else.
    Answer,
    /// It ended the connection without an answer, as the original programs do. The connection may
    /// have been broken instead.
    End,
    /// It accepted the connection and sent nothing. Its process may be suspended.
    Silence,
}

/// How to reach a peer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
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

/// A dial that is in progress.
#[derive(Clone, Copy, Debug)]
struct Dial {
    /// The number of consecutive failed dials before it.
    failures: u32,
    /// The number of consecutive dials before it that the peer ended without an answer.
    ended: u32,
    /// A link whose end makes room for it.
    after: Option<LinkId>,
}

/// A peer with a link, or to which a dial is in progress.
#[derive(Clone, Copy, Debug)]
enum PeerState {
    Dialling(Dial),
    /// The other side may have opened the link during the `dial`. If the link leaves before the
    /// dial ends, callers wait for the dial: a second one would open another link, and the two
    /// sides could close one each.
    Open {
        link: LinkId,
        dial: Option<Dial>,
    },
}

impl PeerState {
    const fn dial(&self) -> Option<Dial> {
        match self {
            Self::Dialling(dial) => Some(*dial),
            Self::Open { dial, .. } => *dial,
        }
    }
}

/// A peer without a link, and why it is not dialled for a while.
#[derive(Clone, Copy, Debug)]
enum Unlinked {
    /// The last dials failed, this many in a row. The number counts beyond the pause.
    Failed { failures: u32 },
    /// It speaks no links, and ended this many dials in a row without an answer.
    Classic { ended: u32 },
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
    peers: IndexMap<Address, PeerState>,
    /// Ranked by the time until which each is not dialled. No address is in `peers` as well.
    unlinked: BoundedMap<Address, Unlinked, Instant>,
    links: IndexMap<LinkId, Open>,
    /// The links that are being closed, with the number of open exchanges on them.
    leaving: BTreeMap<LinkId, usize>,
}

impl PeerDirectory {
    /// An empty directory of the node `me`.
    #[must_use]
    pub fn new(me: PeerId, config: PeerDirectoryConfig) -> Self {
        Self {
            me,
            config,
            peers: IndexMap::new(),
            unlinked: BoundedMap::new(MAX_REMEMBERED),
            links: IndexMap::new(),
            leaving: BTreeMap::new(),
        }
    }

    /// How to reach `to`. With [`Reach::Dial`], an idle link may have to make room: its number is
    /// returned as well. The caller has to close it, and to dial after it has ended
    /// ([`closed`](Self::closed)).
    pub fn reach(&mut self, to: &Address, now: Instant) -> (Reach, Option<LinkId>) {
        match self.peers.get(to) {
            Some(PeerState::Open { link, .. }) => {
                let link = *link;
                if let Some(open) = self.links.get_mut(&link) {
                    open.used = now;
                }
                return (Reach::Link(link), None);
            }
            Some(PeerState::Dialling(_)) => {
                reached(Sometimes::DialShared);
                return (Reach::Wait, None);
            }
            None => {}
        }
        let pause = self.unlinked.rank(to).filter(|until| now < *until);
        let (failures, ended) = match (self.unlinked.get(to), pause) {
            (Some(Unlinked::Failed { .. }), Some(until)) => {
                reached(Sometimes::DialHeldBack);
                return (Reach::NotBefore(until), None);
            }
            (Some(Unlinked::Classic { .. }), Some(_)) => return (Reach::Classic, None),
            (Some(Unlinked::Failed { failures }), None) => (*failures, 0),
            (Some(Unlinked::Classic { ended }), None) => (0, *ended),
            (None, _) => (0, 0),
        };
        let mut after = None;
        let is_full = self.occupied() >= self.config.max_links;
        if is_full || fault_point(FaultPoint::LinkEvicted) {
            after = self.leaving_idle().or_else(|| self.end_one(None));
            if is_full && after.is_none() {
                reached(Sometimes::NoRoomForLink);
                return (Reach::NoRoom, None);
            }
        }
        if failures > 0 {
            reached(Sometimes::DialRetried);
        }
        self.unlinked.remove(to);
        self.peers.insert(to.clone(), PeerState::Dialling(Dial { failures, ended, after }));
        (Reach::Dial, after)
    }

    /// The links whose end a dial waits for.
    fn awaited(&self) -> IndexSet<LinkId> {
        let awaited = |entry: &PeerState| match entry {
            PeerState::Dialling(dial) => dial.after.filter(|link| self.leaving.contains_key(link)),
            PeerState::Open { .. } => None,
        };
        self.peers.values().filter_map(awaited).collect()
    }

    /// The number of links, including those that are being closed, and dials. A dial and the link
    /// whose end it waits for count as one, and so do a dial and a link to the same peer.
    fn occupied(&self) -> usize {
        let dials = self.peers.values().filter(|entry| matches!(entry, PeerState::Dialling(_)));
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
        reached(Sometimes::LinkEvicted);
        self.leaves(oldest);
        Some(oldest)
    }

    /// The link to close if there are too many after the other side has opened `new`. `None` if
    /// there are not, or if no link is idle.
    pub fn excess_link(&mut self, new: LinkId) -> Option<LinkId> {
        if self.links.len() > self.config.max_links { self.end_one(Some(new)) } else { None }
    }

    /// Notes that a dial was cancelled without a result.
    pub fn dial_cancelled(&mut self, to: &Address) {
        if !self.end_dial(to) {
            self.peers.swap_remove(to);
        }
    }

    /// Notes that the dial has ended. Whether the peer has a link.
    fn end_dial(&mut self, to: &Address) -> bool {
        match self.peers.get_mut(to) {
            Some(PeerState::Open { dial, .. }) => {
                *dial = None;
                true
            }
            Some(PeerState::Dialling(_)) | None => false,
        }
    }

    /// Notes a failed dial. Returns the time before which the peer is not dialled again. The pause
    /// doubles each time, with jitter that differs from peer to peer and is the same in every run.
    pub fn dial_failed(&mut self, to: &Address, now: Instant) -> Instant {
        let before = match (self.peers.get(to), self.unlinked.get(to)) {
            (Some(PeerState::Dialling(dial)), _) => dial.failures,
            (None, Some(Unlinked::Failed { failures })) => *failures,
            _ => 0,
        };
        let until = now.later(self.pause(to, before));
        self.set_unlinked(to, Unlinked::Failed { failures: before.saturating_add(1) }, until);
        until
    }

    /// Replaces a dial, or an earlier state without a link. No effect on a peer with a link.
    fn set_unlinked(&mut self, to: &Address, unlinked: Unlinked, until: Instant) {
        if !self.end_dial(to) {
            self.peers.swap_remove(to);
            self.unlinked.insert(to.clone(), unlinked, until);
        }
    }

    fn pause(&self, to: &Address, failures: u32) -> Duration {
        let full = doubled(FIRST_PAUSE, failures, LONGEST_PAUSE);
        let mut hasher = DefaultHasher::new();
        (&self.me, to, failures).hash(&mut hasher);
        let mut off = u32::try_from(hasher.finish() % u64::from(JITTER + 1)).unwrap_or(0);
        if fault_point(FaultPoint::DialPauseLongest) {
            off = 0;
        }
        full.saturating_sub(part(full.saturating_mul(off), 100))
    }

    /// Notes that the peer speaks no links, as far as `sign` shows. After an answer, the peer is not
    /// asked for a link again for [`PeerDirectoryConfig::classic_for`]; after a silence, for 5 s; and
    /// if it ended the connection, for 5 s at first, and twice as long each time that it does so
    /// again.
    pub fn mark_classic(&mut self, to: &Address, sign: ClassicSign, now: Instant) {
        let ended = match (self.peers.get(to).and_then(PeerState::dial), self.unlinked.get(to)) {
            (Some(dial), _) => dial.ended,
            (None, Some(Unlinked::Classic { ended })) => *ended,
            _ => 0,
        };
        let longest = self.config.classic_for;
        let (time, ended) = match sign {
            ClassicSign::Answer => (longest, ended),
            ClassicSign::End => (doubled(UNSURE_FOR, ended, longest), ended.saturating_add(1)),
            ClassicSign::Silence => (UNSURE_FOR.min(longest), ended),
        };
        self.set_unlinked(to, Unlinked::Classic { ended }, now.later(time));
    }

    /// Whether the peer is not dialled at present: it speaks no links, or the last dials failed.
    #[must_use]
    pub fn is_held_back(&self, to: &Address, now: Instant) -> bool {
        !self.peers.contains_key(to) && self.unlinked.rank(to).is_some_and(|until| now < until)
    }

    /// Forgets that the peer speaks no links: the next message dials it again.
    pub fn forget_classic(&mut self, to: &Address) {
        if matches!(self.unlinked.get(to), Some(Unlinked::Classic { .. })) {
            self.unlinked.remove(to);
        }
    }

    /// Notes an open link to the peer `id`, which listens at `to`.
    ///
    /// A link that the other side opened is accepted beyond [`PeerDirectoryConfig::max_links`],
    /// too, if no idle link can be closed ([`excess_link`](Self::excess_link)): accepted
    /// connections have a limit of their own.
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
        let dial = self.peers.get(to).and_then(PeerState::dial);
        let (failures, dial) = match role {
            Role::Dialler => (dial.map_or(0, |dial| dial.failures), None),
            Role::Acceptor => (0, dial),
        };
        let open = Open { to: to.clone(), role, used: now, busy: 0, failures };
        let other = match self.peers.get(to) {
            Some(PeerState::Open { link: other, .. }) => Some(*other),
            _ => None,
        };
        let stays = if self.me < *id { Role::Dialler } else { Role::Acceptor };
        let other = other.and_then(|other| Some((other, self.links.get(&other)?.role)));
        let loses = match other {
            Some((other, other_role)) if role == stays || other_role == role => Some(other),
            Some(_) => Some(link),
            None => None,
        };
        match other {
            Some((_, other_role)) if other_role == role => reached(Sometimes::LinkReplaced),
            Some(_) if stays == Role::Dialler => reached(Sometimes::DialledLinkStays),
            Some(_) => reached(Sometimes::AcceptedLinkStays),
            None if failures > 0 => reached(Sometimes::DialSucceededAfterFailures),
            None => {}
        }
        if loses != Some(link) {
            self.links.insert(link, open);
            self.unlinked.remove(to);
            self.peers.insert(to.clone(), PeerState::Open { link, dial });
        } else if role == Role::Dialler {
            self.end_dial(to);
        }
        if let Some(loses) = loses {
            let busy = self.links.swap_remove(&loses).map_or(0, |open| open.busy);
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
        if !self.peers.contains_key(&open.to) && !self.unlinked.contains_key(&open.to) {
            let until = now.later(self.pause(&open.to, open.failures));
            let failures = open.failures.saturating_add(1);
            self.unlinked.insert(open.to, Unlinked::Failed { failures }, until);
        }
    }

    fn take(&mut self, link: LinkId) -> Option<Open> {
        let open = self.links.swap_remove(&link)?;
        if let Some(PeerState::Open { link: current, dial }) = self.peers.get(&open.to)
            && *current == link
        {
            match *dial {
                Some(dial) => self.peers.insert(open.to.clone(), PeerState::Dialling(dial)),
                None => self.peers.swap_remove(&open.to),
            };
        }
        Some(open)
    }

    /// Notes that the peer is alive: the next dial does not wait, and the pauses start over.
    pub fn mark_alive(&mut self, to: &Address) {
        if matches!(self.unlinked.get(to), Some(Unlinked::Failed { .. })) {
            self.unlinked.remove(to);
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
}

#[cfg(test)]
mod tests;

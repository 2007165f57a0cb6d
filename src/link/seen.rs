//! Numbered messages that came, at the receiver: what it remembers, so that none is handed over
//! twice ([protocol](crate::protocol#recognising-repetitions)).

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use crate::{
    link::{Reason, Sequenced},
    overlay::PeerId,
};

/// Messages of each sender that are remembered: four times what a sender keeps by default.
pub const REMEMBERED: u64 = 4_096;

/// How long a sender is remembered after its last message. Whoever sends one again that is older has
/// given it up long ago.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// Senders that are remembered, each once for each series.
const MAX_SENDERS: usize = 4_096;

/// Messages that failed, of all senders, of which the reason is remembered.
const MAX_FAILED: usize = 65_536;

/// What a numbered message is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Novelty {
    /// It is to be handed over.
    New,
    /// It was handed over before: acknowledged again, not handed over again.
    Repeated,
    /// It came before and failed, or was refused, with this reason: it does so again.
    Failed(Reason),
    /// It is of a life of its sender that another one with a higher incarnation has followed:
    /// refused.
    Outlived,
    /// It may have come before, so long ago that nobody knows: refused.
    Forgotten,
    /// Its sender cannot be remembered, as all places are taken by others: refused.
    NoRoom,
}

/// Lives of one sender that are remembered. Found by thought: a node whose clock was set back has
/// two that count, and others are only remembered to be refused.
const MAX_LIVES: usize = 4;

/// Remembers, for each sender and [series](Sequenced::series), and for each of its lives, which numbers
/// have come. A node that claims the id of another one does not know its series, and changes nothing
/// of what is known of it. As messages come in the order
/// of their numbers, also when they are sent again, and over several links at once, the highest
/// number says which have; only what failed is noted one by one.
///
/// A life with a higher incarnation ends those before it: what still comes of them is refused. One
/// with a lower incarnation of which nothing has come yet is the life of a sender whose clock was
/// set back. It begins anew, and takes nothing from the life with the higher incarnation, which may
/// be another node that claims the id.
#[derive(Debug, Default)]
pub struct Seen {
    /// The lives of each sender and series, at least one and at most [`MAX_LIVES`].
    senders: HashMap<(PeerId, u64), Vec<Life>>,
    /// Entries in all of `failed`.
    failures: usize,
}

#[derive(Clone, Debug)]
struct Life {
    incarnation: u64,
    /// A life with a higher incarnation came after it.
    outlived: bool,
    highest: u64,
    /// What failed among these and below is not known.
    unknown: u64,
    failed: BTreeMap<u64, Reason>,
    at: Instant,
}

impl Life {
    const fn new(numbered: Sequenced, at: Instant) -> Self {
        let Sequenced { incarnation, sequence: highest, .. } = numbered;
        let failed = BTreeMap::new();
        Self { incarnation, outlived: false, highest, unknown: 0, failed, at }
    }
}

impl Seen {
    /// Notes a message and says what it is.
    pub fn note(&mut self, from: &PeerId, numbered: Sequenced, now: Instant) -> Novelty {
        let Sequenced { incarnation, series, sequence, .. } = numbered;
        let key = (from.clone(), series);
        let Some(lives) = self.senders.get_mut(&key) else {
            if !self.make_room(now) {
                return Novelty::NoRoom;
            }
            self.senders.insert(key, vec![Life::new(numbered, now)]);
            return Novelty::New;
        };
        let Some(life) = lives.iter_mut().find(|life| life.incarnation == incarnation) else {
            for earlier in lives.iter_mut().filter(|life| life.incarnation < incarnation) {
                earlier.outlived = true;
                self.failures -= std::mem::take(&mut earlier.failed).len();
            }
            if lives.len() >= MAX_LIVES
                && let Some(oldest) =
                    (0..lives.len()).min_by_key(|at| lives.get(*at).map(|life| life.at))
            {
                self.failures -= lives.swap_remove(oldest).failed.len();
            }
            lives.push(Life::new(numbered, now));
            return Novelty::New;
        };
        if life.outlived {
            return Novelty::Outlived;
        }
        life.at = now;
        if sequence > life.highest {
            life.highest = sequence;
            life.unknown = life.unknown.max(sequence.saturating_sub(REMEMBERED));
            let kept = life.failed.split_off(&(life.unknown + 1));
            self.failures -= std::mem::replace(&mut life.failed, kept).len();
            return Novelty::New;
        }
        if sequence <= life.unknown {
            return Novelty::Forgotten;
        }
        life.failed.get(&sequence).map_or(Novelty::Repeated, |reason| Novelty::Failed(*reason))
    }

    /// A message that was [noted](Self::note) failed, or was refused. When too many did, the
    /// earliest of the same sender are forgotten, and not acknowledged any more.
    pub fn failed(&mut self, from: &PeerId, numbered: Sequenced, reason: Reason) {
        let Sequenced { incarnation, series, sequence, .. } = numbered;
        let is_it = |life: &&mut Life| life.incarnation == incarnation && !life.outlived;
        let life = self
            .senders
            .get_mut(&(from.clone(), series))
            .and_then(|lives| lives.iter_mut().find(is_it));
        let Some(life) = life.filter(|life| sequence > life.unknown) else { return };
        if life.failed.insert(sequence, reason).is_none() {
            self.failures += 1;
        }
        if self.failures > MAX_FAILED
            && let Some((first, _)) = life.failed.pop_first()
        {
            self.failures -= 1;
            life.unknown = life.unknown.max(first);
        }
    }

    /// Senders that are remembered, once for each series.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.senders.len()
    }

    /// Forgets whom nothing was heard of for long, when it is full. A sender that was heard of lately
    /// is not forgotten: it might send again what was handed over. False when there is no room.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.senders.len() < MAX_SENDERS {
            return true;
        }
        let fresh = |life: &Life| now.saturating_duration_since(life.at) < REMEMBERED_FOR;
        self.senders.retain(|_, lives| lives.iter().any(fresh));
        self.failures = self.senders.values().flatten().map(|life| life.failed.len()).sum();
        self.senders.len() < MAX_SENDERS
    }
}

#[cfg(test)]
mod tests;

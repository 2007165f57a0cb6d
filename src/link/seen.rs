//! The acknowledged messages that a receiver remembers, so that none is delivered twice
//! ([protocol](crate::protocol#recognising-repetitions)).

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use crate::{
    link::{Reason, Sequenced},
    overlay::PeerId,
};

/// Remembered messages of each sender: four times the number that a sender keeps by default.
pub const REMEMBERED: u64 = 4_096;

/// How long a sender is remembered after its last message. A sender gives up a message earlier than
/// that.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// Remembered senders, counted once for each series.
const MAX_SENDERS: usize = 4_096;

/// Failed messages of all senders whose reason is remembered.
const MAX_FAILED: usize = 65_536;

/// How a receiver processes an acknowledged message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Novelty {
    /// It is new: deliver it.
    New,
    /// It was delivered before: acknowledge it again, and do not deliver it.
    Repeated,
    /// It arrived before and failed, or was refused, with this reason: refuse it with the same
    /// reason.
    Failed(Reason),
    /// A higher incarnation of its sender has followed: refuse it.
    Outlived,
    /// It may have arrived before, but its number is no longer remembered: refuse it.
    Forgotten,
    /// Its sender cannot be remembered because there is no room: refuse it.
    NoRoom,
}

/// Remembered incarnations of one sender. A node whose clock was set back has two that are in use;
/// others are remembered only to refuse their messages.
const MAX_LIVES: usize = 4;

/// Remembers which numbers have arrived, for each sender and [series](Sequenced::series), and for
/// each incarnation of the sender.
///
/// A node that claims the id of another one does not know its series, and cannot change its state.
/// Messages arrive in the order of their numbers, also when they are sent again, and over several
/// links at once. So the highest number tells which have arrived, and only failed messages are
/// recorded one by one.
///
/// A higher incarnation ends the lower ones: their further messages are refused. A lower
/// incarnation of which no message has arrived yet belongs to a sender whose clock was set back. It
/// has a state of its own, and does not affect the higher incarnation, which may be another node
/// that claims the id.
#[derive(Debug, Default)]
pub struct Seen {
    /// The incarnations of each sender and series, at least one and at most [`MAX_LIVES`].
    senders: HashMap<(PeerId, u64), Vec<Life>>,
    /// The number of entries in all `failed` maps.
    failures: usize,
}

#[derive(Clone, Debug)]
struct Life {
    incarnation: u64,
    /// Whether a higher incarnation has followed.
    outlived: bool,
    highest: u64,
    /// For this number and lower ones, it is not known which messages failed.
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
    /// Notes a message, and decides how to process it.
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

    /// Notes that a message that was [noted](Self::note) failed or was refused. If there are too
    /// many failures, the earliest of the same sender are forgotten and no longer acknowledged.
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

    /// The number of remembered senders, counted once for each series.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.senders.len()
    }

    /// If it is full, forgets senders that were silent for long. A recent sender is not forgotten,
    /// because it might send a delivered message again. False if there is no room.
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

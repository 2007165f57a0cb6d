//! Numbered messages that came, at the receiver: what it remembers, so that none is handed over
//! twice (WIRE.md part 3, "Frames").

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use crate::{
    link::{Numbered, Reason},
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
    /// It is of an earlier life of its sender: refused.
    Outlived,
    /// It may have come before, so long ago that nobody knows: refused.
    Forgotten,
    /// Its sender cannot be remembered, as all places are taken by others: refused.
    NoRoom,
}

/// Remembers, for each sender and [series](Numbered::series), which numbers have come. A node that
/// claims the id of another one does not know its series, and changes nothing of what is known of it. As messages come in the order of their
/// numbers, also when they are sent again, and over several links at once, the highest number says
/// which have; only what failed is noted one by one.
#[derive(Debug, Default)]
pub struct Seen {
    senders: HashMap<(PeerId, u64), Sender>,
    /// Entries in all of `failed`.
    failures: usize,
}

#[derive(Clone, Debug)]
struct Sender {
    incarnation: u64,
    highest: u64,
    /// What failed among these and below is not known.
    unknown: u64,
    failed: BTreeMap<u64, Reason>,
    at: Instant,
}

impl Sender {
    const fn new(numbered: Numbered, at: Instant) -> Self {
        let Numbered { incarnation, sequence: highest, .. } = numbered;
        Self { incarnation, highest, unknown: 0, failed: BTreeMap::new(), at }
    }
}

impl Seen {
    /// Notes a message and says what it is.
    pub fn note(&mut self, from: &PeerId, numbered: Numbered, now: Instant) -> Novelty {
        let Numbered { incarnation, series, sequence, .. } = numbered;
        let key = (from.clone(), series);
        let Some(sender) = self.senders.get_mut(&key) else {
            if !self.make_room(now) {
                return Novelty::NoRoom;
            }
            self.senders.insert(key, Sender::new(numbered, now));
            return Novelty::New;
        };
        if incarnation < sender.incarnation {
            return Novelty::Outlived;
        }
        sender.at = now;
        if incarnation > sender.incarnation {
            self.failures -= sender.failed.len();
            *sender = Sender::new(numbered, now);
            return Novelty::New;
        }
        if sequence > sender.highest {
            sender.highest = sequence;
            sender.unknown = sender.unknown.max(sequence.saturating_sub(REMEMBERED));
            let kept = sender.failed.split_off(&(sender.unknown + 1));
            self.failures -= std::mem::replace(&mut sender.failed, kept).len();
            return Novelty::New;
        }
        if sequence <= sender.unknown {
            return Novelty::Forgotten;
        }
        sender.failed.get(&sequence).map_or(Novelty::Repeated, |reason| Novelty::Failed(*reason))
    }

    /// A message that was [noted](Self::note) failed, or was refused. When too many did, the
    /// earliest of the same sender are forgotten, and not acknowledged any more.
    pub fn failed(&mut self, from: &PeerId, numbered: Numbered, reason: Reason) {
        let Numbered { incarnation, series, sequence, .. } = numbered;
        let Some(sender) = self.senders.get_mut(&(from.clone(), series)) else { return };
        if sender.incarnation != incarnation || sequence <= sender.unknown {
            return;
        }
        if sender.failed.insert(sequence, reason).is_none() {
            self.failures += 1;
        }
        if self.failures > MAX_FAILED
            && let Some((first, _)) = sender.failed.pop_first()
        {
            self.failures -= 1;
            sender.unknown = sender.unknown.max(first);
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
        let fresh = |sender: &Sender| now.saturating_duration_since(sender.at) < REMEMBERED_FOR;
        self.senders.retain(|_, sender| fresh(sender));
        self.failures = self.senders.values().map(|sender| sender.failed.len()).sum();
        self.senders.len() < MAX_SENDERS
    }
}

#[cfg(test)]
mod tests;

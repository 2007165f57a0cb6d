//! The acknowledged messages that a receiver remembers, so that none is delivered twice
//! ([protocol](crate::protocol#recognising-repetitions)).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indexmap::IndexMap;

use crate::{
    fault_points::{FaultPoint, Sometimes, fault_point, reached},
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

/// How to process an acknowledged message that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveOutcome {
    /// It is new: deliver it.
    New,
    /// It was delivered before: acknowledge it again, and do not deliver it.
    Repeated,
    /// It arrived before and failed, or was refused, with this reason: refuse it with the same
    /// reason.
    Failed(Reason),
    /// A higher incarnation of its sender has followed: refuse it.
    Superseded,
    /// It may have arrived before, but its number is no longer remembered: refuse it.
    Forgotten,
    /// Its sender cannot be remembered because there is no room: refuse it.
    NoRoom,
}

/// Remembered incarnations of one sender. A node whose clock was set back has two that are in use;
/// others are remembered only to refuse their messages.
const MAX_INCARNATIONS: usize = 4;

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
pub struct AckReceiver {
    /// The incarnations of each sender and series, at least one and at most [`MAX_INCARNATIONS`].
    senders: IndexMap<(PeerId, u64), Vec<IncarnationState>>,
    /// The number of entries in all `failed` maps.
    failures: usize,
}

#[derive(Clone, Debug)]
struct IncarnationState {
    incarnation: u64,
    /// Whether a higher incarnation has followed.
    superseded: bool,
    highest: u64,
    /// For this number and lower ones, it is not known which messages failed.
    unknown: u64,
    failed: BTreeMap<u64, Reason>,
    at: Instant,
}

impl IncarnationState {
    const fn new(numbered: Sequenced, at: Instant) -> Self {
        let Sequenced { incarnation, sequence: highest, .. } = numbered;
        let failed = BTreeMap::new();
        // An earlier number may have been refused because there was no room for its sender.
        let unknown = highest.saturating_sub(1);
        Self { incarnation, superseded: false, highest, unknown, failed, at }
    }
}

impl AckReceiver {
    /// Notes a message, and decides how to process it.
    pub fn note(&mut self, from: &PeerId, numbered: Sequenced, now: Instant) -> ReceiveOutcome {
        let Sequenced { incarnation, series, sequence, .. } = numbered;
        let key = (from.clone(), series);
        let Some(incarnations) = self.senders.get_mut(&key) else {
            if !self.make_room(now) {
                return ReceiveOutcome::NoRoom;
            }
            self.senders.insert(key, vec![IncarnationState::new(numbered, now)]);
            return ReceiveOutcome::New;
        };
        let Some(state) = incarnations.iter_mut().find(|state| state.incarnation == incarnation)
        else {
            let is_larger = incarnations.iter().all(|state| state.incarnation < incarnation);
            reached(if is_larger {
                Sometimes::NewIncarnation
            } else {
                Sometimes::SmallerIncarnation
            });
            for earlier in incarnations.iter_mut().filter(|state| state.incarnation < incarnation) {
                earlier.superseded = true;
                self.failures -= std::mem::take(&mut earlier.failed).len();
            }
            if incarnations.len() >= MAX_INCARNATIONS
                && let Some(oldest) = (0..incarnations.len())
                    .min_by_key(|at| incarnations.get(*at).map(|state| state.at))
            {
                self.failures -= incarnations.swap_remove(oldest).failed.len();
            }
            incarnations.push(IncarnationState::new(numbered, now));
            return ReceiveOutcome::New;
        };
        if state.superseded {
            return ReceiveOutcome::Superseded;
        }
        state.at = now;
        if sequence > state.highest {
            state.highest = sequence;
            state.unknown = state.unknown.max(sequence.saturating_sub(REMEMBERED));
            let kept = state.failed.split_off(&(state.unknown + 1));
            self.failures -= std::mem::replace(&mut state.failed, kept).len();
            return ReceiveOutcome::New;
        }
        if sequence <= state.unknown {
            return ReceiveOutcome::Forgotten;
        }
        state
            .failed
            .get(&sequence)
            .map_or(ReceiveOutcome::Repeated, |reason| ReceiveOutcome::Failed(*reason))
    }

    /// Notes that a message that was [noted](Self::note) failed or was refused. If there are too
    /// many failures, the earliest of the same sender are forgotten and no longer acknowledged.
    pub fn failed(&mut self, from: &PeerId, numbered: Sequenced, reason: Reason) {
        let Sequenced { incarnation, series, sequence, .. } = numbered;
        let is_it =
            |state: &&mut IncarnationState| state.incarnation == incarnation && !state.superseded;
        let state = self
            .senders
            .get_mut(&(from.clone(), series))
            .and_then(|incarnations| incarnations.iter_mut().find(is_it));
        let Some(state) = state.filter(|state| sequence > state.unknown) else { return };
        if state.failed.insert(sequence, reason).is_none() {
            self.failures += 1;
        }
        if self.failures > MAX_FAILED
            && let Some((first, _)) = state.failed.pop_first()
        {
            self.failures -= 1;
            state.unknown = state.unknown.max(first);
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
        if fault_point(FaultPoint::NoRoomForSender) {
            return false;
        }
        if self.senders.len() < MAX_SENDERS {
            return true;
        }
        let fresh =
            |state: &IncarnationState| now.saturating_duration_since(state.at) < REMEMBERED_FOR;
        self.senders.retain(|_, incarnations| incarnations.iter().any(fresh));
        self.failures = self.senders.values().flatten().map(|state| state.failed.len()).sum();
        self.senders.len() < MAX_SENDERS
    }
}

#[cfg(test)]
mod tests;

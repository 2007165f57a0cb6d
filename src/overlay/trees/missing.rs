//! Messages that were announced and have not come: which neighbour is asked for them, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    overlay::{
        trees::{
            MessageId, Offence, Trees, TreesMessage,
            message::{Span, spans},
        },
        views::PeerKey,
    },
    time::Later,
};

/// The pause before a message is grafted if its announcers have too many grafts to answer.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Missing<P> {
    /// The neighbour that announced it first, in whose share it is.
    first: P,
    /// The neighbours that have it and were not asked yet, with its hops.
    pub(super) announcers: Vec<(P, u8)>,
    /// The neighbour that was asked and has not answered.
    pub(super) asked: Option<P>,
    due: Instant,
}

#[derive(Debug)]
pub(super) struct MissingMessages<P> {
    entries: BTreeMap<MessageId<P>, Missing<P>>,
    due: BTreeSet<(Instant, MessageId<P>)>,
}

impl<P: PeerKey> MissingMessages<P> {
    pub(super) const fn new() -> Self {
        Self { entries: BTreeMap::new(), due: BTreeSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The lowest missing sequence number of the same run, from `from` on.
    pub(super) fn lowest(&self, from: MessageId<P>) -> Option<u64> {
        let (lowest, _) = self.entries.range(from.clone()..).next()?;
        let same = lowest.author == from.author && lowest.incarnation == from.incarnation;
        same.then_some(lowest.sequence)
    }

    fn set_due(&mut self, id: &MessageId<P>, due: Instant) {
        if let Some(entry) = self.entries.get_mut(id) {
            self.due.remove(&(entry.due, id.clone()));
            entry.due = due;
            self.due.insert((due, id.clone()));
        }
    }

    fn take(&mut self, id: &MessageId<P>) -> Option<Missing<P>> {
        let entry = self.entries.remove(id)?;
        self.due.remove(&(entry.due, id.clone()));
        Some(entry)
    }
}

impl<P: PeerKey> Trees<P> {
    /// Notes that a neighbour has a message that this node does not have.
    pub(super) fn note_missing(&mut self, from: &P, id: &MessageId<P>, hops: u8, now: Instant) {
        if let Some(entry) = self.missing.entries.get_mut(id) {
            let known = entry.asked.as_ref() == Some(from)
                || entry.announcers.iter().any(|(peer, _)| peer == from);
            if !known && entry.announcers.len() < self.config.announcers {
                entry.announcers.push((from.clone(), hops));
            }
            return;
        }
        let Some(neighbor) = self.neighbors.get_mut(from) else { return };
        if self.missing.len() >= self.config.missing_limit
            || neighbor.missing >= (self.config.missing_limit / 2).max(1)
        {
            return;
        }
        neighbor.missing = neighbor.missing.saturating_add(1);
        let due = now.later(self.config.graft_after);
        let announcers = vec![(from.clone(), hops)];
        let entry = Missing { first: from.clone(), announcers, asked: None, due };
        self.missing.entries.insert(id.clone(), entry);
        self.missing.due.insert((due, id.clone()));
    }

    /// Removes a message that has come, or for which there is no source left.
    pub(super) fn take_missing(&mut self, id: &MessageId<P>) -> Option<Missing<P>> {
        let entry = self.missing.take(id)?;
        if let Some(first) = self.neighbors.get_mut(&entry.first) {
            first.missing = first.missing.saturating_sub(1);
        }
        if let Some(asked) = entry.asked.as_ref().and_then(|peer| self.neighbors.get_mut(peer)) {
            asked.asked = asked.asked.saturating_sub(1);
        }
        Some(entry)
    }

    /// Grafts the messages that are due from the next neighbour that has each of them.
    pub(super) fn graft_due(&mut self, now: Instant) {
        let mut grafts: BTreeMap<P, Vec<MessageId<P>>> = BTreeMap::new();
        while let Some((at, id)) = self.missing.due.first().cloned() {
            if at > now {
                break;
            }
            self.give_up_on_asked(&id, now);
            match self.next_announcer(&id) {
                Next::Ask(peer) => {
                    if let Some(entry) = self.missing.entries.get_mut(&id) {
                        entry.announcers.retain(|(of, _)| *of != peer);
                        entry.asked = Some(peer.clone());
                    }
                    self.missing.set_due(&id, now.later(self.config.answer_within));
                    grafts.entry(peer).or_default().push(id);
                }
                Next::Busy => self.missing.set_due(&id, now.later(BUSY_PAUSE)),
                Next::None => {
                    self.take_missing(&id);
                }
            }
        }
        for (peer, ids) in grafts {
            if let Some(neighbor) = self.neighbors.get_mut(&peer) {
                neighbor.graft();
            }
            for part in ids.chunks(self.config.ids_in_message.max(1)) {
                let spans = spans(part.iter().cloned());
                self.send(peer.clone(), TreesMessage::Graft { spans });
            }
        }
    }

    /// Notes that the asked neighbour has not answered in time.
    fn give_up_on_asked(&mut self, id: &MessageId<P>, now: Instant) {
        let asked = self.missing.entries.get_mut(id).and_then(|entry| entry.asked.take());
        if let Some(peer) = asked {
            let Some(neighbor) = self.neighbors.get_mut(&peer) else { return };
            neighbor.asked = neighbor.asked.saturating_sub(1);
            // One that brings others is only slow.
            let settle = self.config.settle;
            if neighbor.brought.is_none_or(|at| at.later(settle) <= now) {
                self.offence(&peer, Offence::EmptyPromises, now);
            }
        }
    }

    fn next_announcer(&mut self, id: &MessageId<P>) -> Next<P> {
        let Some(entry) = self.missing.entries.get(id) else { return Next::None };
        let mut next = Next::None;
        for (peer, _) in &entry.announcers {
            match self.neighbors.get_mut(peer) {
                Some(neighbor) if neighbor.asked < self.config.grafts_at_once.max(1) => {
                    neighbor.asked = neighbor.asked.saturating_add(1);
                    return Next::Ask(peer.clone());
                }
                Some(_) => next = Next::Busy,
                None => {}
            }
        }
        next
    }

    /// Turns to other neighbours for what was asked of one that is gone, and forgets what it has
    /// announced.
    pub(super) fn forget_announcer(&mut self, peer: &P, now: Instant) {
        let mut due = Vec::new();
        for (id, entry) in &mut self.missing.entries {
            entry.announcers.retain(|(of, _)| of != peer);
            if entry.asked.as_ref() == Some(peer) {
                entry.asked = None;
                due.push(id.clone());
            } else if entry.asked.is_none() && entry.announcers.is_empty() {
                due.push(id.clone());
            }
        }
        due.iter().for_each(|id| self.missing.set_due(id, now));
        self.graft_due(now);
    }

    /// Turns to other neighbours for what one has refused.
    pub(super) fn on_refuse(&mut self, from: &P, spans: &[Span<P>], now: Instant) {
        for id in spans
            .iter()
            .flat_map(|span| span.ids(self.config.ids_in_message))
            .take(self.config.ids_in_message)
        {
            let Some(entry) = self.missing.entries.get_mut(&id) else { continue };
            if entry.asked.as_ref() == Some(from) {
                entry.asked = None;
                self.missing.set_due(&id, now);
                if let Some(neighbor) = self.neighbors.get_mut(from) {
                    neighbor.asked = neighbor.asked.saturating_sub(1);
                }
            }
        }
        self.graft_due(now);
    }
}

enum Next<P> {
    Ask(P),
    /// All that have it have enough to answer.
    Busy,
    None,
}

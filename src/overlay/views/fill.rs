//! The search for neighbours while there are too few.

use std::time::Instant;

use crate::{
    overlay::views::{
        PeerKey, Priority, Views, ViewsMessage,
        machine::{Asked, Purpose},
    },
    time::Later,
};

impl<P: PeerKey> Views<P> {
    /// Asks passive peers while there are too few neighbours, and contacts while there is none.
    pub(super) fn fill(&mut self, now: Instant) {
        if self.left {
            return;
        }
        while self.wants_more() {
            let urgent = self.active.len() < self.config.few();
            let alone = self.active.is_empty();
            let may = |peer: &P, group| {
                !self.asked.contains_key(peer)
                    && self.group_has_room(group)
                    && !self.flaps.is_dropped(peer, now)
                    && (alone || !self.flaps.is_barred(peer, now))
                    && (alone || !self.full.is_barred(peer, now))
            };
            let mut candidates = self.passive.candidates(now, may);
            let Some(peer) = self.dice.take(&mut candidates) else { break };
            self.ask(peer, Purpose::Fill(urgent), now);
        }
        if self.active.is_empty() {
            while self.asked.len() < self.config.asked_at_once {
                let due = self.contacts.iter().find(|(contact, retry)| {
                    retry.due <= now && !self.asked.contains_key(*contact)
                });
                let Some(contact) = due.map(|(contact, _)| contact.clone()) else { break };
                self.back_off_contact(&contact, now);
                self.ask(contact, Purpose::Join, now);
            }
        }
    }

    fn wants_more(&self) -> bool {
        let filling =
            self.asked.values().filter(|asked| matches!(asked.purpose, Purpose::Fill(_))).count();
        filling < self.config.asked_at_once
            && self.active.len().saturating_add(filling) < self.config.active_target
    }

    /// Asks a peer to become a neighbour.
    pub(super) fn ask(&mut self, peer: P, purpose: Purpose, now: Instant) {
        let message = match purpose {
            Purpose::Join => ViewsMessage::Join,
            Purpose::Fill(true) | Purpose::Return => {
                ViewsMessage::Neighbor { priority: Priority::High }
            }
            Purpose::Fill(false) | Purpose::Walk => {
                ViewsMessage::Neighbor { priority: Priority::Low }
            }
        };
        let until = now.later(self.config.answer_within);
        self.asked.insert(peer.clone(), Asked { purpose, until });
        self.send(peer, message);
    }

    /// Sets the time at which a contact is asked next.
    pub(super) fn back_off_contact(&mut self, contact: &P, now: Instant) {
        let tries = self.contacts.get(contact).map_or(0, |contact| contact.tries);
        let pause = self.retry_pause(now, now, tries);
        if let Some(contact) = self.contacts.get_mut(contact) {
            contact.tries = tries.saturating_add(1);
            contact.due = now.later(pause);
        }
    }
}

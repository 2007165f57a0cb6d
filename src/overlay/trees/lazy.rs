//! Announcements to lazy and new neighbours.

use std::time::Instant;

use crate::{
    overlay::{
        trees::{Announced, MessageId, Trees, TreesMessage, message::Span},
        views::PeerKey,
    },
    time::Later,
};

/// Ids with their hops as spans. The order is kept.
fn announced<P: PeerKey>(ids: &[(MessageId<P>, u8)]) -> Vec<Announced<P>> {
    let mut announced: Vec<Announced<P>> = Vec::new();
    for (id, hops) in ids {
        let extends = |last: &mut Announced<P>| last.hops == *hops && last.span.extend(id);
        if !announced.last_mut().is_some_and(extends) {
            announced.push(Announced { span: Span::one(id.clone()), hops: *hops });
        }
    }
    announced
}

impl<P: PeerKey> Trees<P> {
    /// Plans the announcement of a message to a neighbour.
    pub(super) fn announce(&mut self, to: &P, id: &MessageId<P>, hops: u8, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(to) else { return };
        neighbor.queue.push((id.clone(), hops));
        if neighbor.queue.len() >= self.config.ids_in_message {
            self.send_announcements(to);
        } else if self.lazy_due.is_none() {
            self.lazy_due = Some(now.later(self.config.lazy_delay));
        }
    }

    pub(super) fn send_all_announcements(&mut self) {
        self.lazy_due = None;
        for at in 0..self.neighbors.len() {
            if let Some((peer, _)) = self.neighbors.get_index(at) {
                self.send_announcements(&peer.clone());
            }
        }
    }

    fn send_announcements(&mut self, to: &P) {
        let Some(neighbor) = self.neighbors.get_mut(to) else { return };
        let mut queue = std::mem::take(&mut neighbor.queue);
        if !queue.is_empty() {
            queue.sort_unstable();
            let announced = announced(&queue);
            self.send(to.clone(), TreesMessage::IHave { announced });
        }
    }

    /// Tells a new neighbour what this node keeps.
    pub(super) fn catch_up(&mut self, to: &P) {
        // What this node has forgotten again, others have as well: they would take it for new.
        let mut latest = self.kept.latest(self.config.catch_up);
        latest.retain(|(id, _)| self.is_known(id));
        latest.iter_mut().for_each(|(_, hops)| *hops = hops.saturating_add(1));
        latest.sort_unstable();
        for part in latest.chunks(self.config.ids_in_message.max(1)) {
            let announced = announced(part);
            self.send(to.clone(), TreesMessage::IHave { announced });
        }
    }
}

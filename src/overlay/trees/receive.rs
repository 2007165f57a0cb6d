//! The handling of messages.

use std::time::Instant;

use bytes::Bytes;

use crate::overlay::{
    trees::{
        Announced, Delivery, MessageId, Offence, Trees, TreesMessage,
        kept::KeptMessage,
        message::{Span, spans},
    },
    views::PeerKey,
};

impl<P: PeerKey> Trees<P> {
    /// Handles a message of a peer. Peers that are not neighbours can only send payloads.
    pub fn receive(&mut self, from: &P, message: TreesMessage<P>, now: Instant) {
        if *from == self.me {
            return;
        }
        if let TreesMessage::Payload { id, hops, age, payload, proof } = message {
            self.on_payload(from, id, (hops, age), (payload, proof), now);
            return;
        }
        let Some(neighbor) = self.neighbors.get_mut(from) else { return };
        match message {
            TreesMessage::IHave { announced } => self.on_ihave(from, &announced, now),
            TreesMessage::Graft { spans } => self.on_graft(from, &spans, now),
            TreesMessage::Refuse { spans } => self.on_refuse(from, &spans, now),
            TreesMessage::Prune => {
                neighbor.eager = false;
                neighbor.prune = Some(now);
            }
            TreesMessage::Payload { .. } => {}
        }
    }

    fn on_payload(
        &mut self,
        from: &P,
        id: MessageId<P>,
        (hops, age): (u8, u32),
        (payload, proof): (Bytes, Bytes),
        now: Instant,
    ) {
        if payload.len() > self.config.payload_limit || proof.len() > self.config.proof_limit {
            self.offence(from, Offence::TooLong, now);
            return;
        }
        let hops = hops.max(1);
        if id.author == self.me {
            if id.incarnation == self.incarnation && self.sequence.is_none_or(|n| id.sequence < n) {
                self.on_duplicate(from, &id, hops, now);
            }
            return;
        }
        if self.authors.knows(&id) {
            self.on_duplicate(from, &id, hops, now);
        } else if u64::from(age) <= self.config.remember_for.as_secs() {
            self.on_new(from, id, (hops, age), (payload, proof), now);
        }
    }

    fn on_new(
        &mut self,
        from: &P,
        id: MessageId<P>,
        (hops, age): (u8, u32),
        (payload, proof): (Bytes, Bytes),
        now: Instant,
    ) {
        self.authors.note(&id, now);
        let missing = self.take_missing(&id);
        let grafted = missing.as_ref().is_some_and(|missing| missing.asked.is_some());
        let announcers = missing.map(|missing| missing.announcers).unwrap_or_default();
        self.credit(from, now);
        let settle = self.config.settle;
        if let Some(neighbor) = self.neighbors.get_mut(from)
            && hops > self.config.wide_hops
            && !neighbor.is_settling(settle, now)
        {
            neighbor.graft();
        }
        let source = Some(from.clone());
        let first = source.clone();
        let kept =
            KeptMessage { payload, proof, hops, from: source, first, grafted, age, came: now };
        let mut have: Vec<_> = announcers.iter().map(|(peer, _)| peer).collect();
        have.push(from);
        let shapes = self.shapes(&id.author, now);
        let wide = !shapes && hops < self.config.wide_hops;
        self.pass_on(&id, &kept, &have, wide, now);
        let (payload, proof) = (kept.payload.clone(), kept.proof.clone());
        self.kept.insert(id.clone(), kept);
        if shapes
            && let Some((peer, shortest)) = announcers.iter().min_by_key(|(_, hops)| hops)
            && self.is_shorter(*shortest, hops)
        {
            self.switch(&id, from, (peer, *shortest), now);
        }
        self.arrange(Delivery { id, hops, age, payload, proof, late: false }, now);
        self.review(now);
    }

    /// Handles a payload that the node has: makes one of its two senders lazy.
    fn on_duplicate(&mut self, from: &P, id: &MessageId<P>, hops: u8, now: Instant) {
        let Some(neighbor) = self.neighbors.get(from) else { return };
        // Near its author a message goes to lazy neighbours as well.
        let wide = hops <= self.config.wide_hops;
        let pruned = neighbor.ignores_prune(self.config.settle, now) && !wide;
        let is_lazy = !neighbor.eager;
        let first = self.kept.get(id).map(|first| (first.from.clone(), first.hops, first.grafted));
        let twice = first
            .as_ref()
            .is_some_and(|(first, _, grafted)| first.as_ref() == Some(from) && !grafted);
        if twice || pruned {
            self.offence(from, Offence::Duplicates, now);
        }
        let keeps = (wide && is_lazy) || (twice && !pruned);
        if !self.shapes(&id.author, now) || keeps {
            return;
        }
        match first {
            Some((Some(first), than, _)) if self.is_shorter(hops, than) => {
                self.switch(id, &first, (from, hops), now);
            }
            _ => self.prune(from, now),
        }
    }

    fn on_ihave(&mut self, from: &P, announced: &[Announced<P>], now: Instant) {
        let (mut room, mut has_some) = (self.config.ids_in_message, false);
        for Announced { span, hops } in announced {
            let hops = (*hops).max(1);
            for id in span.ids(room) {
                room = room.saturating_sub(1);
                has_some |= self.on_announced(from, &id, hops, now);
            }
        }
        if has_some && let Some(neighbor) = self.neighbors.get_mut(from) {
            neighbor.announced = Some(now);
        }
        let count =
            announced.iter().fold(0_u64, |sum, of| sum.saturating_add(of.span.count.into()));
        if usize::try_from(count).unwrap_or(usize::MAX) > self.config.ids_in_message {
            self.offence(from, Offence::TooLong, now);
        }
    }

    /// Notes that a neighbour has a message. Returns whether this node keeps it.
    fn on_announced(&mut self, from: &P, id: &MessageId<P>, hops: u8, now: Instant) -> bool {
        if let Some(kept) = self.kept.get(id) {
            if self.is_shorter(hops, kept.hops)
                && let Some(first) = kept.from.clone()
                && self.shapes(&id.author, now)
            {
                self.switch(id, &first, (from, hops), now);
            }
            return true;
        }
        if id.author != self.me && !self.authors.knows(id) {
            self.note_missing(from, id, hops, now);
        }
        false
    }

    fn on_graft(&mut self, from: &P, asked: &[Span<P>], now: Instant) {
        let config = self.config;
        let mut room = config.ids_in_message;
        let (mut refused, mut too_many) = (Vec::new(), false);
        if let Some(neighbor) = self.neighbors.get_mut(from) {
            neighbor.graft();
        }
        for span in asked {
            for id in span.ids(room) {
                room = room.saturating_sub(1);
                let Some(neighbor) = self.neighbors.get_mut(from) else { return };
                if !neighbor.may_graft(&config, now) {
                    too_many = true;
                    refused.push(id);
                } else if let Some(kept) = self.kept.get(&id) {
                    let message = kept.to_message(&id, kept.hops.saturating_add(1), now);
                    self.send(from.clone(), message);
                } else {
                    refused.push(id);
                }
            }
        }
        if !refused.is_empty() {
            self.send(from.clone(), TreesMessage::Refuse { spans: spans(refused) });
        }
        if too_many {
            self.offence(from, Offence::TooManyGrafts, now);
        }
    }
}

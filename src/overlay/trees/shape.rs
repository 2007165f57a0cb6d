//! The shape of the tree: which links are eager.

use std::time::Instant;

use crate::{
    overlay::{
        trees::{MessageId, Trees, TreesEvent, TreesMessage},
        views::PeerKey,
    },
    time::Later,
};

impl<P: PeerKey> Trees<P> {
    /// Whether the messages of an author shape the tree: the lowest author of those heard lately.
    pub(super) fn shapes(&mut self, author: &P, now: Instant) -> bool {
        let other = self.shaper.as_ref().is_some_and(|(shaper, heard)| {
            shaper < author && heard.later(self.config.shape_for) > now
        });
        if !other {
            match &mut self.shaper {
                Some((shaper, heard)) if shaper == author => *heard = now,
                shaper => *shaper = Some((author.clone(), now)),
            }
        }
        !other
    }

    /// Makes a neighbour lazy, and tells it.
    pub(super) fn prune(&mut self, peer: &P, now: Instant) {
        let settle = self.config.settle;
        let Some(neighbor) = self.neighbors.get_mut(peer) else { return };
        if neighbor.eager || !neighbor.is_settling(settle, now) {
            neighbor.eager = false;
            neighbor.pruned.get_or_insert(now);
            neighbor.prune = Some(now);
            self.send(peer.clone(), TreesMessage::Prune);
        }
    }

    /// Whether another path is so much shorter that the tree is changed for it.
    pub(super) const fn is_shorter(&self, hops: u8, than: u8) -> bool {
        hops.saturating_add(self.config.optimization_threshold) < than
    }

    /// Replaces the path by which a message came with a shorter one.
    pub(super) fn switch(
        &mut self,
        id: &MessageId<P>,
        from: &P,
        (to, hops): (&P, u8),
        now: Instant,
    ) {
        let settling = self.switched.is_some_and(|at| at.later(self.config.settle) > now);
        if settling || from == to || !self.neighbors.contains_key(from) {
            return;
        }
        let Some(neighbor) = self.neighbors.get_mut(to) else { return };
        let was_eager = neighbor.eager;
        neighbor.graft();
        if !was_eager {
            self.send(to.clone(), TreesMessage::Graft { spans: Vec::new() });
        }
        self.switched = Some(now);
        self.kept.replace_source(id, to.clone(), hops);
        self.prune(from, now);
    }

    /// Makes the lazy neighbour that contributed last eager, in place of one that is gone. Without
    /// it, each message of the other part of the tree would wait for a graft.
    pub(super) fn replace_source(&mut self, now: Instant) {
        let lazy = self.neighbors.iter().filter(|(_, neighbor)| {
            !neighbor.eager && !neighbor.is_settling(self.config.settle, now)
        });
        let lazy = lazy.max_by_key(|(_, neighbor)| neighbor.announced);
        let Some(peer) = lazy.map(|(peer, _)| peer.clone()) else { return };
        if let Some(neighbor) = self.neighbors.get_mut(&peer) {
            neighbor.graft();
        }
        self.send(peer, TreesMessage::Graft { spans: Vec::new() });
    }

    /// Notes that a neighbour sent a message first. Such a neighbour is useful: the tree needs it.
    pub(super) fn credit(&mut self, peer: &P, now: Instant) {
        if let Some(neighbor) = self.neighbors.get_mut(peer) {
            neighbor.brought = Some(now);
            if !neighbor.useful {
                neighbor.useful = true;
                self.event(TreesEvent::Useful { peer: peer.clone(), useful: true });
            }
        }
    }

    /// Looks which neighbours no longer contribute. Called when a message arrives: without traffic
    /// no neighbour loses its standing.
    pub(super) fn review(&mut self, now: Instant) {
        const EVERY: std::time::Duration = std::time::Duration::from_secs(1);
        if self.reviewed.later(EVERY) > now {
            return;
        }
        self.reviewed = now;
        self.authors.forget(now);
        let useful_for = self.config.useful_for;
        let mut useless = Vec::new();
        for (peer, neighbor) in &mut self.neighbors {
            let used = neighbor.brought.is_some_and(|at| at.later(useful_for) > now);
            if neighbor.useful && !used {
                neighbor.useful = false;
                useless.push(peer.clone());
            }
        }
        for peer in useless {
            self.event(TreesEvent::Useful { peer, useful: false });
        }
    }
}

//! The status of an open link.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    node::{LinkStatus, connections::HostedLink},
    session::{pool::LinkPool, state::Session},
};

/// An open link for the actor of its connection.
pub(super) struct LinkHandle {
    pub(super) session: Arc<Session>,
    pub(super) links: Arc<LinkPool>,
}

impl HostedLink for LinkHandle {
    fn status(&self) -> LinkStatus {
        self.session.status()
    }

    fn leave(&self) {
        self.links.unlist(&self.session);
        self.session.bye();
    }

    fn abort(&self) {
        self.session.abort(false);
    }
}

impl Session {
    pub(crate) fn status(&self) -> LinkStatus {
        let state = self.lock();
        let counts = state.link.counts();
        LinkStatus {
            peer: self.peer.id().clone(),
            proven: self.sender.proven().is_some(),
            address: self.to.clone(),
            direction: self.direction(),
            age: self.since.elapsed(),
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            open: state.link.open_exchanges(),
            incomplete: self.incomplete.load(Ordering::Relaxed),
            in_hand: self.in_hand.load(Ordering::Relaxed),
            credit: state.link.credit(),
            held: state.link.held(),
            round_trip: state.link.round_trip(),
            closing: !self.is_open(),
        }
    }
}

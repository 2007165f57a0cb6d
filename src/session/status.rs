//! What is known of an open link.

use std::{sync::atomic::Ordering, time::Duration};

use serde::Serialize;

use crate::{
    node::Direction,
    overlay::{Address, PeerId},
    session::shared::Session,
};

/// An open link at one moment. Serialisable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LinkStatus {
    /// The other side's id.
    pub peer: PeerId,
    /// Whether it has proved that, or only claims it.
    pub proven: bool,
    /// Where it is reached.
    pub address: Address,
    /// Who opened it: `In` is the other side.
    pub direction: Direction,
    /// Since it was opened.
    pub age: Duration,
    /// Bytes received, headers included.
    pub bytes_in: u64,
    /// Bytes sent, headers included.
    pub bytes_out: u64,
    /// Exchanges open on it, of both sides.
    pub open: usize,
    /// Messages of the other side that have come in part, and of which this node awaits the rest.
    pub incomplete: usize,
    /// Messages of the other side that wait for their turn or for a place, and requests that a
    /// handler has not answered.
    pub in_hand: usize,
    /// Bytes of one-way messages and requests that this node may send now.
    pub credit: u32,
    /// Bytes of one-way messages and requests that handlers of this node hold.
    pub held: u32,
    /// Round-trip time of the last keep-alive.
    pub round_trip: Option<Duration>,
    /// Whether it is being closed: nothing new is begun on it.
    pub closing: bool,
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

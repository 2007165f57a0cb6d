//! The status of an open link.

use std::{sync::atomic::Ordering, time::Duration};

use serde::Serialize;

use crate::{
    node::Direction,
    overlay::{Address, PeerId},
    session::state::Session,
};

/// A snapshot of an open link. Serialisable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LinkStatus {
    /// The other side's id.
    pub peer: PeerId,
    /// Whether that id is proven. If false, it is only claimed.
    pub proven: bool,
    /// The address of the other side.
    pub address: Address,
    /// Which side opened it: `In` is the other side.
    pub direction: Direction,
    /// The time since it was opened.
    pub age: Duration,
    /// Bytes received, headers included.
    pub bytes_in: u64,
    /// Bytes sent, headers included.
    pub bytes_out: u64,
    /// Open exchanges of both sides.
    pub open: usize,
    /// Incomplete messages of the other side, whose further parts this node expects.
    pub incomplete: usize,
    /// Messages of the other side that wait for earlier messages or for a permit, and requests that
    /// a handler has not answered.
    pub in_hand: usize,
    /// Bytes of one-way messages and requests that this node may send now.
    pub credit: u32,
    /// Bytes of one-way messages and requests that handlers of this node hold.
    pub held: u32,
    /// Round-trip time of the last keepalive. `None` if there was none yet.
    pub round_trip: Option<Duration>,
    /// Whether it is being closed and accepts no new exchanges.
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

//! What a walk is told and what it wants done.

use std::time::Duration;

use super::{JoinFailure, JoinReport};
use crate::{
    frame::Frame,
    overlay::{Added, Address, Learned, PeerId, PeerInfo},
};

/// What the walk is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinEvent {
    /// The walk begins.
    Start,
    /// The question was answered.
    Replies(Vec<Frame>),
    /// The question was not answered.
    Failed(JoinFailure),
    /// The pause is over.
    Waited,
    /// What came of adding a peer to the own table.
    Added(Added),
}

/// What the walk wants done next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinStep {
    /// Send this and collect the replies.
    Ask {
        /// Where to.
        to: Address,
        /// To whom, once somebody has said who is there: where ids are proven, to nobody else.
        whom: Option<PeerId>,
        /// What.
        frame: Frame,
        /// Where it was listed, when nobody has answered there yet: it has to be an address that this
        /// one may name ([`Scope`](crate::overlay::Scope)), and is dialled at the pace of unverified
        /// addresses.
        named_by: Option<Address>,
    },
    /// Add this peer to the own table.
    Add {
        /// Whom.
        info: PeerInfo,
        /// How it was learned.
        learned: Learned,
    },
    /// Let so much time pass: every node that could take this one in is busy.
    Wait(Duration),
    /// Nothing more.
    Done(JoinReport),
}

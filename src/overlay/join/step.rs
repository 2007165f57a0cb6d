//! The events and steps of a walk.

use std::time::Duration;

use super::{JoinFailure, JoinReport};
use crate::{
    frame::Frame,
    overlay::{Added, Address, Learned, PeerId, PeerInfo},
};

/// An event for the walk.
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
    /// The result of adding a peer to the own table.
    Added(Added),
}

/// The next step of the walk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinStep {
    /// Send this frame and collect the replies.
    Ask {
        /// The address.
        to: Address,
        /// The expected id, if it is known. Where ids are proven, the question goes to no other
        /// node.
        whom: Option<PeerId>,
        /// The question.
        frame: Frame,
        /// The node that listed the address, if no node has answered there yet. It has to be an
        /// address that this node may name ([`Scope`](crate::overlay::Scope)), and is dialled at
        /// the pace of unverified addresses.
        named_by: Option<Address>,
    },
    /// Add this peer to the own table.
    Add {
        /// The peer.
        info: PeerInfo,
        /// How it was learned.
        learned: Learned,
    },
    /// Wait for this time: every node that could admit this one is busy.
    Wait(Duration),
    /// Nothing more: the walk has ended.
    Done(JoinReport),
}

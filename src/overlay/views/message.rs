//! The messages of the views.

use serde::{Deserialize, Serialize};

/// The maximum number of peers in the sample of an answer.
pub const MAX_SAMPLE: usize = 4;

/// The maximum number of peers in a shuffle.
pub const MAX_SHUFFLE: usize = 16;

/// The maximum length of a walk. A longer one is shortened.
pub const MAX_WALK: u8 = 8;

/// The priority of a request to become a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Priority {
    /// The request is accepted if there is room.
    Low,
    /// The asking node has few neighbours or none. The request is not refused for lack of room.
    High,
}

/// A message between two nodes about their views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ViewsMessage<P> {
    /// The sender enters the network. The receiver becomes its neighbour and introduces it.
    Join,
    /// Introduces a node that has entered the network, on a random walk.
    ForwardJoin {
        /// The node that has entered.
        joiner: P,
        /// The remaining length of the walk.
        walk: u8,
    },
    /// Asks the receiver to become a neighbour.
    Neighbor {
        /// Whether the receiver may refuse for lack of room.
        priority: Priority,
    },
    /// The sender has become a neighbour.
    Accept {
        /// Peers that the receiver may ask as well.
        peers: Vec<P>,
    },
    /// The sender does not become a neighbour.
    Refuse {
        /// Peers that the receiver may ask instead.
        peers: Vec<P>,
    },
    /// The sender is no longer a neighbour. The receiver may replace it.
    Disconnect {
        /// Peers that the receiver may ask instead.
        peers: Vec<P>,
    },
    /// The sender leaves the network.
    Leave,
    /// A sample of the views of `origin`, on a random walk.
    Shuffle {
        /// The node that began the walk. The last node answers it.
        origin: P,
        /// Identifies the answer.
        token: u64,
        /// The remaining length of the walk.
        walk: u8,
        /// The sample, without the origin.
        peers: Vec<P>,
    },
    /// The answer to a shuffle: a sample of the passive view of its last receiver.
    ShuffleReply {
        /// The token of the shuffle.
        token: u64,
        /// The sample.
        peers: Vec<P>,
    },
}

impl<P> ViewsMessage<P> {
    /// The peers that the message names, beside its sender.
    pub fn names(&self) -> impl Iterator<Item = &P> {
        let (one, more): (Option<&P>, &[P]) = match self {
            Self::Join | Self::Neighbor { .. } | Self::Leave => (None, &[]),
            Self::ForwardJoin { joiner, .. } => (Some(joiner), &[]),
            Self::Accept { peers } | Self::Refuse { peers } | Self::Disconnect { peers } => {
                (None, peers)
            }
            Self::Shuffle { origin, peers, .. } => (Some(origin), peers),
            Self::ShuffleReply { peers, .. } => (None, peers),
        };
        one.into_iter().chain(more)
    }

    /// Whether it is worth a dial if there is no link with its receiver. The others are for
    /// neighbours, which have a link.
    #[must_use]
    pub const fn may_dial(&self) -> bool {
        matches!(self, Self::Join | Self::Neighbor { .. } | Self::ShuffleReply { .. })
    }
}

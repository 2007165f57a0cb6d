//! The errors of looking up and publishing.

use crate::{
    overlay::{Address, InvalidAddress},
    peer::NodeDown,
};

/// Why a look-up or a publication failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KademliaError {
    /// The node was built without [`Builder::kademlia`](crate::Builder::kademlia). This is an error
    /// of the caller.
    #[error("the node was built without Kademlia (Builder::kademlia)")]
    NotEnabled,
    /// The text is not `host:port`. This is an error of the caller.
    #[error(transparent)]
    InvalidContact(#[from] InvalidAddress),
    /// The contact did not answer in three tries, does not speak Kademlia, or is this node itself.
    #[error("the contact {0} did not answer")]
    ContactFailed(Address),
    /// The value is too long. This is an error of the caller; nothing was sent.
    #[error("the value has {len} bytes, more than the maximum of {limit}")]
    TooLong {
        /// The length of the value, in bytes.
        len: usize,
        /// [`KademliaConfig::max_record_bytes`](crate::peer::KademliaConfig::max_record_bytes).
        limit: usize,
    },
    /// This node already publishes under the maximum number of keys. This is an error of the
    /// caller; nothing was sent.
    #[error("the node already publishes under {0} keys, the maximum")]
    TooManyPublished(usize),
    /// Other nodes are known, but none keeps the record: they refused, or did not answer. This node
    /// keeps it, answers with it, and sends it to other nodes until some keep it.
    #[error("no other node has stored it yet")]
    NobodyKeepsIt,
    /// This node is stopping or has stopped.
    #[error(transparent)]
    Stopped(#[from] NodeDown),
}

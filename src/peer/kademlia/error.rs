//! Why something was not looked up or published.

use crate::{
    overlay::{Address, InvalidAddress},
    peer::NodeDown,
};

/// Why something was not looked up or published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KademliaError {
    /// The node was built without [`Builder::kademlia`](crate::Builder::kademlia). The caller's doing.
    #[error("the node has no kademlia")]
    NotEnabled,
    /// The text is not `host:port`. The caller's doing.
    #[error(transparent)]
    InvalidContact(#[from] InvalidAddress),
    /// The contact did not answer, speaks no Kademlia, or is this node itself.
    #[error("the contact {0} did not answer")]
    ContactFailed(Address),
    /// The value is longer than it may be. The caller's doing; nothing was sent.
    #[error("the value has {len} bytes, more than {limit}")]
    TooLong {
        /// Bytes of the value.
        len: usize,
        /// [`KademliaConfig::max_record_bytes`](crate::peer::KademliaConfig::max_record_bytes).
        limit: usize,
    },
    /// This node publishes under as many keys as it may. The caller's doing; nothing was sent.
    #[error("the node publishes under {0} keys already")]
    TooManyPublished(usize),
    /// No other node keeps it, though some are known: they refused, or did not answer. This node
    /// keeps it itself, answers with it, and has it kept by others as soon as some do.
    #[error("only this node keeps it so far")]
    NobodyKeepsIt,
    /// This node stops, or has stopped.
    #[error(transparent)]
    Stopped(#[from] NodeDown),
}

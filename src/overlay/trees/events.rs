//! What a tree asks of its driver.

use bytes::Bytes;

use crate::overlay::trees::{MessageId, TreesMessage};

/// What the driver has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreesOutput<P> {
    /// Sends a message to a neighbour. Control messages
    /// ([`TreesMessage::is_control`]) may overtake payloads.
    Send {
        /// The receiver.
        to: P,
        /// The message.
        message: TreesMessage<P>,
    },
    /// Hands a message of another node to the application.
    Deliver(Delivery<P>),
    /// Messages of an author have not come in time. The later ones follow.
    Gap(Gap<P>),
    /// Reports an event.
    Event(TreesEvent<P>),
}

/// A message for the application. Each id is delivered at most once while it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery<P> {
    /// The id.
    pub id: MessageId<P>,
    /// The number of links that the message has passed.
    pub hops: u8,
    /// How long ago it was published, in seconds, as far as the nodes on its way know.
    pub age: u32,
    /// The payload.
    pub payload: Bytes,
    /// What the author's driver added.
    pub proof: Bytes,
    /// Whether a later message of the same author was delivered before, or a gap that contains
    /// this one was reported.
    pub late: bool,
}

/// Consecutive messages of an author that have not come in time. Those that come later are
/// delivered as [`late`](Delivery::late).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap<P> {
    /// The first one.
    pub first: MessageId<P>,
    /// Their number.
    pub count: u64,
}

/// A change that concerns a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreesEvent<P> {
    /// The neighbour brings messages that no other has brought before, or no longer does. The driver passes it on to
    /// [`Views::set_useful`](crate::overlay::views::Views::set_useful).
    Useful {
        /// The neighbour.
        peer: P,
        /// Whether it does.
        useful: bool,
    },
    /// The neighbour does repeatedly what no correct node does. The driver may drop it with
    /// [`Views::drop_peer`](crate::overlay::views::Views::drop_peer).
    Misbehaves {
        /// The neighbour.
        peer: P,
        /// What it does.
        offence: Offence,
    },
}

/// What a neighbour does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Offence {
    /// It sends payloads twice, or goes on sending payloads after it was pruned.
    Duplicates,
    /// It announces messages that it does not send.
    EmptyPromises,
    /// It sends payloads, proofs or lists of ids that exceed the limit.
    TooLong,
    /// It grafts more than its rate.
    TooManyGrafts,
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The payload exceeds [`TreesConfig::payload_limit`](super::TreesConfig::payload_limit).
    #[error("the payload has {len} bytes, the limit is {limit}")]
    PayloadTooLong {
        /// The length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The proof exceeds [`TreesConfig::proof_limit`](super::TreesConfig::proof_limit).
    #[error("the proof has {len} bytes, the limit is {limit}")]
    ProofTooLong {
        /// The length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// All sequence numbers of this incarnation are used.
    #[error("all sequence numbers are used")]
    NoSequence,
}

//! Layer 3: the persistent link as a sans-I/O state machine ([protocol](crate::protocol#links)). It
//! has no socket, no clock and no actor. Its inputs are frames, credit and the time; its outputs
//! are frames, events and the next wake-up.
//!
//! One connection carries many exchanges in both directions. Credit bounds the data that a receiver
//! has not processed, so that a slow receiver slows its senders, and its memory stays bounded.

mod ack_receiver;
mod ack_sender;
mod directory;
mod event;
mod grant;
mod header;
mod hello;
mod json;
mod keepalive;
mod lengths;
mod machine;
mod message_batch;
mod phase;
mod reason;
mod receive;
mod refusals;
mod send;
mod sequenced;
mod split;
mod tally;

pub use self::{
    ack_receiver::{AckReceiver, REMEMBERED, REMEMBERED_FOR, ReceiveOutcome},
    ack_sender::{AckSender, AckSenderFull, AckSenderLimits, OnRestart},
    directory::{ClassicSign, LinkId, PeerDirectory, PeerDirectoryConfig, Reach},
    event::{ExchangeKind, LinkConfig, LinkCounts, LinkEvent, Refused, Role},
    header::{ExchangeHead, Flags, MAX_PAYLOAD},
    hello::{Hello, InvalidHello},
    machine::Link,
    message_batch::MessageBatch,
    phase::{LinkPhase, LinkPhaseEvent},
    reason::Reason,
    sequenced::{AckLevel, SEQUENCED_LEN, Sequenced},
    split::{Frames, MAX_FRAME},
};
pub(crate) use self::{
    hello::{LISTING, MAX_HELLO_LEN},
    lengths::{LENGTHS, MAX_IN_HELLO, MAX_LENGTHS},
    refusals::REFUSALS,
    sequenced::SERIES,
    tally::COUNTS,
};

/// The codes of the link itself.
pub(crate) mod code {
    use crate::frame::TypeCode;

    pub(crate) const LNK: TypeCode = TypeCode::new(b"@LNK");
    pub(crate) const CRD: TypeCode = TypeCode::new(b"@CRD");
    pub(crate) const PNG: TypeCode = TypeCode::new(b"@PNG");
    pub(crate) const PON: TypeCode = TypeCode::new(b"@PON");
    pub(crate) const BYE: TypeCode = TypeCode::new(b"@BYE");
    pub(crate) const END: TypeCode = TypeCode::new(b"@END");
    pub(crate) const ACK: TypeCode = TypeCode::new(b"@ACK");
    pub(crate) const RST: TypeCode = TypeCode::new(b"@RST");
    pub(crate) const RFS: TypeCode = TypeCode::new(b"@RFS");
    pub(crate) const LEN: TypeCode = TypeCode::new(b"@LEN");
    pub(crate) const GOT: TypeCode = TypeCode::new(b"@GOT");

    /// Whether a frame of an exchange counts as use of the link. Pings do not keep a link open, and
    /// an `@END` carries no message.
    pub(super) fn is_use(code: TypeCode) -> bool {
        !matches!(code, TypeCode::PING | TypeCode::PONG | END)
    }
}

#[cfg(test)]
mod tests;

//! Layer 3: the persistent link as a pure state machine (WIRE.md part 3). No socket, no clock, no
//! actor: frames, credit and the time go in; frames, deliveries and the next wake-up come out.
//!
//! One connection carries many exchanges in both directions. What a receiver has not worked off is
//! bounded by credit, so a sender feels a slow receiver and never fills its memory.
//!
//! Where WIRE.md leaves a choice, this is what a link does:
//!
//! - Credit counts the data of a frame: exchange header and payload.
//! - A side that ends an exchange without a message to carry the END sends a frame with the code
//!   `@END` and no payload; a RESET has the code `@RST`.
//! - An empty frame, of which a hundred in a row end the link, is one that moves nothing: a part of
//!   a message without payload, or credit of zero.
//!
//! One frame is more than WIRE.md has, for a side whose hello lists the feature `refusals`: `@RFS` on
//! exchange 0 says how many of its one-way messages were refused (u32), of which code (4 bytes), and
//! the reason. More of them than were sent are counted as late. When the hellos of both sides list the
//! feature `series`, the series of an acknowledged message (u64) follows the byte with its level.

mod alive;
mod book;
mod cut;
mod event;
mod grant;
mod header;
mod hello;
mod json;
mod machine;
mod numbered;
mod one_ways;
mod outbox;
mod phase;
mod reason;
mod receive;
mod refusals;
mod seen;
mod send;

pub use self::{
    book::{Book, BookConfig, LinkId, Way},
    cut::{Frames, MAX_FRAME},
    event::{Counts, Kind, LinkConfig, LinkEvent, Refused, Role},
    header::{ExchangeHead, Flags, MAX_PAYLOAD},
    hello::{Hello, InvalidHello},
    machine::Link,
    numbered::{AckLevel, NUMBERED_LEN, Numbered},
    one_ways::OneWays,
    outbox::{OnRestart, Outbox, OutboxFull, OutboxLimits},
    phase::{LinkPhase, LinkPhaseEvent},
    reason::Reason,
    seen::{Novelty, REMEMBERED, REMEMBERED_FOR, Seen},
};
pub(crate) use self::{hello::MAX_HELLO_LEN, numbered::SERIES, refusals::REFUSALS};

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
}

#[cfg(test)]
mod tests;

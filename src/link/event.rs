//! What goes into a link and what comes out of it, besides frames.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::{
    frame::TypeCode,
    link::{AckLevel, Hello, MessageBatch, Reason, Sequenced},
};

/// Who opened the connection. The dialler numbers its exchanges with odd numbers, the acceptor with
/// even ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// This side.
    Dialler,
    /// The other side.
    Acceptor,
}

/// The options of a link.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// What this side says of itself. Its window should be at least twice its longest message.
    pub hello: Hello,
    /// The pause between two questions whether the other side is alive. Three without a sign of
    /// life end the link.
    pub keep_alive: Duration,
}

/// What kind of message an exchange begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A one-way message that is too long for one frame.
    OneWay,
    /// A request: replies are expected.
    Request,
    /// A message that is to be acknowledged.
    Sequenced(Sequenced),
}

/// What happened on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// The other side's hello came: exchanges may begin.
    Opened,
    /// A one-way message or a request, or a part of one.
    Message {
        /// The exchange; 0 for a one-way message in one frame.
        exchange: u32,
        /// The code of the message.
        code: TypeCode,
        /// The data, or a part of it.
        data: Bytes,
        /// Whether it begins here.
        first: bool,
        /// Whether it ends here.
        last: bool,
        /// Whether replies, or an acknowledgement, are expected.
        request: bool,
        /// The numbers of a message that is to be acknowledged, in its first part.
        numbered: Option<Sequenced>,
        /// Bytes to hand to [`Link::consumed`](crate::link::Link::consumed) when they are worked
        /// off.
        cost: u32,
    },
    /// One-way messages that came together, from [`Link::handle_all`](crate::link::Link::handle_all).
    /// Their bytes of data, exchange headers included, are to be handed to
    /// [`Link::consumed`](crate::link::Link::consumed) when they are worked off.
    MessageBatch(MessageBatch),
    /// A reply to a request of this side, or a part of one.
    Reply {
        /// The exchange.
        exchange: u32,
        /// The code of the message.
        code: TypeCode,
        /// The data, or a part of it.
        data: Bytes,
        /// Whether the message ends here.
        last: bool,
        /// Bytes to hand to [`Link::read`](crate::link::Link::read) when they are worked off.
        cost: u32,
    },
    /// The other side acknowledged a message; the exchange is over.
    Acknowledged {
        /// The exchange.
        exchange: u32,
        /// The message's number.
        sequence: u64,
        /// How far it has come.
        level: AckLevel,
    },
    /// The other side has sent its last reply in this exchange.
    Ended {
        /// The exchange.
        exchange: u32,
    },
    /// The other side ended an exchange at once.
    Reset {
        /// The exchange.
        exchange: u32,
        /// Why.
        reason: Reason,
    },
    /// This side ended an exchange before the message of the other side had come in full. No further
    /// part of it comes out.
    Abandoned {
        /// The exchange.
        exchange: u32,
        /// Why. [`Reason::CANCELLED`] if it was ended regularly, with a reply.
        reason: Reason,
    },
    /// The other side worked off so many bytes of one-way messages and requests.
    Granted {
        /// Bytes.
        bytes: u32,
    },
    /// The other side read replies: more may be sent in this exchange.
    ReplyGranted {
        /// The exchange.
        exchange: u32,
    },
    /// The other side refused one-way messages of this side.
    Refused {
        /// Their code.
        code: TypeCode,
        /// Why.
        reason: Reason,
        /// How many.
        messages: u32,
    },
    /// The other side starts no new exchange, and this side may not either.
    Leaving,
    /// The link is over.
    Closed {
        /// Why.
        reason: Reason,
        /// Whether the other side said so.
        remote: bool,
    },
}

/// Why a link does not take something to send. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// There is not enough credit now.
    #[error("no credit")]
    Full,
    /// As many requests are open as the other side allows.
    #[error("too many open requests")]
    TooMany,
    /// More than [`MAX_PAYLOAD`](crate::link::MAX_PAYLOAD) bytes at once.
    #[error("too long for one frame")]
    TooLong,
    /// The link is not open yet, or starts no new exchange any more.
    #[error("the link takes nothing new")]
    NotOpen,
    /// The exchange is over.
    #[error("the exchange is over")]
    Over,
}

/// What a link has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Frames received.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Bytes received, headers included.
    pub bytes_in: u64,
    /// Bytes sent, headers included.
    pub bytes_out: u64,
    /// Frames that came for an exchange after this side had ended it.
    pub late: u64,
    /// Requests that were refused because too many were open.
    pub refused: u64,
    /// Messages and replies, or parts of them, of both directions: what is no control frame, and no
    /// question whether the other side is alive (`PING`, `PONG`), which keeps no link open.
    pub moved: u64,
    /// Questions for life that the other side has answered.
    pub pongs: u64,
}

//! The configuration, the events and the errors of a link.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::{
    frame::TypeCode,
    link::{AckLevel, Hello, MessageBatch, Reason, Sequenced},
};

/// The role of a side. The dialler numbers its exchanges with odd numbers, the acceptor with even
/// ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// This side opened the connection.
    Dialler,
    /// The other side opened the connection.
    Acceptor,
}

/// The options of a link.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// The hello of this side. Its window should be at least twice its longest message.
    pub hello: Hello,
    /// The interval of keepalives. Three intervals of silence end the link.
    pub keep_alive: Duration,
}

/// The kind of message with which an exchange begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// A one-way message that is too long for one frame.
    OneWay,
    /// A request: replies are expected.
    Request,
    /// An acknowledged message.
    Sequenced(Sequenced),
}

/// An event of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// The hello of the other side arrived: exchanges may begin.
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
        /// The numbers of an acknowledged message, in its first part. `None` for all others.
        numbered: Option<Sequenced>,
        /// Bytes to pass to [`Link::consumed`](crate::link::Link::consumed) after processing.
        cost: u32,
    },
    /// One-way messages that arrived together, from
    /// [`Link::handle_all`](crate::link::Link::handle_all). Their bytes of data, exchange headers
    /// included, must be passed to [`Link::consumed`](crate::link::Link::consumed) after
    /// processing.
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
        /// Bytes to pass to [`Link::read`](crate::link::Link::read) after processing.
        cost: u32,
    },
    /// The other side acknowledged a message, which ends the exchange.
    Acknowledged {
        /// The exchange.
        exchange: u32,
        /// The message's number.
        sequence: u64,
        /// The level that the message has reached.
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
    /// This side ended an exchange before the message of the other side had come in full. No
    /// further part of it comes out.
    Abandoned {
        /// The exchange.
        exchange: u32,
        /// Why. [`Reason::CANCELLED`] if it was ended regularly, with a reply.
        reason: Reason,
    },
    /// The other side granted credit for this many bytes of one-way messages and requests.
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
        /// The number of messages.
        messages: u32,
    },
    /// The other side starts no new exchange, and this side may not either.
    Leaving,
    /// The link has ended.
    Closed {
        /// Why.
        reason: Reason,
        /// Whether the other side ended it.
        remote: bool,
    },
}

/// Why a link refuses to send a frame. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// There is not enough credit now.
    #[error("no credit")]
    Full,
    /// The open requests have reached the limit of the other side.
    #[error("too many open requests")]
    TooMany,
    /// More than [`MAX_PAYLOAD`](crate::link::MAX_PAYLOAD) bytes at once.
    #[error("too long for one frame")]
    TooLong,
    /// The link is not open yet, or no longer starts exchanges.
    #[error("the link accepts no new exchanges")]
    NotOpen,
    /// The exchange has ended.
    #[error("the exchange has ended")]
    Over,
}

/// The counters of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LinkCounts {
    /// Frames received.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Bytes received, headers included.
    pub bytes_in: u64,
    /// Bytes sent, headers included.
    pub bytes_out: u64,
    /// Frames that arrived for an exchange after this side had ended it.
    pub late: u64,
    /// Requests that were refused because too many were open.
    pub refused: u64,
    /// Messages and replies, or parts of them, of both directions. Control frames, and `PING` and
    /// `PONG`, which keep no link open, are not counted.
    pub moved: u64,
    /// Keepalives that the other side has answered.
    pub pongs: u64,
}

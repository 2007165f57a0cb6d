//! Why a request failed, and whether it may have been handled.

use std::{io, time::Duration};

use serde::Serialize;

use crate::{
    frame::{FrameError, WireError},
    link::Reason,
    node::Banned,
    overlay::{Address, InvalidAddress, PeerId, RouteFault},
    transport::IdentityFault,
};

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes are not a frame, the frame is truncated, or the connection broke. The connection
    /// is closed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Nothing arrived for this time. The connection, or the exchange on a link, is closed.
    #[error("timed out: nothing arrived for {0:?}")]
    Late(Duration),
    /// The exchange on a link, or the whole link, was ended before the data was complete.
    #[error("ended: {0}")]
    Reset(Reason),
}

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("nothing could be written for {0:?}")]
    Stalled(Duration),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the source of a body failed after {got} of {len} bytes")]
    Source { got: u64, len: u64, source: io::Error },
}

/// A message that was not written in full.
#[derive(Debug)]
pub(crate) struct Unwritten {
    pub(crate) error: WriteError,
    /// Whether enough of it was sent that a handler may have been called.
    pub(crate) begun: bool,
}

/// The side that caused an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The caller: it asked for something that cannot be done.
    Caller,
    /// The other node.
    Remote,
    /// This node: it stops, or one of its limits is reached.
    Node,
    /// The network between the nodes.
    Transport,
}

/// Why a request failed.
///
/// In every case the connection of this exchange is closed and the node continues.
/// [`may_have_been_handled`](Self::may_have_been_handled) says whether the request may have been
/// handled, and [`cause`](Self::cause) which side caused the error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The text is neither `host:port` nor an id. Caused by the caller; nothing was sent.
    #[error("not an address or an id: {0}")]
    InvalidTarget(#[from] InvalidAddress),
    /// No peer with this id is in the table. Caused by the caller; nothing was sent.
    #[error("no known peer has the id {0}")]
    UnknownPeer(PeerId),
    /// The frame cannot be sent. Its code is reserved for the framework, or it is longer than a
    /// frame can be, or longer than the other node has announced to accept for its code over the
    /// link ([`FrameError::TooLong`] has the code, the length and the limit). Caused by the caller;
    /// nothing was sent.
    #[error(transparent)]
    NotSendable(FrameError),
    /// A routed message did not reach its destination. The fault says why and where. Whether it may
    /// have been handled: see [`RouteFault::may_have_been_handled`].
    #[error(transparent)]
    Route(RouteFault),
    /// A streamed body cannot be routed over several nodes. Caused by the caller; nothing was sent.
    #[error("a streamed body cannot be routed")]
    BodyNotRouted,
    /// A streamed body cannot be kept until it is acknowledged. Caused by the caller; nothing was
    /// sent.
    #[error("a streamed body cannot be acknowledged")]
    BodyNotKept,
    /// This node was at its limit of exchanges or dials for the whole connect time-out. Nothing was
    /// sent.
    #[error("too many own exchanges at once")]
    Busy,
    /// Another peer than the expected one is at the address, or this node does not admit the peer,
    /// or the peer does not admit this node. Nothing was sent, except for a `NAME` in a classic
    /// exchange whose answer is another id.
    #[error(transparent)]
    Identity(#[from] IdentityFault),
    /// This node has banned the id of the destination, or the id that was proven there
    /// ([`Peer::ban`](crate::Peer::ban)). Nothing was sent.
    #[error("this node has banned {}", .0.short())]
    Banned(PeerId),
    /// The connection could not be opened (`TimedOut`: not in time). Nothing was sent.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// The address that was dialled.
        to: Address,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The request could not be written in full.
    #[error("cannot write to {to}: {source}")]
    Write {
        /// The address of the destination.
        to: Address,
        /// Whether enough was sent that a streaming handler may have been called: the header in a
        /// classic exchange, the first part over a link. If false, the request was not handled.
        sent: bool,
        /// The error of the operating system, or of the source of a streamed body.
        source: io::Error,
    },
    /// The reply was truncated, was late, or is not made of frames. The request may have been
    /// handled.
    #[error("reply: {0}")]
    Reply(#[from] ReadError),
    /// The other node ended the exchange on a link with this reason, or the link broke. A handler
    /// that panicked is [`Reason::HANDLER_FAILED`] in a classic exchange, too.
    #[error("the exchange was ended: {reason}")]
    Reset {
        /// Why.
        reason: Reason,
        /// Whether enough of the request was sent that a handler may have been called: all of a
        /// request that fits into one frame of the link, or the first part of a longer one.
        sent: bool,
    },
    /// The other node answered with an `ERRO` in place of an acknowledgement. The message may
    /// have been handled.
    #[error("refused: {text:?}")]
    Refused {
        /// The text, as the remote sent it; anything may be in it.
        text: String,
    },
    /// The other node granted no credit for this time, because its handlers were too slow. Nothing
    /// was sent. A long request of which a part was sent ends as [`Write`](Self::Write) instead.
    #[error("the other node took nothing more for {0:?}")]
    NoCredit(Duration),
    /// A link was required, and there is none with that node: it speaks no links, or it is this
    /// node itself, or links are switched off here. Caused by the caller; nothing was sent.
    #[error("no link with {0}")]
    NoLink(Address),
    /// The collected replies are longer than allowed. The request was handled.
    #[error("replies are longer than {limit} bytes")]
    TooMuch {
        /// [`Config::max_collected`](crate::Config::max_collected).
        limit: usize,
    },
    /// The incomplete replies to all requests of this node have used up the memory for them. The
    /// request may have been handled; the rest of its replies is not read.
    #[error("replies that are not complete take {limit} bytes already")]
    NoRoom {
        /// [`Config::max_partial_replies`](crate::Config::max_partial_replies).
        limit: usize,
    },
    /// This node stops, or has stopped. If `sent` is false, the request was not handled.
    #[error("this node is stopping")]
    Stopped {
        /// Whether the request, or enough of it, was sent that a handler may have been called.
        sent: bool,
    },
}

impl From<Banned> for RequestError {
    fn from(Banned(id): Banned) -> Self {
        Self::Banned(id)
    }
}

impl RequestError {
    /// The side that caused the error.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::InvalidTarget(_)
            | Self::UnknownPeer(_)
            | Self::NotSendable(_)
            | Self::BodyNotRouted
            | Self::BodyNotKept
            | Self::NoLink(_)
            | Self::TooMuch { .. } => Cause::Caller,
            Self::Busy | Self::Banned(_) | Self::NoRoom { .. } | Self::Stopped { .. } => {
                Cause::Node
            }
            Self::Identity(IdentityFault::NotAdmitted { .. }) => Cause::Node,
            Self::Identity(IdentityFault::Late { .. })
            | Self::Connect { .. }
            | Self::Write { .. }
            | Self::Reset { reason: Reason::LOST, .. }
            | Self::Reply(ReadError::Reset(Reason::LOST)) => Cause::Transport,
            Self::Route(_)
            | Self::Identity(_)
            | Self::Reset { .. }
            | Self::Refused { .. }
            | Self::NoCredit(_)
            | Self::Reply(ReadError::Late(_) | ReadError::Reset(_)) => Cause::Remote,
            Self::Reply(ReadError::Frame(FrameError::Io(_))) => Cause::Transport,
            Self::Reply(ReadError::Frame(_)) => Cause::Remote,
        }
    }

    /// Whether the request may have been handled. If false, it certainly was not.
    #[must_use]
    pub const fn may_have_been_handled(&self) -> bool {
        match self {
            Self::InvalidTarget(_)
            | Self::UnknownPeer(_)
            | Self::NotSendable(_)
            | Self::BodyNotRouted
            | Self::BodyNotKept
            | Self::Busy
            | Self::NoCredit(_)
            | Self::NoLink(_)
            | Self::Identity(_)
            | Self::Banned(_)
            | Self::Connect { .. } => false,
            Self::Route(fault) => fault.may_have_been_handled(),
            Self::Write { sent, .. } | Self::Stopped { sent } => *sent,
            Self::Reset { reason, sent } => *sent && reason.may_have_been_handled(),
            Self::Reply(_) | Self::Refused { .. } | Self::TooMuch { .. } | Self::NoRoom { .. } => {
                true
            }
        }
    }

    pub(crate) fn not_written(to: Address, unwritten: Unwritten) -> Self {
        let source = match unwritten.error {
            WriteError::Stalled(_) => io::ErrorKind::TimedOut.into(),
            WriteError::Io(source) | WriteError::Source { source, .. } => source,
        };
        Self::Write { to, sent: unwritten.begun, source }
    }
}

/// Why a typed message failed ([`Peer::send`](crate::Peer::send)).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message could not be encoded. Caused by the caller; nothing was sent.
    #[error(transparent)]
    Encode(WireError),
    /// The exchange failed. Whether the message may have been handled: see
    /// [`RequestError::may_have_been_handled`].
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The other node answered with an `ERRO`. The message may have been handled. Nodes of this
    /// crate refuse with fixed texts ([`Refusal`](crate::Refusal)).
    #[error("refused: {text:?}")]
    Refused {
        /// The text, as the remote sent it; anything may be in it.
        text: String,
    },
    /// The other node closed the connection without an answer. The message was handled, or the
    /// other node does not explain its refusals.
    #[error("no answer")]
    NoReply,
    /// The answer could not be decoded as the result of the message. The message was handled.
    #[error(transparent)]
    Decode(WireError),
}

impl SendError {
    /// Whether the message may have been handled. If false, it certainly was not.
    #[must_use]
    pub const fn may_have_been_handled(&self) -> bool {
        match self {
            Self::Encode(_) => false,
            Self::Request(error) => error.may_have_been_handled(),
            Self::Refused { .. } | Self::NoReply | Self::Decode(_) => true,
        }
    }
}

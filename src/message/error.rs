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
    /// The bytes are not a frame, were cut, or the connection broke. The connection is closed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Nothing came for so long. The connection, or the exchange on a link, is closed.
    #[error("timed out: nothing came for {0:?}")]
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
    /// Whether so much of it has left that a handler may have been called.
    pub(crate) begun: bool,
}

/// Who is to blame for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The program that called: it asked for something that cannot be done.
    Caller,
    /// The other node.
    Remote,
    /// This node: it stops, or a limit of its own is reached.
    Node,
    /// The network between them.
    Transport,
}

/// Why a request failed.
///
/// In every case the connection of this exchange is closed and the node goes on.
/// [`may_have_been_handled`](Self::may_have_been_handled) says what is known about the request
/// itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The text is neither `host:port` nor an id. The caller's doing; nothing was sent.
    #[error("not an address or an id: {0}")]
    InvalidTarget(#[from] InvalidAddress),
    /// No peer with this id is in the table. The caller's doing; nothing was sent.
    #[error("no known peer has the id {0}")]
    UnknownPeer(PeerId),
    /// The frame may not or cannot be sent: a code of the framework, or longer than a frame can be,
    /// or than the other node takes for its code, as far as that node has told it over the link
    /// ([`FrameError::TooLong`] has the code, the length and the limit). The caller's doing; nothing
    /// was sent.
    #[error(transparent)]
    NotSendable(FrameError),
    /// A routed message did not reach its destination. Whose doing and where is in the fault; not
    /// handled.
    #[error(transparent)]
    Route(RouteFault),
    /// A streamed body cannot be routed over several nodes. The caller's doing; nothing was sent.
    #[error("a streamed body cannot be routed")]
    BodyNotRouted,
    /// A streamed body cannot be kept until it is acknowledged. The caller's doing; nothing was
    /// sent.
    #[error("a streamed body cannot be acknowledged")]
    BodyNotKept,
    /// The node's own limit of exchanges or dials was reached for the whole connect time-out.
    /// Nothing was sent.
    #[error("too many own exchanges at once")]
    Busy,
    /// Another peer than the one that was asked for is there, or one that this node does not admit,
    /// or one that does not admit this node. Nothing was sent, except for a `NAME` in a classic
    /// exchange whose answer is another id.
    #[error(transparent)]
    Identity(#[from] IdentityFault),
    /// This node has banned the id that the message is for, or that was proven there
    /// ([`Peer::ban`](crate::Peer::ban)). Nothing was sent.
    #[error("this node has banned {}", .0.short())]
    Banned(PeerId),
    /// The connection could not be opened (`TimedOut`: not in time). Nothing was sent.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// Whom.
        to: Address,
        /// What the operating system says.
        source: io::Error,
    },
    /// The request could not be written in full.
    #[error("cannot write to {to}: {source}")]
    Write {
        /// Whom.
        to: Address,
        /// Whether so much of it has left that a handler that takes streams may have been called:
        /// its header in a classic exchange, its first part over a link. When false, it was not
        /// handled.
        sent: bool,
        /// What the operating system, or the source of a streamed body, says.
        source: io::Error,
    },
    /// The reply broke off, was late, or is not made of frames. The request may have been handled.
    #[error("reply: {0}")]
    Reply(#[from] ReadError),
    /// The other node ended the exchange on a link with this reason, or the link broke. A handler
    /// that panicked is [`Reason::HANDLER_FAILED`] in a classic exchange, too.
    #[error("the exchange was ended: {reason}")]
    Reset {
        /// Why.
        reason: Reason,
        /// Whether so much of the request had left this node that a handler may have been called:
        /// all of one that fits into a frame of the link, the first part of a longer one.
        sent: bool,
    },
    /// The other node answered `ERRO` where an acknowledgement was asked for, with this text. The
    /// message may have been handled.
    #[error("refused: {text:?}")]
    Refused {
        /// The text, as the remote sent it; anything may be in it.
        text: String,
    },
    /// The other node worked off too little of what it had: there was no credit for so long. Nothing
    /// was sent. A long request of which a part was sent ends as [`Write`](Self::Write) instead.
    #[error("the other node took nothing more for {0:?}")]
    NoCredit(Duration),
    /// A link was asked for, and there is none with this node: it speaks none, or it is this node
    /// itself, or links are off here. The caller's doing; nothing was sent.
    #[error("no link with {0}")]
    NoLink(Address),
    /// The collected replies are longer than allowed. The request was handled.
    #[error("replies are longer than {limit} bytes")]
    TooMuch {
        /// [`Config::max_collected`](crate::Config::max_collected).
        limit: usize,
    },
    /// What has come of replies to all own requests together, and is not complete, takes all the
    /// memory that there is for it. The request may have been handled; the rest of its replies is not
    /// read.
    #[error("replies that are not complete take {limit} bytes already")]
    NoRoom {
        /// [`Config::max_partial_replies`](crate::Config::max_partial_replies).
        limit: usize,
    },
    /// This node stops, or has stopped. When `sent` is false, nothing was handled.
    #[error("this node is stopping")]
    Stopped {
        /// Whether the request had been sent, or so much of it that a handler may have been called.
        sent: bool,
    },
}

impl From<Banned> for RequestError {
    fn from(Banned(id): Banned) -> Self {
        Self::Banned(id)
    }
}

impl RequestError {
    /// Who is to blame.
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

    /// Whether the request may have been handled. False is certain: it was not.
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
    /// The message could not be encoded. The caller's doing; nothing was sent.
    #[error(transparent)]
    Encode(WireError),
    /// The exchange failed; see there whether the message may have been handled.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The other node answered `ERRO`, with this text. What it did is its to say; this crate's
    /// nodes refuse with fixed texts ([`Refusal`](crate::Refusal)).
    #[error("refused: {text:?}")]
    Refused {
        /// The text, as the remote sent it; anything may be in it.
        text: String,
    },
    /// The other node closed without an answer. It was handled, or the other node does not explain
    /// its refusals.
    #[error("no answer")]
    NoReply,
    /// The answer is not what the message's result looks like. It was handled.
    #[error(transparent)]
    Decode(WireError),
}

impl SendError {
    /// Whether the message may have been handled. False is certain: it was not.
    #[must_use]
    pub const fn may_have_been_handled(&self) -> bool {
        match self {
            Self::Encode(_) => false,
            Self::Request(error) => error.may_have_been_handled(),
            Self::Refused { .. } | Self::NoReply | Self::Decode(_) => true,
        }
    }
}

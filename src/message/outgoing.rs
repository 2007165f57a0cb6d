//! What is sent, and what an open exchange of this node holds.

use std::{fmt, sync::Arc};

use tokio::{
    io::AsyncRead,
    sync::{OwnedSemaphorePermit, oneshot},
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::{
    frame::{Frame, FrameError, IntoTypeCode, TypeCode},
    message::error::Unwritten,
    node::{Direction, Node, OpenGuard},
    overlay::PeerId,
    transport::WriteHalf,
};

/// What a message goes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Over {
    /// A link when the other node speaks links, else a classic exchange.
    #[default]
    Any,
    /// A link, or an error.
    Link,
    /// A classic exchange: a connection of its own.
    Classic,
}

/// A request to send: a frame, or a body streamed from a reader.
pub struct Outgoing {
    pub(crate) kind: OutgoingKind,
    pub(crate) over: Over,
    /// The node that it is for, where that is known.
    pub(crate) whom: Option<PeerId>,
}

pub(crate) enum OutgoingKind {
    Frame(Frame),
    Body { code: TypeCode, len: u32, reader: Box<dyn AsyncRead + Send + Unpin> },
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("code", &self.code()).finish_non_exhaustive()
    }
}

impl From<Frame> for Outgoing {
    fn from(frame: Frame) -> Self {
        Self { kind: OutgoingKind::Frame(frame), over: Over::Any, whom: None }
    }
}

impl Outgoing {
    /// Says what it is to go over. Default [`Over::Any`].
    ///
    /// ```
    /// use actix_peer::{Outgoing, Over, frame::Frame};
    ///
    /// let alone = Outgoing::from(Frame::text("NAME", "")).over(Over::Classic);
    /// # drop(alone);
    /// ```
    #[must_use]
    pub const fn over(mut self, over: Over) -> Self {
        self.over = over;
        self
    }

    /// A request whose data is `len` bytes out of `reader`, sent while they are read, in bounded
    /// memory.
    ///
    /// A reader that ends early breaks the connection short of the length; a longer one is cut at
    /// `len`. At most 4,294,967,295 bytes, as a request is one frame.
    ///
    /// # Panics
    /// As [`Frame::new`] when `code` is text of another length than four.
    #[must_use]
    #[track_caller]
    pub fn body(
        code: impl IntoTypeCode,
        len: u32,
        reader: impl AsyncRead + Send + Unpin + 'static,
    ) -> Self {
        let code = code.into_type_code();
        let kind = OutgoingKind::Body { code, len, reader: Box::new(reader) };
        Self { kind, over: Over::Any, whom: None }
    }

    /// Says which node is to get it, and no other.
    pub(crate) fn only_to(mut self, whom: &PeerId) -> Self {
        self.whom = Some(whom.clone());
        self
    }

    pub(crate) const fn code(&self) -> TypeCode {
        self.kind.code()
    }

    /// The frame, unless it is a body.
    pub(crate) fn into_frame(self) -> Result<Frame, Self> {
        match self.kind {
            OutgoingKind::Frame(frame) => Ok(frame),
            OutgoingKind::Body { .. } => Err(self),
        }
    }

    /// Refuses what may not or cannot be sent.
    pub(crate) fn check(&self) -> Result<(), FrameError> {
        if self.code().is_reserved() {
            return Err(FrameError::Reserved { code: self.code() });
        }
        match &self.kind {
            OutgoingKind::Frame(frame) if u32::try_from(frame.data().len()).is_err() => {
                let length = frame.data().len() as u64;
                Err(FrameError::TooLong { code: frame.code(), length, limit: u64::from(u32::MAX) })
            }
            OutgoingKind::Frame(_) | OutgoingKind::Body { .. } => Ok(()),
        }
    }
}

impl OutgoingKind {
    pub(crate) const fn code(&self) -> TypeCode {
        match self {
            Self::Frame(frame) => frame.code(),
            Self::Body { code, .. } => *code,
        }
    }

    /// Bytes of data.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Frame(frame) => frame.data().len() as u64,
            Self::Body { len, .. } => u64::from(*len),
        }
    }
}

/// What an exchange holds as long as it is open.
pub(crate) struct OutgoingHeld {
    _place: Option<OwnedSemaphorePermit>,
    open: OpenGuard,
    pub(crate) span: Span,
}

impl OutgoingHeld {
    pub(crate) fn node(&self) -> &Node {
        self.open.node()
    }

    /// Of an exchange on a connection of its own.
    pub(crate) fn dialled(node: &Arc<Node>, place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..Self::on_link(node) }
    }

    /// Of an exchange on a link: how many there may be is the other side's to say.
    pub(crate) fn on_link(node: &Arc<Node>) -> Self {
        Self { _place: None, open: node.count_open(Direction::Out), span: Span::current() }
    }
}

/// The write half, kept open until the exchange is over: some callees take a half-close for a
/// goodbye. Stops the task that writes when it is dropped.
pub(crate) enum Sending {
    Done,
    Sent { _half: WriteHalf },
    UnderWay { stop: CancellationToken, result: oneshot::Receiver<Option<Unwritten>> },
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Self::UnderWay { stop, .. } = self {
            stop.cancel();
        }
    }
}

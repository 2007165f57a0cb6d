//! Outgoing messages, and the state of an open exchange of this node.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use tokio::{
    io::AsyncRead,
    sync::{OwnedSemaphorePermit, oneshot},
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::{
    frame::{Frame, FrameError, IntoTypeCode, TypeCode},
    message::{
        error::Unwritten,
        payload::{DataReader, Payload},
    },
    node::{Direction, Node, OpenGuard},
    overlay::PeerId,
    transport::WriteHalf,
};

/// The kind of connection for a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Over {
    /// A link if the other node speaks links, otherwise a classic exchange.
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
    /// The id of the destination. `None` if it is not known.
    pub(crate) whom: Option<PeerId>,
}

pub(crate) enum OutgoingKind {
    Frame(Frame),
    Body { code: TypeCode, len: u32, reader: DataReader },
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
    /// Selects the kind of connection. Default [`Over::Any`].
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

    /// A request whose data is `len` bytes of `reader`, sent while they are read, in bounded
    /// memory.
    ///
    /// If the reader ends early, the connection is closed before the announced length; a longer one
    /// is truncated at `len`. A request is one frame, so the maximum is 4,294,967,295 bytes.
    ///
    /// # Panics
    /// Like [`Frame::new`], if `code` is text whose length is not four.
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

    /// Restricts the message to the node with this id.
    pub(crate) fn only_to(mut self, whom: &PeerId) -> Self {
        self.whom = Some(whom.clone());
        self
    }

    pub(crate) const fn code(&self) -> TypeCode {
        self.kind.code()
    }

    /// The frame; an error with the message itself if it is a body.
    pub(crate) fn into_frame(self) -> Result<Frame, Self> {
        match self.kind {
            OutgoingKind::Frame(frame) => Ok(frame),
            OutgoingKind::Body { .. } => Err(self),
        }
    }

    /// Checks that the message may be sent: its code is not reserved, and it fits into a frame.
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

    /// The data, to be sent in parts. If it is a body, its reads have the time-out `limit`.
    pub(crate) fn into_payload(self, limit: Duration) -> Payload {
        match self {
            Self::Frame(frame) => Payload::Whole(frame.into_data()),
            Self::Body { len, reader, .. } => Payload::body(reader, len.into(), limit),
        }
    }

    /// The length of the data in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Frame(frame) => frame.data().len() as u64,
            Self::Body { len, .. } => u64::from(*len),
        }
    }
}

/// What an exchange holds while it is open.
pub(crate) struct OutgoingHeld {
    _permit: Option<OwnedSemaphorePermit>,
    /// Dropping it ends the actor of the connection.
    pub(crate) actor: Option<oneshot::Sender<Infallible>>,
    open: OpenGuard,
    pub(crate) span: Span,
}

impl OutgoingHeld {
    pub(crate) fn node(&self) -> &Node {
        self.open.node()
    }

    /// For an exchange on a connection of its own.
    pub(crate) fn dialled(node: &Arc<Node>, permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: Some(permit), ..Self::on_link(node) }
    }

    /// For an exchange on a link. It needs no permit: the other side limits their number.
    pub(crate) fn on_link(node: &Arc<Node>) -> Self {
        Self {
            _permit: None,
            actor: None,
            open: node.count_open(Direction::Out),
            span: Span::current(),
        }
    }
}

/// The write half. It is kept open until the exchange ends, because some callees treat a half-close
/// as the end of the connection. Dropping it stops the task that writes.
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

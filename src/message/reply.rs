//! The answer of a handler.

use std::fmt;

use actix::{
    Actor,
    dev::{MessageResponse, OneshotSender},
    prelude::Message,
};
use futures::{Stream, StreamExt, stream::BoxStream};
use tokio::io::AsyncRead;

use crate::{
    frame::{Frame, IntoTypeCode, TypeCode},
    message::payload::DataReader,
    node::Refusal,
};

/// The answer to one request: no frame, one, many, a stream of them, or a body of known length.
///
/// It is the result of the [`Incoming`](crate::Incoming) message, so every response type of actix
/// works: `Reply` itself, `ResponseFuture<Reply>`, `ResponseActFuture<Self, Reply>`,
/// `MessageResult<Incoming>`. The connection is closed after the reply is written. To acknowledge
/// first and work later, return the acknowledgement and spawn the work in the actor's context.
///
/// ```
/// use actix_peer::{Reply, frame::Frame};
///
/// let silent = Reply::none();
/// let one = Reply::one(Frame::text("REPL", "hello"));
/// let two = Reply::many([Frame::text("REPL", "2"), Frame::text("REPL", "a 127.0.0.1 9000")]);
/// ```
pub struct Reply(pub(crate) ReplyKind);

pub(crate) enum ReplyKind {
    Frames(Vec<Frame>),
    One(Frame),
    Stream(BoxStream<'static, Frame>),
    Body { code: TypeCode, len: u64, reader: DataReader },
    Refused(Refusal),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ReplyKind::Frames(frames) => f.debug_tuple("Reply::many").field(frames).finish(),
            ReplyKind::One(frame) => f.debug_tuple("Reply::one").field(frame).finish(),
            ReplyKind::Stream(_) => f.write_str("Reply::stream"),
            ReplyKind::Body { code, len, .. } => {
                f.debug_struct("Reply::body").field("code", code).field("len", len).finish()
            }
            ReplyKind::Refused(refusal) => f.debug_tuple("Reply").field(refusal).finish(),
        }
    }
}

impl Reply {
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(self.0, ReplyKind::Refused(_))
    }

    /// The reply, or the refusal that takes its place.
    pub(crate) fn into_result(self) -> Result<Self, Refusal> {
        match self.0 {
            ReplyKind::Refused(refusal) => Err(refusal),
            kind => Ok(Self(kind)),
        }
    }

    /// No frame: the connection is closed without an answer.
    #[must_use]
    pub const fn none() -> Self {
        Self(ReplyKind::Frames(Vec::new()))
    }

    /// One frame.
    #[must_use]
    pub const fn one(frame: Frame) -> Self {
        Self(ReplyKind::One(frame))
    }

    /// Any number of frames, in this order.
    #[must_use]
    pub fn many(frames: impl IntoIterator<Item = Frame>) -> Self {
        Self(ReplyKind::Frames(frames.into_iter().collect()))
    }

    /// The frames of a stream. The next frame is polled after the network has taken the last one,
    /// so that a slow reader slows the stream.
    ///
    /// The reply ends with the stream. At most
    /// [`Config::handler_timeout`](crate::Config::handler_timeout) may pass between two frames.
    #[must_use]
    pub fn stream(frames: impl Stream<Item = Frame> + Send + 'static) -> Self {
        Self(ReplyKind::Stream(frames.boxed()))
    }

    /// Data of `len` bytes, read from `reader` while it is sent, in bounded memory.
    ///
    /// The data is sent as one frame, or as several full frames if it is longer than 4,294,967,295
    /// bytes ([protocol](crate::protocol#replies)). If the reader ends early or fails, the
    /// connection is closed before the announced length, so that the other side detects it. A
    /// longer reader is truncated at `len`.
    ///
    /// # Panics
    /// Like [`Frame::new`], if `code` is text whose length is not four.
    #[must_use]
    #[track_caller]
    pub fn body(
        code: impl IntoTypeCode,
        len: u64,
        reader: impl AsyncRead + Send + Unpin + 'static,
    ) -> Self {
        Self(ReplyKind::Body { code: code.into_type_code(), len, reader: Box::new(reader) })
    }

    /// One `ERRO` frame with `text`.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self::one(Frame::text(TypeCode::ERRO, text))
    }

    pub(crate) const fn refused(refusal: Refusal) -> Self {
        Self(ReplyKind::Refused(refusal))
    }
}

impl From<Frame> for Reply {
    fn from(frame: Frame) -> Self {
        Self::one(frame)
    }
}

impl From<Vec<Frame>> for Reply {
    fn from(frames: Vec<Frame>) -> Self {
        Self(ReplyKind::Frames(frames))
    }
}

impl<A, M> MessageResponse<A, M> for Reply
where
    A: Actor,
    M: Message<Result = Self>,
{
    fn handle(self, _: &mut A::Context, tx: Option<OneshotSender<Self>>) {
        if let Some(tx) = tx {
            // The send fails only if the connection has ended.
            tx.send(self).ok();
        }
    }
}

//! The source of the parts of a frame: a connection of its own, or a link.

use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    frame::{Frame, Part, TypeCode},
    message::ReadError,
};

/// A part of an incoming frame.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// A complete frame.
    Frame(Frame),
    /// The beginning of a frame: pieces follow.
    Head {
        code: TypeCode,
        /// The length of the data. `None` if the sender does not announce it.
        len: Option<u32>,
    },
    Piece {
        data: Bytes,
        last: bool,
    },
}

impl From<Part> for Chunk {
    fn from(part: Part) -> Self {
        match part {
            Part::Frame(frame) => Self::Frame(frame),
            Part::Head(head) => Self::Head { code: head.code(), len: Some(head.len()) },
            Part::Piece { data, last } => Self::Piece { data, last },
        }
    }
}

/// The source of the parts of a frame: a connection of its own, or a link.
pub(crate) trait BodySource: Send + fmt::Debug {
    /// The next part; `None` at a regular end. Cancel safe.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>>;

    /// Whether it is a link.
    fn is_link(&self) -> bool;

    /// After [`ReadError::Reset`]: whether the request of these replies may have been handled.
    fn was_sent(&self) -> bool;
}

impl BodySource for Box<dyn BodySource> {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>> {
        (**self).poll_part(cx)
    }

    fn is_link(&self) -> bool {
        (**self).is_link()
    }

    fn was_sent(&self) -> bool {
        (**self).was_sent()
    }
}

/// A source that is lent to a body. When the body drops it, it returns to its owner.
#[derive(Debug)]
pub(crate) struct Lent<S: BodySource> {
    source: Option<S>,
    back: Option<oneshot::Sender<S>>,
}

impl<S: BodySource> Lent<S> {
    pub(crate) const fn new(source: S, back: oneshot::Sender<S>) -> Self {
        Self { source: Some(source), back: Some(back) }
    }
}

impl<S: BodySource> BodySource for Lent<S> {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>> {
        match &mut self.source {
            Some(source) => source.poll_part(cx),
            None => Poll::Ready(Ok(None)),
        }
    }

    fn is_link(&self) -> bool {
        self.source.as_ref().is_some_and(S::is_link)
    }

    fn was_sent(&self) -> bool {
        self.source.as_ref().is_none_or(S::was_sent)
    }
}

impl<S: BodySource> Drop for Lent<S> {
    fn drop(&mut self) {
        if let (Some(source), Some(back)) = (self.source.take(), self.back.take()) {
            // The send fails only if the exchange has ended.
            back.send(source).ok();
        }
    }
}

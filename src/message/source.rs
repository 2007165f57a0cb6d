//! The source of the parts of a frame: a connection of its own, or a link.

use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;

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

//! Parts of frames, wherever they come from: a connection of their own, or a link.

use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;

use crate::{
    frame::{Frame, Part, TypeCode},
    message::ReadError,
};

/// A part of a frame that comes.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// All of it.
    Frame(Frame),
    /// It begins: pieces follow.
    Head {
        code: TypeCode,
        /// How long it will be, when its sender says so beforehand.
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

/// Where the parts of a frame come from: a connection of their own, or a link.
pub(crate) trait BodySource: Send + fmt::Debug {
    /// The next part; `None` at a regular end. Cancel safe.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>>;

    /// Whether it is a link.
    fn is_link(&self) -> bool;

    /// After [`ReadError::Reset`]: whether the request whose replies come from here may have been
    /// handled.
    fn was_sent(&self) -> bool;
}

//! Parts of frames, wherever they come from: a connection of their own, or a link.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::{
    classic::{ReadError, reader::FrameReader},
    frame::{Frame, Part, TypeCode},
    node::Node,
    session::Inflow,
};

/// A part of a frame that comes.
#[derive(Debug)]
pub(crate) enum Coming {
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

impl From<Part> for Coming {
    fn from(part: Part) -> Self {
        match part {
            Part::Frame(frame) => Self::Frame(frame),
            Part::Head(head) => Self::Head { code: head.code(), len: Some(head.len()) },
            Part::Piece { data, last } => Self::Piece { data, last },
        }
    }
}

/// Where the parts come from.
#[derive(Debug)]
pub(crate) enum PartReader {
    Classic(FrameReader),
    Link(Inflow),
}

impl PartReader {
    pub(crate) fn node(&self) -> &Node {
        match self {
            Self::Classic(reader) => reader.node(),
            Self::Link(inflow) => inflow.node(),
        }
    }

    /// The next part; none at a regular end. Cancel safe.
    pub(crate) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Coming>, ReadError>> {
        match self {
            Self::Classic(reader) => reader.poll_part(cx).map_ok(|part| part.map(Coming::from)),
            Self::Link(inflow) => inflow.poll_part(cx),
        }
    }
}

//! Assembles frames from their pieces.

use bytes::{Bytes, BytesMut};

use crate::frame::{Frame, FrameError, TypeCode};

/// A frame that is assembled from its pieces. It allocates memory for bytes that have arrived, not
/// for an announced length.
#[derive(Debug)]
pub(crate) struct Assembler {
    code: TypeCode,
    limit: u32,
    data: BytesMut,
}

impl Assembler {
    /// An assembler for a frame of at most `limit` bytes of data.
    pub(crate) fn new(code: TypeCode, limit: u32) -> Self {
        Self { code, limit, data: BytesMut::new() }
    }

    /// Adds a piece, and returns the frame after the last one. An error if the data is longer than
    /// the limit.
    pub(crate) fn push(&mut self, piece: &Bytes, last: bool) -> Result<Option<Frame>, FrameError> {
        let (length, limit) = ((self.data.len() + piece.len()) as u64, u64::from(self.limit));
        if length > limit {
            return Err(FrameError::TooLong { code: self.code, length, limit });
        }
        self.data.extend_from_slice(piece);
        Ok(last.then(|| Frame::new(self.code, std::mem::take(&mut self.data).freeze())))
    }

    /// The number of bytes that have arrived.
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    /// The error for a frame that was truncated here.
    pub(crate) fn truncated(&self, expected: u32) -> FrameError {
        let (got, expected) = (self.data.len() as u64, u64::from(expected));
        FrameError::TruncatedBody { code: self.code, got, expected }
    }
}

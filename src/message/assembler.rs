//! Frames that come in pieces, put together.

use bytes::{Bytes, BytesMut};

use crate::frame::{Frame, FrameError, TypeCode};

/// A frame that is put together from its pieces; memory follows what has come, not what was
/// announced.
#[derive(Debug)]
pub(crate) struct Assembler {
    code: TypeCode,
    limit: u32,
    data: BytesMut,
}

impl Assembler {
    /// One of at most `limit` bytes of data.
    pub(crate) fn new(code: TypeCode, limit: u32) -> Self {
        Self { code, limit, data: BytesMut::new() }
    }

    /// Adds a piece; the frame, when it is the last. Refuses what is longer than the limit.
    pub(crate) fn push(&mut self, piece: &Bytes, last: bool) -> Result<Option<Frame>, FrameError> {
        let (length, limit) = ((self.data.len() + piece.len()) as u64, u64::from(self.limit));
        if length > limit {
            return Err(FrameError::TooLong { code: self.code, length, limit });
        }
        self.data.extend_from_slice(piece);
        Ok(last.then(|| Frame::new(self.code, std::mem::take(&mut self.data).freeze())))
    }

    /// Bytes that have come.
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    /// The error for one that ends here.
    pub(crate) fn cut(&self, expected: u32) -> FrameError {
        let (got, expected) = (self.data.len() as u64, u64::from(expected));
        FrameError::TruncatedBody { code: self.code, got, expected }
    }
}

//! Layer 1: bytes, frames and typed messages ([protocol](crate::protocol#frames)).

mod codec;
mod type_code;
mod wire;

use std::{fmt, str::Utf8Error};

use bytes::Bytes;

pub use self::{
    codec::{DEFAULT_MAX_FRAME_LEN, FrameCodec, PIECE_LEN, Part},
    type_code::{IntoTypeCode, InvalidTypeCode, TypeCode},
    wire::{Format, Wire, WireError, WireStep},
};

/// Bytes of a header: code and length.
pub const HEADER_LEN: usize = 8;

/// One message on the wire: a code and data. Cheap to clone; the data is shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    code: TypeCode,
    data: Bytes,
}

impl fmt::Debug for Frame {
    /// Shows the code and the length, never the data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("code", &self.code).field("len", &self.data.len()).finish()
    }
}

impl Frame {
    /// A frame with any data.
    ///
    /// # Panics
    /// If `code` is a literal whose length is not four bytes.
    #[must_use]
    #[track_caller]
    pub fn new(code: impl IntoTypeCode, data: impl Into<Bytes>) -> Self {
        Self { code: code.into_type_code(), data: data.into() }
    }

    /// A frame with text.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    #[track_caller]
    pub fn text(code: impl IntoTypeCode, text: impl Into<String>) -> Self {
        Self::new(code, text.into().into_bytes())
    }

    /// A frame without data.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    #[track_caller]
    pub fn empty(code: impl IntoTypeCode) -> Self {
        Self::new(code, Bytes::new())
    }

    /// The type of the message.
    #[must_use]
    pub const fn code(&self) -> TypeCode {
        self.code
    }

    /// The data.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// The data, without a copy.
    #[must_use]
    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// The data as text.
    ///
    /// # Errors
    /// The data is not UTF-8.
    pub fn as_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.data)
    }

    /// Bytes on the wire: header and data.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        HEADER_LEN + self.data.len()
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    code: TypeCode,
    len: u32,
}

impl FrameHead {
    /// A header that announces `len` bytes of data.
    #[must_use]
    pub const fn new(code: TypeCode, len: u32) -> Self {
        Self { code, len }
    }

    /// The type of the message.
    #[must_use]
    pub const fn code(&self) -> TypeCode {
        self.code
    }

    /// Bytes of data that follow.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length from a header, not of a collection")]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Encodes the header: the code, then the length, big-endian.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; HEADER_LEN] {
        let ([a, b, c, d], [w, x, y, z]) = (*self.code.as_bytes(), self.len.to_be_bytes());
        [a, b, c, d, w, x, y, z]
    }

    /// Decodes a header.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; HEADER_LEN]) -> Self {
        let [a, b, c, d, w, x, y, z] = bytes;
        Self { code: TypeCode::new(&[a, b, c, d]), len: u32::from_be_bytes([w, x, y, z]) }
    }

    /// The header at the beginning of `bytes`. `None` if it is not complete.
    #[must_use]
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self::from_bytes)
    }
}

/// Why bytes cannot be decoded as a frame, or a frame cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes ended inside a header. Caused by the remote; there is no message.
    #[error("truncated header: {got} of 8 bytes")]
    TruncatedHeader {
        /// Bytes that arrived, 1 to 7.
        got: usize,
    },
    /// The bytes ended inside the data. Caused by the remote; there is no message.
    #[error("truncated data of {code}: {got} of {expected} bytes")]
    TruncatedBody {
        /// The code in the header.
        code: TypeCode,
        /// Bytes of data that arrived.
        got: u64,
        /// Bytes of data that the header announced.
        expected: u64,
    },
    /// The length is over the limit. Caused by the sender of the frame; nothing was allocated, read
    /// or written for it.
    #[error("{code} is too long: {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// The code.
        code: TypeCode,
        /// Bytes of data.
        length: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The code is reserved for the framework: it begins with `@`. Caused by the caller; nothing
    /// was sent.
    #[error("the code {code} is reserved for the framework")]
    Reserved {
        /// The code.
        code: TypeCode,
    },
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_the_code_and_the_length_big_endian() {
        let head = FrameHead::new(TypeCode::NAME, 0x0102_0304);
        assert_eq!(head.to_bytes(), *b"NAME\x01\x02\x03\x04");
        assert_eq!(FrameHead::peek(b"NAME\x01\x02\x03\x04rest"), Some(head));
        assert_eq!(FrameHead::peek(b"NAME\x01\x02\x03"), None);
    }

    #[test]
    fn the_debug_form_of_a_frame_does_not_show_its_data() {
        assert_eq!(format!("{:?}", Frame::text("ECHO", "secret")), "Frame { code: ECHO, len: 6 }");
    }
}

//! Layer 1: bytes, frames and typed messages (WIRE.md, "The wire").

mod codec;
mod wire;

use std::{fmt, str::FromStr, str::Utf8Error};

use bytes::Bytes;
use serde::{Serialize, Serializer};

pub use self::{
    codec::{DEFAULT_MAX_FRAME_LEN, FrameCodec, PIECE_LEN, Part},
    wire::{Format, Wire, WireError, WireStep},
};

/// Bytes of a header: code and length.
pub const HEADER_LEN: usize = 8;

/// The type of a message: four bytes, usually printable.
///
/// ```
/// use actix_peer::frame::TypeCode;
///
/// const ECHO: TypeCode = TypeCode::new(b"ECHO");
/// assert_eq!(ECHO.to_string(), "ECHO");
/// assert_eq!(TypeCode::new(&[0, 1, 2, 255]).to_string(), "0x000102ff");
/// ```
///
/// A code of another length does not compile:
///
/// ```compile_fail
/// const TOO_LONG: actix_peer::frame::TypeCode = actix_peer::frame::TypeCode::new(b"ECHO!");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeCode([u8; 4]);

/// Text that cannot be a [`TypeCode`]: it is not four bytes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a type code has 4 bytes, not {len}")]
pub struct InvalidTypeCode {
    /// Bytes of the text.
    pub len: usize,
}

impl TypeCode {
    /// Asks for the id of a node.
    pub const NAME: Self = Self::new(b"NAME");
    /// Asks for the known peers of a node.
    pub const LIST: Self = Self::new(b"LIST");
    /// Introduces a node.
    pub const JOIN: Self = Self::new(b"JOIN");
    /// Says goodbye.
    pub const QUIT: Self = Self::new(b"QUIT");
    /// Asks whether a node is alive.
    pub const PING: Self = Self::new(b"PING");
    /// The answer to `PING`.
    pub const PONG: Self = Self::new(b"PONG");
    /// Searches for a file.
    pub const QUER: Self = Self::new(b"QUER");
    /// A search result.
    pub const RESP: Self = Self::new(b"RESP");
    /// Fetches a file.
    pub const FGET: Self = Self::new(b"FGET");
    /// A reply.
    pub const REPL: Self = Self::new(b"REPL");
    /// A reply that says no.
    pub const ERRO: Self = Self::new(b"ERRO");
    /// A message on its way over several nodes.
    pub const FWD: Self = Self::new(b"@FWD");
    /// The report that such a message got stuck.
    pub const FWE: Self = Self::new(b"@FWE");

    /// A code from its four bytes; text of another length does not compile.
    #[must_use]
    pub const fn new(code: &[u8; 4]) -> Self {
        Self(*code)
    }

    /// The four bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    /// Whether the code belongs to the framework: it begins with `@`.
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, [b'@', ..])
    }

    /// The code with its ASCII letters in upper case.
    #[must_use]
    pub const fn to_ascii_uppercase(self) -> Self {
        let Self([a, b, c, d]) = self;
        Self([
            a.to_ascii_uppercase(),
            b.to_ascii_uppercase(),
            c.to_ascii_uppercase(),
            d.to_ascii_uppercase(),
        ])
    }
}

impl fmt::Display for TypeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if self.0.iter().all(|byte| matches!(byte, b' '..=b'~')) => f.pad(text),
            _ => write!(f, "0x{:08x}", u32::from_be_bytes(self.0)),
        }
    }
}

impl fmt::Debug for TypeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TypeCode {
    /// As its text form.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<[u8; 4]> for TypeCode {
    fn from(code: [u8; 4]) -> Self {
        Self(code)
    }
}

impl From<&[u8; 4]> for TypeCode {
    fn from(code: &[u8; 4]) -> Self {
        Self(*code)
    }
}

impl TryFrom<&str> for TypeCode {
    type Error = InvalidTypeCode;

    fn try_from(text: &str) -> Result<Self, InvalidTypeCode> {
        text.as_bytes().try_into().map(Self).map_err(|_| InvalidTypeCode { len: text.len() })
    }
}

impl FromStr for TypeCode {
    type Err = InvalidTypeCode;

    fn from_str(text: &str) -> Result<Self, InvalidTypeCode> {
        text.try_into()
    }
}

/// What a [`Frame`] can be made of: a [`TypeCode`], four bytes, or a literal of four bytes.
pub trait IntoTypeCode {
    /// The code.
    fn into_type_code(self) -> TypeCode;
}

impl IntoTypeCode for TypeCode {
    fn into_type_code(self) -> TypeCode {
        self
    }
}

impl IntoTypeCode for [u8; 4] {
    fn into_type_code(self) -> TypeCode {
        TypeCode(self)
    }
}

impl IntoTypeCode for &[u8; 4] {
    fn into_type_code(self) -> TypeCode {
        TypeCode(*self)
    }
}

impl IntoTypeCode for &'static str {
    /// # Panics
    /// When the literal is not four bytes long. For text that is not a literal there is
    /// `TypeCode::try_from`.
    #[track_caller]
    #[expect(
        clippy::panic,
        reason = "a wrong literal is a mistake in the program, as in `HeaderName::from_static`"
    )]
    fn into_type_code(self) -> TypeCode {
        match self.try_into() {
            Ok(code) => code,
            Err(InvalidTypeCode { len }) => panic!("the type code {self:?} has {len} bytes, not 4"),
        }
    }
}

/// One message as it travels: a code and data. Cheap to clone; the data is shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    code: TypeCode,
    data: Bytes,
}

impl fmt::Debug for Frame {
    /// Code and length; never the data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("code", &self.code).field("len", &self.data.len()).finish()
    }
}

impl Frame {
    /// A frame with any data.
    ///
    /// # Panics
    /// When `code` is a literal of another length than four bytes.
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

    /// As on the wire: the code, then the length, big-endian.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; HEADER_LEN] {
        let ([a, b, c, d], [w, x, y, z]) = (self.code.0, self.len.to_be_bytes());
        [a, b, c, d, w, x, y, z]
    }

    /// From the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; HEADER_LEN]) -> Self {
        let [a, b, c, d, w, x, y, z] = bytes;
        Self { code: TypeCode([a, b, c, d]), len: u32::from_be_bytes([w, x, y, z]) }
    }

    /// The header at the beginning of `bytes`; none when it is not complete.
    #[must_use]
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self::from_bytes)
    }
}

/// Why bytes are not a frame, or a frame cannot become bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes ended inside a header. The remote's doing; there is no message.
    #[error("cut in the header: {got} of 8 bytes came")]
    CutHeader {
        /// Bytes that came, 1 to 7.
        got: usize,
    },
    /// The bytes ended inside the data. The remote's doing; there is no message.
    #[error("cut in the data of {code}: {got} of {expected} bytes came")]
    CutBody {
        /// The code in the header.
        code: TypeCode,
        /// Bytes of data that came.
        got: u64,
        /// Bytes of data that the header announced.
        expected: u64,
    },
    /// The length is over the limit. Whoever made the frame is to blame; nothing was reserved, read
    /// or written for it.
    #[error("{code} is too long: {length} bytes, allowed are {limit}")]
    TooLong {
        /// The code.
        code: TypeCode,
        /// Bytes of data.
        length: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The code belongs to the framework: it begins with `@`. The caller's doing; nothing was sent.
    #[error("the code {code} belongs to the framework")]
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
    fn a_code_shows_as_text_when_printable_and_as_hex_otherwise() {
        assert_eq!(TypeCode::new(b"ECHO").to_string(), "ECHO");
        assert_eq!(TypeCode::new(b"a b~").to_string(), "a b~");
        assert_eq!(TypeCode::new(b"EC\nO").to_string(), "0x45430a4f");
        assert_eq!(
            TypeCode::new("é\0\0".as_bytes().first_chunk().unwrap()).to_string(),
            "0xc3a90000"
        );
        assert_eq!(format!("{:?}", TypeCode::new(b"ECHO")), "ECHO");
    }

    #[test]
    fn text_of_another_length_is_a_typed_error() {
        for text in ["", "ECH", "ECHO!", "ééé"] {
            assert_eq!(TypeCode::try_from(text), Err(InvalidTypeCode { len: text.len() }));
        }
        assert_eq!("ECHO".parse(), Ok(TypeCode::new(b"ECHO")));
    }

    #[test]
    #[should_panic(expected = "the type code \"ECHOS\" has 5 bytes, not 4")]
    fn a_literal_of_another_length_is_a_mistake_in_the_program() {
        drop(Frame::text("ECHOS", ""));
    }

    #[test]
    fn only_codes_that_begin_with_an_at_sign_belong_to_the_framework() {
        assert!(TypeCode::FWD.is_reserved());
        assert!(!TypeCode::new(b"F@WD").is_reserved());
    }

    #[test]
    fn upper_case_touches_ascii_letters_only() {
        assert_eq!(TypeCode::new(b"na-e").to_ascii_uppercase(), TypeCode::new(b"NA-E"));
        assert_eq!(
            TypeCode::new(&[0xe9, b'a', 0, 1]).to_ascii_uppercase(),
            TypeCode::new(&[0xe9, b'A', 0, 1])
        );
    }

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

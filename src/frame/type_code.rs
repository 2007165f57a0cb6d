//! `TypeCode`: the code that selects the handler of a frame.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

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
    /// The length of the text in bytes.
    pub len: usize,
}

impl TypeCode {
    /// Asks for the id of a node.
    pub const NAME: Self = Self::new(b"NAME");
    /// Asks for the known peers of a node.
    pub const LIST: Self = Self::new(b"LIST");
    /// Introduces a node.
    pub const JOIN: Self = Self::new(b"JOIN");
    /// Announces that a node leaves.
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
    /// A refusal or an error.
    pub const ERRO: Self = Self::new(b"ERRO");
    /// A routed message, which several nodes forward.
    pub const FWD: Self = Self::new(b"@FWD");
    /// A membership message between the members of a network.
    pub const SWM: Self = Self::new(b"@SWM");
    /// The report that a routed message got stuck.
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
    /// Serializes its text form.
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

/// A type that a [`Frame`](crate::frame::Frame) accepts as its code: a [`TypeCode`], four bytes, or
/// a literal of four bytes.
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
    /// If the literal is not four bytes long. Use `TypeCode::try_from` for text that is not a
    /// literal.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

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
    fn a_literal_of_another_length_panics() {
        drop(Frame::text("ECHOS", ""));
    }

    #[test]
    fn only_codes_that_begin_with_an_at_sign_belong_to_the_framework() {
        assert!(TypeCode::FWD.is_reserved());
        assert!(!TypeCode::new(b"F@WD").is_reserved());
    }

    #[test]
    fn upper_case_changes_only_ascii_letters() {
        assert_eq!(TypeCode::new(b"na-e").to_ascii_uppercase(), TypeCode::new(b"NA-E"));
        assert_eq!(
            TypeCode::new(&[0xe9, b'a', 0, 1]).to_ascii_uppercase(),
            TypeCode::new(&[0xe9, b'A', 0, 1])
        );
    }
}

//! The longest messages that the other side accepts, by code.

use bytes::{Buf, Bytes};
use indexmap::IndexMap;

use crate::frame::TypeCode;

/// In the `features` of a hello: this side asks for changes of lengths.
pub(crate) const LENGTHS: &str = "lengths";

/// The number of lengths that are kept of one remote. If a remote sends more, its lengths are
/// unknown: messages are sent, and may be refused.
pub(crate) const MAX_LENGTHS: usize = 1_024;

/// The number of lengths that fit into a hello. A side with more sends no lengths.
pub(crate) const MAX_IN_HELLO: usize = 128;

/// The lengths that a remote has sent.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    by_code: IndexMap<TypeCode, u32>,
    /// Whether `default` applies to each code that is not listed.
    complete: bool,
    default: u32,
    /// The minimum of all lengths.
    least: u32,
}

impl Lengths {
    /// The lengths in a hello. `default` applies to all other codes.
    pub(super) fn new(told: &[(TypeCode, u32)], default: u32) -> Self {
        let mut lengths =
            Self { by_code: IndexMap::new(), complete: true, default, least: default };
        for (code, length) in told {
            lengths.set(*code, *length);
        }
        lengths
    }

    pub(super) fn set(&mut self, code: TypeCode, length: u32) {
        if self.by_code.len() >= MAX_LENGTHS && !self.by_code.contains_key(&code) {
            self.complete = false;
        } else if self.complete {
            self.by_code.insert(code, length);
            self.least = self.by_code.values().fold(self.default, |least, len| least.min(*len));
        }
    }

    /// Notes a length that has changed. `None` if the payload is not valid.
    pub(super) fn update(&mut self, exchange: u32, payload: Bytes) -> Option<()> {
        let (code, length) = from_payload(payload).filter(|_| exchange == 0)?;
        self.set(code, length);
        Some(())
    }

    /// The longest message with this code. `None` if it is not known. The code is looked up as the
    /// remote looks up its handler: exactly, otherwise in upper case.
    pub(super) fn of(&self, code: TypeCode) -> Option<u32> {
        let told = || {
            let exact = self.by_code.get(&code);
            exact.or_else(|| self.by_code.get(&code.to_ascii_uppercase())).copied()
        };
        self.complete.then(|| told().unwrap_or(self.default))
    }

    /// Whether the remote accepts a message of this length, as far as its limit is known.
    pub(super) fn allow(&self, code: TypeCode, len: usize) -> bool {
        // Checks the minimum first: the look-up of the code is expensive for short messages.
        len <= self.least as usize || self.of(code).is_none_or(|most| len <= most as usize)
    }
}

/// Encodes a length as the payload of a frame.
pub(super) fn to_payload(code: TypeCode, length: u32) -> [u8; 8] {
    let mut payload = [0; 8];
    let (first, last) = payload.split_at_mut(4);
    first.copy_from_slice(code.as_bytes());
    last.copy_from_slice(&length.to_be_bytes());
    payload
}

fn from_payload(mut payload: Bytes) -> Option<(TypeCode, u32)> {
    let code = TypeCode::new(payload.first_chunk()?);
    payload.advance(code.as_bytes().len());
    let length = payload.try_get_u32().ok()?;
    payload.is_empty().then_some((code, length))
}

/// Encodes a length for a hello: the code as eight hexadecimal digits, a colon and the length.
pub(super) fn to_text((code, length): (TypeCode, u32)) -> String {
    format!("{:08x}:{length}", u32::from_be_bytes(*code.as_bytes()))
}

pub(super) fn from_text(text: &str) -> Option<(TypeCode, u32)> {
    let (code, length) = text.split_once(':')?;
    let code = u32::from_str_radix(code, 16).ok().filter(|_| code.len() == 8)?;
    Some((TypeCode::new(&code.to_be_bytes()), length.parse().ok()?))
}

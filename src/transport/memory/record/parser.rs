//! Finds frames and TLS records in the bytes of one direction, which come in pieces of any length.

use std::hash::Hasher as _;

use super::super::fnv::Fnv;
use crate::frame::{HEADER_LEN, TypeCode};

/// The first byte of a TLS connection: the content type of a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Bytes of the header of a TLS record: content type, version, length.
const TLS_HEADER_LEN: usize = 5;

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Protocol {
    Frames,
    Tls,
}

impl Protocol {
    /// The protocol of a connection by its first byte.
    pub(in super::super) const fn of(first: u8) -> Self {
        if first == TLS_HANDSHAKE { Self::Tls } else { Self::Frames }
    }

    const fn header_len(self) -> usize {
        match self {
            Self::Frames => HEADER_LEN,
            Self::Tls => TLS_HEADER_LEN,
        }
    }
}

/// A whole frame or TLS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Unit {
    Frame { code: TypeCode, len: u32, hash: u64 },
    Tls { content_type: u8, len: u16 },
}

/// The parser of one direction. It keeps the header and a hash, never the data.
#[derive(Debug, Default)]
pub(in super::super) struct Parser {
    header: [u8; HEADER_LEN],
    /// The bytes of the header that have come.
    known: usize,
    /// The bytes of the data that have not come, once the header is known.
    missing: u32,
    hash: Fnv,
    incomplete: u64,
}

impl Parser {
    /// Takes bytes, and calls the function for each frame or record that they complete.
    pub(in super::super) fn feed(
        &mut self,
        mut bytes: &[u8],
        protocol: Protocol,
        mut each: impl FnMut(Unit),
    ) {
        let header_len = protocol.header_len();
        while !bytes.is_empty() {
            let is_header = self.known < header_len;
            let wanted = if is_header {
                header_len - self.known
            } else {
                usize::try_from(self.missing).unwrap_or(usize::MAX)
            };
            let (taken, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
            bytes = rest;
            self.incomplete = self.incomplete.saturating_add(taken.len() as u64);
            if is_header {
                for (to, from) in self.header.iter_mut().skip(self.known).zip(taken) {
                    *to = *from;
                }
                self.known += taken.len();
                if self.known == header_len {
                    self.missing = self.len(protocol);
                }
            } else {
                self.hash.write(taken);
                let taken = u32::try_from(taken.len()).unwrap_or(u32::MAX);
                self.missing = self.missing.saturating_sub(taken);
            }
            if self.known == header_len && self.missing == 0 {
                let whole = std::mem::take(self);
                each(whole.unit(protocol));
            }
        }
    }

    /// The number of bytes of a frame or record that is not complete.
    pub(in super::super) const fn incomplete(&self) -> u64 {
        self.incomplete
    }

    fn len(&self, protocol: Protocol) -> u32 {
        match (protocol, self.header) {
            (Protocol::Frames, [_, _, _, _, a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
            (Protocol::Tls, [_, _, _, a, b, ..]) => u16::from_be_bytes([a, b]).into(),
        }
    }

    fn unit(&self, protocol: Protocol) -> Unit {
        let len = self.len(protocol);
        match (protocol, self.header) {
            (Protocol::Frames, [a, b, c, d, ..]) => {
                Unit::Frame { code: TypeCode::new(&[a, b, c, d]), len, hash: self.hash.finish() }
            }
            (Protocol::Tls, [content_type, ..]) => {
                Unit::Tls { content_type, len: u16::try_from(len).unwrap_or(u16::MAX) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &[u8]) -> u64 {
        let mut hash = Fnv::default();
        hash.write(bytes);
        hash.finish()
    }

    fn units(pieces: &[&[u8]]) -> (Vec<Unit>, u64) {
        let (mut parser, mut units) = (Parser::default(), Vec::new());
        let first = pieces.iter().find_map(|piece| piece.first()).copied().unwrap_or(0);
        for piece in pieces {
            parser.feed(piece, Protocol::of(first), |unit| units.push(unit));
        }
        (units, parser.incomplete())
    }

    #[test]
    fn frames_are_found_in_pieces_of_any_length() {
        let bytes = b"PING\0\0\0\x02hiPONG\0\0\0\0REPL\0\0\0\x05hel";
        let frame = |code, data: &[u8]| {
            let len = u32::try_from(data.len()).unwrap();
            Unit::Frame { code: TypeCode::new(code), len, hash: hash(data) }
        };
        let expected = (vec![frame(b"PING", b"hi"), frame(b"PONG", b"")], 11);
        for len in 1..=bytes.len() {
            assert_eq!(units(&bytes.chunks(len).collect::<Vec<_>>()), expected, "{len}");
        }
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(units(&[a, b, &[]]), expected, "{cut}");
        }
    }

    #[test]
    fn a_connection_that_begins_with_a_handshake_is_one_of_tls_records() {
        let bytes = b"\x16\x03\x01\0\x02ab\x17\x03\x03\0\x01x\x15\x03\x03\0\0\x17\x03";
        let tls = |content_type, len| Unit::Tls { content_type, len };
        for len in 1..=bytes.len() {
            let found = units(&bytes.chunks(len).collect::<Vec<_>>());
            assert_eq!(found, (vec![tls(22, 2), tls(23, 1), tls(21, 0)], 2), "{len}");
        }
    }

    #[test]
    fn a_frame_of_4_gib_has_its_length() {
        let mut parser = Parser::default();
        parser.feed(b"HUGE\xff\xff\xff\xff", Protocol::Frames, |unit| panic!("{unit:?}"));
        parser.feed(&[0; 1 << 16], Protocol::Frames, |unit| panic!("{unit:?}"));
        assert_eq!(parser.incomplete(), 8 + (1 << 16));
        // All but the last byte have come.
        parser.missing = 1;
        let mut found = Vec::new();
        parser.feed(b"x", Protocol::Frames, |unit| found.push(unit));
        let [Unit::Frame { code, len, .. }] = found[..] else { panic!("{found:?}") };
        assert_eq!((code.to_string(), len, parser.incomplete()), ("HUGE".to_owned(), u32::MAX, 0));
    }
}

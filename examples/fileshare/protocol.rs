//! The messages between nodes: the text records of the original application
//! (src/protocol.md#file-sharing), and the codes that only nodes of this program use, over links.
//!
//! | code | data of the request | replies |
//! |---|---|---|
//! | `FQRY` | `number return-id key ttl` | as `QUER`; the number distinguishes a repeated search from an echo |
//! | `FINF` | `file-name` | `REPL` `size digest id`; `ERRO` `File not found`; `ERRO` `File not ready` while the digest is computed; `ERRO` `File too long` or `Error reading file` if the file is not offered |
//! | `FMAN` | `digest` | `REPL` frames with the check values of the file's parts, 32 bytes each, in order |
//! | `FGRC` | `digest first count` | one `REPL` for each part; `ERRO` `File has changed or was removed` if the part has changed |
//!
//! The original programs never receive these codes, because they do not open links.

use actix_peer::{
    PeerId, Reply,
    content::{Digest, Layout, Manifest},
    frame::{Frame, TypeCode},
    overlay::{Address, Host},
};

use crate::name::{AnyName, FileName};

/// A numbered search.
pub(crate) const FQRY: TypeCode = TypeCode::new(b"FQRY");
/// Asks for the size and the digest of a name.
pub(crate) const FINF: TypeCode = TypeCode::new(b"FINF");
/// Asks for the check values of a digest.
pub(crate) const FMAN: TypeCode = TypeCode::new(b"FMAN");
/// Asks for parts of a digest.
pub(crate) const FGRC: TypeCode = TypeCode::new(b"FGRC");

/// The maximum length of a request, which is a line of text.
pub(crate) const MAX_REQUEST: usize = 1 << 10;

/// The maximum length of the key of a search.
pub(crate) const MAX_KEY: usize = 128;

/// The maximum number of hops of a search.
pub(crate) const MAX_TTL: u32 = 7;

/// The maximum bytes of check values in one frame.
const CHECKS_PER_FRAME: usize = 256 << 10;

/// The maximum number of parts in one `FGRC`.
pub(crate) const MAX_RANGE: u64 = 64;

pub(crate) const QUERY_ACK: &str = "Query: ACK";
pub(crate) const QUERY_INCORRECT: &str = "Query: incorrect arguments";
pub(crate) const RESP_INCORRECT: &str = "Resp: incorrect arguments";
/// The match is already known; its name follows.
pub(crate) const RESP_DUPLICATE: &str = "Resp: can't add duplicate";
/// Not a text of the original programs, which accept every match.
pub(crate) const RESP_NOT_ASKED: &str = "Resp: not asked for";
pub(crate) const FILE_NOT_FOUND: &str = "File not found";
pub(crate) const FILE_ERROR: &str = "Error reading file";
/// Between nodes of this program.
pub(crate) const FILE_NOT_READY: &str = "File not ready";
/// Between nodes of this program: the file is too long to be split into parts.
pub(crate) const FILE_TOO_LONG: &str = "File too long";
/// Between nodes of this program: the requested part no longer exists.
pub(crate) const FILE_CHANGED: &str = "File has changed or was removed";
/// All permits are taken, or the sender asks too often.
pub(crate) const BUSY: &str = "Busy";

/// One `REPL` with text.
pub(crate) fn repl(text: impl Into<String>) -> Reply {
    Reply::one(Frame::text(TypeCode::REPL, text))
}

/// The text of a request; `None` if it is not text or too long.
pub(crate) fn text_of(frame: &Frame) -> Option<&str> {
    (frame.data().len() <= MAX_REQUEST).then(|| frame.as_str().ok()).flatten()
}

/// The first field and the rest.
fn first_field(text: &str) -> Option<(&str, &str)> {
    text.trim_ascii_start().split_once(|c: char| c.is_ascii_whitespace())
}

/// The text before the last field, and the last field.
fn last_field(text: &str) -> Option<(&str, &str)> {
    text.trim_ascii_end().rsplit_once(|c: char| c.is_ascii_whitespace())
}

/// Parses decimal digits. A number that is too large becomes the maximum.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// An address that can be connected to.
pub(crate) fn reachable(text: &str) -> Option<Address> {
    let address: Address = text.parse().ok()?;
    let somewhere = match address.host() {
        Host::Ip(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        Host::Name(_) => true,
    };
    (somewhere && address.port() != 0).then_some(address)
}

/// A search, as `QUER` and `FQRY` carry it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Query {
    /// The address for matches.
    pub(crate) answer_to: Address,
    /// The text that names have to contain.
    pub(crate) key: String,
    /// The remaining hops.
    pub(crate) ttl: u32,
    /// The number of the search at its node; the original programs send none.
    pub(crate) number: Option<u64>,
}

impl Query {
    /// Parses `return-id key ttl`, or with a number before it.
    pub(crate) fn parse(text: &str, numbered: bool) -> Option<Self> {
        let (number, text) = if numbered {
            let (first, rest) = first_field(text)?;
            (Some(number(first)?), rest)
        } else {
            (None, text)
        };
        let (answer_to, rest) = first_field(text)?;
        let (key, ttl) = last_field(rest)?;
        let ttl = u32::try_from(self::number(ttl)?).map_or(MAX_TTL, |ttl| ttl.min(MAX_TTL));
        Some(Self {
            answer_to: reachable(answer_to)?,
            key: valid_key(key)?.to_owned(),
            ttl,
            number,
        })
    }

    /// The frame for the original programs.
    pub(crate) fn to_classic(&self) -> Frame {
        let Self { answer_to, key, ttl, .. } = self;
        Frame::text(TypeCode::QUER, format!("{answer_to} {key} {ttl}"))
    }

    /// The frame for nodes of this program. A search without a number gets none.
    pub(crate) fn to_frame(&self) -> Frame {
        match self.number {
            Some(number) => {
                let Self { answer_to, key, ttl, .. } = self;
                Frame::text(FQRY, format!("{number} {answer_to} {key} {ttl}"))
            }
            None => self.to_classic(),
        }
    }
}

/// The key without surrounding white space; `None` if it is invalid.
pub(crate) fn valid_key(key: &str) -> Option<&str> {
    let key = key.trim();
    let valid = !key.is_empty() && key.len() <= MAX_KEY && !key.contains(char::is_control);
    valid.then_some(key)
}

/// A match, as in `RESP`. The names of original programs may be paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match<N = FileName> {
    pub(crate) name: N,
    /// By convention `host:port`; some nodes send an id.
    pub(crate) owner: String,
}

impl Match {
    pub(crate) fn to_frame(&self) -> Frame {
        Frame::text(TypeCode::RESP, format!("{} {}", self.name, self.owner))
    }
}

impl Match<AnyName> {
    /// Parses `file-name owner-id`: the last field is the owner, the text before it the name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, owner) = last_field(text)?;
        let owner: PeerId = owner.parse().ok()?;
        Some(Self { name: AnyName::new(name.trim_ascii())?, owner: owner.to_string() })
    }
}

/// The answer to `FINF`: what a node knows about its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileInfo {
    pub(crate) layout: Layout,
    pub(crate) digest: Digest,
    /// The owner.
    pub(crate) id: PeerId,
}

impl FileInfo {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace();
        let layout = Layout::of(number(fields.next()?)?)?;
        let digest = fields.next()?.parse().ok()?;
        let id = fields.next()?.parse().ok()?;
        fields.next().is_none().then_some(Self { layout, digest, id })
    }

    pub(crate) fn to_reply(&self) -> Reply {
        repl(format!("{} {} {}", self.layout.size(), self.digest, self.id))
    }
}

/// Parts of a file: the request `FGRC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartsRequest {
    pub(crate) digest: Digest,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl PartsRequest {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace();
        let digest = fields.next()?.parse().ok()?;
        let (first, count) = (number(fields.next()?)?, number(fields.next()?)?);
        let valid = fields.next().is_none() && (1..=MAX_RANGE).contains(&count);
        valid.then_some(Self { digest, first, count })
    }

    pub(crate) fn to_frame(self) -> Frame {
        Frame::text(FGRC, format!("{} {} {}", self.digest, self.first, self.count))
    }
}

/// The check values as frames.
pub(crate) fn checks_to_frames(manifest: &Manifest) -> Vec<Frame> {
    let frames = manifest.check_bytes().chunks(CHECKS_PER_FRAME);
    frames.map(|some| Frame::new(TypeCode::REPL, some.to_vec())).collect()
}

#[cfg(test)]
#[path = "../../tests/wire/blocks.rs"]
mod blocks;

#[cfg(test)]
mod tests {
    use super::{blocks::block, *};

    /// An example of `src/protocol.md`: its code, and its data as text.
    fn example(name: &str) -> (TypeCode, String) {
        let bytes = block(name).bytes();
        let (code, data) = (TypeCode::new(bytes.first_chunk().unwrap()), &bytes[8..]);
        (code, String::from_utf8(data.to_vec()).unwrap())
    }

    #[test]
    fn the_examples_of_the_protocol_are_read_and_written() {
        let (code, text) = example("query");
        let query = Query::parse(&text, false).unwrap();
        assert_eq!((query.key.as_str(), query.ttl), ("song", 4));
        assert_eq!(query.to_classic(), Frame::text(code, text));
        let (code, text) = example("numbered-query");
        let numbered = Query::parse(&text, true).unwrap();
        assert_eq!(numbered, Query { number: Some(7), ..query });
        assert_eq!(numbered.to_frame(), Frame::text(code, text));
        let (code, text) = example("response");
        let found = Match::parse(&text).unwrap();
        assert_eq!(found.name.to_string(), "my song.ogg");
        assert_eq!(format!("{} {}", found.name, found.owner), text);
        assert_eq!(code, TypeCode::RESP);
        assert_eq!(example("query-reply"), (TypeCode::REPL, QUERY_ACK.to_owned()));
        let names = [("fetch", TypeCode::FGET), ("file-info", FINF)];
        for (name, expected) in names {
            let (code, text) = example(name);
            assert_eq!((code, text.parse::<FileName>().is_ok()), (expected, true), "{name}");
        }
        let (_, text) = example("file-info-reply");
        let info = FileInfo::parse(&text).unwrap();
        let empty = Digest::of(b"");
        assert_eq!((info.layout.size(), info.digest), (0, empty));
        let (code, text) = example("file-parts");
        assert_eq!((code, text.parse().ok()), (FMAN, Some(empty)));
        let (code, text) = example("get-parts");
        let parts = PartsRequest::parse(&text).unwrap();
        assert_eq!(parts, PartsRequest { digest: empty, first: 0, count: 2 });
        assert_eq!(parts.to_frame(), Frame::text(code, text));
    }

    #[test]
    fn every_text_of_an_error_is_in_the_protocol() {
        let page = include_str!("../../src/protocol.md");
        let texts = [
            QUERY_INCORRECT,
            RESP_INCORRECT,
            RESP_DUPLICATE,
            RESP_NOT_ASKED,
            FILE_NOT_FOUND,
            FILE_ERROR,
            FILE_NOT_READY,
            FILE_TOO_LONG,
            FILE_CHANGED,
            BUSY,
        ];
        let table = page.split_once("| text of an `ERRO` |").unwrap().1.split("\n\n").next();
        let rows: Vec<_> = table.unwrap().lines().skip(2).collect();
        assert_eq!(rows.len(), texts.len());
        for text in texts {
            assert!(rows.iter().any(|row| row.starts_with(&format!("| `{text}"))), "{text}");
        }
    }

    fn query(text: &str) -> Option<(String, String, u32)> {
        Query::parse(text, false).map(|q| (q.answer_to.to_string(), q.key, q.ttl))
    }

    #[test]
    fn a_query_is_return_id_key_and_ttl_and_the_key_may_hold_white_space() {
        let read = |key: &str, ttl| Some(("127.0.0.1:9000".to_owned(), key.to_owned(), ttl));
        assert_eq!(query("127.0.0.1:9000 song 4"), read("song", 4));
        assert_eq!(query(" 127.0.0.1:9000\tmy  song \r\n 4\n"), read("my  song", 4));
        assert_eq!(query("127.0.0.1:9000 4 4"), read("4", 4));
        assert_eq!(query("127.0.0.1:9000 x 99999999999999999999"), read("x", MAX_TTL));
        assert_eq!(query("localhost:1 x 0").unwrap().0, "localhost:1");
        for wrong in [
            "",
            "a",
            "127.0.0.1:9000",
            "127.0.0.1:9000 4",
            "127.0.0.1:9000  4",
            "ada song 4",
            "127.0.0.1:0 song 4",
            "0.0.0.0:9 song 4",
            "224.0.0.1:9 song 4",
            "127.0.0.1:9000 song x",
            "127.0.0.1:9000 song -1",
            "127.0.0.1:9000 so\0ng 4",
        ] {
            assert_eq!(query(wrong), None, "{wrong:?}");
        }
        assert_eq!(query(&format!("127.0.0.1:9000 {} 4", "x".repeat(129))), None);
    }

    #[test]
    fn a_query_is_written_as_the_originals_read_it() {
        let mut query = Query::parse("127.0.0.1:9000 song 4", false).unwrap();
        assert_eq!(query.to_frame(), Frame::text("QUER", "127.0.0.1:9000 song 4"));
        query.number = Some(7);
        assert_eq!(query.to_frame(), Frame::text("FQRY", "7 127.0.0.1:9000 song 4"));
        assert_eq!(query.to_classic(), Frame::text("QUER", "127.0.0.1:9000 song 4"));
        assert_eq!(Query::parse("7 127.0.0.1:9000 song 4", true), Some(query));
    }

    #[test]
    fn the_last_field_of_a_match_is_the_owner_and_all_before_it_the_name() {
        let read = |text: &str| Match::parse(text).map(|m| (m.name.to_string(), m.owner));
        let is = |name: &str, owner: &str| Some((name.to_owned(), owner.to_owned()));
        assert_eq!(read("a.txt 127.0.0.1:9000"), is("a.txt", "127.0.0.1:9000"));
        assert_eq!(read("my  song.ogg  ada\n"), is("my  song.ogg", "ada"));
        for wrong in ["", "a", "a ", " 127.0.0.1:1"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        // An invalid name is only shown.
        for unfit in ["../x 127.0.0.1:1", "/etc/passwd ada", "a\0b ada"] {
            let name = Match::parse(unfit).unwrap().name;
            assert!(matches!(name, AnyName::Unfit { .. }), "{unfit:?}: {name:?}");
        }
    }

    #[test]
    fn requests_for_parts_are_bounded() {
        let digest = "a".repeat(64);
        assert!(PartsRequest::parse(&format!("{digest} 0 64")).is_some());
        for (first, count) in [("0", "0"), ("0", "65"), ("-1", "1"), ("x", "1"), ("0", "1 1")] {
            assert_eq!(PartsRequest::parse(&format!("{digest} {first} {count}")), None);
        }
    }
}

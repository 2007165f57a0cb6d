//! What the program says to others: the text records of the original application
//! (src/protocol.md#file-sharing), and the codes that only nodes of this program use among
//! themselves, over links.
//!
//! | code | data of the request | replies |
//! |---|---|---|
//! | `FQRY` | `number return-id key ttl` | as `QUER`; the number tells a search that is repeated from an echo |
//! | `FINF` | `file-name` | `REPL` `size digest id`; `ERRO` `File not found`; `ERRO` `File not ready` while the digest is computed; `ERRO` `File too long` or `Error reading file` of one that is not offered |
//! | `FMAN` | `digest` | `REPL` frames with the check values of the file's parts, 32 bytes each, in order |
//! | `FGRC` | `digest first count` | one `REPL` for each part; `ERRO` `File has changed or was removed` when that part is no longer what it was |
//!
//! The original programs never see the latter: who does not open a link is not asked.

use actix_peer::{
    PeerId, Reply,
    content::{Digest, Layout, Manifest},
    frame::{Frame, TypeCode},
    overlay::{Address, Host},
};

use crate::name::{AnyName, FileName};

/// A numbered search.
pub(crate) const FQRY: TypeCode = TypeCode::new(b"FQRY");
/// Asks for size and digest of a name.
pub(crate) const FINF: TypeCode = TypeCode::new(b"FINF");
/// Asks for the check values of a digest.
pub(crate) const FMAN: TypeCode = TypeCode::new(b"FMAN");
/// Asks for parts of a digest.
pub(crate) const FGRC: TypeCode = TypeCode::new(b"FGRC");

/// Bytes of a request: every one is a line of text.
pub(crate) const MAX_REQUEST: usize = 1 << 10;

/// Bytes of the key of a search.
pub(crate) const MAX_KEY: usize = 128;

/// Hops that a search may go on.
pub(crate) const MAX_TTL: u32 = 7;

/// Bytes of check values in one frame.
const CHECKS_A_FRAME: usize = 256 << 10;

/// Parts that one `FGRC` may ask for.
pub(crate) const MAX_RANGE: u64 = 64;

pub(crate) const QUERY_ACK: &str = "Query: ACK";
pub(crate) const QUERY_INCORRECT: &str = "Query: incorrect arguments";
pub(crate) const RESP_INCORRECT: &str = "Resp: incorrect arguments";
/// What follows is known already.
pub(crate) const RESP_DUPLICATE: &str = "Resp: can't add duplicate";
/// Not one of the originals' texts: they believe everybody about everybody.
pub(crate) const RESP_NOT_ASKED: &str = "Resp: not asked for";
pub(crate) const FILE_NOT_FOUND: &str = "File not found";
pub(crate) const FILE_ERROR: &str = "Error reading file";
/// Between nodes of this program.
pub(crate) const FILE_NOT_READY: &str = "File not ready";
/// Between nodes of this program: it cannot be cut into parts.
pub(crate) const FILE_TOO_LONG: &str = "File too long";
/// Between nodes of this program: what was asked for is not there any more.
pub(crate) const FILE_CHANGED: &str = "File has changed or was removed";
/// All places are taken, or the sender asks too often.
pub(crate) const BUSY: &str = "Busy";

/// One `REPL` with text.
pub(crate) fn repl(text: impl Into<String>) -> Reply {
    Reply::one(Frame::text(TypeCode::REPL, text))
}

/// The text of a request, when it is one and not too long.
pub(crate) fn text_of(frame: &Frame) -> Option<&str> {
    (frame.data().len() <= MAX_REQUEST).then(|| frame.as_str().ok()).flatten()
}

/// The first field and the rest.
fn first_field(text: &str) -> Option<(&str, &str)> {
    text.trim_ascii_start().split_once(|c: char| c.is_ascii_whitespace())
}

/// What is before the last field, and the last field.
fn last_field(text: &str) -> Option<(&str, &str)> {
    text.trim_ascii_end().rsplit_once(|c: char| c.is_ascii_whitespace())
}

/// Decimal digits and nothing else; what is too large is the largest.
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
    /// Whom to tell about matches.
    pub(crate) answer_to: Address,
    /// What names are to contain.
    pub(crate) key: String,
    /// Hops that it may still go on.
    pub(crate) ttl: u32,
    /// Which search of that node it is; the original programs do not say.
    pub(crate) number: Option<u64>,
}

impl Query {
    /// From `return-id key ttl`, or with a number before it.
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

    /// As the original programs read it.
    pub(crate) fn to_classic(&self) -> Frame {
        let Self { answer_to, key, ttl, .. } = self;
        Frame::text(TypeCode::QUER, format!("{answer_to} {key} {ttl}"))
    }

    /// As nodes of this program read it; a search without a number stays without.
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

/// A key without white space around it, when it can be searched for.
pub(crate) fn valid_key(key: &str) -> Option<&str> {
    let key = key.trim();
    let valid = !key.is_empty() && key.len() <= MAX_KEY && !key.contains(char::is_control);
    valid.then_some(key)
}

/// A match, as `RESP` carries it: the originals' names may be paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match<N = FileName> {
    pub(crate) name: N,
    /// By convention `host:port`; of some nodes an id.
    pub(crate) owner: String,
}

impl Match {
    pub(crate) fn to_frame(&self) -> Frame {
        Frame::text(TypeCode::RESP, format!("{} {}", self.name, self.owner))
    }
}

impl Match<AnyName> {
    /// From `file-name owner-id`: the last field is the owner, all before it the name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, owner) = last_field(text)?;
        let owner: PeerId = owner.parse().ok()?;
        Some(Self { name: AnyName::new(name.trim_ascii())?, owner: owner.to_string() })
    }
}

/// What a node knows about a file of its own: the answer to `FINF`.
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

/// Check values as the frames that carry them.
pub(crate) fn checks_to_frames(manifest: &Manifest) -> Vec<Frame> {
    let frames = manifest.check_bytes().chunks(CHECKS_A_FRAME);
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
        // A name that is none is only ever shown.
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

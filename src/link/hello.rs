//! The first frame of each side ([protocol](crate::protocol#hello)).

use crate::{
    frame::{Frame, TypeCode},
    link::{
        code,
        json::{Value, members, quote},
        lengths::{self, MAX_IN_HELLO, from_text},
    },
    overlay::{Address, Host, PeerId, PeerInfo},
};

/// In the `features` of a hello: this side asks to learn, after the answer to a `PING`, whether the
/// other side lists it among its peers.
pub(crate) const LISTING: &str = "listing";

/// The supported version of the link protocol.
const VERSION: u64 = 1;

/// The longest hello that is accepted, in bytes.
pub(crate) const MAX_HELLO_LEN: usize = 4 << 10;

/// The description that each side sends of itself when a link is opened (`@LNK`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Id, host and port. They are claimed, not proven.
    pub info: PeerInfo,
    /// Bytes of one-way messages and requests that it accepts before it grants more.
    pub window: u32,
    /// The longest message that it accepts, in bytes.
    pub max_message: u32,
    /// The number of requests that it accepts at once.
    pub max_open: u32,
    /// A number that is drawn at the start of the node. It differs from all earlier ones of the
    /// node, and is larger if the clock was not set back.
    pub incarnation: u64,
    /// The optional features that it supports.
    pub features: Vec<String>,
    /// The longest messages that it accepts by code, in bytes, for codes that differ from
    /// `max_message`. If the features contain `lengths`, all of them, at most 128; otherwise none.
    pub lengths: Vec<(TypeCode, u32)>,
}

/// Why a hello is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHello {
    /// It is not a JSON object, or too long.
    #[error("the hello is not a JSON object")]
    Syntax,
    /// A member is missing or of the wrong kind.
    #[error("the field {0:?} of the hello is missing or invalid")]
    Member(&'static str),
    /// It is of another version.
    #[error("the hello has version {0}, but must have version 1")]
    Version(u64),
}

impl Hello {
    /// Whether its features contain `feature`.
    pub(crate) fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|listed| listed == feature)
    }

    /// Encodes it as a frame.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        let Self { info, window, max_message, max_open, incarnation, features, lengths } = self;
        let features: Vec<_> = features.iter().map(|feature| quote(feature)).collect();
        let lengths: Vec<_> =
            lengths.iter().take(MAX_IN_HELLO).map(|told| quote(&lengths::to_text(*told))).collect();
        let lengths = match lengths.join(",") {
            none if none.is_empty() => none,
            some => format!(",\"lengths\":[{some}]"),
        };
        let text = format!(
            "{{\"version\":{VERSION},\"id\":{},\"host\":{},\"port\":{},\"window\":{window},\
             \"max_message\":{max_message},\"max_open\":{max_open},\"incarnation\":{incarnation},\
             \"features\":[{}]{lengths}}}",
            quote(info.id().as_str()),
            quote(&info.host().to_string()),
            info.port(),
            features.join(",")
        );
        Frame::text(code::LNK, text)
    }

    /// Decodes a frame. Unknown members are ignored.
    ///
    /// # Errors
    /// See [`InvalidHello`]. Caused by the remote.
    pub fn from_frame(frame: &Frame) -> Result<Self, InvalidHello> {
        let text = frame.as_str().ok().filter(|text| text.len() <= MAX_HELLO_LEN);
        let members = text.and_then(members).ok_or(InvalidHello::Syntax)?;
        let find =
            |name: &'static str| members.iter().find(|member| member.0 == name).map(|m| &m.1);
        let number = |name| match find(name) {
            Some(Value::Number(number)) => Ok(*number),
            _ => Err(InvalidHello::Member(name)),
        };
        let small = |name| u32::try_from(number(name)?).map_err(|_| InvalidHello::Member(name));
        let text = |name| match find(name) {
            Some(Value::Text(text)) => Ok(text.as_str()),
            _ => Err(InvalidHello::Member(name)),
        };
        match number("version")? {
            VERSION => {}
            other => return Err(InvalidHello::Version(other)),
        }
        let id: PeerId = text("id")?.parse().map_err(|_| InvalidHello::Member("id"))?;
        let host: Host = text("host")?.parse().map_err(|_| InvalidHello::Member("host"))?;
        let port = u16::try_from(number("port")?).map_err(|_| InvalidHello::Member("port"))?;
        let info = PeerInfo::new(id, Address::new(host, port));
        Ok(Self {
            info: info.map_err(|_| InvalidHello::Member("port"))?,
            window: small("window")?,
            max_message: small("max_message")?,
            max_open: small("max_open")?,
            incarnation: number("incarnation")?,
            features: match find("features") {
                Some(Value::Texts(features)) => features.clone(),
                _ => return Err(InvalidHello::Member("features")),
            },
            lengths: match find("lengths") {
                Some(Value::Texts(lengths)) => {
                    let lengths: Option<_> = lengths.iter().map(|told| from_text(told)).collect();
                    lengths.ok_or(InvalidHello::Member("lengths"))?
                }
                None => Vec::new(),
                Some(_) => return Err(InvalidHello::Member("lengths")),
            },
        })
    }
}

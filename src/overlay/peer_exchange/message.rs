//! The question and the answer of the peer exchange: text, with a version in the first line
//! ([protocol](crate::protocol#peer-exchange)).

use std::{fmt::Write as _, time::Duration};

use crate::{
    frame::{Frame, TypeCode},
    overlay::PeerInfo,
};

/// The code of the peer exchange.
pub(crate) const PEX: TypeCode = TypeCode::new(b"@PEX");

/// The only version.
const VERSION: &str = "1";

/// The maximum number of peers in one answer.
pub const MAX_HINTS: usize = 16;

/// The question for peers that were seen alive recently.
pub(crate) fn question() -> Frame {
    Frame::text(PEX, VERSION)
}

/// Whether a frame is this question, in this version.
pub(crate) fn is_question(frame: &Frame) -> bool {
    frame.code() == PEX && frame.as_str() == Ok(VERSION)
}

/// An answer of the peer exchange: at most [`MAX_HINTS`] peers, each with the time since it was seen
/// alive, in whole seconds. On the wire it is a frame `@PEX` with a line for the version, `1`, and
/// one line for each peer: `ID HOST PORT SECONDS`.
///
/// ```
/// use actix_peer::{frame::Frame, overlay::PeersSeen};
///
/// let told = PeersSeen::decode(&Frame::text("@PEX", "1\nbob 192.0.2.7 9000 30\n"));
/// let told: Vec<_> = told.into_iter().flatten().collect();
/// assert_eq!(told[0].0.id().as_str(), "bob");
/// assert_eq!(told[0].1.as_secs(), 30);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeersSeen(Vec<(PeerInfo, Duration)>);

impl PeersSeen {
    /// Decodes an answer; `None` if it is not completely of this version, or has too many peers.
    #[must_use]
    pub fn decode(frame: &Frame) -> Option<Self> {
        if frame.code() != PEX {
            return None;
        }
        let mut lines = frame.as_str().ok()?.split_terminator('\n');
        if lines.next()? != VERSION {
            return None;
        }
        let mut told = Vec::new();
        for line in lines {
            let (peer, ago) = line.rsplit_once(' ')?;
            if told.len() >= MAX_HINTS {
                return None;
            }
            told.push((peer.parse().ok()?, Duration::from_secs(ago.parse().ok()?)));
        }
        Some(Self(told))
    }

    /// Encodes the answer as a frame.
    #[must_use]
    pub fn encode(&self) -> Frame {
        let mut text = format!("{VERSION}\n");
        for (peer, ago) in &self.0 {
            // Writing to a `String` cannot fail.
            writeln!(text, "{peer} {}", ago.as_secs()).ok();
        }
        Frame::text(PEX, text)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&PeerInfo) -> bool) {
        self.0.retain(|(peer, _)| keep(peer));
    }
}

impl FromIterator<(PeerInfo, Duration)> for PeersSeen {
    /// Takes the first [`MAX_HINTS`].
    fn from_iter<I: IntoIterator<Item = (PeerInfo, Duration)>>(peers: I) -> Self {
        let whole = |(peer, ago): (PeerInfo, Duration)| (peer, Duration::from_secs(ago.as_secs()));
        Self(peers.into_iter().take(MAX_HINTS).map(whole).collect())
    }
}

impl IntoIterator for PeersSeen {
    type Item = (PeerInfo, Duration);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

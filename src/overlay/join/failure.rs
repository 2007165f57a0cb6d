//! Why a node did not take part in a join, and whether a retry may help.

use serde::Serialize;

use crate::{
    frame::TypeCode,
    overlay::{Address, AskFailure, PeerId},
};

/// The maximum number of characters of a remote node's words that are kept.
const MAX_WORDS: usize = 256;

/// What a failure means for a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JoinAnswer {
    /// The node is alive and may admit this one later: it is busy, or its table is full for now.
    NotNow,
    /// A retry fails in the same way unless something is changed, here or there.
    Never,
    /// No node can be asked there now.
    Gone,
}

/// Why a node did not take part in a join, or did not admit this node.
///
/// [`answer`](Self::answer) says whether a retry may help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JoinFailure {
    /// The host name has no address. Gone.
    #[error("the name has no address: {reason}")]
    UnknownName {
        /// The result of the look-up.
        reason: String,
    },
    /// The look-up of the host name was not answered in time. Gone.
    #[error("the look-up of the name timed out")]
    LookupLate,
    /// The port is closed: no program listens there. Gone.
    #[error("no program listens there (connection refused)")]
    PortClosed,
    /// The connection was not open in time. Gone.
    #[error("the connection attempt timed out")]
    NoConnection,
    /// The connection could not be opened for another reason. Gone.
    #[error("cannot connect: {reason}")]
    Unreachable {
        /// The error of the operating system.
        reason: String,
    },
    /// The connection was opened, but the node did not answer in time. Gone.
    #[error("it accepted the connection, but did not answer in time")]
    NoAnswer,
    /// The node closed the connection without an answer: it has no handler, like an original
    /// program, or does not explain refusals. Gone.
    #[error("it closed the connection without an answer")]
    NoReply,
    /// The connection was reset before the answer, as by an overloaded node. Not now.
    #[error("the connection was reset before the answer")]
    Reset,
    /// The connection broke during the answer. Gone.
    #[error("the connection broke during the answer")]
    BrokeOff,
    /// The node refuses connections without TLS, and this node has no TLS identity. Never.
    #[error("it accepts only TLS, and this node has no TLS identity")]
    TlsRequired,
    /// The node does not speak TLS, and this node speaks only TLS. Never.
    #[error("it does not speak TLS, and this node speaks only TLS")]
    NotTls,
    /// The TLS handshake failed. Never.
    #[error("the TLS handshake failed: {reason}")]
    Handshake {
        /// The error of the handshake.
        reason: String,
    },
    /// The node does not admit this node. Never.
    #[error("it does not admit this node")]
    NotAdmitted,
    /// This node does not admit the node, or has banned it. Never.
    #[error("this node does not admit it")]
    NotAdmittedHere,
    /// Another node answered than the expected one. Never.
    #[error("{} answered there, not {}", found.short(), expected.short())]
    AnotherId {
        /// The expected id.
        expected: PeerId,
        /// The id of the node that answered.
        found: PeerId,
    },
    /// The node has no handler for this code, so it does not support joining. Never.
    #[error("it has no handler for {code}")]
    NoHandler {
        /// The code.
        code: TypeCode,
    },
    /// The answer is not of this protocol: another program listens there. Never.
    #[error("another program listens there: its answer is not of this protocol")]
    NotThisProtocol,
    /// The answer is of this protocol, but is not an answer to the question. Never.
    #[error("its answer to {code} is invalid")]
    Malformed {
        /// The code of the question.
        code: TypeCode,
    },
    /// The node is busy. Not now.
    #[error("it is busy")]
    Busy,
    /// The node is stopping. Gone.
    #[error("it is stopping")]
    Stopping,
    /// The table of the node has no place for this node. Not now.
    #[error("its table has no room for this node: {words:?}")]
    NoPlace {
        /// Its words, at most 256 characters. They come from a remote node and may be anything.
        words: String,
    },
    /// The node lists this node's id at another address. It asks there whether that node is still
    /// alive, and moves the id if it is not. Not now.
    #[error("it lists this id at {at}")]
    Elsewhere {
        /// The address in its table.
        at: Address,
    },
    /// The node refuses, for a reason that does not pass. Never.
    #[error("it refused: {words:?}")]
    Refused {
        /// Its words, at most 256 characters. They come from a remote node and may be anything.
        words: String,
    },
    /// This node has too many exchanges or dials of its own open. Not now.
    #[error("this node has too many open exchanges or dials (max_outgoing, max_dials)")]
    OwnLimit,
    /// The node was not asked: the node that listed it may not name such an address, or it was
    /// dialled too often without an answer. Never.
    #[error(
        "not asked: the node that listed it may not name its address, or it was dialled too often"
    )]
    NotAllowed,
    /// This node itself was blocked meanwhile. Not now.
    #[error("a thread of this node was blocked in the meantime")]
    StoodStill,
}

impl JoinFailure {
    /// Interprets an `ERRO` with these words in answer to `code`: the words of this crate
    /// ([protocol](crate::protocol#refusals)), and those of a `JOIN`.
    #[must_use]
    pub fn of_words(code: TypeCode, words: &str) -> Self {
        match words {
            "Busy" | "Handler timed out" | "Handler failed" | "Handler gone" => Self::Busy,
            "Going away" => Self::Stopping,
            "Unknown message type" => Self::NoHandler { code },
            "TLS required" => Self::TlsRequired,
            _ => {
                let is_full = words.starts_with("Join: too many");
                let words = words.chars().take(MAX_WORDS).collect();
                if is_full { Self::NoPlace { words } } else { Self::Refused { words } }
            }
        }
    }

    /// What the failure means for a retry.
    #[must_use]
    pub const fn answer(&self) -> JoinAnswer {
        match self {
            Self::Reset
            | Self::Busy
            | Self::NoPlace { .. }
            | Self::Elsewhere { .. }
            | Self::OwnLimit
            | Self::StoodStill => JoinAnswer::NotNow,
            Self::UnknownName { .. }
            | Self::LookupLate
            | Self::PortClosed
            | Self::NoConnection
            | Self::Unreachable { .. }
            | Self::NoAnswer
            | Self::NoReply
            | Self::BrokeOff
            | Self::Stopping => JoinAnswer::Gone,
            Self::TlsRequired
            | Self::NotTls
            | Self::Handshake { .. }
            | Self::NotAdmitted
            | Self::NotAdmittedHere
            | Self::AnotherId { .. }
            | Self::NoHandler { .. }
            | Self::NotThisProtocol
            | Self::Malformed { .. }
            | Self::Refused { .. }
            | Self::NotAllowed => JoinAnswer::Never,
        }
    }

    /// The words of a refusal, if they are kept. They come from a remote node and may be anything.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::NoPlace { words } | Self::Refused { words } => Some(words),
            _ => None,
        }
    }

    /// Whether it may pass within seconds, so that the walk itself waits. A table that is full of
    /// peers that were verified long ago does not pass soon, nor does an id that another node may
    /// have.
    pub(super) fn passes_soon(&self) -> bool {
        match self {
            Self::NoPlace { words } => words.starts_with("Join: too many new"),
            Self::Elsewhere { .. } => false,
            _ => self.answer() == JoinAnswer::NotNow,
        }
    }
}

impl From<AskFailure> for JoinFailure {
    fn from(failure: AskFailure) -> Self {
        match failure {
            AskFailure::Unreachable => Self::NoConnection,
            AskFailure::Late => Self::NoAnswer,
            AskFailure::Broken => Self::BrokeOff,
            AskFailure::NotAllowed => Self::NotAllowed,
            AskFailure::StoodStill => Self::StoodStill,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_now_never_and_gone_are_distinct_answers() {
        let of = |words: &str| JoinFailure::of_words(TypeCode::JOIN, words).answer();
        for words in [
            "Busy",
            "Join: too many peers",
            "Join: too many new peers",
            "Join: too many peers at your address",
        ] {
            assert_eq!(of(words), JoinAnswer::NotNow, "{words}");
        }
        for words in ["Join: not allowed", "Not your id", "TLS required", "Unknown message type"] {
            assert_eq!(of(words), JoinAnswer::Never, "{words}");
        }
        assert_eq!(of("Going away"), JoinAnswer::Gone);
        assert_eq!(JoinFailure::PortClosed.answer(), JoinAnswer::Gone);
        assert_eq!(JoinFailure::NotThisProtocol.answer(), JoinAnswer::Never);
    }

    #[test]
    fn the_words_of_a_remote_node_are_kept_up_to_a_bound() {
        let failure = JoinFailure::of_words(TypeCode::JOIN, &"x".repeat(100_000));
        assert_eq!(failure.words().map(str::len), Some(MAX_WORDS));
    }
}

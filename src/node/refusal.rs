//! The fixed answers to requests that a node does not serve.

use serde::Serialize;

use crate::{
    fault_points::Sometimes,
    frame::{Frame, TypeCode},
    limits::Misbehavior,
    link::Reason,
};

/// Why this node refused a request. The remote receives [`text`](Self::text) in one `ERRO` frame,
/// or, on a link, the [`reason`](Self::reason).
///
/// The texts are fixed: nothing that a remote sent is echoed
/// ([protocol](crate::protocol#refusals)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// No handler is registered for the code. Not handled.
    UnknownCode,
    /// The length in the header is over the limit for this code. Not handled, not read.
    TooLong,
    /// All permits for requests, or all connections, are in use. Not handled.
    Busy,
    /// The handler panicked, or its answer cannot be sent. It may have done part of its work.
    HandlerFailed,
    /// The handler's actor has stopped. Not handled.
    HandlerGone,
    /// The handler did not answer in time. It may still be running.
    HandlerLate,
    /// The data is not a message of the type that the handler takes. Not handled.
    BadMessage,
    /// The request was aborted because the node stops. It may have been handled.
    Stopping,
    /// The sender claimed an id that is not its own. Not handled.
    NotYourId,
    /// The connection does not use TLS, and this node requires it. Not handled.
    NoTls,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 10] = [
        Self::UnknownCode,
        Self::TooLong,
        Self::Busy,
        Self::HandlerFailed,
        Self::HandlerGone,
        Self::HandlerLate,
        Self::BadMessage,
        Self::Stopping,
        Self::NotYourId,
        Self::NoTls,
    ];

    /// The text of the `ERRO` frame.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::UnknownCode => "Unknown message type",
            Self::TooLong => "Message too long",
            Self::Busy => "Busy",
            Self::HandlerFailed => "Handler failed",
            Self::HandlerGone => "Handler gone",
            Self::HandlerLate => "Handler timed out",
            Self::BadMessage => "Malformed message",
            Self::Stopping => "Going away",
            Self::NotYourId => "Not your id",
            Self::NoTls => "TLS required",
        }
    }

    /// The reason that is sent on a link.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::UnknownCode => Reason::UNKNOWN_CODE,
            Self::TooLong => Reason::TOO_LONG,
            Self::Busy => Reason::BUSY,
            Self::HandlerFailed => Reason::HANDLER_FAILED,
            Self::HandlerGone => Reason::HANDLER_GONE,
            Self::HandlerLate => Reason::TIMED_OUT,
            Self::BadMessage => Reason::MALFORMED,
            Self::Stopping => Reason::GOING_AWAY,
            Self::NotYourId | Self::NoTls => Reason::NOT_ALLOWED,
        }
    }

    /// The `ERRO` frame with this text.
    #[must_use]
    pub fn to_frame(self) -> Frame {
        Frame::new(TypeCode::ERRO, self.text().as_bytes())
    }
}

impl Refusal {
    /// The situation in which this node refuses a message with it.
    pub(crate) const fn refused(self) -> Sometimes {
        match self {
            Self::UnknownCode => Sometimes::RefusedUnknownCode,
            Self::TooLong => Sometimes::RefusedTooLong,
            Self::Busy => Sometimes::RefusedBusy,
            Self::HandlerFailed => Sometimes::RefusedHandlerFailed,
            Self::HandlerGone => Sometimes::RefusedHandlerGone,
            Self::HandlerLate => Sometimes::RefusedHandlerLate,
            Self::BadMessage => Sometimes::RefusedBadMessage,
            Self::Stopping => Sometimes::RefusedStopping,
            Self::NotYourId => Sometimes::RefusedNotYourId,
            Self::NoTls => Sometimes::RefusedNoTls,
        }
    }

    /// The misbehavior of the sender of a message with this code, if the refusal is its fault. The
    /// last node on the path of a routed message is not at fault.
    pub(crate) fn offence(self, code: TypeCode) -> Option<Misbehavior> {
        match self {
            _ if code == TypeCode::FWD => None,
            Self::UnknownCode => Some(Misbehavior::UnknownCode),
            Self::TooLong => Some(Misbehavior::TooLong),
            Self::BadMessage => Some(Misbehavior::Malformed),
            Self::NotYourId => Some(Misbehavior::NotItsId),
            Self::Busy
            | Self::HandlerFailed
            | Self::HandlerGone
            | Self::HandlerLate
            | Self::Stopping
            | Self::NoTls => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_refused_a_join_knows_why() {
        use crate::overlay::{JoinAnswer, JoinFailure};

        for refusal in Refusal::ALL {
            let failure = JoinFailure::of_words(TypeCode::NAME, refusal.text());
            let expected = match refusal {
                Refusal::Busy
                | Refusal::HandlerFailed
                | Refusal::HandlerGone
                | Refusal::HandlerLate => JoinAnswer::NotNow,
                Refusal::Stopping => JoinAnswer::Gone,
                Refusal::UnknownCode
                | Refusal::TooLong
                | Refusal::BadMessage
                | Refusal::NotYourId
                | Refusal::NoTls => JoinAnswer::Never,
            };
            assert_eq!(failure.answer(), expected, "{refusal:?}");
        }
        let of = |refusal: Refusal| JoinFailure::of_words(TypeCode::NAME, refusal.text());
        assert_eq!(of(Refusal::NoTls), JoinFailure::TlsRequired);
        assert_eq!(of(Refusal::UnknownCode), JoinFailure::NoHandler { code: TypeCode::NAME });
    }

    #[test]
    fn every_refusal_has_a_text_of_its_own() {
        let mut texts: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.text()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Refusal::ALL.len());
    }
}

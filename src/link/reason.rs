//! Why an exchange or a link was reset ([protocol](crate::protocol#reasons)).

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use crate::fault_points::Sometimes;

/// A reason on the wire: a two-byte number and a short text. Unknown numbers are kept and shown as
/// numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Reason(u16);

macro_rules! reasons {
    ($( $(#[$doc:meta])* $name:ident = $number:literal, $text:literal; )*) => {
        impl Reason {
            $( $(#[$doc])* pub const $name: Self = Self($number); )*

            /// A short description. `None` if the number is unknown.
            #[must_use]
            pub const fn text(self) -> Option<&'static str> {
                match self.0 {
                    $( $number => Some($text), )*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// The connection broke without a reason. Never sent.
    LOST = 0, "connection lost";
    /// No handler for the code. Not handled.
    UNKNOWN_CODE = 1, "unknown code";
    /// Longer than the receiver accepts. Not handled.
    TOO_LONG = 2, "too long";
    /// All permits are in use. Not handled.
    BUSY = 3, "busy";
    /// The handler failed. It may have done part of its work.
    HANDLER_FAILED = 4, "handler failed";
    /// The handler has stopped. Not handled.
    HANDLER_GONE = 5, "handler gone";
    /// The sender is not allowed to do this. Not handled.
    NOT_ALLOWED = 6, "not allowed";
    /// The sender cancelled the exchange. It may have been handled.
    CANCELLED = 7, "cancelled";
    /// It took too long. It may have been handled.
    TIMED_OUT = 8, "timed out";
    /// The node stops. It may have been handled.
    GOING_AWAY = 9, "going away";
    /// The other side broke the rules of the link.
    PROTOCOL = 10, "protocol error";
    /// No route to the destination. Not handled.
    NO_ROUTE = 11, "no route";
    /// The message passed too many nodes. Not handled.
    HOP_LIMIT = 12, "hop limit";
    /// The data is not a message of the type that the handler takes. Not handled. This number is
    /// specific to this crate.
    MALFORMED = 13, "malformed message";
    /// Longer than the receiver accepts, which was detected after a streaming handler had been
    /// called with the first part. It may have done part of its work. This number is specific to
    /// this crate.
    TOO_LONG_BEGUN = 14, "too long, after its handler was called";
}

impl Reason {
    /// The reason with this number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether a message that was refused with it may have been handled. If false, it certainly was
    /// not.
    #[must_use]
    pub const fn may_have_been_handled(self) -> bool {
        !matches!(
            self,
            Self::UNKNOWN_CODE
                | Self::TOO_LONG
                | Self::BUSY
                | Self::HANDLER_GONE
                | Self::NOT_ALLOWED
                | Self::NO_ROUTE
                | Self::HOP_LIMIT
                | Self::MALFORMED
        )
    }

    /// The situation in which the other side ends an exchange with it.
    pub(crate) const fn reset(self) -> Sometimes {
        match self {
            Self::UNKNOWN_CODE => Sometimes::ResetUnknownCode,
            Self::TOO_LONG => Sometimes::ResetTooLong,
            Self::BUSY => Sometimes::ResetBusy,
            Self::HANDLER_FAILED => Sometimes::ResetHandlerFailed,
            Self::HANDLER_GONE => Sometimes::ResetHandlerGone,
            Self::NOT_ALLOWED => Sometimes::ResetNotAllowed,
            Self::CANCELLED => Sometimes::ResetCancelled,
            Self::TIMED_OUT => Sometimes::ResetTimedOut,
            Self::GOING_AWAY => Sometimes::ResetGoingAway,
            Self::MALFORMED => Sometimes::ResetMalformed,
            Self::TOO_LONG_BEGUN => Sometimes::ResetTooLongBegun,
            _ => Sometimes::ResetOther,
        }
    }

    pub(crate) fn to_payload(self) -> Vec<u8> {
        let text = self.text().unwrap_or_default();
        [&self.0.to_be_bytes(), text.as_bytes()].concat()
    }

    /// Decodes a payload. One that is too short is a protocol error of the other side.
    pub(crate) fn from_payload(payload: &Bytes) -> Self {
        payload.first_chunk().map_or(Self::PROTOCOL, |number| Self(u16::from_be_bytes(*number)))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => write!(f, "reason {}", self.0),
        }
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.0)
    }
}

//! Faults of the identity of a peer, and of the name of its host.

use std::{io, time::Duration};

use crate::overlay::{Address, Host, PeerId};

/// Why a connection was not opened, or was closed, because of the identity of the peer.
///
/// Nothing of a message was sent. A [`Transport`](super::Transport) returns it inside an
/// [`io::Error`]; [`of`](Self::of) extracts it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFault {
    /// Another peer than the expected one is at the address: the address was given to another node,
    /// or there is a man in the middle. A peer of the table is then asked for its `NAME`, and
    /// removed if the answer is another one.
    #[error("the peer at {at} is not {} but {}", expected.short(), found.short())]
    WrongPeer {
        /// Where.
        at: Address,
        /// The expected peer.
        expected: PeerId,
        /// The peer that was found: its proven id, or its claimed id if the expected id cannot be
        /// proven either.
        found: PeerId,
    },
    /// The peer claims another id than the one that it has proved. Caused by the remote.
    #[error("the peer at {at} is {} but says that it is {}", proven.short(), claimed.short())]
    ClaimsAnother {
        /// Where.
        at: Address,
        /// The proven id.
        proven: PeerId,
        /// The claimed id.
        claimed: PeerId,
    },
    /// This node does not admit the peer.
    #[error("this node does not admit the peer {} at {at}", id.short())]
    NotAdmitted {
        /// Where.
        at: Address,
        /// The proven id of the peer.
        id: PeerId,
    },
    /// The peer does not admit this node.
    #[error("the peer at {at} does not admit this node")]
    Refused {
        /// Where.
        at: Address,
    },
    /// The other side does not speak TLS, so it cannot prove its id. There is no fallback.
    #[error("the program at {at} does not speak TLS")]
    NotTls {
        /// Where.
        at: Address,
    },
    /// The handshake was not complete in time.
    #[error("the handshake with {at} timed out after {within:?}")]
    Late {
        /// Where.
        at: Address,
        /// The time that it had.
        within: Duration,
    },
    /// The handshake failed for another reason.
    #[error("the handshake with {at} failed: {reason}")]
    Handshake {
        /// Where.
        at: Address,
        /// The error of the TLS library.
        reason: String,
    },
}

impl IdentityFault {
    /// The fault inside an error of a transport.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }
}

/// Why the address of a name is not known.
///
/// Nothing was dialled. A [`Transport`](super::Transport) returns it inside an [`io::Error`];
/// [`of`](Self::of) extracts it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// The name has no address, or the look-up of it failed.
    #[error("{host} has no address: {reason}")]
    Unknown {
        /// The name.
        host: Host,
        /// The error of the system.
        reason: String,
    },
    /// The look-up was not answered in time.
    #[error("the look-up of {host} timed out after {within:?}")]
    Late {
        /// The name.
        host: Host,
        /// The time that it had.
        within: Duration,
    },
}

impl NameFault {
    /// The fault inside an error of a transport.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }

    /// The error of the system, or that it gave no answer.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Unknown { reason, .. } => reason,
            Self::Late { .. } => "not answered in time",
        }
    }
}

impl From<NameFault> for io::Error {
    fn from(fault: NameFault) -> Self {
        let kind = match fault {
            NameFault::Unknown { .. } => io::ErrorKind::NotFound,
            NameFault::Late { .. } => io::ErrorKind::TimedOut,
        };
        Self::new(kind, fault)
    }
}

impl From<IdentityFault> for io::Error {
    fn from(fault: IdentityFault) -> Self {
        let kind = match fault {
            IdentityFault::Late { .. } => io::ErrorKind::TimedOut,
            IdentityFault::NotTls { .. } | IdentityFault::Handshake { .. } => {
                io::ErrorKind::InvalidData
            }
            _ => io::ErrorKind::PermissionDenied,
        };
        Self::new(kind, fault)
    }
}

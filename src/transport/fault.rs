//! What is wrong with the node at the other end of a connection, or with the name of its host.

use std::{io, time::Duration};

use crate::overlay::{Address, Host, PeerId};

/// Why a connection did not come to be, or was closed, on account of who is at its other end.
///
/// Nothing of a message was sent in any case. A [`Transport`](super::Transport) hands it over inside
/// an [`io::Error`]; [`of`](Self::of) finds it there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFault {
    /// Another peer than the one that was asked for is there: its address was given to another node,
    /// or somebody is in between. A peer of the table is asked for its `NAME` then, and is taken out if
    /// the answer is another one.
    #[error("the peer at {at} is not {} but {}", expected.short(), found.short())]
    WrongPeer {
        /// Where.
        at: Address,
        /// Who was asked for.
        expected: PeerId,
        /// Who is there: proven, or claimed if the one that was asked for cannot prove its id either.
        found: PeerId,
    },
    /// The peer says that it has another id than the one that it has proved. The remote's doing.
    #[error("the peer at {at} is {} but says that it is {}", proven.short(), claimed.short())]
    ClaimsAnother {
        /// Where.
        at: Address,
        /// Who it is.
        proven: PeerId,
        /// Who it says that it is.
        claimed: PeerId,
    },
    /// This node does not admit the peer.
    #[error("this node does not admit the peer {} at {at}", id.short())]
    NotAdmitted {
        /// Where.
        at: Address,
        /// Who is there, proven.
        id: PeerId,
    },
    /// The peer does not admit this node.
    #[error("the peer at {at} does not admit this node")]
    Refused {
        /// Where.
        at: Address,
    },
    /// What is there does not speak TLS, so it cannot prove who it is. There is no falling back.
    #[error("what is at {at} does not speak TLS")]
    NotTls {
        /// Where.
        at: Address,
    },
    /// The handshake was not over in time.
    #[error("the handshake with {at} was not over within {within:?}")]
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
        /// What the TLS library says.
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
/// Nothing was dialled. A [`Transport`](super::Transport) hands it over inside an [`io::Error`];
/// [`of`](Self::of) finds it there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// The name has no address, or the look-up of it failed.
    #[error("{host} has no address: {reason}")]
    Unknown {
        /// The name.
        host: Host,
        /// What the system says.
        reason: String,
    },
    /// The look-up was not answered in time.
    #[error("the look-up of {host} was not answered within {within:?}")]
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

    /// What the system says, or that it says nothing.
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

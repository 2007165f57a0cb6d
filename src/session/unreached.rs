//! Why there is no link to a peer.

use std::{io, sync::Arc};

use crate::{
    link::{ClassicSign, Reason},
    message::RequestError,
    overlay::{Address, PeerId},
    session::state::Session,
    transport::IdentityFault,
};

/// The result of a dial, for all callers that wait for it.
pub(crate) type Reached = Result<Arc<Session>, Unreached>;

/// Why there is no link.
#[derive(Clone, Debug)]
pub(crate) enum Unreached {
    /// The peer speaks no links. Without a sign, this was known before the call.
    Classic { sign: Option<ClassicSign> },
    /// All links are in use.
    NoRoom,
    /// The peer accepts no connections now.
    Busy,
    /// The peer cannot be reached.
    Failed { kind: io::ErrorKind, text: String },
    /// Another peer is at the address, or the peer is not admitted, or does not admit this node.
    Identity(IdentityFault),
    /// This node has banned the peer.
    Banned(PeerId),
    /// The peer sent its hello and closed the link at once.
    Left,
    /// This node stops.
    Stopped,
}

impl Unreached {
    pub(crate) fn failed(error: &io::Error) -> Self {
        Self::Failed { kind: error.kind(), text: error.to_string() }
    }

    pub(crate) fn into_error(self, to: &Address) -> RequestError {
        match self {
            Self::Classic { .. } => RequestError::NoLink(to.clone()),
            Self::NoRoom => RequestError::Busy,
            Self::Busy => RequestError::Reset { reason: Reason::BUSY, sent: false },
            Self::Failed { kind, text } => {
                RequestError::Connect { to: to.clone(), source: io::Error::new(kind, text) }
            }
            Self::Identity(fault) => RequestError::Identity(fault),
            Self::Banned(id) => RequestError::Banned(id),
            Self::Left => RequestError::Reset { reason: Reason::GOING_AWAY, sent: false },
            Self::Stopped => RequestError::Stopped { sent: false },
        }
    }
}

//! The errors of joining a network.

use crate::{
    overlay::{Address, InvalidAddress, JoinFailure, JoinReport, options::ConfigError},
    peer::NodeDown,
};

/// Why a network was not joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The text is not `host:port`.
    #[error(transparent)]
    InvalidContact(#[from] InvalidAddress),
    /// An option of the [`JoinConfig`](crate::overlay::JoinConfig) is out of its bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The contact is this node itself.
    #[error("the contact {0} is this node itself")]
    ContactIsSelf(Address),
    /// The contact cannot be reached, or does not take part, and no other node admitted this one.
    #[error("the contact {contact} failed: {cause}")]
    ContactFailed {
        /// The contact.
        contact: Address,
        /// Why it does not take part.
        cause: JoinFailure,
        /// Whether the node retries in the background, because the cause may pass.
        again: bool,
        /// The report of the walk.
        report: Box<JoinReport>,
    },
    /// The contact takes part, but neither it nor any other node that was asked admitted this one:
    /// no node lists it.
    #[error("no node admitted this one; the contact {contact} answered: {cause}")]
    NotTakenIn {
        /// The contact.
        contact: Address,
        /// The answer of the contact.
        cause: JoinFailure,
        /// Whether the node retries in the background, because the cause may pass.
        again: bool,
        /// The report of the walk, with the answers of other nodes.
        report: Box<JoinReport>,
    },
    /// This node has stopped.
    #[error(transparent)]
    Down(#[from] NodeDown),
}

impl JoinError {
    /// Why the contact did not admit this node; `None` if it was not asked.
    #[must_use]
    pub const fn cause(&self) -> Option<&JoinFailure> {
        match self {
            Self::ContactFailed { cause, .. } | Self::NotTakenIn { cause, .. } => Some(cause),
            Self::InvalidContact(_) | Self::Config(_) | Self::ContactIsSelf(_) | Self::Down(_) => {
                None
            }
        }
    }

    /// Whether the node retries in the background.
    #[must_use]
    pub const fn is_tried_again(&self) -> bool {
        matches!(
            self,
            Self::ContactFailed { again: true, .. } | Self::NotTakenIn { again: true, .. }
        )
    }
}

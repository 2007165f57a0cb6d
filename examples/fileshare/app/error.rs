//! The errors of the program.

use std::{io, path::PathBuf, process::ExitCode};

use actix_peer::{
    StartError,
    overlay::InvalidAddress,
    peer::{JoinError, NodeDown, RegisterError},
};

use crate::{name::InvalidName, share::AddFailure, state::Stopping, transfer::TransferRefused};

/// Why the program does not start. No task is left running.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFailed {
    #[error("cannot use the folder {path}: {source}", path = path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot create a temporary folder: {0}")]
    Temporary(io::Error),
    #[error(transparent)]
    Node(#[from] StartError),
    #[error(transparent)]
    Register(#[from] RegisterError),
}

impl StartFailed {
    /// 2 for wrong options, 1 for other errors.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Node(
                StartError::InvalidListenAddress { .. }
                | StartError::InvalidId(_)
                | StartError::InvalidHost(_)
                | StartError::Config(_),
            ) => 2.into(),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Follows the reason if a join is tried again.
pub(crate) const TRIED_AGAIN: &str = "; trying again";

/// Why a request of the user failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("the text of a search must have 1 to 128 bytes without control characters")]
    Key,
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    #[error("{0} is neither a known peer nor host:port")]
    NotAPeer(String),
    #[error("no known peer is called {0}")]
    UnknownPeer(String),
    #[error("no peer is known to have {0}: search for it first")]
    UnknownFile(String),
    #[error("the file {0} already exists")]
    Exists(String),
    #[error("{name} is already here: {path}", path = path.display())]
    Here { name: String, path: PathBuf },
    #[error(transparent)]
    Add(#[from] AddFailure),
    #[error(transparent)]
    Transfer(#[from] TransferRefused),
    #[error("{0}{again}", again = if .0.is_tried_again() { TRIED_AGAIN } else { "" })]
    Join(#[from] JoinError),
    #[error("cannot read the shared folder: {0}")]
    Folder(io::Error),
    #[error("the program is stopping")]
    Stopping,
}

impl AppError {
    /// The kind in an `ApiError`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) | Self::Key | Self::Address(_) | Self::NotAPeer(_) => "bad_request",
            Self::Join(JoinError::InvalidContact(_) | JoinError::ContactIsSelf(_)) => "bad_request",
            Self::UnknownPeer(_) | Self::UnknownFile(_) => "not_found",
            Self::Here { .. } => "here",
            Self::Exists(_) | Self::Add(AddFailure::Exists(_)) => "exists",
            Self::Transfer(TransferRefused::NotOpen(_) | TransferRefused::Unknown(_)) => {
                "not_found"
            }
            Self::Transfer(_) => "busy",
            Self::Join(JoinError::ContactFailed { .. }) => "unreachable",
            Self::Join(JoinError::NotTakenIn { .. }) => "refused",
            Self::Join(JoinError::Down(_)) | Self::Stopping => "stopped",
            Self::Join(_) | Self::Add(AddFailure::Write { .. }) | Self::Folder(_) => "internal",
        }
    }
}

impl From<Stopping> for AppError {
    fn from(_: Stopping) -> Self {
        Self::Stopping
    }
}

impl From<NodeDown> for AppError {
    fn from(_: NodeDown) -> Self {
        Self::Stopping
    }
}

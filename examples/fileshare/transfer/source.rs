//! A node that a file is fetched from.

use actix_peer::{
    Over, RequestError,
    content::{Failure, Manifest, ManifestReader, WrongChecks},
    frame::{Frame, TypeCode},
    overlay::Address,
};
use futures::StreamExt;

use crate::{
    protocol::{BUSY, FMAN, FileInfo, PartsRequest},
    state::State,
    talk::{NoAnswer, shown, words},
    transfer::{TransferFailure, silence},
};

/// A source of one transfer.
pub(super) struct Source {
    pub(super) address: Address,
    pub(super) name: String,
}

impl Source {
    /// Receives one part into `space`, which is as long as the part.
    pub(super) async fn receive(
        &self,
        state: &State,
        request: PartsRequest,
        space: &mut [u8],
    ) -> Result<(), PartError> {
        let mut replies = state.request(&self.address, request.to_frame(), Over::Link).await?;
        let Some(mut body) = replies.next_body().await? else {
            return Err(PartError::last("it closed the connection without an answer"));
        };
        if body.code() == TypeCode::ERRO {
            let why = words(body).await;
            let failure = if why == BUSY { Failure::Busy } else { Failure::Final };
            return Err(PartError { why, failure });
        }
        let mut left = space;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(RequestError::from)?;
            let (space, rest) = left
                .split_at_mut_checked(piece.len())
                .ok_or_else(|| PartError::last("it sent more than it announced"))?;
            space.copy_from_slice(&piece);
            left = rest;
        }
        if left.is_empty() {
            Ok(())
        } else {
            Err(PartError::last("it sent less than it announced"))
        }
    }

    async fn manifest(&self, state: &State, info: &FileInfo) -> Result<Manifest, PartError> {
        let mut reader = ManifestReader::new(info.layout, info.digest);
        if !reader.is_complete() {
            let request = Frame::text(FMAN, info.digest.to_string());
            let mut replies = state.request(&self.address, request, Over::Link).await?;
            while let Some(frame) = replies.next().await.transpose()? {
                if frame.code() != TypeCode::REPL {
                    return Err(PartError::last(shown(frame.as_str().unwrap_or(""))));
                }
                reader.push(frame.data())?;
            }
        }
        Ok(reader.finish()?)
    }
}

/// Why a part was not received.
pub(super) struct PartError {
    pub(super) why: String,
    pub(super) failure: Failure,
}

impl PartError {
    /// An error after which the source is not asked again.
    pub(super) fn last(why: impl Into<String>) -> Self {
        Self { why: why.into(), failure: Failure::Final }
    }
}

impl From<NoAnswer> for PartError {
    fn from(error: NoAnswer) -> Self {
        Self { why: error.to_string(), failure: Failure::Broken { silent: error.is_silence() } }
    }
}

impl From<RequestError> for PartError {
    fn from(error: RequestError) -> Self {
        NoAnswer::from(error).into()
    }
}

impl From<WrongChecks> for PartError {
    fn from(error: WrongChecks) -> Self {
        Self::last(error.to_string())
    }
}

/// The check values, from the first source whose list matches the digest.
pub(super) async fn manifest(
    state: &State,
    info: &FileInfo,
    sources: &[Source],
) -> Result<Manifest, TransferFailure> {
    let (mut reasons, mut silent) = (Vec::new(), Vec::new());
    for source in sources {
        match source.manifest(state, info).await {
            Ok(manifest) => return Ok(manifest),
            Err(PartError { failure: Failure::Broken { silent: true }, .. }) => {
                silent.push(silence(&source.name));
            }
            Err(error) => reasons.push(format!("{}: {}", source.name, error.why)),
        }
    }
    if !silent.is_empty() {
        return Err(TransferFailure::Silent(silent.join("; ")));
    }
    Err(TransferFailure::SourcesLost(reasons.join("; ")))
}

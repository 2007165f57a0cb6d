//! A whole file as a stream of bytes, in bounded memory.

use std::{io, sync::Arc};

use actix_peer::content::Manifest;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::{io::AsyncRead, sync::OwnedSemaphorePermit, task::spawn_blocking};
use tokio_util::io::StreamReader;

use crate::{
    name::FileName,
    share::{Opened, PIECE},
    state::State,
};

/// The number of pieces in memory: the one that is sent, and one that is read ahead.
const PIECES: usize = 2;

/// Reads a file as it was when it was opened. If it has changed, the stream ends with an error
/// before the last byte, so that the file is never taken for complete.
pub(super) fn file_stream(
    state: &Arc<State>,
    name: FileName,
    opened: (Opened, Option<Arc<Manifest>>),
    permit: OwnedSemaphorePermit,
) -> impl AsyncRead + Send + Unpin + 'static {
    let (state, opened) = (Arc::clone(state), Arc::new(opened));
    let len = opened.0.stamp().len();
    let pieces = stream::iter((0..len).step_by(PIECE)).map(move |offset| {
        let opened = Arc::clone(&opened);
        let read = spawn_blocking(move || {
            let (opened, manifest) = &*opened;
            let mut piece = vec![0; usize::try_from(len - offset).unwrap_or(PIECE).min(PIECE)];
            opened.read_as_opened(&mut piece, offset, manifest.as_deref())?;
            Ok(Bytes::from(piece))
        });
        async { read.await.unwrap_or_else(|error| Err(io::Error::other(error))) }
    });
    let pieces = pieces.buffered(PIECES).inspect(move |piece| {
        let _permit = &permit;
        if let Err(error) = piece {
            state.error(format!("{name} was not sent completely: {error}"));
        }
    });
    StreamReader::new(pieces)
}

//! Handlers that send files: whole ones, and parts.

use std::{io, sync::Arc, time::Duration};

use actix_peer::{
    Incoming, Reply,
    content::Digest,
    frame::{Frame, TypeCode},
};
use bytes::Bytes;
use futures::stream;
use tokio::task::spawn_blocking;

use crate::{
    name::FileName,
    protocol::{
        BUSY, FILE_CHANGED, FILE_ERROR, FILE_NOT_FOUND, FILE_NOT_READY, FILE_TOO_LONG, FileInfo,
        PartsRequest, checks_to_frames, text_of,
    },
    serve::stream::file_stream,
    share::{Known, PartFailure, Unfit},
    state::State,
};

/// How long a request waits for memory before it is refused as busy.
const ROOM_WITHIN: Duration = Duration::from_secs(5);

fn name_of(msg: &Incoming) -> Option<FileName> {
    text_of(&msg.frame)?.trim_ascii().parse().ok()
}

/// `FGET`: the whole file, in as few frames as possible.
pub(super) async fn get(state: &Arc<State>, msg: &Incoming) -> Reply {
    // An invalid name is not found: other nodes do not learn which names are valid.
    let Some(name) = name_of(msg) else { return Reply::error(FILE_NOT_FOUND) };
    let Ok(permit) = Arc::clone(&state.streams).try_acquire_owned() else {
        return Reply::error(BUSY);
    };
    let share = Arc::clone(&state.share);
    let of = name.clone();
    match spawn_blocking(move || share.open_known(&of)).await {
        Ok(Ok(opened)) => {
            let len = opened.0.stamp().len();
            Reply::body(TypeCode::REPL, len, file_stream(state, name, opened, permit))
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Reply::error(FILE_NOT_FOUND),
        Ok(Err(error)) => {
            state.error(format!("cannot read {name}: {error}"));
            Reply::error(FILE_ERROR)
        }
        Err(_) => Reply::error(FILE_ERROR),
    }
}

/// `FINF`: size and digest.
pub(super) fn info(state: &State, msg: &Incoming) -> Reply {
    let known = name_of(msg).and_then(|name| state.share.index.lock().known(&name));
    match (known, state.me()) {
        (Some(Known::Digested(manifest)), Ok(me)) => {
            let (layout, digest, id) = (manifest.layout(), manifest.digest(), me.id().clone());
            FileInfo { layout, digest, id }.to_reply()
        }
        (Some(Known::Not(Unfit::TooLong)), _) => Reply::error(FILE_TOO_LONG),
        (Some(Known::Not(_)), _) => Reply::error(FILE_ERROR),
        (Some(_), _) => Reply::error(FILE_NOT_READY),
        (None, _) => Reply::error(FILE_NOT_FOUND),
    }
}

/// `FMAN`: the check values. The node that asks is about to fetch the file.
pub(super) async fn manifest(state: &State, msg: &Incoming) -> Reply {
    let Some(digest) = text_of(&msg.frame).and_then(|text| text.parse::<Digest>().ok()) else {
        return Reply::error(FILE_NOT_FOUND);
    };
    let share = Arc::clone(&state.share);
    let held = spawn_blocking(move || share.hold(&digest)).await;
    match held.unwrap_or(Err(PartFailure::Unknown)) {
        Ok(manifest) => Reply::many(checks_to_frames(&manifest)),
        Err(failure) => Reply::error(refusal(state, failure)),
    }
}

/// The text for the other node.
fn refusal(state: &State, failure: PartFailure) -> &'static str {
    match failure {
        PartFailure::Unknown | PartFailure::Changed => FILE_CHANGED,
        PartFailure::NoSuchPart => FILE_NOT_FOUND,
        PartFailure::Io(error) if error.kind() == io::ErrorKind::NotFound => FILE_CHANGED,
        PartFailure::Io(error) => {
            state.error(format!("cannot send a shared file: {error}"));
            FILE_ERROR
        }
    }
}

/// `FGRC`: parts, one after another, as fast as they are read.
pub(super) async fn parts(state: Arc<State>, msg: &Incoming) -> Reply {
    let Some(request) = text_of(&msg.frame).and_then(PartsRequest::parse) else {
        return Reply::error(FILE_NOT_FOUND);
    };
    let first = part(&state, &request, 0).await;
    if request.count == 1 || first.code() == TypeCode::ERRO {
        return Reply::one(first);
    }
    let rest = stream::unfold((state, Some(1)), move |(state, next)| async move {
        let at = next.filter(|at| *at < request.count)?;
        let frame = part(&state, &request, at).await;
        let next = (frame.code() != TypeCode::ERRO).then(|| at + 1);
        Some((frame, (state, next)))
    });
    Reply::stream(futures::StreamExt::chain(stream::once(async { first }), rest))
}

async fn part(state: &Arc<State>, request: &PartsRequest, at: u64) -> Frame {
    let refuse = |text: &'static str| Frame::text(TypeCode::ERRO, text);
    let (digest, index) = (request.digest, request.first.saturating_add(at));
    let len = state.share.manifest(&digest).map_or(0, |manifest| manifest.layout().len(index));
    let Some(mut buffer) = state.sending.take(len, ROOM_WITHIN).await else {
        return refuse(BUSY);
    };
    let share = Arc::clone(&state.share);
    let read =
        spawn_blocking(move || share.read_part(&digest, index, buffer.as_mut()).map(|()| buffer));
    match read.await {
        Ok(Ok(data)) => Frame::new(TypeCode::REPL, Bytes::from_owner(data)),
        Ok(Err(failure)) => refuse(refusal(state, failure)),
        Err(_) => refuse(FILE_ERROR),
    }
}

//! Fetches a whole file from an original program.

use std::{os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use actix_peer::{
    Over, RequestError,
    content::Manifest,
    frame::{Frame, FrameError, TypeCode},
    message::ReadError,
    overlay::Address,
};
use futures::StreamExt;
use tokio::{
    fs::File,
    io::{AsyncWriteExt, BufWriter},
};

use crate::{
    share::temporary_in,
    talk::{NoAnswer, words},
    transfer::{
        Job, TransferFailure, blocking,
        room::Room,
        silence,
        store::{StoreFailure, give_name},
    },
};

/// The size of the write buffer.
const WRITE_LEN: usize = 1 << 20;

/// Fetches the file from `owner`. The header of the frame announces its length.
pub(super) async fn fetch(job: &Arc<Job>, owner: &Address) -> Result<PathBuf, TransferFailure> {
    let (state, running, peer) = (&job.state, &job.running, job.name_of(owner));
    running.begin_at(0);
    running.change(|view| {
        view.sources = vec![peer.clone()];
        view.size = None;
    });
    let downloads = state.downloads.clone();
    let (file, from) = blocking(move || Ok(temporary_in(&downloads)?)).await?.into_parts();
    let mut file = BufWriter::with_capacity(WRITE_LEN, File::from_std(file));
    let _room = receive(job, (owner, &peer), &mut file).await?;
    file.flush().await.map_err(StoreFailure::from)?;
    let file = file.into_inner().into_std().await;
    if !running.may_be_named() {
        return Err(TransferFailure::Cancelled);
    }
    let (job, owner) = (Arc::clone(job), owner.clone());
    blocking(move || {
        let Job { state, order, .. } = &*job;
        let len = file.metadata()?.len();
        let manifest = Manifest::of(len, |part, offset| file.read_exact_at(part, offset))?;
        let path = give_name(&file, from, &state.downloads, &order.name, order.replace)?;
        if let Some(manifest) = &manifest {
            // The owner has the same file.
            let what = (manifest.layout(), manifest.digest());
            state.remote.lock().set(&order.name, &owner, what);
        }
        state.share.add_download(&order.name, manifest.map(Arc::new));
        Ok(path)
    })
    .await
}

/// Receives the whole file. Returns the room that is reserved for it.
async fn receive(
    job: &Arc<Job>,
    (owner, peer): (&Address, &str),
    file: &mut BufWriter<File>,
) -> Result<Option<Room>, TransferFailure> {
    let broken = |error: NoAnswer| broken(peer, &error);
    let failed = |why| Err(TransferFailure::Classic(why));
    let request = Frame::text(TypeCode::FGET, job.order.name.as_str());
    let asked = job.state.request(owner, request, Over::Any).await;
    let mut replies = asked.map_err(broken)?;
    let (mut size, mut more) = (Some(0_u64), true);
    let (mut frames, mut room) = (0_u64, None);
    while let Some(mut body) = replies.next_body().await.map_err(|error| broken(error.into()))? {
        if body.code() != TypeCode::REPL {
            return failed(format!("{peer} does not send the file: {}", words(body).await));
        }
        if !more {
            return failed(format!("{peer} sent more than it announced"));
        }
        frames += 1;
        let len = body.len();
        size = size.zip(len).map(|(size, len)| size + len);
        job.running.change(|view| view.size = size);
        drop(room.take());
        room = Some(Room::reserve(job, size.unwrap_or(0)).await?);
        job.set_waits(None);
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| broken(RequestError::from(error).into()))?;
            file.write_all(&piece).await.map_err(StoreFailure::from)?;
            job.running.add(piece.len() as u64);
        }
        // Another frame follows only if this one has the maximum length.
        more = body.received() == u64::from(u32::MAX);
    }
    if frames == 0 {
        return failed(format!("{peer} closed the connection without an answer"));
    }
    Ok(room)
}

fn broken(peer: &str, error: &NoAnswer) -> TransferFailure {
    match error {
        NoAnswer::Request(RequestError::Reply(ReadError::Frame(FrameError::TruncatedBody {
            ..
        }))) => TransferFailure::Classic(format!(
            "{peer} sent less than it announced: its file may have changed, fetch it again"
        )),
        error if error.is_silence() => TransferFailure::Silent(silence(peer)),
        error => TransferFailure::Classic(format!("the connection with {peer} broke: {error}")),
    }
}

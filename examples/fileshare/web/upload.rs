//! `POST /api/files`: the body is written to a temporary file, which is then added to the share.

use std::{io, path::Path, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Payload, Query},
};
use futures::StreamExt;
use serde::Deserialize;
use tempfile::TempPath;
use tokio::{io::AsyncWriteExt, time::Instant};

use super::{Site, api, body::late, failure::Failure};
use crate::share::temporary_in;

/// The maximum number of running uploads, each of which has a temporary file.
pub(super) const MAX_UPLOADS: usize = 4;

/// The maximum length of an upload. Larger files are put into the shared folder by hand.
const MAX_UPLOAD: u64 = 4 * 1024 * 1024 * 1024;

/// The time-out for each this many bytes of an upload.
const MIN_RATE: (usize, Duration) = (64 << 10, Duration::from_secs(30));

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    name: String,
}

pub(super) async fn add_file(
    site: Data<Site>,
    named: Query<Named>,
    request: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, Failure> {
    if announced(&request).is_some_and(|len| len > MAX_UPLOAD) {
        return Err(too_large());
    }
    let _permit = site
        .uploads
        .try_acquire()
        .map_err(|_| Failure::busy(format!("{MAX_UPLOADS} uploads are already running")))?;
    // In the downloads, because the temporary folder of the system may have little room.
    let downloads = site.app.status().await.downloads;
    if let Some(len) = announced(&request)
        && !site.app.has_room(len).await
    {
        return Err(full());
    }
    let received = receive(&downloads, body).await?;
    let row = site.app.add_file(&named.name, &received).await?;
    Ok(api::added(row))
}

fn announced(request: &HttpRequest) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Writes the whole body to a file, which is removed when the path is dropped.
async fn receive(folder: &Path, mut body: Payload) -> Result<TempPath, Failure> {
    let folder = folder.to_owned();
    let created = tokio::task::spawn_blocking(move || temporary_in(&folder)).await;
    let created = created.unwrap_or_else(|error| Err(io::Error::other(error)));
    let (file, path) = created.map_err(|error| on_disk(&error))?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let mut received: u64 = 0;
    let (bytes, within) = MIN_RATE;
    let (mut until, mut step) = (Instant::now() + within, 0);
    loop {
        let next = tokio::time::timeout_at(until, body.next()).await;
        let Some(piece) = next.map_err(|_| late(within))? else { break };
        let piece = piece
            .map_err(|error| Failure::bad_request(format!("the body was truncated: {error}")))?;
        received = received.saturating_add(piece.len() as u64);
        step += piece.len();
        if step >= bytes {
            (until, step) = (Instant::now() + within, 0);
        }
        if received > MAX_UPLOAD {
            return Err(too_large());
        }
        file.write_all(&piece).await.map_err(|error| on_disk(&error))?;
    }
    file.flush().await.map_err(|error| on_disk(&error))?;
    Ok(path)
}

fn too_large() -> Failure {
    Failure::too_large(format!(
        "a file of more than {} GiB cannot be uploaded: put it into the shared folder",
        MAX_UPLOAD >> 30
    ))
}

fn full() -> Failure {
    Failure::new(StatusCode::INSUFFICIENT_STORAGE, "internal", "the disk is full")
}

fn on_disk(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full(),
        _ => {
            let text = format!("cannot write the file: {error}");
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", text)
        }
    }
}

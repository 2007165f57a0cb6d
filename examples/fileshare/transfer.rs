//! Fetching files: who has them, from whom which part comes, and what people see of it.

mod classic;
mod owners;
mod parts;
mod room;
mod running;
mod source;
mod store;

use std::{path::PathBuf, sync::Arc, time::Duration};

use actix_peer::overlay::Address;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};

use self::{owners::Found, running::Waited, store::StoreFailure};
pub(crate) use self::{
    owners::ask_owner,
    room::has_room,
    running::{NotCleared, Running, TransferBusy, Transfers},
};
use crate::{
    model::{Event, Transfer, TransferState},
    name::FileName,
    state::{State, Stopping},
};

/// How often listeners are told how far a transfer is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// How often a transfer that waits is tried again.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// How long a transfer waits for owners that do not answer, since something came last.
const SILENT_FOR: Duration = Duration::from_secs(3_600);

/// Why a file was not fetched. There is nothing under its name that was not there before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferFailure {
    #[error("nobody who was asked has the file ({0})")]
    NoSource(String),
    /// The owners that do not answer, in words.
    #[error("{0}")]
    Silent(String),
    #[error("the sources are gone: {0}")]
    SourcesLost(String),
    #[error("{0} sent less than it announced: its file may have changed meanwhile, fetch it again")]
    Short(String),
    #[error("{0} sent more than it announced")]
    Long(String),
    #[error("{peer} does not send the file: {text}")]
    Refused { peer: String, text: String },
    #[error("{0} closed the connection without an answer")]
    Closed(String),
    #[error("the connection with {peer} broke: {why}")]
    Broken { peer: String, why: String },
    #[error("the same file is being fetched already")]
    Twice,
    #[error("it was cancelled")]
    Cancelled,
    #[error(transparent)]
    Store(#[from] StoreFailure),
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

/// One file to fetch.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) name: FileName,
    pub(crate) owners: Vec<Address>,
    pub(crate) replace: bool,
}

/// Whether a download of this name would have to go over another file.
pub(crate) fn is_taken(state: &State, name: &FileName) -> bool {
    store::is_taken(&state.downloads, name)
}

/// Begins to fetch a file, on `runtime`. Returns what people see of it at first.
pub(crate) fn start(
    state: &Arc<State>,
    runtime: &tokio::runtime::Handle,
    order: Order,
) -> Result<Transfer, TransferBusy> {
    let sources = order.owners.iter().map(|owner| state.contacts().name_of(owner)).collect();
    let running = state.transfers.begin(&order.name, sources)?;
    let begun = running.view();
    state.emit(Event::Transfer(begun.clone()));
    let state = Arc::clone(state);
    runtime.spawn(async move {
        let work = work(&state, &running, &order);
        let telling = tell(&state, &running);
        let result = tokio::select! {
            result = work => result,
            () = telling => Err(Stopping.into()),
            () = running.cancelled() => Err(TransferFailure::Cancelled),
            () = state.stopping.cancelled() => Err(Stopping.into()),
        };
        if matches!(result, Err(TransferFailure::Cancelled)) {
            clean_up(&state, &running).await;
        }
        end(&state, &running, result);
    });
    Ok(begun)
}

/// Removes the hidden file of a download that was cancelled.
async fn clean_up(state: &State, running: &Running) {
    let part = running.digest().map(|digest| room::part_path(&state.downloads, &digest));
    if let Some(part) = part {
        spawn_blocking(move || std::fs::remove_file(part).ok()).await.ok();
    }
}

/// Tells listeners how far it is, until it is dropped.
async fn tell(state: &State, running: &Running) {
    let mut ticks = tokio::time::interval(TELL_EVERY);
    loop {
        ticks.tick().await;
        if running.measure(crate::state::now()) {
            state.emit(Event::Transfer(running.view()));
        }
    }
}

/// Tells people what a transfer waits for, or that it goes on.
fn waits(state: &State, running: &Running, what: Option<String>) {
    let Some(before) = running.set_waits(what) else { return };
    let view = running.view();
    // Not each byte more or less of room is news.
    if let (Waited::Not, Some(what)) = (before, &view.waits) {
        state.info(format!("{} waits: {what}", view.name));
    }
    state.emit(Event::Transfer(view));
}

fn end(state: &State, running: &Running, result: Result<PathBuf, TransferFailure>) {
    running.set_waits(None);
    match result {
        Ok(path) => {
            state.info(format!("fetched: {}", path.display()));
            running.change(|view| {
                view.state = TransferState::Done;
                view.size = Some(view.done);
                view.path = Some(path);
            });
        }
        Err(TransferFailure::Cancelled) => {
            running.change(|view| view.state = TransferState::Cancelled);
            state
                .info(format!("{} is not fetched any more: it was cancelled", running.view().name));
        }
        Err(failure) => {
            running.change(|view| {
                view.state = TransferState::Failed;
                view.error = Some(failure.to_string());
            });
            state.error(format!("{} was not fetched: {failure}", running.view().name));
        }
    }
    running.change(|view| (view.bytes_per_second, view.seconds_left) = (0, None));
    state.transfers.end(running);
    state.emit(Event::Transfer(running.view()));
    state.files_changed.notify_one();
}

/// Tries until the file is there, or something fails that does not pass.
async fn work(
    state: &Arc<State>,
    running: &Arc<Running>,
    order: &Order,
) -> Result<PathBuf, TransferFailure> {
    let mut moved = (Instant::now(), running.view().done);
    loop {
        let failure = match attempt(state, running, order).await {
            Ok(path) => return Ok(path),
            Err(failure) => failure,
        };
        let done = running.view().done;
        if done != moved.1 {
            moved = (Instant::now(), done);
        }
        match &failure {
            TransferFailure::Silent(_) if moved.0.elapsed() < SILENT_FOR => {}
            TransferFailure::Store(StoreFailure::NoRoom { .. } | StoreFailure::DiskFull) => {}
            _ => return Err(failure),
        }
        waits(state, running, Some(failure.to_string()));
        timeout(TRY_EVERY, state.transfers.until_room_changed()).await.ok();
    }
}

async fn attempt(
    state: &Arc<State>,
    running: &Arc<Running>,
    order: &Order,
) -> Result<PathBuf, TransferFailure> {
    let Found { same, classic, failures, mut silent } = owners::find(state, running, order).await;
    if let Some((info, owners)) = same {
        let fetched = parts::fetch(state, running, order, info, owners).await;
        // An original may still have it when all others fail.
        match fetched {
            Err(TransferFailure::Silent(who)) if !classic.is_empty() => silent.push(who),
            Err(TransferFailure::SourcesLost(_)) if !classic.is_empty() => {}
            other => return other,
        }
    }
    let mut failure = if silent.is_empty() {
        TransferFailure::NoSource(failures.join("; "))
    } else {
        TransferFailure::Silent(silent.join("; "))
    };
    for owner in classic {
        match classic::fetch(state, running, order, &owner).await {
            Err(error @ (TransferFailure::Store(_) | TransferFailure::Cancelled)) => {
                return Err(error);
            }
            // An owner that does not answer may have it later.
            Err(error) if !matches!(failure, TransferFailure::Silent(_)) => failure = error,
            Err(_) => {}
            fetched => return fetched,
        }
    }
    Err(failure)
}

/// That a node does not answer, for people.
fn silence(name: &str) -> String {
    format!("{name} does not answer")
}

/// Does work that blocks on a thread for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreFailure> + Send + 'static,
) -> Result<T, TransferFailure> {
    match spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        // The runtime ends.
        Err(_) => Err(Stopping.into()),
    }
}

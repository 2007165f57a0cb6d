//! Fetches files: finds their owners, gets parts from them, and reports progress.

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

use self::{owners::Found, store::StoreFailure};
pub(crate) use self::{
    owners::ask_owner,
    room::has_room,
    running::{Running, TransferRefused, Transfers},
};
use crate::{
    model::{Event, Transfer, TransferState},
    name::FileName,
    state::{State, Stopping},
};

/// The interval of progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// The interval of attempts of a transfer that waits.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// How long a transfer waits for owners that do not answer, after its last progress.
const SILENT_FOR: Duration = Duration::from_secs(3_600);

/// Why a file was not fetched. Its name is unchanged in the downloads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferFailure {
    #[error("no peer that was asked has the file ({0})")]
    NoSource(String),
    /// The owners that do not answer, as text.
    #[error("{0}")]
    Silent(String),
    #[error("no source is left: {0}")]
    SourcesLost(String),
    /// The error of an original program, as text.
    #[error("{0}")]
    Classic(String),
    #[error(transparent)]
    Twice(#[from] TransferRefused),
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

/// Whether there is already a file of this name in the downloads.
pub(crate) fn is_taken(state: &State, name: &FileName) -> bool {
    std::fs::symlink_metadata(state.downloads.join(name)).is_ok()
}

/// One file that is being fetched.
struct Job {
    state: Arc<State>,
    running: Arc<Running>,
    order: Order,
}

/// Starts to fetch a file, on `runtime`. Returns its first view.
pub(crate) fn start(
    state: &Arc<State>,
    runtime: &tokio::runtime::Handle,
    order: Order,
) -> Result<Transfer, TransferRefused> {
    let sources = order.owners.iter().map(|owner| state.contacts.lock().name_of(owner)).collect();
    let running = state.transfers.begin(&order.name, sources)?;
    let begun = running.view();
    state.emit(Event::Transfer(begun.clone()));
    let job = Arc::new(Job { state: Arc::clone(state), running, order });
    runtime.spawn(async move {
        let result = tokio::select! {
            result = job.work() => result,
            () = job.emit_progress() => Err(Stopping.into()),
            () = job.running.cancelled() => Err(TransferFailure::Cancelled),
            () = job.state.stopping.cancelled() => Err(Stopping.into()),
        };
        if matches!(result, Err(TransferFailure::Cancelled)) {
            job.clean_up().await;
        }
        job.end(result);
    });
    Ok(begun)
}

impl Job {
    fn name_of(&self, owner: &Address) -> String {
        self.state.contacts.lock().name_of(owner)
    }

    /// Removes the hidden file of a download that was cancelled.
    async fn clean_up(&self) {
        if let Some(digest) = self.running.digest() {
            let part = room::part_path(&self.state.downloads, &digest);
            spawn_blocking(move || std::fs::remove_file(part).ok()).await.ok();
        }
    }

    /// Emits progress until it is dropped.
    async fn emit_progress(&self) {
        let mut ticks = tokio::time::interval(PROGRESS_EVERY);
        loop {
            ticks.tick().await;
            if self.running.measure(crate::state::now()) {
                self.state.emit(Event::Transfer(self.running.view()));
            }
        }
    }

    /// Reports what it waits for, or that it continues.
    fn set_waits(&self, what: Option<String>) {
        let Some(waited) = self.running.set_waits(what) else { return };
        let view = self.running.view();
        // Only the first wait is a notice, not every change of its text.
        if let (false, Some(what)) = (waited, &view.waits) {
            self.state.info(format!("{} waits: {what}", view.name));
        }
        self.state.emit(Event::Transfer(view));
    }

    fn end(&self, result: Result<PathBuf, TransferFailure>) {
        let (state, name) = (&self.state, &self.order.name);
        let (end, path, error) = match result {
            Ok(path) => {
                state.info(format!("fetched: {}", path.display()));
                (TransferState::Done, Some(path), None)
            }
            Err(TransferFailure::Cancelled) => {
                state.info(format!("{name} was not fetched: it was cancelled"));
                (TransferState::Cancelled, None, None)
            }
            Err(failure) => {
                state.error(format!("{name} was not fetched: {failure}"));
                (TransferState::Failed, None, Some(failure.to_string()))
            }
        };
        self.running.change(|view| {
            if end == TransferState::Done {
                view.size = Some(view.done);
            }
            (view.state, view.path, view.error) = (end, path, error);
            (view.waits, view.bytes_per_second, view.seconds_left) = (None, 0, None);
        });
        state.emit(Event::Transfer(self.running.view()));
        state.files_changed.notify_one();
    }

    /// Tries until the file is complete, or an error is permanent.
    async fn work(self: &Arc<Self>) -> Result<PathBuf, TransferFailure> {
        let mut progress = (Instant::now(), self.running.view().done);
        loop {
            let failure = match self.attempt().await {
                Ok(path) => return Ok(path),
                Err(failure) => failure,
            };
            let done = self.running.view().done;
            if done != progress.1 {
                progress = (Instant::now(), done);
            }
            match &failure {
                TransferFailure::Silent(_) if progress.0.elapsed() < SILENT_FOR => {}
                TransferFailure::Store(StoreFailure::NoRoom { .. } | StoreFailure::DiskFull) => {}
                _ => return Err(failure),
            }
            self.set_waits(Some(failure.to_string()));
            timeout(RETRY_EVERY, self.state.transfers.until_room_changed()).await.ok();
        }
    }

    async fn attempt(self: &Arc<Self>) -> Result<PathBuf, TransferFailure> {
        let Found { same, classic, failures, mut silent } = owners::find(self).await;
        if let Some((info, owners)) = same {
            let fetched = parts::fetch(self, info, owners).await;
            // If all others fail, an original program may still have it.
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
            match classic::fetch(self, &owner).await {
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
}

/// The text for a node that does not answer.
fn silence(name: &str) -> String {
    format!("{name} does not answer")
}

/// Runs blocking work on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreFailure> + Send + 'static,
) -> Result<T, TransferFailure> {
    match spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        // The runtime is shutting down.
        Err(_) => Err(Stopping.into()),
    }
}

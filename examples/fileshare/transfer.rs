//! Fetching files: who has them, from whom which part comes, and what people see of it.

mod classic;
mod owners;
mod parts;
mod plan;
mod running;
mod source;
mod store;

use std::{path::PathBuf, sync::Arc, time::Duration};

use actix_peer::overlay::Address;
use tokio::task::spawn_blocking;

use self::{owners::Found, store::StoreFailure};
pub(crate) use self::{
    owners::ask_owner,
    running::{Running, TransferBusy, Transfers},
};
use crate::{
    model::{Event, Transfer, TransferState},
    name::FileName,
    state::{State, Stopping},
};

/// How often listeners are told how far a transfer is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Why a file was not fetched. There is nothing under its name that was not there before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferFailure {
    #[error("nobody who was asked has the file ({0})")]
    NoSource(String),
    #[error("the sources are gone: {0}")]
    SourcesLost(String),
    #[error("{0} sent less than it announced")]
    Short(String),
    #[error("{0} sent more than it announced")]
    Long(String),
    #[error("{peer} does not send the file: {text}")]
    Refused { peer: String, text: String },
    #[error("{0} closed the connection without an answer")]
    Silent(String),
    #[error("the connection with {peer} broke: {why}")]
    Broken { peer: String, why: String },
    #[error("the same file is being fetched already")]
    Twice,
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
            () = state.stopping.cancelled() => Err(Stopping.into()),
        };
        end(&state, &running, result);
    });
    Ok(begun)
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

fn end(state: &State, running: &Running, result: Result<PathBuf, TransferFailure>) {
    match result {
        Ok(path) => {
            state.info(format!("fetched: {}", path.display()));
            running.change(|view| {
                view.state = TransferState::Done;
                view.size = Some(view.done);
                view.path = Some(path);
            });
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

async fn work(
    state: &Arc<State>,
    running: &Arc<Running>,
    order: &Order,
) -> Result<PathBuf, TransferFailure> {
    let Found { same, classic, failures } = owners::find(state, order).await;
    if let Some((info, owners)) = same {
        let fetched = parts::fetch(state, running, order, info, owners).await;
        // An original may still have it when all others fail.
        match fetched {
            Err(TransferFailure::SourcesLost(_)) if !classic.is_empty() => {}
            other => return other,
        }
    }
    let mut failure = TransferFailure::NoSource(failures.join("; "));
    for owner in classic {
        match classic::fetch(state, running, order, &owner).await {
            Err(TransferFailure::Store(error)) => return Err(error.into()),
            Err(error) => failure = error,
            fetched => return fetched,
        }
    }
    Err(failure)
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

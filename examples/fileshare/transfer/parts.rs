//! Fetches a file in parts, from all its owners.

use std::{path::PathBuf, sync::Arc, time::Duration};

use actix_peer::{
    content::{Digest, Failure, Manifest, Plan, SourceNumber, Standing, Task},
    overlay::Address,
};
use futures::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{
    protocol::{FileInfo, PartsRequest},
    state::now,
    transfer::{
        Job, TransferFailure, blocking,
        room::{Room, bytes_of_part},
        silence,
        source::{self, PartError, Source},
        store::Store,
    },
};

/// The maximum number of sources of one transfer.
const MAX_SOURCES: usize = 8;

/// The maximum number of open requests to one source, so that parts arrive while another is
/// verified and written. More were slower: the data left the cache of the processor before it was
/// written.
const LANES: usize = 3;

/// The maximum number of open requests of one transfer, but at least two for each source.
const ALL_LANES: usize = 12;

/// How long a lane without work waits before it requests a slow part a second time.
const IDLE: Duration = Duration::from_millis(500);

/// How long a lane waits for memory.
const ROOM_WITHIN: Duration = Duration::from_secs(600);

struct Fetching<'a> {
    job: &'a Job,
    digest: Digest,
    store: Arc<Store>,
    manifest: Arc<Manifest>,
    plan: Mutex<Plan>,
    sources: Vec<Source>,
    reasons: Mutex<Vec<String>>,
    /// Wakes lanes when there may be work.
    wake: Notify,
}

/// Fetches the file from `owners`.
pub(super) async fn fetch(
    job: &Arc<Job>,
    info: FileInfo,
    owners: Vec<Address>,
) -> Result<PathBuf, TransferFailure> {
    let (state, running) = (&job.state, &job.running);
    state.transfers.claim(running, info.digest)?;
    let names: Vec<_> = owners.iter().map(|owner| job.name_of(owner)).collect();
    running.change(|view| {
        view.size = Some(info.layout.size());
        view.sources.clone_from(&names);
    });
    let sources = owners.into_iter().zip(names).take(MAX_SOURCES);
    let sources: Vec<_> = sources.map(|(address, name)| Source { address, name }).collect();
    let manifest = Arc::new(source::manifest(state, &info, &sources).await?);
    // Room is reserved before the file is created.
    let (begun, of) = (state.downloads.clone(), info.digest);
    running.begin_at(blocking(move || Ok(bytes_of_part(&begun, &of))).await?);
    let _room = Room::reserve(job, info.layout.size()).await?;
    let (downloads, of) = (state.downloads.clone(), Arc::clone(&manifest));
    let (store, there) = blocking(move || Store::open(&downloads, of)).await?;
    let there_bytes = (0..).zip(&there).filter(|(_, there)| **there);
    running.begin_at(there_bytes.map(|(index, _)| info.layout.len(index) as u64).sum());
    job.set_waits(None);
    let fetching = Fetching {
        job,
        digest: info.digest,
        store: Arc::new(store),
        manifest,
        plan: Mutex::new(Plan::new(&there, sources.len())),
        sources,
        reasons: Mutex::default(),
        wake: Notify::new(),
    };
    fetching.all_parts().await?;
    let Fetching { store, manifest, .. } = fetching;
    if !running.may_be_named() {
        return Err(TransferFailure::Cancelled);
    }
    let job = Arc::clone(job);
    blocking(move || {
        let Job { state, order, .. } = &*job;
        let path = store.finish(&state.downloads, &order.name, order.replace)?;
        state.share.add_download(&order.name, Some(manifest));
        Ok(path)
    })
    .await
}

impl Fetching<'_> {
    /// Fetches the missing parts, on all lanes of all sources.
    async fn all_parts(&self) -> Result<(), TransferFailure> {
        let each = (ALL_LANES / self.sources.len().max(1)).clamp(2, LANES);
        let numbers = (0..each).flat_map(|_| 0..self.sources.len());
        let mut lanes: FuturesUnordered<_> = numbers.map(|number| self.lane(number)).collect();
        // The transfer ends when no part is missing, without waiting for a slow source of a part
        // that has already arrived from another.
        while !self.plan.lock().is_finished() {
            match lanes.next().await {
                Some(ended) => ended?,
                None => break,
            }
        }
        drop(lanes);
        if self.plan.lock().is_finished() {
            return Ok(());
        }
        let silent = self.silent();
        if !silent.is_empty() {
            return Err(TransferFailure::Silent(silent));
        }
        let reasons = self.reasons.lock();
        Err(TransferFailure::SourcesLost(reasons.join("; ")))
    }

    /// The names of some sources, by their numbers.
    fn names(&self, which: impl Fn(SourceNumber) -> bool) -> Vec<String> {
        let named = self.sources.iter().enumerate().filter(|(number, _)| which(*number));
        named.map(|(_, source)| source.name.clone()).collect()
    }

    /// The sources that do not answer, as text.
    fn silent(&self) -> String {
        let names = self.names(|number| self.plan.lock().is_silent(number));
        names.iter().map(|name| silence(name)).collect::<Vec<_>>().join("; ")
    }

    /// Fetches one part after another from one source.
    async fn lane(&self, number: SourceNumber) -> Result<(), TransferFailure> {
        let Some(source) = self.sources.get(number) else { return Ok(()) };
        loop {
            let task = self.plan.lock().take(number, now());
            match task {
                Task::Fetch(index) => {
                    if let Err(error) = self.part(number, source, index).await? {
                        self.failed(number, source, index, error).await;
                    }
                }
                Task::Wait => drop(timeout(IDLE, self.wake.notified()).await),
                _ => break,
            }
        }
        self.wake.notify_waiters();
        Ok(())
    }

    /// Fetches, verifies and writes one part.
    async fn part(
        &self,
        number: SourceNumber,
        source: &Source,
        index: u64,
    ) -> Result<Result<(), PartError>, TransferFailure> {
        let len = self.manifest.layout().len(index);
        let Some(mut data) = self.job.state.receiving.take(len, ROOM_WITHIN).await else {
            let why = "there is not enough memory for the part".to_owned();
            return Ok(Err(PartError { why, failure: Failure::Busy }));
        };
        let request = PartsRequest { digest: self.digest, first: index, count: 1 };
        if let Err(error) = source.receive(&self.job.state, request, data.as_mut()).await {
            return Ok(Err(error));
        }
        let store = Arc::clone(&self.store);
        if !blocking(move || store.write(index, data.as_ref())).await? {
            let why = "it sent data that does not match the digest";
            return Ok(Err(PartError::last(why)));
        }
        self.job.set_waits(None);
        tracing::trace!(number, index, "part");
        if self.plan.lock().done(number, index) {
            self.job.running.add(len as u64);
        }
        Ok(Ok(()))
    }

    /// Records that a source did not send a part, and lets the source pause.
    async fn failed(&self, number: SourceNumber, source: &Source, index: u64, error: PartError) {
        let standing = self.plan.lock().failed(number, index, error.failure, now());
        self.wake.notify_waiters();
        if error.failure == (Failure::Broken { silent: true })
            && self.plan.lock().is_silent_all_over()
        {
            self.job.set_waits(Some(self.silent()));
        }
        match standing {
            Standing::AskAgain(pause) => sleep(pause).await,
            Standing::GivenUp => {
                let PartError { why, .. } = error;
                self.job
                    .state
                    .error(format!("{} is no longer used as a source: {why}", source.name));
                let mut reasons = self.reasons.lock();
                reasons.push(format!("{}: {why}", source.name));
                let left = self.names(|number| !self.plan.lock().is_given_up(number));
                self.job.running.change(|view| view.sources = left);
            }
            _ => {}
        }
    }
}

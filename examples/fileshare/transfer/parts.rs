//! Fetching a file in parts, from everybody who has it.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_peer::overlay::Address;
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{
    digest::{Digest, Manifest},
    protocol::{FileInfo, PartsRequest},
    state::{State, now},
    transfer::{
        Order, Running, TransferFailure, blocking,
        plan::{Plan, SourceNumber, Task},
        room::{Room, part_path},
        silence,
        source::{self, PartError, Source},
        store::Store,
        waits,
    },
};

/// Sources of one transfer.
const MAX_SOURCES: usize = 8;

/// Parts that are asked of one source at once at most: while one is verified and written, others
/// come. Measured: with more, what came has left the cache of the processor before it is written.
const LANES: usize = 3;

/// Parts that are asked for at once in one transfer, or two of each source.
const ALL_LANES: usize = 12;

/// Broken connections in a row after which a source is given up.
const MAX_FAILURES: u32 = 3;

/// The pause after the first of them; it doubles.
const PAUSE: Duration = Duration::from_millis(300);

/// How long a lane without work waits before it looks for a slow part to help with.
const IDLE: Duration = Duration::from_millis(500);

/// How long a lane waits for room in memory.
const ROOM_WITHIN: Duration = Duration::from_secs(600);

struct Fetching<'a> {
    state: &'a Arc<State>,
    running: &'a Running,
    digest: Digest,
    store: Arc<Store>,
    manifest: Arc<Manifest>,
    plan: Mutex<Plan>,
    sources: Vec<Source>,
    reasons: Mutex<Vec<String>>,
    /// Something failed or ended: there may be work.
    wake: Notify,
}

/// Fetches the file that `owners` have.
pub(super) async fn fetch(
    state: &Arc<State>,
    running: &Arc<Running>,
    order: &Order,
    info: FileInfo,
    owners: Vec<Address>,
) -> Result<PathBuf, TransferFailure> {
    if !state.transfers.claim(running, info.digest) {
        return Err(TransferFailure::Twice);
    }
    let names: Vec<_> = owners.iter().map(|owner| state.contacts().name_of(owner)).collect();
    running.change(|view| {
        view.size = Some(info.cut.size());
        view.sources.clone_from(&names);
    });
    let sources: Vec<_> =
        owners.into_iter().zip(names).take(MAX_SOURCES).map(Source::new).collect();
    let manifest = Arc::new(source::manifest(state, &info, &sources).await?);
    // Nothing is made on the disk for what does not fit.
    let begun = part_path(&state.downloads, &info.digest);
    let begun = blocking(move || Ok(fs::symlink_metadata(begun).is_ok())).await?;
    let kept = if begun {
        None
    } else {
        running.begin_at(0);
        Some(Room::keep(state, running, info.cut.size()).await?)
    };
    let (downloads, of) = (state.downloads.clone(), Arc::clone(&manifest));
    let (store, there) = blocking(move || Store::open(&downloads, of)).await?;
    let there_bytes = (0..).zip(&there).filter(|(_, there)| **there);
    let there_bytes = there_bytes.map(|(index, _)| info.cut.len(index) as u64).sum();
    running.begin_at(there_bytes);
    let room = match kept {
        Some(room) => Ok(room),
        None => Room::keep(state, running, info.cut.size()).await,
    };
    if room.is_err() && there_bytes == 0 {
        store.remove();
    }
    let _room = room?;
    waits(state, running, None);
    let fetching = Fetching {
        state,
        running,
        digest: info.digest,
        store: Arc::new(store),
        manifest,
        plan: Mutex::new(Plan::new(&there)),
        sources,
        reasons: Mutex::default(),
        wake: Notify::new(),
    };
    fetching.all_parts().await?;
    let Fetching { store, manifest, .. } = fetching;
    let (downloads, order) = (state.downloads.clone(), order.clone());
    let share = Arc::clone(&state.share);
    if !running.may_be_named() {
        return Err(TransferFailure::Cancelled);
    }
    blocking(move || {
        let path = store.finish(&downloads, &order.name, order.replace)?;
        share.add_download(&order.name, Some(manifest));
        Ok(path)
    })
    .await
}

impl Fetching<'_> {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches what is missing, on all lanes of all sources.
    async fn all_parts(&self) -> Result<(), TransferFailure> {
        let each = (ALL_LANES / self.sources.len().max(1)).clamp(2, LANES);
        let numbers = (0..each).flat_map(|_| 0..self.sources.len());
        let mut lanes: FuturesUnordered<_> = numbers.map(|number| self.lane(number)).collect();
        // The first that finds nothing left ends it: who is slow with a part that came from another
        // is not waited for.
        while !self.plan().is_finished() {
            match lanes.next().await {
                Some(ended) => ended?,
                None => break,
            }
        }
        drop(lanes);
        if self.plan().is_finished() {
            return Ok(());
        }
        let silent: Vec<_> = self.silent().collect();
        if !silent.is_empty() {
            return Err(TransferFailure::Silent(silent.join("; ")));
        }
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        Err(TransferFailure::SourcesLost(reasons.join("; ")))
    }

    /// That a source does not answer, for each.
    fn silent(&self) -> impl Iterator<Item = String> {
        let silent = self.sources.iter().filter(|source| source.is_silent());
        silent.map(|source| silence(&source.name))
    }

    /// Fetches one part after another from one source.
    async fn lane(&self, number: SourceNumber) -> Result<(), TransferFailure> {
        let Some(source) = self.sources.get(number) else { return Ok(()) };
        while !source.is_given_up() {
            let task = self.plan().take(number, now());
            match task {
                Task::Finished => break,
                Task::Wait => drop(timeout(IDLE, self.wake.notified()).await),
                Task::Fetch(index) => {
                    let fetched = self.part(number, source, index).await?;
                    if let Err(error) = fetched {
                        self.plan().failed(number, index);
                        self.wake.notify_waiters();
                        self.note(source, error).await;
                    }
                }
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
        let len = self.manifest.cut().len(index);
        let Some(mut data) = self.state.receiving.take(len, ROOM_WITHIN).await else {
            return Ok(Err(PartError::Busy));
        };
        let request = PartsRequest { digest: self.digest, first: index, count: 1 };
        if let Err(error) = source.receive(self.state, request, data.as_mut()).await {
            return Ok(Err(error));
        }
        let store = Arc::clone(&self.store);
        let good = blocking(move || store.write(index, data.as_ref()));
        if !good.await? {
            return Ok(Err(PartError::Bad("it sent data that does not belong to the digest")));
        }
        source.success();
        waits(self.state, self.running, None);
        tracing::trace!(number, index, "part");
        if self.plan().done(index) {
            self.running.add(len as u64);
        }
        Ok(Ok(()))
    }

    /// Decides what becomes of a source that did not bring a part.
    async fn note(&self, source: &Source, error: PartError) {
        let give_up = |why: &str| {
            if let Some(reason) = source.give_up(self.state, why) {
                self.reasons.lock().unwrap_or_else(PoisonError::into_inner).push(reason);
                let left = |source: &&Source| !source.is_given_up();
                let left =
                    self.sources.iter().filter(left).map(|source| source.name.clone()).collect();
                self.running.change(|view| view.sources = left);
            }
        };
        match error {
            PartError::Bad(why) => give_up(why),
            PartError::Gone(why) => give_up(&why),
            PartError::Busy => sleep(PAUSE).await,
            PartError::Broken { why, silent } => {
                source.set_silent(silent);
                let idle = |source: &Source| source.is_silent() || source.is_given_up();
                if silent && self.sources.iter().all(idle) {
                    let silent: Vec<_> = self.silent().collect();
                    waits(self.state, self.running, Some(silent.join("; ")));
                }
                let failures = source.failure(now());
                // All lanes of a source fail when its link breaks: together they count as one.
                if failures >= MAX_FAILURES {
                    give_up(&why);
                } else {
                    sleep(PAUSE * (1 << failures.min(4))).await;
                }
            }
        }
    }
}

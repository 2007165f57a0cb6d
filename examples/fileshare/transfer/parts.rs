//! Fetching a file in parts, from everybody who has it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use actix_peer::{
    Body, Over,
    frame::{Frame, TypeCode},
    overlay::Address,
};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{
    digest::{Digest, Manifest},
    protocol::{BUSY, FMAN, FileInfo, PartsRequest, push_checks},
    state::{State, now},
    talk::{NoAnswer, shown},
    transfer::{
        Order, Running, TransferFailure, blocking,
        plan::{Plan, SourceNumber, Task},
        store::Store,
    },
};

/// Sources of one transfer.
const MAX_SOURCES: usize = 8;

/// Parts that are asked of one source at once: while one is verified and written, others come.
const LANES: usize = 6;

/// Broken connections in a row after which a source is given up.
const MAX_FAILURES: u32 = 3;

/// The pause after the first of them; it doubles.
const PAUSE: Duration = Duration::from_millis(300);

/// How long a lane without work waits before it looks for a slow part to help with.
const IDLE: Duration = Duration::from_millis(500);

/// Bytes of a refusal that are looked at.
const MAX_TEXT: usize = 1 << 10;

/// How long a lane waits for room in memory.
const ROOM_WITHIN: Duration = Duration::from_secs(600);

struct Source {
    address: Address,
    name: String,
    given_up: AtomicBool,
    failures: AtomicU32,
}

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

/// Why a part did not come.
enum PartError {
    /// It is not what it should be. There is no second try.
    Bad(&'static str),
    /// The source does not have it any more.
    Gone(String),
    Busy,
    Broken(String),
}

impl From<NoAnswer> for PartError {
    fn from(error: NoAnswer) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<actix_peer::RequestError> for PartError {
    fn from(error: actix_peer::RequestError) -> Self {
        NoAnswer::from(error).into()
    }
}

/// Fetches the file that `owners` have.
pub(super) async fn fetch(
    state: &Arc<State>,
    running: &Running,
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
    let source = |(address, name)| Source {
        address,
        name,
        given_up: AtomicBool::new(false),
        failures: AtomicU32::new(0),
    };
    let sources: Vec<_> = owners.into_iter().zip(names).take(MAX_SOURCES).map(source).collect();
    let manifest = Arc::new(manifest(state, &info, &sources).await?);
    let (downloads, of) = (state.downloads.clone(), Arc::clone(&manifest));
    let (store, there) = blocking(move || Store::open(&downloads, of)).await?;
    let there_bytes = (0..).zip(&there).filter(|(_, there)| **there);
    running.begin_at(there_bytes.map(|(index, _)| info.cut.len(index) as u64).sum());
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
    blocking(move || {
        let path = store.finish(&downloads, &order.name, order.replace)?;
        share.add_download(&order.name, Some(manifest));
        Ok(path)
    })
    .await
}

/// The check values, from the first source whose list belongs to the digest.
async fn manifest(
    state: &State,
    info: &FileInfo,
    sources: &[Source],
) -> Result<Manifest, TransferFailure> {
    let mut reasons = Vec::new();
    let most = if info.cut.parts() > 1 { info.cut.parts() } else { 0 };
    for source in sources {
        let mut checks = Vec::new();
        let asked = async {
            if most == 0 {
                return Ok(Some(()));
            }
            let mut replies = state
                .request(&source.address, Frame::text(FMAN, info.digest.to_string()), Over::Link)
                .await?;
            while let Some(frame) = replies.next().await.transpose()? {
                if frame.code() != TypeCode::REPL
                    || push_checks(&mut checks, &frame, most).is_none()
                {
                    return Ok(None);
                }
            }
            Ok::<_, NoAnswer>(Some(()))
        };
        let complete = asked.await;
        let manifest = Manifest::verified(info.cut, info.digest, checks);
        match (complete, manifest) {
            (Ok(Some(())), Ok(manifest)) => return Ok(manifest),
            (Ok(_), _) => {
                reject(state, source, "its check values do not belong to the digest", &mut reasons)
            }
            (Err(error), _) => reasons.push(format!("{}: {error}", source.name)),
        }
    }
    Err(TransferFailure::SourcesLost(reasons.join("; ")))
}

fn reject(state: &State, source: &Source, why: &str, reasons: &mut Vec<String>) {
    source.given_up.store(true, Ordering::Relaxed);
    reasons.push(format!("{}: {why}", source.name));
    state.error(format!("{} is not asked any more: {why}", source.name));
}

impl Fetching<'_> {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches what is missing, on all lanes of all sources.
    async fn all_parts(&self) -> Result<(), TransferFailure> {
        let numbers = 0..self.sources.len();
        let mut lanes: FuturesUnordered<_> =
            numbers.flat_map(|number| (0..LANES).map(move |_| self.lane(number))).collect();
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
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        Err(TransferFailure::SourcesLost(reasons.join("; ")))
    }

    /// Fetches one part after another from one source.
    async fn lane(&self, number: SourceNumber) -> Result<(), TransferFailure> {
        let Some(source) = self.sources.get(number) else { return Ok(()) };
        while !source.given_up.load(Ordering::Relaxed) {
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
        if let Err(error) = self.receive(source, index, data.as_mut()).await {
            return Ok(Err(error));
        }
        let store = Arc::clone(&self.store);
        let good = blocking(move || store.write(index, data.as_ref()));
        if !good.await? {
            return Ok(Err(PartError::Bad("it sent data that does not belong to the digest")));
        }
        source.failures.store(0, Ordering::Relaxed);
        tracing::trace!(number, index, "part");
        if self.plan().done(index) {
            self.running.add(len as u64);
        }
        Ok(Ok(()))
    }

    /// Receives one part into `space`, which is as long as the part.
    async fn receive(
        &self,
        source: &Source,
        index: u64,
        space: &mut [u8],
    ) -> Result<(), PartError> {
        let request = PartsRequest { digest: self.digest, first: index, count: 1 };
        let mut replies =
            self.state.request(&source.address, request.to_frame(), Over::Link).await?;
        let Some(mut body) = replies.next_body().await? else {
            return Err(PartError::Gone("no answer".to_owned()));
        };
        if body.code() == TypeCode::ERRO {
            return Err(refusal(body).await);
        }
        let mut left = space;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(actix_peer::RequestError::from)?;
            let (space, rest) = left
                .split_at_mut_checked(piece.len())
                .ok_or(PartError::Bad("it sent more than it announced"))?;
            space.copy_from_slice(&piece);
            left = rest;
        }
        if left.is_empty() { Ok(()) } else { Err(PartError::Bad("it sent less than it announced")) }
    }

    /// Decides what becomes of a source that did not bring a part.
    async fn note(&self, source: &Source, error: PartError) {
        let give_up = |why: &str| {
            if !source.given_up.swap(true, Ordering::Relaxed) {
                let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
                reject(self.state, source, why, &mut reasons);
                drop(reasons);
                let left = |source: &&Source| !source.given_up.load(Ordering::Relaxed);
                let left =
                    self.sources.iter().filter(left).map(|source| source.name.clone()).collect();
                self.running.change(|view| view.sources = left);
            }
        };
        match error {
            PartError::Bad(why) => give_up(why),
            PartError::Gone(why) => give_up(&why),
            PartError::Busy => sleep(PAUSE).await,
            PartError::Broken(why) => {
                let failures = source.failures.fetch_add(1, Ordering::Relaxed);
                // All lanes of a source fail when its link breaks: they count as one or two.
                if failures >= MAX_FAILURES * LANES as u32 {
                    give_up(&why);
                } else {
                    sleep(PAUSE * (1 << (failures / LANES as u32).min(4))).await;
                }
            }
        }
    }
}

/// What a source says in place of a part.
async fn refusal(mut body: Body) -> PartError {
    let mut text = Vec::new();
    while let Some(Ok(piece)) = body.next().await
        && text.len() < MAX_TEXT
    {
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8_lossy(&text);
    if text == BUSY { PartError::Busy } else { PartError::Gone(shown(&text)) }
}

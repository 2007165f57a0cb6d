//! What all parts of the program share.

mod contacts;

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use actix_peer::{Peer, PeerInfo, peer::WeakPeer};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, broadcast, mpsc};
use tokio_util::sync::CancellationToken;

pub(crate) use self::contacts::Contacts;
use crate::{
    buffers::Buffers,
    limits::Limits,
    model::{Event, Level},
    remote::RemoteFiles,
    search::{OwnSearches, Seen},
    serve::QueryWork,
    share::Share,
    transfer::Transfers,
};

/// Events that a slow listener may lag behind.
const EVENT_QUEUE: usize = 64;

/// MiB of parts that are in memory to be sent.
const SEND_MIB: usize = 16;

/// MiB of parts that are in memory while they are received and written.
const RECEIVE_MIB: usize = 16;

/// Whole files that are streamed to others at once, each with two pieces in memory.
const MAX_STREAMS: usize = 32;

/// Everything that lives as long as the program, but the node itself.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) share: Arc<Share>,
    pub(crate) downloads: PathBuf,
    /// Hops that an own search goes on.
    pub(crate) ttl: u32,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) transfers: Transfers,
    pub(crate) stopping: CancellationToken,
    /// What was acknowledged and is still to be worked on.
    pub(crate) queries: mpsc::Sender<QueryWork>,
    /// Wakes whoever asks owners what they have.
    pub(crate) ask_owners: Notify,
    /// Wakes whoever tells listeners about files.
    pub(crate) files_changed: Notify,
    pub(crate) peers_changed: Notify,
    /// Wakes whoever tells listeners about own searches.
    pub(crate) searches_changed: Notify,
    /// Parts that are in memory to be sent.
    pub(crate) sending: Buffers,
    /// Parts that are in memory while they are received and written.
    pub(crate) receiving: Buffers,
    pub(crate) streams: Arc<Semaphore>,
    peer: OnceLock<(WeakPeer, PeerInfo)>,
    search_number: AtomicU64,
    pub(crate) contacts: Mutex<Contacts>,
    pub(crate) remote: Mutex<RemoteFiles>,
    pub(crate) seen: Mutex<Seen>,
    pub(crate) own: Mutex<OwnSearches>,
    pub(crate) limits: Mutex<Limits>,
}

/// The program is stopping, or has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the program is stopping")]
pub(crate) struct Stopping;

pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl State {
    pub(crate) fn new(
        share: Arc<Share>,
        downloads: PathBuf,
        ttl: u32,
        queries: mpsc::Sender<QueryWork>,
    ) -> Self {
        Self {
            share,
            downloads,
            ttl,
            events: broadcast::Sender::new(EVENT_QUEUE),
            transfers: Transfers::default(),
            stopping: CancellationToken::new(),
            queries,
            ask_owners: Notify::new(),
            files_changed: Notify::new(),
            peers_changed: Notify::new(),
            searches_changed: Notify::new(),
            sending: Buffers::new(SEND_MIB),
            receiving: Buffers::new(RECEIVE_MIB),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            peer: OnceLock::new(),
            // Not that of an earlier life, which others may remember.
            search_number: AtomicU64::new(fastrand::u64(..) >> 1),
            contacts: Mutex::default(),
            remote: Mutex::default(),
            seen: Mutex::default(),
            own: Mutex::default(),
            limits: Mutex::default(),
        }
    }

    /// The node, once it runs.
    pub(crate) fn set_peer(&self, peer: &Peer) {
        self.contacts.lock().set_me(peer.info());
        self.peer.set((peer.downgrade(), peer.info().clone())).ok();
    }

    /// The node.
    pub(crate) fn peer(&self) -> Result<Peer, Stopping> {
        self.peer.get().and_then(|(peer, _)| peer.upgrade()).ok_or(Stopping)
    }

    /// What this node tells others about itself.
    pub(crate) fn me(&self) -> Result<&PeerInfo, Stopping> {
        self.peer.get().map(|(_, me)| me).ok_or(Stopping)
    }

    pub(crate) fn next_search(&self) -> u64 {
        self.search_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells whoever listens.
    pub(crate) fn emit(&self, event: Event) {
        // Nobody may be listening.
        self.events.send(event).ok();
    }

    pub(crate) fn info(&self, text: impl Into<String>) {
        self.emit(Event::Notice { level: Level::Info, text: text.into() });
    }

    pub(crate) fn error(&self, text: impl Into<String>) {
        self.emit(Event::Notice { level: Level::Error, text: text.into() });
    }
}

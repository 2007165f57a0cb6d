//! The state that all parts of the program share.

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

/// The number of events that a slow subscriber may lag behind.
const EVENT_QUEUE: usize = 64;

/// The memory for parts that are sent, in MiB.
const SEND_MIB: usize = 16;

/// The memory for parts that are received and written, in MiB.
const RECEIVE_MIB: usize = 16;

/// The maximum number of whole files that are sent at once, each with two pieces in memory.
const MAX_STREAMS: usize = 32;

/// The state of the program, except the node itself.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) share: Arc<Share>,
    pub(crate) downloads: PathBuf,
    /// The hops of an own search.
    pub(crate) ttl: u32,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) transfers: Transfers,
    pub(crate) stopping: CancellationToken,
    /// Acknowledged queries that are not handled yet.
    pub(crate) queries: mpsc::Sender<QueryWork>,
    /// Wakes the task that asks owners about their files.
    pub(crate) ask_owners: Notify,
    /// Wakes the task that emits files.
    pub(crate) files_changed: Notify,
    pub(crate) peers_changed: Notify,
    /// Wakes the task that emits own searches.
    pub(crate) searches_changed: Notify,
    /// Memory for parts that are sent.
    pub(crate) sending: Buffers,
    /// Memory for parts that are received and written.
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
            // A number of an earlier run may still be remembered by others.
            search_number: AtomicU64::new(fastrand::u64(..) >> 1),
            contacts: Mutex::default(),
            remote: Mutex::default(),
            seen: Mutex::default(),
            own: Mutex::default(),
            limits: Mutex::default(),
        }
    }

    /// Sets the node after it has started.
    pub(crate) fn set_peer(&self, peer: &Peer) {
        self.contacts.lock().set_me(peer.info());
        self.peer.set((peer.downgrade(), peer.info().clone())).ok();
    }

    /// The node.
    pub(crate) fn peer(&self) -> Result<Peer, Stopping> {
        self.peer.get().and_then(|(peer, _)| peer.upgrade()).ok_or(Stopping)
    }

    /// The description of this node.
    pub(crate) fn me(&self) -> Result<&PeerInfo, Stopping> {
        self.peer.get().map(|(_, me)| me).ok_or(Stopping)
    }

    pub(crate) fn next_search(&self) -> u64 {
        self.search_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends an event to all subscribers, if there are any.
    pub(crate) fn emit(&self, event: Event) {
        self.events.send(event).ok();
    }

    pub(crate) fn info(&self, text: impl Into<String>) {
        self.emit(Event::Notice { level: Level::Info, text: text.into() });
    }

    pub(crate) fn error(&self, text: impl Into<String>) {
        self.emit(Event::Notice { level: Level::Error, text: text.into() });
    }
}

//! The address book of a node: read at the start, kept up to date, written periodically and at
//! stop.

mod file;
mod rejoin;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::LocalBoxFuture;

use self::file::Loaded;
use crate::{
    node::PeerEvent,
    overlay::{
        AddressBook,
        options::{ConfigError, Options, PLACES, PLACES_OR_NONE, Setting, TIME, settings},
    },
    peer::{
        Peers,
        maintenance::{Maintenance, NodeContext},
    },
    session::Endpoint,
    sync::Mutex,
    time::now,
};

/// The options of the address book: the file, the number of peers, and how long they are kept. A
/// value out of its bounds is refused when the node starts.
///
/// ```
/// use std::time::Duration;
/// use actix_peer::peer::AddressBookConfig;
///
/// let book = AddressBookConfig::new("/var/lib/node/peers")
///     .max_entries(256)
///     .save_every(Duration::from_secs(300));
/// # drop(book);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressBookConfig {
    path: PathBuf,
    max_entries: usize,
    save_every: Duration,
    forget_after: Duration,
    rejoin: usize,
}

impl AddressBookConfig {
    /// An address book in this file. The file need not exist, but its folder has to. The node also
    /// owns the files of the same name with `.new` and `.damaged-TIME` appended.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_entries: 1_024,
            save_every: Duration::from_secs(60),
            forget_after: Duration::from_secs(30 * 24 * 3_600),
            rejoin: 16,
        }
    }

    /// The maximum number of peers in the book. Default 1,024; 1 to 65,536. Trade-off: each costs
    /// some 100 bytes in memory and in the file.
    #[must_use]
    pub const fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// The pause between two writes. Default 60 s; 10 ms to 365 days. The last write is at stop. If
    /// the process is killed, changes since the last write are lost.
    #[must_use]
    pub const fn save_every(mut self, pause: Duration) -> Self {
        self.save_every = pause;
        self
    }

    /// How long a peer that was not seen alive is kept. Default 30 days; 1 s to 365 days.
    #[must_use]
    pub const fn forget_after(mut self, time: Duration) -> Self {
        self.forget_after = time;
        self
    }

    /// The maximum number of peers from the book that are added at the start. Two last-known good
    /// ones are first; the others are chosen at random, with the networks taking turns. At most
    /// three times as many are asked. Default 16, at most 65,536; 0: the node contacts no peer from
    /// the book.
    #[must_use]
    pub const fn rejoin(mut self, peers: usize) -> Self {
        self.rejoin = peers;
        self
    }
}

impl Options for AddressBookConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { path: _, max_entries, save_every, forget_after, rejoin } = self;
        settings! {
            "AddressBookConfig::max_entries", "peers", max_entries, PLACES;
            "AddressBookConfig::save_every", "", save_every, SHORTEST_PAUSE..=*TIME.end();
            "AddressBookConfig::forget_after", "", forget_after, Duration::from_secs(1)..=*TIME.end();
            "AddressBookConfig::rejoin", "peers", rejoin, PLACES_OR_NONE;
        }
    }
}

impl From<PathBuf> for AddressBookConfig {
    fn from(path: PathBuf) -> Self {
        Self::new(path)
    }
}

impl From<&PathBuf> for AddressBookConfig {
    fn from(path: &PathBuf) -> Self {
        Self::new(path)
    }
}

impl From<&Path> for AddressBookConfig {
    fn from(path: &Path) -> Self {
        Self::new(path)
    }
}

impl From<&str> for AddressBookConfig {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

/// The minimum pause between two writes.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// The book and its file.
#[derive(Debug)]
struct Store {
    config: AddressBookConfig,
    book: Mutex<AddressBook>,
    /// Whether the file was read. It is not replaced before that.
    is_read: AtomicBool,
    has_rejoined: AtomicBool,
    /// Serialises access to the file: one thread at a time reads or writes it, even after its
    /// caller has been dropped.
    disk: Arc<Mutex<()>>,
}

impl Store {
    fn book(&self) -> MutexGuard<'_, AddressBook> {
        self.book.lock()
    }

    fn failed(&self, node: &Endpoint, error: &str) {
        let path = self.config.path.display();
        tracing::warn!(%path, error, "address book failed");
        node.emit(&PeerEvent::AddressBookFailed { error: error.to_owned() });
    }

    /// Reads the file once. Returns whether it has been read, or does not exist.
    async fn read(&self, node: &Endpoint) -> bool {
        if self.is_read.load(Ordering::Relaxed) {
            return true;
        }
        let (path, disk) = (self.config.path.clone(), Arc::clone(&self.disk));
        let mut book = AddressBook::new(self.config.max_entries, self.config.forget_after);
        let date = node.ambient.unix_time().as_secs();
        let read = node.ambient.blocking(move || {
            let _one = disk.lock();
            file::load(&path, &mut book, date).map(|loaded| (loaded, book))
        });
        match read.await {
            Some(Ok((loaded, book))) => {
                self.book().merge(book);
                self.is_read.store(true, Ordering::Relaxed);
                if let Loaded::SetAside(damage) = loaded {
                    self.failed(node, &damage);
                }
                true
            }
            Some(Err(error)) => {
                self.failed(node, &error.to_string());
                false
            }
            None => false,
        }
    }

    /// Records the peers in the table and those that were given up.
    async fn note(&self, node: &Endpoint, peers: &Peers) {
        let Ok(list) = peers.list().await else { return };
        let (at, now) = (node.ambient.unix_time().as_secs(), now());
        let mut book = self.book();
        for entry in list.iter() {
            let seen = entry.last_seen().max(entry.verified()).unwrap_or(now);
            let ago = now.saturating_duration_since(seen).as_secs();
            book.note_entry(entry, at.saturating_sub(ago));
        }
        list.given_up(now).for_each(|known| book.note_failure(known.info().id()));
        book.forget_old(at);
    }

    /// Brings the book up to date and writes it.
    async fn save(&self, node: &Endpoint, peers: &Peers) {
        self.note(node, peers).await;
        if !self.read(node).await {
            return;
        }
        let (path, text) = (self.config.path.clone(), self.book().to_text());
        let disk = Arc::clone(&self.disk);
        let save = node.ambient.blocking(move || {
            let _one = disk.lock();
            file::save(&path, &text)
        });
        let failed = match save.await {
            Some(Ok(())) => return,
            Some(Err(error)) => error.to_string(),
            None => "writing was interrupted".to_owned(),
        };
        self.failed(node, &failed);
    }
}

/// The maintenance of the book: reads it, contacts its peers, and saves it.
#[derive(Debug)]
pub(crate) struct KeepBook(Arc<Store>);

impl KeepBook {
    pub(crate) fn new(config: AddressBookConfig) -> Self {
        let book = AddressBook::new(config.max_entries, config.forget_after);
        Self(Arc::new(Store {
            book: Mutex::new(book),
            config,
            is_read: AtomicBool::new(false),
            has_rejoined: AtomicBool::new(false),
            disk: Arc::default(),
        }))
    }
}

impl Maintenance for KeepBook {
    fn name(&self) -> &'static str {
        "address-book"
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.0.config.validate_all()
    }

    fn prepare(&self, context: &NodeContext) {
        let (store, node, peers) =
            (Arc::clone(&self.0), Arc::clone(&context.node), context.peers.clone());
        let of = Arc::clone(&node);
        // At stop the table is still complete. An aborted node does not save, as after a crash.
        actix_rt::spawn(of.tasks.track_future(async move {
            node.drain.cancelled().await;
            if !node.silent.load(Ordering::Relaxed) {
                store.save(&node, &peers).await;
            }
        }));
    }

    fn run<'a>(&'a self, context: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        let store = &self.0;
        Box::pin(async move {
            store.read(&context.node).await;
            if !store.has_rejoined.swap(true, Ordering::Relaxed) {
                rejoin::rejoin(store, context).await;
            }
            loop {
                tokio::time::sleep(store.config.save_every).await;
                store.save(&context.node, &context.peers).await;
            }
        })
    }
}

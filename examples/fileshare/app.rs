//! The interface of the program for its page and its command line.

mod background;
mod error;
mod folders;
mod start;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_peer::{
    Over, Peer, PeerInfo,
    frame::{Frame, TypeCode},
    overlay::{Address, JoinConfig},
    peer::StopReport,
};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{runtime::Handle, sync::broadcast, task::spawn_blocking, time::timeout};

use self::error::TRIED_AGAIN;
pub(crate) use self::error::{AppError, StartFailed};
#[cfg(feature = "metrics")]
use crate::prometheus;
use crate::{
    model::{Event, Fetch, FileRow, Joined, LeftOut, Network, Search, SearchRow, Status, Transfer},
    name::FileName,
    protocol::{MAX_TTL, Query, reachable, valid_key},
    serve::send_query,
    state::{State, now},
    talk::shown,
    transfer::{self, Order},
};

/// The maximum number of concurrent requests to peers.
const AT_ONCE: usize = 16;

/// The maximum number of peers that an own search is sent to.
const MAX_ASKED: usize = 64;

/// The time-out of the `QUIT` to a removed peer.
const GOODBYE_TIME: Duration = Duration::from_secs(2);

/// The time-out of pings in `rebuild`.
const PING_TIME: Duration = Duration::from_secs(2);

/// A handle of the running program: cheap to clone, usable on any thread.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Arc<State>,
    peer: Peer,
    /// The runtime of the node, on which all work is done.
    runtime: Handle,
    shared: PathBuf,
    hops: u32,
    contacts: Vec<Address>,
    temporary: Mutex<Option<TempDir>>,
    /// The address of the page, without a token.
    web: OnceLock<String>,
}

impl App {
    fn state(&self) -> &Arc<State> {
        &self.0.state
    }

    fn me(&self) -> &PeerInfo {
        self.0.peer.info()
    }

    /// Runs the work on the runtime of the node, because the links that it opens must not end with
    /// a thread of the web server.
    async fn here<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, AppError>> + Send + 'static,
    ) -> Result<T, AppError> {
        self.0.runtime.spawn(work).await.unwrap_or(Err(AppError::Stopping))
    }

    /// The metrics of the node, in the format of Prometheus.
    #[cfg(feature = "metrics")]
    pub(crate) async fn metrics(&self) -> String {
        prometheus::scrape(&self.0.peer).await
    }

    /// Sets the address of the page.
    pub(crate) fn set_web(&self, url: &str) {
        self.0.web.set(url.to_owned()).ok();
    }

    /// The current status.
    pub(crate) async fn status(&self) -> Status {
        let node = self.0.peer.status().await;
        let files = self.state().share.index.lock().len();
        Status {
            id: node.id.to_string(),
            address: node.address.to_string(),
            web: self.0.web.get().cloned().unwrap_or_default(),
            share: self.0.shared.clone(),
            downloads: self.state().downloads.clone(),
            max_peers: node.max_peers,
            peers: node.peers,
            files,
            left_out: self.left_out(),
            uptime_seconds: node.uptime.as_secs(),
            bytes_in: node.counts.bytes_in,
            bytes_out: node.counts.bytes_out,
        }
    }

    /// Files that are not offered, and answers that searches did not accept.
    fn left_out(&self) -> Vec<LeftOut> {
        let mut left_out = self.state().share.index.lock().left_out();
        left_out.extend(self.state().own.lock().left_out());
        left_out
    }

    /// The known peers, and the graph of which node knows which.
    pub(crate) async fn network(&self) -> Network {
        let links = self.0.peer.status().await.links;
        let mut contacts = self.state().contacts.lock();
        for link in links {
            if let Some(time) = link.round_trip {
                contacts.add_round_trip(&link.address, time);
            }
        }
        contacts.network()
    }

    /// The files, local and remote, sorted by name.
    pub(crate) fn files(&self) -> Vec<FileRow> {
        let mut rows = self.state().share.index.lock().rows(self.me().id().as_str());
        let contacts = self.state().contacts.lock();
        let remote = self.state().remote.lock();
        remote.merge_into(&mut rows, |address| contacts.name_of(address));
        rows
    }

    /// The transfers, the newest first.
    pub(crate) fn transfers(&self) -> Vec<Transfer> {
        self.state().transfers.all()
    }

    /// Sends a search to all peers. Matches arrive as events.
    pub(crate) async fn search(&self, search: Search) -> Result<SearchRow, AppError> {
        let key = valid_key(&search.key).ok_or(AppError::Key)?.to_owned();
        let ttl = search.ttl.unwrap_or(self.state().ttl).min(MAX_TTL);
        let state = Arc::clone(self.state());
        if state.stopping.is_cancelled() {
            return Err(AppError::Stopping);
        }
        let (answer_to, number) = (self.me().address().clone(), Some(state.next_search()));
        let query = Query { answer_to, key, ttl, number };
        let list = self.0.peer.peers().list().await?;
        let mut to: Vec<_> = list.iter().map(|entry| entry.info().clone()).collect();
        fastrand::shuffle(&mut to);
        to.truncate(MAX_ASKED);
        let begun = state.own.lock().open(&query.key, ttl, to.len(), now());
        state.searches_changed.notify_one();
        let own = begun.number;
        self.0.runtime.spawn(async move {
            stream::iter(to)
                .for_each_concurrent(AT_ONCE, async |peer| {
                    if let Err(error) = send_query(&state, peer.address(), &query).await {
                        state.own.lock().unreached(own);
                        state.searches_changed.notify_one();
                        state.error(format!("{} was not asked: {error}", peer.id()));
                    }
                })
                .await;
        });
        Ok(begun)
    }

    /// The own searches, the newest first.
    pub(crate) fn searches(&self) -> Vec<SearchRow> {
        let contacts = self.state().contacts.lock();
        self.state().own.lock().rows(now(), |address| contacts.name_of(address))
    }

    /// Removes one ended transfer, or all of them.
    pub(crate) fn clear_transfers(&self, number: Option<u64>) -> Result<(), AppError> {
        self.state().transfers.clear(number)?;
        let left = self.transfers().iter().map(|transfer| transfer.number).collect();
        self.state().emit(Event::Transfers(left));
        Ok(())
    }

    /// Starts to fetch a file.
    pub(crate) async fn fetch(&self, fetch: Fetch) -> Result<Transfer, AppError> {
        let name: FileName = fetch.name.parse()?;
        let state = Arc::clone(self.state());
        let me = self.me();
        let mut owners: Vec<_> = match &fetch.from {
            Some(from) if from == me.id().as_str() => Vec::new(),
            Some(from) => {
                let known = state.contacts.lock().address_of(from);
                let owner = known.or_else(|| reachable(from));
                vec![owner.ok_or_else(|| AppError::NotAPeer(shown(from)))?]
            }
            None => state.remote.lock().owners(&name),
        };
        owners.retain(|owner| owner != me.address());
        if owners.is_empty() {
            let path = state.share.path(&name);
            let name = name.to_string();
            return Err(match path {
                Some(path) => AppError::Here { name, path },
                None => AppError::UnknownFile(name),
            });
        }
        let (replace, runtime) = (fetch.replace, self.0.runtime.clone());
        self.here(async move {
            let (looking, of) = (Arc::clone(&state), name.clone());
            let taken = spawn_blocking(move || {
                transfer::is_taken(&looking, &of) || looking.share.index.lock().known(&of).is_some()
            });
            if taken.await.unwrap_or(true) && !replace {
                return Err(AppError::Exists(name.to_string()));
            }
            Ok(transfer::start(&state, &runtime, Order { name, owners, replace })?)
        })
        .await
    }

    /// Cancels an open transfer and removes its data.
    pub(crate) fn cancel(&self, number: u64) -> Result<Transfer, AppError> {
        Ok(self.state().transfers.cancel(number)?)
    }

    /// Joins the network of a first contact.
    pub(crate) async fn join(&self, address: &str) -> Result<Joined, AppError> {
        let contact: Address = address.trim().parse()?;
        let (peer, config) = (self.0.peer.clone(), JoinConfig::new().hops(self.0.hops));
        self.here(async move {
            let report = peer.join_with(contact, config).await?;
            let peers = peer.peers().list().await?.len();
            Ok(Joined { added: report.added().len(), peers })
        })
        .await
    }

    /// Removes the peers that do not answer, and joins again through the others.
    pub(crate) async fn rebuild(&self) -> Result<Joined, AppError> {
        let app = self.clone();
        self.here(async move {
            let (state, peers) = (app.state(), app.0.peer.peers());
            let known: Vec<_> =
                peers.list().await?.iter().map(|entry| entry.info().clone()).collect();
            let asked = stream::iter(known).map(async |peer| {
                // An original program does not answer: a connection is enough.
                let ping = state.ask(peer.address(), Frame::empty(TypeCode::PING), Over::Any);
                let alive = matches!(timeout(PING_TIME, ping).await, Ok(Ok(_)));
                (peer, alive)
            });
            let asked: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
            let mut contacts = Vec::new();
            for (peer, alive) in asked {
                if alive {
                    contacts.push(peer.address().clone());
                } else {
                    peers.remove(peer.id()).await?;
                }
            }
            if contacts.is_empty() {
                contacts.clone_from(&app.0.contacts);
            }
            let mut added = 0;
            for contact in contacts {
                // A contact may have gone in the meantime.
                if let Ok(joined) = app.join(&contact.to_string()).await {
                    added += joined.added;
                }
            }
            background::ask_lists(state).await;
            Ok(Joined { added, peers: peers.list().await?.len() })
        })
        .await
    }

    /// Reads the shared folders again, and asks the peers for their lists.
    pub(crate) async fn refresh(&self) -> Result<(), AppError> {
        let state = Arc::clone(self.state());
        self.here(async move {
            background::scan(&state).await.map_err(AppError::Folder)?;
            state.ask_owners.notify_one();
            background::ask_lists(&state).await;
            Ok(())
        })
        .await
    }

    /// Whether a file of `len` bytes fits on the disk of the downloads.
    pub(crate) async fn has_room(&self, len: u64) -> bool {
        let state = Arc::clone(self.state());
        spawn_blocking(move || transfer::has_room(&state, len)).await.unwrap_or(true)
    }

    /// Copies a file into the shared folder. Never replaces another file.
    pub(crate) async fn add_file(&self, name: &str, from: &Path) -> Result<FileRow, AppError> {
        let name: FileName = name.parse()?;
        let (share, of, from) = (Arc::clone(&self.state().share), name.clone(), from.to_owned());
        let added = self.0.runtime.spawn_blocking(move || share.add(&of, &from)).await;
        added.map_err(|_| AppError::Stopping)??;
        let share = &self.state().share;
        share.digest_in_background(&self.0.runtime);
        let row = share.index.lock().row(&name, self.me().id().as_str());
        row.ok_or(AppError::Stopping)
    }

    /// Removes a peer, and sends it a `QUIT`.
    pub(crate) async fn remove_peer(&self, id: &str) -> Result<(), AppError> {
        let found = self.state().contacts.lock().find(id).cloned();
        let peer = found.ok_or_else(|| AppError::UnknownPeer(shown(id)))?;
        let app = self.clone();
        self.here(async move {
            if app.0.peer.peers().remove(peer.id()).await?.is_none() {
                return Err(AppError::UnknownPeer(peer.id().to_string()));
            }
            let goodbye = Frame::text(TypeCode::QUIT, app.me().id().as_str());
            // Best effort: otherwise the peer notices it by itself.
            timeout(GOODBYE_TIME, app.state().ask(peer.address(), goodbye, Over::Any)).await.ok();
            Ok(())
        })
        .await
    }

    /// The events from now on. A slow receiver misses some.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.state().events.subscribe()
    }

    /// Stops the program: transfers are interrupted, and the peers are told.
    pub(crate) async fn stop(&self) -> StopReport {
        self.end(self.0.peer.stop()).await
    }

    /// Ends the program at once.
    pub(crate) async fn abort(&self) -> StopReport {
        self.end(self.0.peer.abort()).await
    }

    async fn end(&self, ended: impl Future<Output = StopReport>) -> StopReport {
        self.state().stopping.cancel();
        self.state().share.stop();
        let report = ended.await;
        // If it cannot be removed, it is left to the operating system.
        drop(self.0.temporary.lock().take());
        report
    }
}

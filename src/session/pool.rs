//! The links of one node, and what the node knows of the peers that it may have links with.

use std::{
    fmt,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use indexmap::IndexMap;
use tokio::sync::futures::Notified;

use crate::{
    fault_points::{Sometimes, reached},
    limits::{Offender, Source},
    link::{LinkId, PeerDirectory, PeerDirectoryConfig, Role},
    node::{Config, watch},
    overlay::{Address, PeerId, PeerInfo},
    session::{acked::AckedMessages, state::Session, unreached::Reached},
    sync::{
        Mutex, Notify, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::now,
};

/// How long the node remembers that a peer speaks no links. A node that was updated is found within
/// this time, and an original program costs one more dial in it.
const CLASSIC_FOR: Duration = Duration::from_secs(600);

/// The links of one node.
pub(crate) struct LinkPool {
    pool: Mutex<Pool>,
    /// The links that the directory would return, for look-ups without its lock.
    open: RwLock<IndexMap<Address, Arc<Session>>>,
    /// Notified when a link has ended.
    over: Notify,
    /// The link that was used last: consecutive messages often have the same destination.
    last: Mutex<Option<Arc<Session>>>,
    next: AtomicU64,
    /// Drawn by [`Ambient::incarnation`](crate::node::Ambient::incarnation).
    pub(crate) incarnation: u64,
    /// The acknowledged messages that have arrived.
    pub(super) acked: AckedMessages,
}

pub(super) struct Pool {
    pub(super) directory: PeerDirectory,
    pub(super) sessions: IndexMap<LinkId, Arc<Session>>,
    pub(super) dials: IndexMap<Address, watch::Receiver<Option<Reached>>>,
    /// The peers whose links stay open while nothing is sent over them, and how many parts of the
    /// node want that.
    pinned: IndexMap<PeerId, usize>,
    /// Whether the node has aborted and opens no further link.
    is_aborted: bool,
}

impl fmt::Debug for LinkPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkPool")
            .field("open", &self.lock().sessions.len())
            .finish_non_exhaustive()
    }
}

impl LinkPool {
    pub(crate) fn new(me: &PeerInfo, config: &Config, incarnation: u64) -> Self {
        let config = PeerDirectoryConfig { max_links: config.max_links, classic_for: CLASSIC_FOR };
        Self {
            pool: Mutex::new(Pool {
                directory: PeerDirectory::new(me.id().clone(), config),
                sessions: IndexMap::new(),
                dials: IndexMap::new(),
                pinned: IndexMap::new(),
                is_aborted: false,
            }),
            open: RwLock::default(),
            over: Notify::new(),
            last: Mutex::default(),
            next: AtomicU64::new(1),
            incarnation,
            acked: AckedMessages::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock()
    }

    pub(crate) fn next_id(&self) -> LinkId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs `work` on the open link to `to`, without the lock of the directory. `work` must be
    /// short: other look-ups take a slower path meanwhile. `None` if there is no such link.
    pub(super) fn on_open<R>(
        &self,
        (to, whom): (&Address, Option<&PeerId>),
        work: impl FnOnce(&Arc<Session>) -> R,
    ) -> Option<R> {
        let usable = |session: &&Arc<Session>| session.is_open() && session.is_to(whom);
        let find = || {
            let open = self.open.read();
            open.get(to).cloned()
        };
        if let Some(mut last) = self.last.try_lock() {
            if last.as_ref().is_none_or(|session| session.to != *to) {
                *last = Some(find()?);
            }
            return last.as_ref().filter(usable).map(work);
        }
        find().as_ref().filter(usable).map(work)
    }

    pub(crate) fn open_session(&self, to: (&Address, Option<&PeerId>)) -> Option<Arc<Session>> {
        self.on_open(to, Arc::clone)
    }

    fn last(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.last.lock()
    }

    /// Adds an open link. If it is `listed`, other messages to its address may use it. False if the
    /// node has aborted.
    pub(crate) fn opened(&self, session: &Arc<Session>, listed: bool) -> bool {
        let mut pool = self.lock();
        if pool.is_aborted {
            return false;
        }
        pool.directory.mark_alive(&session.to);
        pool.sessions.insert(session.id, Arc::clone(session));
        // A node claims an address at which this node has found another one.
        let doubtful = session.role == Role::Acceptor
            && self.of_another(session).is_some_and(|other| {
                other.role == Role::Dialler || other.sender.proven().is_some()
            });
        if listed && !doubtful {
            self.list(pool, session);
        }
        true
    }

    /// Notes that a dial has found the peer `id` at `to`, and that the peer keeps another link with
    /// this node. If the peer has opened that link and the link is not listed, because its address
    /// was only claimed, messages to the address may use it from now on.
    pub(super) fn found(&self, id: &PeerId, to: &Address) {
        let pool = self.lock();
        let is_listed = self.open.read().get(to).is_some_and(|session| session.peer.id() == id);
        let is_of_it = |session: &&Arc<Session>| {
            session.role == Role::Acceptor
                && session.is_open()
                && session.is_to(Some(id))
                && session.to == *to
                && session.sender.address().host() == to.host()
        };
        let session = pool.sessions.values().filter(is_of_it).max_by_key(|session| session.id);
        if let Some(session) = session.filter(|_| !is_listed).cloned() {
            reached(Sometimes::ClaimConfirmed);
            self.list(pool, &session);
        }
    }

    fn list(&self, mut pool: MutexGuard<'_, Pool>, session: &Arc<Session>) {
        // The rule for two links applies only to links with the same peer.
        if let Some(other) = self.of_another(session) {
            pool.directory.closed(other.id);
        }
        let (id, peer) = (session.id, session.peer.id());
        let lost = pool.directory.opened(id, &session.to, peer, session.role, now());
        pool.update_directory();
        let lost = lost.into_iter().chain(pool.directory.excess_link(id));
        let ended: Vec<_> = lost.filter_map(|id| pool.sessions.get(&id).cloned()).collect();
        if ended.iter().all(|lost| lost.id != id) {
            let mut open = self.open.write();
            open.insert(session.to.clone(), Arc::clone(session));
            drop(open);
            *self.last() = Some(Arc::clone(session));
        }
        drop(pool);
        // Their open exchanges are finished.
        for session in ended {
            self.unlist(&session);
            session.bye();
        }
    }

    /// The open link under the address of `session`, if it is one with another peer.
    fn of_another(&self, session: &Session) -> Option<Arc<Session>> {
        let open = self.open.read();
        let other = open.get(&session.to)?;
        (other.is_open() && other.peer.id() != session.peer.id()).then(|| Arc::clone(other))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        let mut sessions: Vec<_> = self.lock().sessions.values().cloned().collect();
        sessions.sort_unstable_by_key(|session| session.id);
        sessions
    }

    /// An open link with this peer, which listens at the same address as `peer`.
    pub(super) fn with_peer(&self, peer: &PeerInfo) -> Option<Arc<Session>> {
        if let Some(session) = self.open_session((peer.address(), Some(peer.id()))) {
            return Some(session);
        }
        let pool = self.lock();
        let is_its = |session: &&Arc<Session>| session.is_open() && session.peer == *peer;
        pool.sessions.values().filter(is_its).min_by_key(|session| session.id).cloned()
    }

    /// Keeps the links with a peer open while nothing is sent over them, until the same number of
    /// calls of [`unpin`](Self::unpin).
    pub(crate) fn pin(&self, peer: &PeerId) {
        let mut pool = self.lock();
        let pins = pool.pinned.entry(peer.clone()).or_default();
        *pins = pins.saturating_add(1);
    }

    /// Takes back one [`pin`](Self::pin).
    pub(crate) fn unpin(&self, peer: &PeerId) {
        let mut pool = self.lock();
        if let Some(pins) = pool.pinned.get_mut(peer) {
            *pins = pins.saturating_sub(1);
            if *pins == 0 {
                pool.pinned.swap_remove(peer);
            }
        }
    }

    /// Whether links with this peer stay open while nothing is sent over them.
    pub(super) fn is_pinned(&self, peer: &PeerId) -> bool {
        self.lock().pinned.contains_key(peer)
    }

    /// Sends the maximum lengths of messages over all links, if they have changed.
    pub(crate) fn send_lengths(&self) {
        self.all().iter().for_each(|session| session.send_lengths());
    }

    /// Closes every link after its open exchanges.
    pub(crate) fn bye(&self) {
        self.all().iter().for_each(|session| session.bye());
    }

    /// Ends every link at once, and opens no further ones.
    pub(crate) fn abort(&self, silently: bool) {
        self.lock().is_aborted = true;
        self.all().iter().for_each(|session| session.abort(silently));
    }

    /// Ends every link with a banned source or id.
    pub(crate) fn abort_offender(&self, whom: &Offender) {
        let is_theirs = |session: &&Arc<Session>| match whom {
            Offender::Source(source) => Source::of(session.sender.address()) == *source,
            Offender::Id(id) => session.sender.proven() == Some(id),
        };
        self.all().iter().filter(is_theirs).for_each(|session| session.abort(false));
    }

    /// An open link to a peer that has proved its id, at any address, opened by either side.
    pub(crate) fn proven(&self, peer: &PeerId) -> Option<Arc<Session>> {
        let pool = self.lock();
        let proven =
            |session: &&Arc<Session>| session.is_open() && session.sender.proven() == Some(peer);
        pool.sessions.values().filter(proven).min_by_key(|session| session.id).cloned()
    }

    /// Whether a peer is not dialled for a link at present.
    #[cfg(feature = "gossip")]
    pub(crate) fn is_held_back(&self, to: &Address) -> bool {
        self.lock().directory.is_held_back(to, now())
    }

    /// Forgets that a peer speaks no links: its connection may have broken during the hello.
    pub(crate) fn doubt_classic(&self, to: &Address) {
        self.lock().directory.forget_classic(to);
    }

    /// Removes a link that accepts no new exchanges from the look-up. It counts as a link until it
    /// ends.
    pub(super) fn unlist(&self, session: &Session) {
        let is_unused = session.is_unused();
        let mut pool = self.lock();
        if is_unused {
            pool.directory.unused(session.id, now());
        } else {
            pool.directory.leaves(session.id);
        }
        drop(pool);
        let mut last = self.last();
        let mut open = self.open.write();
        if open.get(&session.to).is_some_and(|other| other.id == session.id) {
            open.swap_remove(&session.to);
        }
        drop(open);
        last.take_if(|last| last.id == session.id);
    }

    pub(super) fn closed(&self, session: &Session) {
        self.unlist(session);
        let mut pool = self.lock();
        pool.directory.closed(session.id);
        pool.sessions.swap_remove(&session.id);
        drop(pool);
        self.over.notify_waiters();
    }

    /// Completes when this link has ended.
    pub(super) async fn wait_for_end(&self, link: LinkId) {
        loop {
            let over = self.link_ended();
            if !self.lock().sessions.contains_key(&link) {
                return;
            }
            over.await;
        }
    }

    /// Completes when a link has ended after this call.
    pub(crate) fn link_ended(&self) -> Notified<'_> {
        self.over.notified()
    }

    /// Notes that a peer is alive at `to`: the next dial does not wait.
    pub(crate) fn is_alive(&self, to: &Address) {
        self.lock().directory.mark_alive(to);
    }
}

impl Pool {
    /// Updates the directory: which links are in use, and since when the others are idle.
    pub(super) fn update_directory(&mut self) {
        for session in self.sessions.values() {
            let state = session.lock();
            let pinned = self.pinned.contains_key(session.peer.id());
            let open = usize::from(pinned || !session.is_idle(&state));
            self.directory.busy(session.id, open, state.used.0.into_std());
        }
    }
}

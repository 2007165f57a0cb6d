//! Layer 10: links at run time: the pool of a node, opening, reading, writing, credit.

mod buffers;
pub(crate) mod credit;
mod deliver;
pub(crate) mod driver;
pub(crate) mod inbound;
mod leaving;
mod open;
pub(crate) mod path;
pub(crate) mod receiver;
pub(crate) mod recv_stream;
mod reply;
mod report;
pub(crate) mod request;
pub(crate) mod send;
mod served;
pub(crate) mod shared;
mod status;
mod tick;
mod turns;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    ops::Deref,
    sync::{
        Arc, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, Semaphore, watch};

pub(crate) use self::path::{Reached, Unreached, reach};
use self::{
    receiver::{MAX_WAITING, Once},
    send::Failed,
};
use crate::{
    classic::client,
    dispatch::Routes,
    frame::Frame,
    limits::{Offender, Source},
    link::{LinkId, PeerDirectory, PeerDirectoryConfig, Role},
    message::{Outgoing, Over, Replies, RequestError, outgoing::OutgoingKind},
    node::{Config, Node, OnBan},
    overlay::{Address, PeerId, PeerInfo},
    sync::{Mutex, RwLock},
    time::now,
};

pub(crate) use self::{open::welcome, path::speaks_links, shared::Session};

/// How long the node remembers that a peer speaks no links. A node that was updated is found within
/// this time, and an original program costs one more dial in it.
const CLASSIC_FOR: Duration = Duration::from_secs(600);

/// A node with its handlers and its links. It sends and receives messages.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) node: Arc<Node>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) links: LinkPool,
}

impl Deref for Endpoint {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Endpoint {
    /// The endpoint of a node with this incarnation.
    pub(crate) fn new(node: Node, incarnation: u64) -> Arc<Self> {
        let longest = u32::try_from(node.config.max_partial_bytes).unwrap_or(u32::MAX);
        let endpoint = Arc::new(Self {
            routes: Arc::new(Routes::new(longest)),
            links: LinkPool::new(&node.me, &node.config, incarnation),
            node: Arc::new(node),
        });
        let weak = Arc::downgrade(&endpoint);
        let on_ban = OnBan(Box::new(move |whom| {
            if let Some(endpoint) = weak.upgrade() {
                endpoint.links.abort_offender(whom);
            }
        }));
        // This is the only place that sets it.
        endpoint.on_ban.set(on_ban).ok();
        endpoint
    }

    /// Aborts everything that runs: connections are closed, with a reason or `silently`, and all
    /// tasks of the node end.
    pub(crate) fn abort_all(&self, silently: bool) {
        self.abort.cancel();
        self.links.abort(silently);
        self.revocables.abort().into_iter().for_each(|exchange| self.report_aborted(exchange));
    }

    /// Notes that a peer is alive at `to`.
    pub(crate) fn is_alive(&self, to: &Address) {
        self.links.is_alive(to);
    }
}

/// The links of one node.
pub(crate) struct LinkPool {
    pool: Mutex<Pool>,
    /// The links that the directory would return, for look-ups without its lock.
    open: RwLock<HashMap<Address, Arc<Session>>>,
    /// Notified when a link has ended.
    over: Notify,
    /// The link that was used last: consecutive messages often have the same destination.
    last: Mutex<Option<Arc<Session>>>,
    next: AtomicU64,
    /// Drawn by [`Ambient::incarnation`](crate::node::Ambient::incarnation).
    pub(crate) incarnation: u64,
    once: Mutex<Once>,
    /// Permits for bytes of messages that may wait for a handler after the end of their link.
    waiting: Semaphore,
}

struct Pool {
    directory: PeerDirectory,
    sessions: HashMap<LinkId, Arc<Session>>,
    dials: HashMap<Address, watch::Receiver<Option<Reached>>>,
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
                sessions: HashMap::new(),
                dials: HashMap::new(),
                is_aborted: false,
            }),
            open: RwLock::default(),
            over: Notify::new(),
            last: Mutex::default(),
            next: AtomicU64::new(1),
            incarnation,
            once: Mutex::default(),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock()
    }

    pub(crate) fn next_id(&self) -> LinkId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs `work` on the open link to `to`, without the lock of the directory. `work` must be
    /// short: other look-ups take a slower path meanwhile. `None` if there is no such link.
    fn on_open<R>(
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

    pub(crate) fn quick(&self, to: (&Address, Option<&PeerId>)) -> Option<Arc<Session>> {
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
        let mut ended = Vec::new();
        let other = self.of_another(session);
        // A node claims an address at which this node has found another one.
        let doubtful = session.role == Role::Acceptor
            && other.as_ref().is_some_and(|other| {
                other.role == Role::Dialler || other.sender.proven().is_some()
            });
        if listed && !doubtful {
            let now = now();
            // The rule for two links applies only to links with the same peer.
            if let Some(other) = other {
                pool.directory.closed(other.id);
            }
            let lost = pool.directory.opened(
                session.id,
                &session.to,
                session.peer.id(),
                session.role,
                now,
            );
            pool.look_at_sessions();
            let lost = lost.into_iter().chain(pool.directory.excess_link(session.id));
            ended.extend(lost.filter_map(|id| pool.sessions.get(&id).cloned()));
            if ended.iter().all(|lost| lost.id != session.id) {
                let mut open = self.open.write();
                open.insert(session.to.clone(), Arc::clone(session));
                drop(open);
                *self.last() = Some(Arc::clone(session));
            }
        }
        drop(pool);
        // Their open exchanges are finished.
        for session in ended {
            self.unlist(&session);
            session.bye();
        }
        true
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

    /// Sends the maximum lengths of messages over all links, if they have changed.
    pub(crate) fn tell_lengths(&self) {
        self.all().iter().for_each(|session| session.tell_lengths());
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

    /// Forgets that a peer speaks no links: its connection may have broken during the hello.
    pub(crate) fn doubt_classic(&self, to: &Address) {
        self.lock().directory.forget_classic(to);
    }
}

/// The path of a message.
pub(crate) enum Path {
    Link(Arc<Session>),
    Classic,
}

pub(crate) async fn path(
    endpoint: &Arc<Endpoint>,
    (to, whom): (&Address, Option<&PeerId>),
    over: Over,
) -> Result<Path, RequestError> {
    if endpoint.abort.is_cancelled() {
        return Err(RequestError::Stopped { sent: false });
    }
    if over == Over::Classic {
        return Ok(Path::Classic);
    }
    if let Some(session) = endpoint.links.quick((to, whom)) {
        return Ok(Path::Link(session));
    }
    // A node has no link with itself.
    let possible = endpoint.config.links && to != endpoint.me.address();
    let reached = if possible {
        reach(endpoint, to, whom).await
    } else {
        Err(Unreached::Classic { mute: false })
    };
    match (reached, over) {
        (Ok(session), _) => Ok(Path::Link(session)),
        (
            Err(
                Unreached::Classic { .. }
                | Unreached::NoRoom
                | Unreached::Left
                | Unreached::Stopped,
            ),
            Over::Any,
        ) => Ok(Path::Classic),
        (Err(unreached), _) => Err(unreached.into_error(to)),
    }
}

/// Sends a request over a link if the peer speaks links, otherwise in a classic exchange.
pub(crate) async fn request(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    message: Outgoing,
) -> Result<Replies, RequestError> {
    let Outgoing { mut kind, over, whom } = message;
    let to = (to, whom.as_ref());
    loop {
        let session = match path(endpoint, to, over).await? {
            Path::Link(session) => session,
            // In a classic exchange only the answer to a `NAME` identifies the peer.
            Path::Classic => {
                let replies = client::open(&endpoint.node, to, kind).await?.with_panics();
                return Ok(match to.1 {
                    Some(whom) => replies.of_peer(whom.clone(), to.0),
                    None => replies,
                });
            }
        };
        match session.ask(kind, endpoint.config.reply_timeout).await {
            Ok(replies) => return Ok(replies),
            // Nothing was sent: try another link, or a classic exchange.
            Err(Failed::Gone(Some(frame))) => kind = OutgoingKind::Frame(frame),
            Err(failed) => return Err(failed.into_error(&session)),
        }
    }
}

/// Runs `work` on the open link to `to` with a message of one frame. `None` if there is no such
/// link or the message is not one frame.
fn on_open<R>(
    endpoint: &Endpoint,
    to: (&Address, Option<&PeerId>),
    message: &Outgoing,
    work: impl FnOnce(&Arc<Session>, &Frame) -> R,
) -> Option<R> {
    match &message.kind {
        OutgoingKind::Frame(frame) if message.over != Over::Classic && message.check().is_ok() => {
            endpoint.links.on_open(to, |session| work(session, frame))
        }
        OutgoingKind::Frame(_) | OutgoingKind::Body { .. } => None,
    }
}

/// Sends a request of one frame without waiting. `None` if there is no link with credit and room.
pub(crate) fn try_request(
    endpoint: &Endpoint,
    to: (&Address, Option<&PeerId>),
    message: &Outgoing,
) -> Option<Replies> {
    on_open(endpoint, to, message, |session, frame| session.try_ask(frame))?
}

/// Sends a request of one frame without waiting over each open link with credit and room to a peer
/// for which `meant` is true.
pub(crate) fn ask_all(
    endpoint: &Endpoint,
    frame: &Frame,
    meant: impl Fn(&PeerInfo) -> bool,
) -> Vec<(PeerInfo, Replies)> {
    let sessions = endpoint
        .links
        .all()
        .into_iter()
        .filter(|session| session.is_open() && meant(&session.peer));
    sessions.filter_map(|session| Some((session.peer.clone(), session.try_ask(frame)?))).collect()
}

/// Sends a one-way message of one frame without waiting. False if there is no link with credit and
/// room.
pub(crate) fn try_notify(
    endpoint: &Endpoint,
    to: (&Address, Option<&PeerId>),
    message: &Outgoing,
) -> bool {
    on_open(endpoint, to, message, |session, frame| session.try_tell(frame)).unwrap_or(false)
}

/// Whether there is an open link to this peer.
#[cfg(feature = "swim")]
pub(crate) fn is_open(endpoint: &Endpoint, to: (&Address, Option<&PeerId>)) -> bool {
    endpoint.links.on_open(to, |_| ()).is_some()
}

/// Sends as many of these one-way messages, from the front, as there is a link with credit and room
/// for. Removes them from `messages` and returns their number.
pub(crate) fn try_notify_all(
    endpoint: &Endpoint,
    to: (&Address, Option<&PeerId>),
    messages: &mut VecDeque<Frame>,
) -> u64 {
    endpoint.links.on_open(to, |session| session.try_tell_all(messages)).unwrap_or(0)
}

/// Sends a one-way message over a link if the peer speaks links, otherwise in a classic exchange.
pub(crate) async fn notify(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    message: Outgoing,
) -> Result<(), RequestError> {
    let Outgoing { mut kind, over, whom } = message;
    let to = (to, whom.as_ref());
    loop {
        let session = match path(endpoint, to, over).await? {
            Path::Link(session) => session,
            Path::Classic => return client::notify(&endpoint.node, to, kind).await,
        };
        match session.tell(kind).await {
            Ok(()) => return Ok(()),
            // Nothing was sent: try another link, or a classic exchange.
            Err(Failed::Gone(Some(frame))) => kind = OutgoingKind::Frame(frame),
            Err(failed) => return Err(failed.into_error(&session)),
        }
    }
}

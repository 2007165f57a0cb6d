//! The links of a node: which peer is reached over which, and how.

mod acked;
mod answer;
mod arrive;
mod ask;
mod dial;
mod driver;
mod inflow;
mod line;
mod status;

use std::{
    collections::HashMap,
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use self::{acked::Mailbag, ask::Failed, line::Unsent};
use crate::{
    connection::{
        Config, Direction, Node, Outgoing, Over, PeerEvent, Replies, RequestError, exchange,
        exchange::{OutgoingHeld, OutgoingKind},
    },
    frame::Frame,
    link::{AckLevel, Book, BookConfig, LinkId, Reason, Role, Seen, Way},
    overlay::{Address, PeerInfo},
};

pub use self::status::LinkStatus;
pub(crate) use self::{
    dial::accepted,
    driver::Driver,
    inflow::Inflow,
    line::{Line, Unconsumed},
};

/// A pause between two dials up to this is waited out by those who ask for a link meanwhile; in a
/// longer one they are told at once.
const SHORT_PAUSE: Duration = Duration::from_millis(500);

/// What a dial came to, for everybody who waits for it.
type Reached = Result<Arc<Line>, Unreached>;

/// Why there is no link.
#[derive(Clone, Debug)]
pub(crate) enum Unreached {
    /// The peer speaks none.
    Classic,
    /// All are in use.
    NoRoom,
    /// The peer takes no connections now.
    Busy,
    /// It cannot be reached.
    Failed { kind: io::ErrorKind, text: String },
    /// This node stops.
    Stopped,
}

impl Unreached {
    pub(super) fn failed(error: &io::Error) -> Self {
        Self::Failed { kind: error.kind(), text: error.to_string() }
    }

    fn into_error(self, to: &Address) -> RequestError {
        match self {
            Self::Classic => RequestError::NoLink(to.clone()),
            Self::NoRoom => RequestError::Busy,
            Self::Busy => RequestError::Reset { reason: Reason::BUSY, sent: false },
            Self::Failed { kind, text } => {
                RequestError::Connect { to: to.clone(), source: io::Error::new(kind, text) }
            }
            Self::Stopped => RequestError::Stopped { sent: false },
        }
    }
}

/// The links of one node.
pub(crate) struct Links {
    pool: Mutex<Pool>,
    /// The links that the book would name, for those who are in a hurry.
    open: RwLock<HashMap<Address, Arc<Line>>>,
    next: AtomicU64,
    pub(super) incarnation: u64,
    pub(super) seen: Mutex<Seen>,
    mailbags: Mutex<HashMap<Address, Arc<Mailbag>>>,
}

struct Pool {
    book: Book,
    lines: HashMap<LinkId, Arc<Line>>,
    dials: HashMap<Address, watch::Receiver<Option<Reached>>>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("open", &self.lock().lines.len()).finish_non_exhaustive()
    }
}

impl Links {
    pub(crate) fn new(me: &PeerInfo, config: &Config) -> Self {
        let config = BookConfig {
            max_links: config.max_links,
            classic_for: config.classic_memory,
            idle_after: config.link_idle_timeout,
        };
        // Later than any earlier life of the node, as long as the clock does not go back.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            pool: Mutex::new(Pool {
                book: Book::new(me.id().clone(), config),
                lines: HashMap::new(),
                dials: HashMap::new(),
            }),
            open: RwLock::default(),
            next: AtomicU64::new(1),
            incarnation: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            seen: Mutex::default(),
            mailbags: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_id(&self) -> LinkId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// An open link to `to`, without a look into the book.
    fn quick(&self, to: &Address) -> Option<Arc<Line>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(to).filter(|line| line.is_open()).cloned()
    }

    /// Takes an open link in. `listed` says that others may use it to reach its address.
    pub(super) fn opened(&self, line: &Arc<Line>, listed: bool) {
        let mut pool = self.lock();
        pool.lines.insert(line.id, Arc::clone(line));
        let mut loser = None;
        if listed {
            let now = Instant::now().into_std();
            let lost = pool.book.opened(line.id, &line.to, line.peer.id(), line.role, now);
            loser = lost.and_then(|lost| pool.lines.get(&lost).cloned());
            if lost != Some(line.id) {
                let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
                open.insert(line.to.clone(), Arc::clone(line));
            }
        }
        drop(pool);
        // Two at once: what is open on the other one is finished.
        if let Some(loser) = loser {
            loser.bye();
        }
    }

    /// A link takes nothing new any more.
    pub(super) fn unlist(&self, line: &Line) {
        self.lock().book.closed(line.id);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.get(&line.to).is_some_and(|other| other.id == line.id) {
            open.remove(&line.to);
        }
    }

    pub(super) fn closed(&self, line: &Line) {
        self.unlist(line);
        self.lock().lines.remove(&line.id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Line>> {
        let mut lines: Vec<_> = self.lock().lines.values().cloned().collect();
        lines.sort_unstable_by_key(|line| line.id);
        lines
    }

    /// Ends every link: what is open is finished.
    pub(crate) fn bye(&self) {
        self.all().iter().for_each(|line| line.bye());
    }

    /// Ends every link at once.
    pub(crate) fn cut(&self, silently: bool) {
        self.all().iter().for_each(|line| line.cut(silently));
    }

    fn mailbag(&self, to: &Address) -> Arc<Mailbag> {
        let mut bags = self.mailbags.lock().unwrap_or_else(PoisonError::into_inner);
        bags.retain(|_, bag| Arc::strong_count(bag) > 1 || !bag.is_empty());
        let new = || Arc::new(Mailbag::new(self.incarnation));
        Arc::clone(bags.entry(to.clone()).or_insert_with(new))
    }
}

/// What a caller has to do to get a link.
enum Step {
    Done(Reached),
    Wait(watch::Receiver<Option<Reached>>),
    Pause(Instant),
    Again,
}

fn step(node: &Arc<Node>, to: &Address) -> Step {
    let mut pool = node.links.lock();
    pool.look_at_lines();
    let (way, evicted) = pool.book.way(to, Instant::now().into_std());
    let evicted = evicted.and_then(|id| pool.lines.get(&id).cloned());
    let step = match way {
        Way::Link(id) => match pool.lines.get(&id) {
            Some(line) if line.is_open() => Step::Done(Ok(Arc::clone(line))),
            _ => {
                pool.book.closed(id);
                Step::Again
            }
        },
        Way::Classic => Step::Done(Err(Unreached::Classic)),
        Way::NoRoom => Step::Done(Err(Unreached::NoRoom)),
        Way::NotBefore(until) => Step::Pause(until.into()),
        Way::Dial => {
            let (tell, reached) = watch::channel(None);
            pool.dials.insert(to.clone(), reached.clone());
            let (shared, to) = (Arc::clone(node), to.clone());
            node.spawn(async move {
                let reached = dial::dial(&shared, &to).await;
                shared.links.lock().dials.remove(&to);
                tell.send_replace(Some(reached));
            });
            Step::Wait(reached)
        }
        Way::Wait => match pool.dials.get(to) {
            Some(reached) if reached.has_changed().is_ok() => Step::Wait(reached.clone()),
            _ => {
                // The dial ended without a word.
                pool.dials.remove(to);
                pool.book.gave_up(to);
                Step::Again
            }
        },
    };
    drop(pool);
    if let Some(idle) = evicted {
        node.links.unlist(&idle);
        idle.bye();
    }
    step
}

impl Pool {
    /// Tells the book which links are in use, and since when they are not.
    fn look_at_lines(&mut self) {
        for line in self.lines.values() {
            let state = line.lock();
            let open = usize::from(!line.is_idle(&state));
            self.book.busy(line.id, open, state.used.0.into_std());
        }
    }
}

/// A link to `to`: the open one, or the one that a dial brings for which others may wait as well.
/// Dropping the future does not end the dial.
pub(super) async fn reach(node: &Arc<Node>, to: &Address) -> Reached {
    loop {
        if node.drain.is_cancelled() {
            return Err(Unreached::Stopped);
        }
        match step(node, to) {
            Step::Done(reached) => return reached,
            Step::Pause(pause) if pause > Instant::now() + SHORT_PAUSE => {
                let text = "the last dials failed; not dialled again yet".to_owned();
                return Err(Unreached::Failed { kind: io::ErrorKind::NotConnected, text });
            }
            Step::Pause(pause) => sleep_until(pause).await,
            Step::Again => {}
            // A dial has time limits of its own. One that was dropped is looked for again.
            Step::Wait(mut reached) => {
                if let Ok(reached) = reached.wait_for(Option::is_some).await
                    && let Some(reached) = reached.clone()
                {
                    return reached;
                }
            }
        }
    }
}

/// What a message goes over.
enum Road {
    Link(Arc<Line>),
    Classic,
}

async fn road(node: &Arc<Node>, to: &Address, over: Over) -> Result<Road, RequestError> {
    if node.cut.is_cancelled() {
        return Err(RequestError::Stopped { sent: false });
    }
    if over == Over::Classic {
        return Ok(Road::Classic);
    }
    if let Some(line) = node.links.quick(to) {
        return Ok(Road::Link(line));
    }
    // A link with oneself would be both of its ends.
    let possible = node.config.links && to != node.me.address();
    let reached = if possible { reach(node, to).await } else { Err(Unreached::Classic) };
    match (reached, over) {
        (Ok(line), _) => Ok(Road::Link(line)),
        (Err(Unreached::Classic | Unreached::NoRoom | Unreached::Stopped), Over::Any) => {
            Ok(Road::Classic)
        }
        (Err(unreached), _) => Err(unreached.into_error(to)),
    }
}

/// Sends a request over a link when the peer speaks links, else in a classic exchange.
pub(crate) async fn request(
    node: &Arc<Node>,
    to: &Address,
    message: Outgoing,
) -> Result<Replies, RequestError> {
    let Outgoing { mut kind, over } = message;
    loop {
        let line = match road(node, to, over).await? {
            Road::Link(line) => line,
            Road::Classic => return exchange::open(node, to, kind).await,
        };
        let held = OutgoingHeld::on_link(node);
        let limit = node.config.reply_timeout;
        node.counters.exchanges_out.one();
        let asked = timeout(limit, line.ask(kind, held)).await;
        match asked.map_err(|_| RequestError::NoCredit(limit))? {
            Ok(replies) => return Ok(replies),
            // Nothing was sent: another link, or none, does as well.
            Err((Failed::Unsent(Unsent::Gone), Some(frame))) => kind = OutgoingKind::Frame(frame),
            Err((failed, _)) => return Err(failed.into_error(&line)),
        }
    }
}

/// Sends a one-way message over a link when the peer speaks links, else in a classic exchange.
pub(crate) async fn notify(
    node: &Arc<Node>,
    to: &Address,
    message: Outgoing,
) -> Result<(), RequestError> {
    let Outgoing { mut kind, over } = message;
    loop {
        let line = match road(node, to, over).await? {
            Road::Link(line) => line,
            Road::Classic => return exchange::notify(node, to, kind).await,
        };
        match line.tell(kind).await {
            Ok(()) => return Ok(()),
            Err((Failed::Unsent(Unsent::Gone), Some(frame))) => kind = OutgoingKind::Frame(frame),
            Err((failed, _)) => return Err(failed.into_error(&line)),
        }
    }
}

/// Sends a message and waits until it is acknowledged. Without links a classic exchange that ends
/// regularly is the acknowledgement.
pub(crate) async fn notify_acked(
    node: &Arc<Node>,
    to: &Address,
    frame: Frame,
    over: Over,
    level: AckLevel,
) -> Result<(), RequestError> {
    match road(node, to, over).await? {
        Road::Link(_) => {
            let bag = node.links.mailbag(to);
            acked::send(node, to, &bag, frame, level).await
        }
        Road::Classic => {
            let replies = exchange::open(node, to, OutgoingKind::Frame(frame)).await?;
            match replies.collect().await?.first() {
                Some(reply) if reply.code() == crate::frame::TypeCode::ERRO => {
                    let text = String::from_utf8_lossy(reply.data()).into_owned();
                    Err(RequestError::Refused { text })
                }
                _ => Ok(()),
            }
        }
    }
}

impl Line {
    pub(super) const fn direction(&self) -> Direction {
        match self.role {
            Role::Dialler => Direction::Out,
            Role::Acceptor => Direction::In,
        }
    }

    pub(super) fn tell_opened(&self) {
        self.node.counters.links_opened.one();
        tracing::debug!(peer = %self.peer, direction = ?self.direction(), "link opened");
        self.node
            .emit(&PeerEvent::LinkOpened { peer: self.peer.clone(), direction: self.direction() });
    }

    pub(super) fn tell_closed(&self, reason: Reason) {
        tracing::debug!(peer = %self.peer, direction = ?self.direction(), %reason, "link closed");
        self.node.emit(&PeerEvent::LinkClosed {
            peer: self.peer.clone(),
            direction: self.direction(),
            reason,
        });
    }
}

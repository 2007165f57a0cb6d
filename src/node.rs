//! Layer 6: what all actors, connections and handles of one node share.

mod bans;
pub(crate) mod clock;
pub(crate) mod config;
mod counters;
mod doubts;
mod event;
mod joins;
pub(crate) mod leash;
pub(crate) mod log;
#[cfg(feature = "swim")]
pub(crate) mod membership;
pub(crate) mod metrics;
mod refusal;
mod threads;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{bans::Bans, doubts::Doubts, leash::Leashes};
use crate::{
    frame::{FrameError, TypeCode},
    limits::{
        Admission, DialPace, Offender,
        budget::Budget,
        gate::GateConfig,
        rates::{Meters, Rates},
    },
    overlay::{Address, Host, PeerId, PeerInfo, Scope},
    time::{Later, now},
    transport::{IdentityFault, Transport},
};

#[cfg(feature = "test-utils")]
pub(crate) use self::clock::WallClock;
pub(crate) use self::{
    bans::{Banned, watch_bans},
    clock::Ambient,
    counters::Counters,
    event::EventBus,
    joins::Joins,
    metrics::{HandlerTimer, Metrics, RequestTimer},
    threads::Threads,
};
pub use self::{
    config::{Config, ConfigEntry},
    counters::Counts,
    event::{Child, Events, PeerEvent, Removed},
    refusal::Refusal,
};
pub use crate::overlay::options::ConfigError;

/// Permits of a request in hand: that of its code and that of the node.
pub(crate) type Permits = Arc<[OwnedSemaphorePermit]>;

/// Which way an exchange went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The other side asked.
    In,
    /// This node asked.
    Out,
}

/// An exchange that `stop` aborted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AbortedExchange {
    /// Who asked whom.
    pub direction: Direction,
    /// The other side.
    pub peer: Address,
    /// The code of the request; none when its header had not come.
    pub code: Option<TypeCode>,
}

/// How many aborted exchanges are kept; further ones are only counted.
pub(crate) const ABORTED_KEPT: usize = 1_024;

/// Names that others said and that are looked up at the same time: each may take a thread of the
/// runtime until the system gives up.
const LOOKUPS_AT_ONCE: usize = 4;

/// The longest wait for such a look-up, its place included.
const LOOKUP_TIME: Duration = Duration::from_secs(2);

/// What is done when a ban begins.
pub(crate) struct OnBan(pub(crate) Box<dyn Fn(&Offender) + Send + Sync>);

impl fmt::Debug for OnBan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnBan")
    }
}

/// The state of one node that is needed wherever a byte moves.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) me: PeerInfo,
    pub(crate) ambient: Ambient,
    pub(crate) transport: Arc<dyn Transport>,
    /// Whether ids are proven.
    pub(crate) secure: bool,
    pub(crate) counters: Counters,
    pub(crate) measures: Metrics,
    pub(crate) events: EventBus,
    pub(crate) threads: Threads,
    pub(crate) started: Instant,
    /// Whom it has let in.
    pub(crate) admission: Arc<Admission>,
    /// Which of its peers are to be verified anew.
    pub(crate) doubts: Doubts,
    /// How fast frames and bytes come, from where.
    pub(crate) meters: Meters,
    /// How much it passes on, for whom.
    pub(crate) forwards: Meters,
    /// Who is banned.
    pub(crate) bans: Bans,
    /// Told of each ban when it begins.
    pub(crate) on_ban: std::sync::OnceLock<OnBan>,
    /// Memory for frames that have not come in full.
    pub(crate) partial: Budget,
    /// Memory for replies to own requests that are not complete.
    pub(crate) partial_replies: Budget,
    /// Places for accepted connections, requests in hand, dials and own exchanges.
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) dials: Arc<Semaphore>,
    pub(crate) outgoing: Arc<Semaphore>,
    /// How often it dials whom it only heard of.
    pace: Mutex<DialPace>,
    /// Places for look-ups of names that others said.
    lookups: Arc<Semaphore>,
    /// What the application holds of connections.
    pub(crate) leashes: Leashes,
    /// Everything that has to end before the node has stopped.
    pub(crate) tasks: TaskTracker,
    /// The node's own actors, which live until then.
    pub(crate) parts: TaskTracker,
    /// Cancelled when the node begins to stop: nothing new.
    pub(crate) drain: CancellationToken,
    /// Cancelled when the node aborts what still runs.
    pub(crate) abort: CancellationToken,
    /// Nothing more is said to anybody: the node ends as in a crash.
    pub(crate) silent: AtomicBool,
    pub(crate) paused: watch::Sender<bool>,
    pub(crate) joined: AtomicBool,
    /// The contacts by which it tries to join in the background.
    pub(crate) joins: Joins,
    /// What the part of the node that speaks Kademlia keeps here; of its own type.
    #[cfg(feature = "kademlia")]
    pub(crate) kademlia: std::sync::OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
    pub(crate) open_in: AtomicUsize,
    pub(crate) open_out: AtomicUsize,
    /// Who is there.
    #[cfg(feature = "swim")]
    pub(crate) membership: std::sync::OnceLock<membership::Shared>,
    restarts: Mutex<BTreeMap<Child, u64>>,
    aborted: Mutex<(Vec<AbortedExchange>, usize)>,
}

impl Node {
    pub(crate) fn new(
        config: Config,
        me: PeerInfo,
        transport: Arc<dyn Transport>,
        events: EventBus,
        threads: Threads,
        ambient: Ambient,
    ) -> Self {
        let places = |n: usize| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)));
        Self {
            connections: places(config.max_connections),
            requests: places(config.max_requests),
            dials: places(config.max_dials),
            outgoing: places(config.max_outgoing),
            pace: Mutex::new(DialPace::new(
                config.max_unverified_dials,
                config.max_dials_per_unverified,
                now(),
            )),
            lookups: places(LOOKUPS_AT_ONCE),
            admission: Admission::new(GateConfig {
                per_source: config.max_connections_per_source,
                half_open: config.max_half_open,
                per_second: config.max_accepts_per_source,
                loopback: config.limit_loopback,
            }),
            doubts: Doubts::default(),
            bans: Bans::new(&config),
            on_ban: std::sync::OnceLock::new(),
            forwards: Meters::new(Rates {
                frames: config.max_forwards_per_source,
                bytes: u32::MAX,
                loopback: config.limit_loopback,
            }),
            meters: Meters::new(Rates {
                frames: config.max_frames_per_source,
                bytes: config.max_bytes_per_source,
                loopback: config.limit_loopback,
            }),
            partial: Budget::new(config.max_partial_bytes),
            partial_replies: Budget::new(config.max_partial_replies),
            threads,
            config,
            me,
            ambient,
            secure: transport.proves().is_some(),
            transport,
            events,
            counters: Counters::default(),
            measures: Metrics::new(),
            started: Instant::now(),
            leashes: Leashes::default(),
            tasks: TaskTracker::new(),
            parts: TaskTracker::new(),
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            silent: AtomicBool::new(false),
            paused: watch::Sender::new(false),
            joined: AtomicBool::new(false),
            joins: Joins::default(),
            #[cfg(feature = "kademlia")]
            kademlia: std::sync::OnceLock::new(),
            open_in: AtomicUsize::new(0),
            open_out: AtomicUsize::new(0),
            #[cfg(feature = "swim")]
            membership: std::sync::OnceLock::new(),
            restarts: Mutex::default(),
            aborted: Mutex::default(),
        }
    }

    /// Requests that hold a place: handlers have them, or they wait for one.
    #[cfg(feature = "metrics")]
    pub(crate) fn requests_in_hand(&self) -> usize {
        let places = self.config.max_requests.min(Semaphore::MAX_PERMITS);
        places.saturating_sub(self.requests.available_permits())
    }

    /// Own connections that are being opened.
    pub(crate) fn dialling(&self) -> usize {
        let places = self.config.max_dials.min(Semaphore::MAX_PERMITS);
        places.saturating_sub(self.dials.available_permits())
    }

    /// Whether a connection on which nobody has proved an id is served.
    pub(crate) fn serves_unproven(&self) -> bool {
        !self.secure || self.transport.serves_unproven()
    }

    /// Whether who has proved `proven` may call itself `claimed`. Where ids are proven, one that is a
    /// key belongs to nobody who has not proved it.
    pub(crate) fn may_claim(&self, proven: Option<&PeerId>, claimed: &PeerId) -> bool {
        match proven {
            Some(proven) => proven == claimed,
            None => !self.is_proven_only(claimed),
        }
    }

    /// Whether nothing but a proof shows that a node has this id. Every other id is only claimed.
    pub(crate) fn is_proven_only(&self, id: &PeerId) -> bool {
        self.secure && id.is_key()
    }

    /// `found` is at an address where `expected` was asked for: the latter is to be verified anew.
    /// Returns what is wrong.
    pub(crate) fn found_another(
        &self,
        at: &Address,
        (expected, found): (&PeerId, &PeerId),
    ) -> IdentityFault {
        self.doubts.note(expected, at);
        let (expected, found) = (expected.clone(), found.clone());
        IdentityFault::WrongPeer { at: at.clone(), expected, found }
    }

    /// What a host means that somebody else has said; none when its name cannot be looked up in time.
    pub(crate) async fn look_up(&self, host: &Host) -> Option<Vec<Host>> {
        if matches!(host, Host::Ip(_)) || Scope::of(host) == Some(Scope::Machine) {
            return Some(vec![host.clone()]);
        }
        let (transport, host) = (Arc::clone(&self.transport), host.clone());
        let place = Arc::clone(&self.lookups).acquire_owned();
        let look_up = async {
            let place = place.await.ok()?;
            // A task of its own, which has the place for as long as the look-up really takes.
            let drain = self.drain.clone();
            let found = self.threads.runtime().spawn(self.tasks.track_future(async move {
                let _place = place;
                drain.run_until_cancelled(transport.resolve(&host)).await?.ok()
            }));
            found.await.ok().flatten()
        };
        timeout(LOOKUP_TIME, look_up).await.ok().flatten()
    }

    /// Waits until `to`, of which only somebody's word says that a node is there, may be dialled.
    /// False when it was dialled too often.
    pub(crate) async fn may_dial(&self, to: &Address) -> bool {
        let now = Instant::now();
        let wait = self.pace().dial(to, now.into_std());
        let Some(wait) = wait else {
            self.counters.dials_held_back.one();
            return false;
        };
        if !wait.is_zero() {
            tokio::time::sleep_until(now.later(wait)).await;
        }
        true
    }

    /// A node has answered at this address: it may be dialled again for some time.
    pub(crate) fn answered(&self, at: &Address) {
        self.pace().answered(at, Instant::now().into_std());
    }

    /// The pace of dials, for a moment.
    fn pace(&self) -> MutexGuard<'_, DialPace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn emit(&self, event: &PeerEvent) {
        self.events.emit(event, &self.counters);
    }

    /// Counts a refusal and tells of it.
    pub(crate) fn refuse(&self, from: &Address, code: Option<TypeCode>, refusal: Refusal) {
        self.refuse_some(from, code, refusal, 1);
    }

    /// Counts messages that were refused together, and says so once.
    pub(crate) fn refuse_some(
        &self,
        from: &Address,
        code: Option<TypeCode>,
        refusal: Refusal,
        messages: u32,
    ) {
        self.counters.refused(refusal, messages.into());
        tracing::debug!(peer = %from, code = code.map(tracing::field::display), error = refusal.text(), messages, "request refused");
        self.emit(&PeerEvent::Refused { from: from.clone(), code, refusal });
    }

    /// Runs `work` on one of the node's threads, in turn: whichever runtime the caller is in, if any,
    /// it ends no sooner than the node. `stop` waits for it.
    pub(crate) fn spawn<F>(&self, work: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.threads.runtime().spawn(self.tasks.track_future(work));
    }

    /// `work`, which is dropped when the node begins to stop; then nothing comes of it.
    pub(crate) fn until_drain<F: Future>(
        &self,
        work: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let drain = self.drain.clone();
        async move { drain.run_until_cancelled(work).await }
    }

    /// `work`, dropped when the node aborts; `None` then.
    pub(crate) fn until_aborted<F: Future>(
        &self,
        work: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let abort = self.abort.clone();
        async move { abort.run_until_cancelled(work).await }
    }

    /// Places among the requests in hand, of the code and of the node, when they are free now.
    pub(crate) fn try_places(&self, handler: &Arc<Semaphore>) -> Option<Permits> {
        let of_code = Arc::clone(handler).try_acquire_owned().ok()?;
        let of_node = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        Some(Permits::from([of_code, of_node]))
    }

    /// Places among the requests in hand, of the code and of the node; none when they do not come
    /// free in time.
    pub(crate) async fn places(&self, handler: &Arc<Semaphore>) -> Option<Permits> {
        timeout(self.config.busy_after, self.wait_for_places(handler)).await.ok().flatten()
    }

    /// As [`places`](Self::places), however long it takes; none when the node is over.
    pub(crate) async fn wait_for_places(&self, handler: &Arc<Semaphore>) -> Option<Permits> {
        let of_code = Arc::clone(handler).acquire_owned().await.ok()?;
        let of_node = Arc::clone(&self.requests).acquire_owned().await.ok()?;
        Some(Permits::from([of_code, of_node]))
    }

    /// Whether a refusal is put into words.
    pub(crate) fn explains(&self) -> bool {
        self.config.explain_refusals && !self.silent.load(Ordering::Relaxed)
    }

    pub(crate) fn count_frame_error(&self, error: &FrameError) {
        match error {
            FrameError::TruncatedHeader { .. } => self.counters.errors_truncated_header.one(),
            FrameError::TruncatedBody { .. } => self.counters.errors_truncated_body.one(),
            FrameError::TooLong { .. } => self.counters.errors_too_long.one(),
            FrameError::Io(error) if IdentityFault::of(error).is_some() => {
                self.counters.errors_not_admitted.one();
            }
            FrameError::Reserved { .. } | FrameError::Io(_) => self.counters.errors_io.one(),
        }
    }

    pub(crate) fn report_aborted(&self, exchange: AbortedExchange) {
        self.counters.errors_aborted_by_stop.one();
        let mut aborted = self.aborted.lock().unwrap_or_else(PoisonError::into_inner);
        if aborted.0.len() < ABORTED_KEPT {
            aborted.0.push(exchange);
        } else {
            aborted.1 += 1;
        }
    }

    /// Counts and tells that `child` was started again.
    pub(crate) fn restarted(&self, child: Child) {
        let mut restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        let times = restarts.entry(child.clone()).or_default();
        *times += 1;
        let event = PeerEvent::Restarted { child, times: *times };
        drop(restarts);
        self.emit(&event);
    }

    pub(crate) fn restarts(&self) -> BTreeMap<Child, u64> {
        self.restarts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The exchanges that were aborted, and how many more.
    pub(crate) fn take_aborted(&self) -> (Vec<AbortedExchange>, usize) {
        std::mem::take(&mut *self.aborted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds one to `open` for as long as the guard lives.
    pub(crate) fn count_open(self: &Arc<Self>, direction: Direction) -> OpenGuard {
        let node = Arc::clone(self);
        node.open(direction).fetch_add(1, Ordering::Relaxed);
        OpenGuard { node, direction }
    }

    fn open(&self, direction: Direction) -> &AtomicUsize {
        match direction {
            Direction::In => &self.open_in,
            Direction::Out => &self.open_out,
        }
    }
}

/// Counts one open connection.
#[derive(Debug)]
pub(crate) struct OpenGuard {
    node: Arc<Node>,
    direction: Direction,
}

impl OpenGuard {
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.node.open(self.direction).fetch_sub(1, Ordering::Relaxed);
    }
}

/// The span of one connection. A root of its own: whose task it runs in says nothing about it.
pub(crate) fn span(peer: &Address, direction: Direction) -> tracing::Span {
    let direction = match direction {
        Direction::In => "in",
        Direction::Out => "out",
    };
    tracing::debug_span!(parent: None, "connection", %peer, direction)
}

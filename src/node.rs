//! Layer 6: the state that all actors, connections and handles of one node share.

mod bans;
pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod connections;
mod counters;
mod event;
mod joins;
pub(crate) mod log;
#[cfg(feature = "swim")]
pub(crate) mod membership;
pub(crate) mod metrics;
mod refusal;
pub(crate) mod revocable;
#[cfg(feature = "test-utils")]
pub(crate) mod simulation;
mod threads;
mod verification;
pub(crate) mod watch;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{bans::Bans, revocable::Revocables, verification::VerificationQueue};
use crate::{
    fault_points::{Sometimes, reached},
    frame::{FrameError, TypeCode},
    limits::{
        ConnectionAdmission, DialPace, Offender,
        budget::Budget,
        connection_limiter::ConnectionLimits,
        meter::{MeterLimits, Meters},
    },
    overlay::{Address, Host, PeerId, PeerInfo, Scope},
    sync::Mutex,
    time::{Later, now},
    transport::{IdentityFault, Transport},
};

#[cfg(feature = "test-utils")]
pub(crate) use self::clock::WallClock;
pub(crate) use self::{
    bans::{Banned, watch_bans},
    clock::{Ambient, delay_at},
    counters::Counters,
    event::EventBus,
    joins::{JoinAgain, Joins},
    metrics::{HandlerTimer, Metrics, RequestTimer},
    threads::Threads,
};
pub use self::{
    config::{Config, ConfigEntry},
    connections::{ConnectionStatus, LinkStatus, Protocol},
    counters::Counts,
    event::{Child, Events, PeerEvent, Removed},
    refusal::Refusal,
};
pub use crate::overlay::options::ConfigError;

/// The permits of one request in progress: one for its code, one for the node.
pub(crate) type Permits = Arc<[OwnedSemaphorePermit]>;

/// The direction of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The other side sent the request.
    In,
    /// This node sent the request.
    Out,
}

/// An exchange that `stop` aborted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AbortedExchange {
    /// Which side sent the request.
    pub direction: Direction,
    /// The other side.
    pub peer: Address,
    /// The code of the request. `None` if its header had not arrived.
    pub code: Option<TypeCode>,
}

/// The number of aborted exchanges that are kept. Further ones are only counted.
pub(crate) const ABORTED_KEPT: usize = 1_024;

/// Connections that are being opened at once; a further one waits. Dead addresses hold a permit for
/// the whole time of a dial. More permits would fill the tables of routers with half-open
/// connections, fewer would let dead addresses delay the live ones.
const DIALS_AT_ONCE: usize = 32;

/// Concurrent look-ups of host names that came from other nodes. Each may occupy a thread of the
/// runtime until the system gives up.
const LOOKUPS_AT_ONCE: usize = 4;

/// The time-out of such a look-up, including the wait for its permit.
const LOOKUP_TIME: Duration = Duration::from_secs(2);

/// A callback that runs when a ban begins.
pub(crate) struct OnBan(pub(crate) Box<dyn Fn(&Offender) + Send + Sync>);

impl fmt::Debug for OnBan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnBan")
    }
}

/// The shared state of one node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) me: PeerInfo,
    pub(crate) ambient: Ambient,
    pub(crate) transport: Arc<dyn Transport>,
    /// Whether the transport proves ids.
    pub(crate) secure: bool,
    pub(crate) counters: Counters,
    pub(crate) metrics: Metrics,
    pub(crate) events: EventBus,
    pub(crate) threads: Threads,
    pub(crate) started: Instant,
    /// The accepted connections, counted by source.
    pub(crate) admission: Arc<ConnectionAdmission>,
    /// Peers that have to be verified.
    pub(crate) verifications: VerificationQueue,
    /// The rates of incoming frames and bytes, by source.
    pub(crate) meters: Meters,
    /// The rates of forwarded messages, by source.
    pub(crate) forwards: Meters,
    pub(crate) bans: Bans,
    /// Called when a ban begins.
    pub(crate) on_ban: std::sync::OnceLock<OnBan>,
    /// Starts the actors of connections.
    pub(crate) host: std::sync::OnceLock<Arc<dyn connections::Host>>,
    /// Memory for incomplete frames.
    pub(crate) partial: Budget,
    /// Memory for incomplete replies to requests of this node.
    pub(crate) partial_replies: Budget,
    /// Permits for accepted connections, requests in progress, dials and outgoing exchanges.
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) dials: Arc<Semaphore>,
    pub(crate) outgoing: Arc<Semaphore>,
    /// The rate of dials of unverified addresses.
    pace: Mutex<DialPace>,
    /// Permits for look-ups of host names that came from other nodes.
    lookups: Arc<Semaphore>,
    /// The dials and halves of connections that the application holds.
    pub(crate) revocables: Revocables,
    /// The tasks that have to end before the node has stopped.
    pub(crate) tasks: TaskTracker,
    /// The node's own actors, which run until then.
    pub(crate) parts: TaskTracker,
    /// Cancelled when the node begins to stop and accepts nothing new.
    pub(crate) drain: CancellationToken,
    /// Cancelled when the node aborts what still runs.
    pub(crate) abort: CancellationToken,
    /// The node sends nothing more: it ends as in a crash.
    pub(crate) silent: AtomicBool,
    pub(crate) paused: watch::Sender<bool>,
    pub(crate) joined: AtomicBool,
    /// Whether the application has left the network, and has not joined again.
    pub(crate) left: AtomicBool,
    /// The number of links that the application wants open at all times, and of those that are.
    pub(crate) kept_links: AtomicUsize,
    pub(crate) kept_links_open: AtomicUsize,
    /// The contacts by which it tries to join in the background.
    pub(crate) joins: Joins,
    /// The state of the Kademlia service, in a type of its own.
    #[cfg(feature = "kademlia")]
    pub(crate) kademlia: std::sync::OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
    /// The neighbours of the node, in a type of its own.
    #[cfg(feature = "gossip")]
    pub(crate) neighbors: std::sync::OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
    pub(crate) open_in: AtomicUsize,
    pub(crate) open_out: AtomicUsize,
    /// The members of the network.
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
        let permits = |n: usize| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)));
        Self {
            connections: permits(config.max_connections),
            requests: permits(config.max_requests),
            dials: permits(DIALS_AT_ONCE),
            outgoing: permits(config.max_outgoing),
            pace: Mutex::new(DialPace::new(
                config.max_unverified_dials,
                config.dials_per_unverified(),
                now(),
            )),
            lookups: permits(LOOKUPS_AT_ONCE),
            admission: ConnectionAdmission::new(ConnectionLimits {
                per_source: config.max_connections_per_source,
                half_open: config.max_half_open,
                per_second: config.max_accepts_per_source,
                loopback: config.limit_loopback,
            }),
            verifications: VerificationQueue::default(),
            bans: Bans::new(&config),
            on_ban: std::sync::OnceLock::new(),
            host: std::sync::OnceLock::new(),
            forwards: Meters::new(MeterLimits {
                frames: config.max_forwards_per_source,
                bytes: u32::MAX,
                loopback: config.limit_loopback,
            }),
            meters: Meters::new(MeterLimits {
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
            metrics: Metrics::new(),
            started: Instant::now(),
            revocables: Revocables::default(),
            tasks: TaskTracker::new(),
            parts: TaskTracker::new(),
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            silent: AtomicBool::new(false),
            paused: watch::Sender::new(false),
            joined: AtomicBool::new(false),
            left: AtomicBool::new(false),
            kept_links: AtomicUsize::new(0),
            kept_links_open: AtomicUsize::new(0),
            joins: Joins::default(),
            #[cfg(feature = "kademlia")]
            kademlia: std::sync::OnceLock::new(),
            #[cfg(feature = "gossip")]
            neighbors: std::sync::OnceLock::new(),
            open_in: AtomicUsize::new(0),
            open_out: AtomicUsize::new(0),
            #[cfg(feature = "swim")]
            membership: std::sync::OnceLock::new(),
            restarts: Mutex::default(),
            aborted: Mutex::default(),
        }
    }

    /// Requests that hold a permit: those in a handler and those that wait for one.
    #[cfg(feature = "metrics")]
    pub(crate) fn requests_in_hand(&self) -> usize {
        let permits = self.config.max_requests.min(Semaphore::MAX_PERMITS);
        permits.saturating_sub(self.requests.available_permits())
    }

    /// Outgoing connections that are being opened.
    pub(crate) fn dialling(&self) -> usize {
        DIALS_AT_ONCE.saturating_sub(self.dials.available_permits())
    }

    /// Whether the node serves a connection whose peer has proved no id.
    pub(crate) fn serves_unproven(&self) -> bool {
        !self.secure || self.transport.serves_unproven()
    }

    /// Whether a peer that has proved `proven` may claim the id `claimed`. Where ids are proven, an
    /// id that is a key has to be proven.
    pub(crate) fn may_claim(&self, proven: Option<&PeerId>, claimed: &PeerId) -> bool {
        match proven {
            Some(proven) => proven == claimed,
            None => !self.is_proven_only(claimed),
        }
    }

    /// Whether this id requires a proof. Every other id is only claimed.
    pub(crate) fn is_proven_only(&self, id: &PeerId) -> bool {
        self.secure && id.is_key()
    }

    /// Notes that `found` is at an address where `expected` was asked for, so that `expected` is
    /// verified again. Returns the fault.
    pub(crate) fn found_another(
        &self,
        at: &Address,
        (expected, found): (&PeerId, &PeerId),
    ) -> IdentityFault {
        reached(Sometimes::AnotherIdAtAddress);
        self.verifications.push(expected, at);
        let (expected, found) = (expected.clone(), found.clone());
        IdentityFault::WrongPeer { at: at.clone(), expected, found }
    }

    /// Resolves a host that another node named. `None` if its name is not resolved in time.
    pub(crate) async fn look_up(&self, host: &Host) -> Option<Vec<Host>> {
        if matches!(host, Host::Ip(_)) || Scope::of(host) == Some(Scope::Machine) {
            return Some(vec![host.clone()]);
        }
        let (transport, host) = (Arc::clone(&self.transport), host.clone());
        let permit = Arc::clone(&self.lookups).acquire_owned();
        let look_up = async {
            let permit = permit.await.ok()?;
            // A separate task keeps the permit until the look-up ends, past a time-out of the
            // caller.
            let drain = self.drain.clone();
            let found = self.threads.runtime().spawn(self.tasks.track_future(async move {
                let _permit = permit;
                drain.run_until_cancelled(transport.resolve(&host)).await?.ok()
            }));
            found.await.ok().flatten()
        };
        timeout(LOOKUP_TIME, look_up).await.ok().flatten()
    }

    /// Waits until `to`, an unverified address, may be dialled. False if it was dialled too often.
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

    /// Notes that a node answered at this address: it may be dialled again.
    pub(crate) fn answered(&self, at: &Address) {
        self.pace().answered(at, Instant::now().into_std());
    }

    fn pace(&self) -> MutexGuard<'_, DialPace> {
        self.pace.lock()
    }

    pub(crate) fn emit(&self, event: &PeerEvent) {
        self.events.emit(event, &self.counters);
    }

    /// Counts a refusal and emits an event for it.
    pub(crate) fn refuse(&self, from: &Address, code: Option<TypeCode>, refusal: Refusal) {
        self.refuse_some(from, code, refusal, 1);
    }

    /// Counts messages that were refused together, and emits one event for them.
    pub(crate) fn refuse_some(
        &self,
        from: &Address,
        code: Option<TypeCode>,
        refusal: Refusal,
        messages: u32,
    ) {
        reached(refusal.refused());
        self.counters.refused(refusal, messages.into());
        tracing::debug!(peer = %from, code = code.map(tracing::field::display), error = refusal.text(), messages, "request refused");
        self.emit(&PeerEvent::Refused { from: from.clone(), code, refusal });
    }

    /// Runs `work` on the node's threads, round robin. The task does not depend on the runtime of
    /// the caller, if there is one. `stop` waits for it.
    pub(crate) fn spawn<F>(&self, work: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let work = self.tasks.track_future(work);
        #[cfg(test)]
        let Some(work) = crate::sync::model::spawn(work) else { return };
        self.threads.runtime().spawn(work);
    }

    /// Runs `work` until the node begins to stop. `None` if it was dropped for that.
    pub(crate) fn until_drain<F: Future>(
        &self,
        work: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let drain = self.drain.clone();
        async move { drain.run_until_cancelled(work).await }
    }

    /// Runs `work` until the node aborts. `None` if it was dropped for that.
    pub(crate) fn until_aborted<F: Future>(
        &self,
        work: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let abort = self.abort.clone();
        async move { abort.run_until_cancelled(work).await }
    }

    /// The permits of a request, for its code and for the node. `None` if they are not free now.
    pub(crate) fn try_permits(&self, handler: &Arc<Semaphore>) -> Option<Permits> {
        let of_code = Arc::clone(handler).try_acquire_owned().ok()?;
        let of_node = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        Some(Permits::from([of_code, of_node]))
    }

    /// Waits for the permits of a request, for its code and for the node. `None` if they are not
    /// free within `busy_after`.
    pub(crate) async fn permits(&self, handler: &Arc<Semaphore>) -> Option<Permits> {
        timeout(self.config.busy_after, self.wait_for_permits(handler)).await.ok().flatten()
    }

    /// As [`permits`](Self::permits), without a time-out. `None` if the node is gone.
    pub(crate) async fn wait_for_permits(&self, handler: &Arc<Semaphore>) -> Option<Permits> {
        let of_code = Arc::clone(handler).acquire_owned().await.ok()?;
        let of_node = Arc::clone(&self.requests).acquire_owned().await.ok()?;
        Some(Permits::from([of_code, of_node]))
    }

    /// Whether the node sends an `ERRO` frame for a refusal.
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
        reached(Sometimes::ExchangeAborted);
        self.counters.errors_aborted_by_stop.one();
        let mut aborted = self.aborted.lock();
        if aborted.0.len() < ABORTED_KEPT {
            aborted.0.push(exchange);
        } else {
            aborted.1 += 1;
        }
    }

    /// Counts a restart of `child` and emits an event for it.
    pub(crate) fn restarted(&self, child: Child) {
        reached(Sometimes::PartRestarted);
        let mut restarts = self.restarts.lock();
        let times = restarts.entry(child.clone()).or_default();
        *times += 1;
        let event = PeerEvent::Restarted { child, times: *times };
        drop(restarts);
        self.emit(&event);
    }

    pub(crate) fn restarts(&self) -> BTreeMap<Child, u64> {
        self.restarts.lock().clone()
    }

    /// Takes the aborted exchanges, and the number of further ones that were not kept.
    pub(crate) fn take_aborted(&self) -> (Vec<AbortedExchange>, usize) {
        std::mem::take(&mut *self.aborted.lock())
    }

    /// Counts an open connection while the guard lives.
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

/// The span of one connection. It is a root span: the task that creates it is unrelated.
pub(crate) fn span(peer: &Address, direction: Direction) -> tracing::Span {
    let direction = match direction {
        Direction::In => "in",
        Direction::Out => "out",
    };
    tracing::debug_span!(parent: None, "connection", %peer, direction)
}

#[cfg(test)]
mod models;

//! The shared state of one open link.

use std::{
    fmt,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use bytes::BytesMut;
use futures::task::AtomicWaker;
use indexmap::IndexMap;
use tokio::time::Instant;

use crate::{
    dispatch::Routes,
    fault_points::{Sometimes, reached},
    link::{AckLevel, Link, LinkId, LinkPhase, MAX_PAYLOAD, Reason, Refused, Role},
    message::Sender,
    node::{AbortedExchange, Direction, Node},
    overlay::{Address, PeerId, PeerInfo},
    session::{
        credit_pool::CreditPool,
        exchange::OutExchange,
        queue::{ExchangeBroken, InPart},
    },
    sync::{
        Mutex, Notify, Semaphore,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// A new link without a message counts as idle after this time.
const FIRST_USE: Duration = Duration::from_secs(2);

/// Senders wait while the unwritten output has at least this length.
const OUTPUT_HIGH: usize = 256 << 10; // bytes

/// One open link. Senders encode into its output under a short lock; the one task that drives it
/// reads and writes.
pub(crate) struct Session {
    pub(crate) node: Arc<Node>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) id: LinkId,
    pub(crate) role: Role,
    /// The address under which it is in the directory.
    pub(crate) to: Address,
    pub(crate) peer: PeerInfo,
    pub(crate) incarnation: u64,
    /// The sender of the messages that arrive over it.
    pub(crate) sender: Sender,
    pub(crate) since: Instant,
    pub(crate) limits: SessionLimits,
    state: Mutex<SessionState>,
    /// The credit for which senders wait.
    pub(crate) credit: CreditPool,
    /// Permits for requests that this side may open.
    pub(crate) request_permits: Semaphore,
    /// Notified when waiters should check their condition again.
    pub(crate) changed: Notify,
    /// Notified when the link accepts no new exchanges.
    pub(crate) left: Notify,
    /// Wakes the driver.
    pub(crate) driver: AtomicWaker,
    /// Bytes that handlers have released and that the driver has not processed.
    consumed: AtomicU64,
    /// Senders that wait for credit or a permit.
    pub(crate) waiting: AtomicUsize,
    /// Whether the link accepts no new exchanges.
    closing: AtomicBool,
    /// Incomplete messages of the other side.
    pub(crate) incomplete: AtomicUsize,
    /// Messages of the other side that wait for a handler or are processed by one.
    pub(crate) in_hand: AtomicUsize,
}

/// The limits of the hellos.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    pub(crate) window: u32,
    /// The longest message for which a sender takes all credit before it begins.
    pub(crate) whole: u32,
    /// The longest message that this side buffers whole, as announced in its own hello.
    pub(crate) own_whole: u32,
    /// The longest part of a message in parts.
    pub(crate) part: usize,
    /// The length of the numbers in front of an acknowledged message.
    pub(crate) numbers: usize,
}

/// The state behind the lock.
pub(crate) struct SessionState {
    pub(crate) link: Link,
    /// Exchanges of this side.
    pub(crate) exchanges: IndexMap<u32, OutExchange>,
    /// The time of the last message in either direction, and the number of messages then.
    pub(crate) used: (Instant, u64),
    /// Bytes that the operating system has accepted.
    pub(crate) written: u64,
    /// Credit that was taken in advance for short messages.
    pub(crate) prepaid: u32,
}

impl SessionState {
    /// Whether a frame may be added to the output. Always true for a closed link, so that no sender
    /// waits on it.
    pub(crate) fn has_room(&self) -> bool {
        self.link.output_len() < OUTPUT_HIGH || self.link.phase() == LinkPhase::Closed
    }
}

/// Why a message was not sent in full.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// The link accepts no new exchanges. Nothing of the message was sent.
    Gone,
    /// A part was sent, and the exchange, or the link, ended before the rest was sent.
    Over,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// The session of an open `link`. `to` is its address in the directory; `None` if it is the
    /// address in the hello. Returns `None` if the link has no hello of the other side.
    pub(crate) fn new(
        (node, routes): (Arc<Node>, Arc<Routes>),
        id: LinkId,
        link: Link,
        (remote, proven): (&Address, bool),
        to: Option<Address>,
    ) -> Option<Self> {
        let theirs = link.theirs()?;
        let (window, max_open) = (theirs.window, theirs.max_open);
        let peer = theirs.info.clone();
        let part = usize::try_from(window / 8).unwrap_or(MAX_PAYLOAD).clamp(1, MAX_PAYLOAD);
        let now = Instant::now();
        Some(Self {
            id,
            role: link.role(),
            to: to.unwrap_or_else(|| peer.address().clone()),
            incarnation: theirs.incarnation,
            sender: Sender::link(id, remote.clone(), theirs, proven),
            peer,
            since: now,
            limits: SessionLimits {
                window,
                // More credit could not be taken at once.
                whole: link.max_message().min(CreditPool::MOST / 2),
                own_whole: link.own_max_message(),
                part,
                numbers: link.numbered_len(),
            },
            credit: CreditPool::new(link.credit()),
            request_permits: Semaphore::new((max_open as usize).min(Semaphore::MAX_PERMITS)),
            state: Mutex::new(SessionState {
                exchanges: IndexMap::new(),
                used: (now, 0),
                written: link.counts().bytes_out,
                prepaid: 0,
                link,
            }),
            changed: Notify::new(),
            left: Notify::new(),
            driver: AtomicWaker::new(),
            consumed: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            incomplete: AtomicUsize::new(0),
            in_hand: AtomicUsize::new(0),
            node,
            routes,
        })
    }

    /// Whether a message for the peer `whom` may be sent over it. True if `whom` is `None`.
    pub(crate) fn is_to(&self, whom: Option<&PeerId>) -> bool {
        whom.is_none_or(|whom| {
            self.peer.id() == whom && self.node.may_claim(self.sender.proven(), whom)
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock()
    }

    /// Runs `work` on the state and wakes the driver if there is output or an event.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut SessionState) -> R) -> R {
        let mut state = self.lock();
        let before = state.link.output_len();
        let result = work(&mut state);
        let begun = before == 0 && state.link.output_len() > 0;
        let wake = begun || state.link.has_events();
        drop(state);
        if wake {
            self.driver.wake();
        }
        result
    }

    /// Whether the link accepts new exchanges.
    pub(crate) fn is_open(&self) -> bool {
        !self.closing.load(Ordering::SeqCst)
    }

    /// Stops accepting new exchanges.
    pub(crate) fn close_to_new(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.request_permits.close();
        self.left.notify_waiters();
    }

    /// Closes the link after its open exchanges, and announces that to the other side.
    pub(crate) fn bye(&self) {
        self.close_to_new();
        self.with(|state| state.link.bye());
    }

    /// Ends the link at once: with a reason, or `silently`, as if the connection had broken.
    pub(crate) fn abort(&self, silently: bool) {
        self.close_to_new();
        self.with(|state| {
            if silently {
                state.link.connection_lost();
            } else {
                state.link.fail(Reason::GOING_AWAY);
            }
        });
    }

    /// Adds a frame to the output, if there is room.
    pub(crate) fn try_enqueue<R>(&self, add: impl FnOnce(&mut SessionState) -> R) -> Option<R> {
        self.with(|state| state.has_room().then(|| add(state)))
    }

    /// Adds a frame to the output, as soon as there is room.
    pub(crate) async fn enqueue<R>(
        &self,
        mut add: impl FnMut(&mut SessionState) -> Result<R, Refused>,
    ) -> Result<R, Unsent> {
        loop {
            let mut result = self.try_enqueue(&mut add);
            if result.is_none() {
                let changed = self.changed.notified();
                result = self.try_enqueue(&mut add);
                if result.is_none() {
                    reached(Sometimes::OutputFull);
                    changed.await;
                }
            }
            match result {
                Some(Ok(result)) => return Ok(result),
                Some(Err(Refused::Over)) => return Err(Unsent::Over),
                Some(Err(refused)) => {
                    if refused == Refused::NotOpen {
                        // A sender that looks for another link must not find this one again.
                        self.close_to_new();
                    }
                    return Err(Unsent::Gone);
                }
                None => {}
            }
        }
    }

    /// As [`enqueue`](Self::enqueue), for replies: also waits for the credit of the exchange.
    pub(crate) async fn enqueue_reply<R>(
        &self,
        mut add: impl FnMut(&mut SessionState) -> Result<R, Refused>,
    ) -> Result<R, Unsent> {
        loop {
            let changed = self.changed.notified();
            match self
                .enqueue(|state| match add(state) {
                    Err(Refused::Full) => Ok(None),
                    result => result.map(Some),
                })
                .await?
            {
                Some(result) => return Ok(result),
                None => changed.await,
            }
        }
    }

    /// Notes that handlers have released `cost` bytes.
    pub(crate) fn consumed(&self, cost: u32) {
        if cost > 0 && self.consumed.fetch_add(u64::from(cost), Ordering::AcqRel) == 0 {
            self.driver.wake();
        }
    }

    /// Passes the bytes released since the last call to the link.
    pub(crate) fn flush_consumed(&self) {
        if self.consumed.load(Ordering::Relaxed) == 0 {
            return;
        }
        let bytes = self.consumed.swap(0, Ordering::AcqRel);
        self.lock().link.consumed(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Notes that replies of `cost` bytes were read.
    pub(crate) fn read(&self, exchange: u32, cost: u32) {
        self.with(|state| state.link.read(exchange, cost));
    }

    /// Adds credit that the other side has granted.
    pub(crate) fn granted(&self, bytes: u32) {
        self.credit.add_permits(bytes);
        self.changed.notify_waiters();
    }

    pub(crate) fn wake_waiters(&self) {
        self.changed.notify_waiters();
    }

    /// Takes the output that has to be written.
    pub(crate) fn take_output(&self, into: &mut BytesMut) {
        let mut state = self.lock();
        let waits = state.link.output_len() >= OUTPUT_HIGH;
        state.link.take_output(into);
        drop(state);
        if waits {
            self.changed.notify_waiters();
        }
    }

    /// Notes that the operating system has accepted `bytes`.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.lock().written += bytes as u64;
    }

    /// Ends an exchange of this side.
    pub(crate) fn cancel_exchange(&self, exchange: u32, reason: Reason) {
        self.with(|state| {
            state.link.reset(exchange, reason);
            state.exchanges.swap_remove(&exchange)
        })
        .inspect(|open| self.release_permit(open));
    }

    fn release_permit(&self, open: &OutExchange) {
        if open.holds_permit() {
            self.request_permits.add_permits(1);
        }
    }

    /// Queues a part of a reply for its reader.
    pub(crate) fn on_reply_part(&self, exchange: u32, part: InPart) {
        let queue = match self.lock().exchanges.get(&exchange) {
            Some(OutExchange::Request { queue, .. }) => Arc::clone(queue),
            Some(OutExchange::Sequenced(_) | OutExchange::OneWay { .. }) | None => return,
        };
        // Without a reader the exchange is being cancelled.
        drop(queue.push(part));
    }

    /// Ends an exchange of this side: with an acknowledgement, after the last reply, or early.
    pub(crate) fn on_exchange_end(
        &self,
        exchange: u32,
        acknowledged: Option<(u64, AckLevel)>,
        end: Result<(), Reason>,
    ) {
        let removed = self.lock().exchanges.swap_remove(&exchange);
        if let Some(open) = removed {
            if let Err(reason) = end {
                reached(reason.reset());
            }
            let end = match open {
                // An acknowledgement of another message does not count.
                OutExchange::Sequenced(ref acked) if !acked.accepts(acknowledged) => {
                    end.and(Err(Reason::HANDLER_FAILED))
                }
                OutExchange::Sequenced(_)
                | OutExchange::Request { .. }
                | OutExchange::OneWay { .. } => end,
            };
            self.release_permit(&open);
            open.end(end.map_err(|reason| ExchangeBroken { reason, sent: true, link: false }));
        }
        self.changed.notify_waiters();
    }

    /// Notes that the link has ended, and ends all exchanges of this side.
    pub(crate) fn on_link_end(&self, reason: Reason) {
        self.close_to_new();
        let mut state = self.lock();
        state.link.connection_lost();
        let exchanges = std::mem::take(&mut state.exchanges);
        let written = state.written;
        drop(state);
        if !exchanges.is_empty() {
            reached(Self::ended_in_exchange(reason));
        }
        for open in exchanges.into_values() {
            if let OutExchange::Request { code, .. } = open
                && self.node.abort.is_cancelled()
            {
                let (direction, peer) = (Direction::Out, self.sender.address().clone());
                self.node.report_aborted(AbortedExchange { direction, peer, code: Some(code) });
            }
            let sent = open.sent_before(written);
            open.end(Err(ExchangeBroken { reason, sent, link: true }));
        }
        // Waiting senders then find how their exchange ended.
        self.credit.close();
        self.changed.notify_waiters();
    }

    /// The situation of a link that ends for this reason with open exchanges.
    pub(super) fn ended_in_exchange(reason: Reason) -> Sometimes {
        if reason == Reason::LOST {
            Sometimes::LinkLostInExchange
        } else {
            Sometimes::LinkEndedInExchange
        }
    }

    /// Whether this node has just opened it, and no message was sent over it.
    pub(crate) fn is_unused(&self) -> bool {
        let fresh = self.role == Role::Dialler && self.since.elapsed() < FIRST_USE;
        fresh && self.lock().link.counts().moved == 0
    }

    /// Whether nothing is open on it. A new link is not idle: the message for which it was opened
    /// follows.
    pub(crate) fn is_idle(&self, state: &SessionState) -> bool {
        let fresh = state.link.counts().moved == 0 && self.since.elapsed() < FIRST_USE;
        !fresh
            && self.waiting.load(Ordering::Relaxed) == 0
            && state.link.open_exchanges() == 0
            && state.link.held() == 0
            && state.link.credit() >= self.limits.window / 2
    }
}

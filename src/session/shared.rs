//! One open link, as everybody who uses it shares it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use futures::task::AtomicWaker;
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

use crate::{
    link::{AckLevel, Link, LinkId, LinkPhase, MAX_PAYLOAD, Reason, Refused, Role},
    message::Sender,
    node::{AbortedExchange, Direction},
    overlay::{Address, PeerId, PeerInfo},
    session::{
        Endpoint,
        credit::CreditPool,
        recv_stream::{Broken, InPart},
        request::Asked,
    },
};

/// Whoever has opened a link uses it within this time, or it is idle.
const FIRST_USE: Duration = Duration::from_secs(2);

/// Senders wait while so much of what they have credit for is not written.
const OUTPUT_HIGH: usize = 256 << 10; // bytes

/// One open link. Senders encode into its output under a short lock; the one task that drives it
/// reads and writes.
pub(crate) struct Session {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) id: LinkId,
    pub(crate) role: Role,
    /// Under which address it is in the book.
    pub(crate) to: Address,
    pub(crate) peer: PeerInfo,
    pub(crate) incarnation: u64,
    /// Who sends what comes over it.
    pub(crate) sender: Sender,
    pub(crate) since: Instant,
    pub(crate) limits: Limits,
    state: Mutex<State>,
    /// The credit, as senders wait for it.
    pub(crate) credit: CreditPool,
    /// Requests that may be opened.
    pub(crate) slots: Semaphore,
    /// Somebody who waits should look again.
    pub(crate) changed: Notify,
    /// Nothing new is begun any more.
    pub(crate) left: Notify,
    /// Wakes the driver.
    pub(crate) driver: AtomicWaker,
    /// Bytes that handlers let go of since the driver looked.
    consumed: AtomicU64,
    /// Senders that wait for credit or a place.
    pub(crate) waiting: AtomicUsize,
    /// Nothing new is begun on it.
    closing: AtomicBool,
    /// Messages of the other side that have come in part.
    pub(crate) incomplete: AtomicUsize,
    /// Messages of the other side that wait for a handler, or that one has in hand.
    pub(crate) in_hand: AtomicUsize,
}

/// What the other side's hello allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) window: u32,
    /// The longest message that is paid for as a whole before it begins.
    pub(crate) whole: u32,
    /// The longest message that this side takes whole, by its own hello.
    pub(crate) mine: u32,
    /// The longest part of a longer one.
    pub(crate) part: usize,
    /// Bytes in front of one that is to be acknowledged.
    pub(crate) numbers: usize,
}

/// What is behind the lock.
pub(crate) struct State {
    pub(crate) link: Link,
    /// Exchanges of this side.
    pub(crate) asked: HashMap<u32, Asked>,
    /// When a message last moved, and how many had then.
    pub(crate) used: (Instant, u64),
    /// Bytes that the operating system has taken.
    pub(crate) written: u64,
    /// Credit that was taken for short messages to come.
    pub(crate) prepaid: u32,
}

impl State {
    /// Whether a frame may be put into the output. Over a link that is closed nobody waits for that.
    pub(crate) fn has_room(&self) -> bool {
        self.link.output_len() < OUTPUT_HIGH || self.link.phase() == LinkPhase::Closed
    }
}

/// Why a message did not go out in full.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// The link takes nothing new. Nothing of the message was sent.
    Gone,
    /// A part was sent, and the exchange, or the link, ended before the others were.
    Over,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// `link` is open. `to` is the address under which others look for it.
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
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
            sender: Sender::link(remote.clone(), theirs, proven),
            peer,
            since: now,
            limits: Limits {
                window,
                // More could not be paid for at once.
                whole: link.max_message().min(CreditPool::MOST / 2),
                mine: link.own_max_message(),
                part,
                numbers: link.numbered_len(),
            },
            credit: CreditPool::new(link.credit()),
            slots: Semaphore::new((max_open as usize).min(Semaphore::MAX_PERMITS)),
            state: Mutex::new(State {
                asked: HashMap::new(),
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
            endpoint,
        })
    }

    /// Whether what is meant for this peer, and no other, may go over it.
    pub(crate) fn is_to(&self, whom: Option<&PeerId>) -> bool {
        whom.is_none_or(|whom| {
            self.peer.id() == whom && self.endpoint.may_claim(self.sender.proven(), whom)
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the link and wakes the driver when there is something for it to do.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
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

    /// Whether something new may be begun on it.
    pub(crate) fn is_open(&self) -> bool {
        !self.closing.load(Ordering::SeqCst)
    }

    /// Nothing new is begun on it from now on.
    pub(crate) fn close_to_new(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.slots.close();
        self.left.notify_waiters();
    }

    /// Says that nothing new will be begun; what is open is finished.
    pub(crate) fn bye(&self) {
        self.close_to_new();
        self.with(|state| state.link.bye());
    }

    /// Ends it at once: with a word, or as if the connection had broken.
    pub(crate) fn cut(&self, silently: bool) {
        self.close_to_new();
        self.with(|state| {
            if silently {
                state.link.lost();
            } else {
                state.link.fail(Reason::GOING_AWAY);
            }
        });
    }

    /// Puts a frame into the output, if there is room.
    pub(crate) fn try_put<R>(&self, put: impl FnOnce(&mut State) -> R) -> Option<R> {
        self.with(|state| state.has_room().then(|| put(state)))
    }

    /// Puts a frame into the output, as soon as there is room.
    pub(crate) async fn put<R>(
        &self,
        mut put: impl FnMut(&mut State) -> Result<R, Refused>,
    ) -> Result<R, Unsent> {
        loop {
            let mut result = self.try_put(&mut put);
            if result.is_none() {
                let changed = self.changed.notified();
                result = self.try_put(&mut put);
                if result.is_none() {
                    changed.await;
                }
            }
            match result {
                Some(Ok(result)) => return Ok(result),
                Some(Err(Refused::Over)) => return Err(Unsent::Over),
                Some(Err(refused)) => {
                    if refused == Refused::NotOpen {
                        // Those that look for another link do not find this one again.
                        self.close_to_new();
                    }
                    return Err(Unsent::Gone);
                }
                None => {}
            }
        }
    }

    /// As [`put`](Self::put), for replies: waits for the credit of the exchange, too.
    pub(crate) async fn put_reply<R>(
        &self,
        mut put: impl FnMut(&mut State) -> Result<R, Refused>,
    ) -> Result<R, Unsent> {
        loop {
            let changed = self.changed.notified();
            match self
                .put(|state| match put(state) {
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

    /// Handlers have let go of so much.
    pub(crate) fn consumed(&self, cost: u32) {
        if cost > 0 && self.consumed.fetch_add(u64::from(cost), Ordering::AcqRel) == 0 {
            self.driver.wake();
        }
    }

    /// What they have let go of since the last call, into `state`.
    pub(crate) fn flush_consumed(&self) {
        if self.consumed.load(Ordering::Relaxed) == 0 {
            return;
        }
        let bytes = self.consumed.swap(0, Ordering::AcqRel);
        self.lock().link.consumed(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Replies were read.
    pub(crate) fn read(&self, exchange: u32, cost: u32) {
        self.with(|state| state.link.read(exchange, cost));
    }

    /// Credit came.
    pub(crate) fn granted(&self, bytes: u32) {
        self.credit.add_permits(bytes);
        self.changed.notify_waiters();
    }

    pub(crate) fn look_again(&self) {
        self.changed.notify_waiters();
    }

    /// Takes what is to be written.
    pub(crate) fn take_output(&self, into: &mut BytesMut) {
        let mut state = self.lock();
        let waits = state.link.output_len() >= OUTPUT_HIGH;
        state.link.take_output(into);
        drop(state);
        if waits {
            self.changed.notify_waiters();
        }
    }

    /// The operating system has taken so many bytes.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.lock().written += bytes as u64;
    }

    /// Ends an exchange of this side.
    pub(crate) fn give_up(&self, exchange: u32, reason: Reason) {
        self.with(|state| {
            state.link.reset(exchange, reason);
            state.asked.remove(&exchange)
        })
        .inspect(|asked| self.free_slot(asked));
    }

    fn free_slot(&self, asked: &Asked) {
        if asked.has_slot() {
            self.slots.add_permits(1);
        }
    }

    /// A reply came. Returns what nobody reads.
    pub(crate) fn replied(&self, exchange: u32, part: InPart) {
        let queue = match self.lock().asked.get(&exchange) {
            Some(Asked::Request { queue, .. }) => Arc::clone(queue),
            Some(Asked::Sequenced(_) | Asked::Told { .. }) | None => return,
        };
        // Without a reader the exchange is being given up.
        drop(queue.push(part));
    }

    /// An exchange of this side is over: with an acknowledgement, after the last reply, or before
    /// that.
    pub(crate) fn ended(
        &self,
        exchange: u32,
        acknowledged: Option<(u64, AckLevel)>,
        end: Result<(), Reason>,
    ) {
        let asked = self.lock().asked.remove(&exchange);
        if let Some(asked) = asked {
            let end = match asked {
                // Whoever acknowledges something else has not acknowledged this.
                Asked::Sequenced(ref acked) if !acked.is_meant(acknowledged) => {
                    end.and(Err(Reason::HANDLER_FAILED))
                }
                Asked::Sequenced(_) | Asked::Request { .. } | Asked::Told { .. } => end,
            };
            self.free_slot(&asked);
            asked.end(end.map_err(|reason| Broken { reason, sent: true, link: false }));
        }
        self.changed.notify_waiters();
    }

    /// The link is over: everybody who waits is told.
    pub(crate) fn over(&self, reason: Reason) {
        self.close_to_new();
        let mut state = self.lock();
        state.link.lost();
        let asked = std::mem::take(&mut state.asked);
        let written = state.written;
        drop(state);
        for asked in asked.into_values() {
            if let Asked::Request { code, .. } = asked
                && self.endpoint.abort.is_cancelled()
            {
                let (direction, peer) = (Direction::Out, self.sender.address().clone());
                self.endpoint.report_aborted(AbortedExchange { direction, peer, code: Some(code) });
            }
            let sent = asked.sent_before(written);
            asked.end(Err(Broken { reason, sent, link: true }));
        }
        // Those that wait for it find how their exchange ended.
        self.credit.close();
        self.changed.notify_waiters();
    }

    /// Whether this node has just opened it, and nothing was sent over it yet.
    pub(crate) fn is_unused(&self) -> bool {
        let fresh = self.role == Role::Dialler && self.since.elapsed() < FIRST_USE;
        fresh && self.lock().link.counts().moved == 0
    }

    /// Whether nothing is open on it. One that is new is not idle: what it was opened for is on its
    /// way.
    pub(crate) fn is_idle(&self, state: &State) -> bool {
        let fresh = state.link.counts().moved == 0 && self.since.elapsed() < FIRST_USE;
        !fresh
            && self.waiting.load(Ordering::Relaxed) == 0
            && state.link.open_exchanges() == 0
            && state.link.held() == 0
            && state.link.credit() >= self.limits.window / 2
    }
}

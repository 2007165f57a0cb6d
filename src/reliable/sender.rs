//! Accepts acknowledged messages, stores them in the outbox, and waits for their outcome.

use std::{
    sync::{
        Arc, MutexGuard, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    classic::client,
    fault_points::{Sometimes, reached},
    frame::{Frame, TypeCode},
    link::{AckLevel, AckSenderLimits, Reason},
    message::{Over, RequestError, outgoing::OutgoingKind},
    overlay::{Address, PeerId, PeerInfo},
    reliable::{
        Kept, KeptId, Receipt, Reliability, ReliableError, SharedOutbox, Unsure,
        send_queues::{AckError, QueuedMessage, SendQueue, SendQueues},
        send_task,
    },
    session::{Endpoint, Path, Unreached, path, reach},
    sync::Mutex,
    time::Later,
};

/// The pause after a failed dial, while the id of the peer is not known.
const RETRY: Duration = Duration::from_millis(50);

/// The sender of acknowledged messages of one node.
pub(crate) struct ReliableSender {
    pub(crate) endpoint: Arc<Endpoint>,
    queues: Mutex<SendQueues>,
    limits: AckSenderLimits,
    outbox: OnceLock<SharedOutbox>,
    /// The number of the next stored message.
    stored: AtomicU64,
}

impl ReliableSender {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        let config = &endpoint.config;
        let limits =
            AckSenderLimits { messages: config.reliable_messages, bytes: config.reliable_bytes };
        let secret = [(); 2].map(|()| endpoint.ambient.random());
        Self {
            endpoint,
            queues: Mutex::new(SendQueues::new(secret)),
            limits,
            outbox: OnceLock::new(),
            stored: AtomicU64::new(1),
        }
    }

    /// The store of messages. `None` if there is none.
    fn outbox(&self) -> Option<&SharedOutbox> {
        self.outbox.get()
    }

    /// Stores messages in `outbox` from now on.
    pub(crate) fn keep_in(&self, outbox: SharedOutbox) {
        // Only the builder sets it, once.
        self.outbox.set(outbox).ok();
    }

    fn queue(&self, peer: &PeerId, to: &Address) -> Arc<SendQueue> {
        let claimed = !self.endpoint.is_proven_only(peer);
        let incarnation = self.endpoint.links.incarnation;
        self.queues().get_or_insert(peer, to, claimed, incarnation, self.limits)
    }

    /// Sends the messages for the peer that claims this id to its new address. Returns their
    /// number.
    pub(crate) fn readdress(&self, peer: &PeerInfo) -> usize {
        self.queues().readdress(peer.id(), peer.address())
    }

    fn queues(&self) -> MutexGuard<'_, SendQueues> {
        self.queues.lock()
    }

    /// The peer at `to` for which messages wait. `None` if there is none.
    fn peer_with_messages_at(&self, to: &Address) -> Option<PeerId> {
        self.queues().peer_at(to)
    }
}

/// The destination of a message: its address, and the id of the peer if it is known.
pub(crate) type Destination<'a> = (&'a Address, Option<&'a PeerId>);

/// The time until which a message waits for its acknowledgement.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    until: Instant,
    /// The whole time-out, for errors.
    limit: Duration,
}

impl Deadline {
    /// [`Config::reliable_timeout`](crate::Config::reliable_timeout) from now.
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        let limit = endpoint.config.reliable_timeout;
        Self { until: Instant::now().later(limit), limit }
    }
}

/// Accepts a message: as soon as there is room for it, or, without `wait`, only if there is room
/// now.
pub(crate) async fn accept(
    sender: &Arc<ReliableSender>,
    to: Destination<'_>,
    frame: Frame,
    how: Reliability,
    wait: bool,
) -> Result<Receipt, ReliableError> {
    let endpoint = &sender.endpoint;
    let deadline = Deadline::of(endpoint);
    let Deadline { until, limit } = deadline;
    // Checked before the wait for room, as the length is known.
    let too_long =
        endpoint.links.open_session(to).and_then(|session| session.check_sequenced(&frame).err());
    if let Some(error) = too_long {
        return Err(ReliableError::NotSent(RequestError::NotSendable(error)));
    }
    let queue = queue_for(sender, to, until).await.map_err(ReliableError::NotSent)?;
    let late = || ReliableError::NotSent(RequestError::NoCredit(limit));
    let turn = if wait {
        let turn = timeout_at(until, queue.next_sender.lock()).await.map_err(|_| late())?;
        timeout_at(until, send_task::wait_if_full_early(&queue)).await.map_err(|_| late())?;
        turn
    } else {
        let has_room = || queue.has_room(&frame) && !queue.is_full_early();
        let turn = queue.next_sender.try_lock().ok().filter(|_| has_room());
        turn.ok_or_else(|| ReliableError::Full { message: frame.clone() })?
    };
    timeout_at(until, send_task::wait_for_room(&queue, &frame)).await.map_err(|_| late())?;
    let kept = store(sender, &queue, to.0, &frame, how).await?;
    let Some(queued) = queue.push(&frame, how) else {
        // Not reached: this message holds the turn.
        return Err(ReliableError::Full { message: frame });
    };
    send_task::start(endpoint, &queue, &queued);
    drop(turn);
    let (sender, to) = (Arc::clone(sender), to.0.clone());
    Ok(Receipt(
        async move {
            let lost = || ReliableError::Unknown { message: frame.clone(), why: Unsure::Stopped };
            let wait = outcome(queued, deadline, &to, frame.clone());
            let outcome = sender.endpoint.threads.inside(wait).await.unwrap_or_else(|| Err(lost()));
            let is_final = outcome.as_ref().map_or_else(ReliableError::is_final, |()| true);
            if let (Some(id), true) = (kept, is_final) {
                sender.endpoint.threads.inside(delete(&sender, id)).await;
            }
            outcome
        }
        .boxed(),
    ))
}

/// Waits for the outcome of a message.
pub(super) async fn outcome(
    mut queued: QueuedMessage,
    Deadline { until, limit }: Deadline,
    to: &Address,
    message: Frame,
) -> Result<(), ReliableError> {
    let acknowledged = timeout_at(until, queued.acknowledged()).await;
    if acknowledged.is_err() {
        reached(Sometimes::AckedLate);
    }
    let error = match acknowledged {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(_) if queued.was_sent() => {
            return Err(ReliableError::Unknown { message, why: Unsure::Late });
        }
        Err(_) => {
            let no_credit = || RequestError::NoCredit(limit);
            let unreached = queued.unreached().map(|unreached| unreached.into_error(to));
            return Err(ReliableError::NotSent(unreached.unwrap_or_else(no_credit)));
        }
    };
    Err(match error {
        AckError::Refused { reason: Reason::GOING_AWAY, .. } | AckError::Restarted => {
            ReliableError::Unknown { message, why: Unsure::Restarted }
        }
        AckError::SentAgain => ReliableError::Unknown { message, why: Unsure::SentAgain },
        AckError::Refused { reason, sent } if sent && reason.may_have_been_handled() => {
            ReliableError::Failed { reason }
        }
        AckError::Refused { reason, .. } => ReliableError::Refused { reason },
        AckError::TooLong(error) => ReliableError::NotSent(RequestError::NotSendable(error)),
        AckError::Stopped { sent: true } => {
            ReliableError::Unknown { message, why: Unsure::Stopped }
        }
        AckError::Stopped { sent } => ReliableError::NotSent(RequestError::Stopped { sent }),
        AckError::Unreached(unreached) => ReliableError::NotSent(unreached.into_error(to)),
    })
}

/// The queue of messages for that peer. If its id is not known, opens a link to learn it.
pub(super) async fn queue_for(
    sender: &ReliableSender,
    (to, whom): Destination<'_>,
    until: Instant,
) -> Result<Arc<SendQueue>, RequestError> {
    let endpoint = &sender.endpoint;
    if endpoint.drain.is_cancelled() {
        return Err(RequestError::Stopped { sent: false });
    }
    // A node has no link with itself.
    if !endpoint.config.links || to == endpoint.me.address() {
        return Err(RequestError::NoLink(to.clone()));
    }
    let there = || endpoint.links.open_session((to, None)).map(|session| session.peer.id().clone());
    if let Some(whom) = whom.cloned().or_else(there).or_else(|| sender.peer_with_messages_at(to)) {
        return Ok(sender.queue(&whom, to));
    }
    loop {
        let why = match reach(endpoint, to, None).await {
            Ok(session) => return Ok(sender.queue(session.peer.id(), to)),
            Err(why) => why,
        };
        let transient = matches!(
            why,
            Unreached::NoRoom | Unreached::Busy | Unreached::Failed { .. } | Unreached::Left
        );
        if !transient || Instant::now().later(RETRY) >= until {
            return Err(why.into_error(to));
        }
        sleep(RETRY).await;
    }
}

/// Stores a message before it is sent. `None` if there is no outbox.
async fn store(
    sender: &ReliableSender,
    queue: &SendQueue,
    to: &Address,
    frame: &Frame,
    how: Reliability,
) -> Result<Option<KeptId>, ReliableError> {
    let Some(outbox) = sender.outbox() else { return Ok(None) };
    let invalid = |error| ReliableError::NotStored(std::io::Error::other(error));
    let to = PeerInfo::new(queue.peer.clone(), to.clone()).map_err(invalid)?;
    let number = sender.stored.fetch_add(1, Ordering::Relaxed);
    let id = KeptId::new(sender.endpoint.links.incarnation, number);
    let kept = Kept { id, to, level: how.level, message: frame.clone() };
    outbox.store(&kept).await.map_err(ReliableError::NotStored)?;
    Ok(Some(id))
}

pub(super) async fn delete(sender: &ReliableSender, id: KeptId) {
    if let Some(outbox) = sender.outbox()
        && let Err(error) = outbox.delete(id).await
    {
        tracing::warn!(%id, %error, "a message that is delivered is still stored");
    }
}

/// Sends a message and waits until it is acknowledged. Without links, a classic exchange with a
/// clean end is the acknowledgement.
pub(crate) async fn notify_acked(
    sender: &ReliableSender,
    to: Destination<'_>,
    frame: Frame,
    over: Over,
    level: AckLevel,
) -> Result<(), RequestError> {
    let endpoint = &sender.endpoint;
    match path(endpoint, to, over).await? {
        Path::Link(session) => {
            session.check_sequenced(&frame).map_err(RequestError::NotSendable)?;
            let queue = sender.queue(session.peer.id(), to.0);
            send_task::send(endpoint, to.0, &queue, frame, level).await
        }
        Path::Classic => {
            let replies = client::open(&endpoint.node, to, OutgoingKind::Frame(frame)).await?;
            match replies.with_panics().collect().await?.first() {
                Some(reply) if reply.code() == TypeCode::ERRO => {
                    let text = String::from_utf8_lossy(reply.data()).into_owned();
                    Err(RequestError::Refused { text })
                }
                _ => Ok(()),
            }
        }
    }
}

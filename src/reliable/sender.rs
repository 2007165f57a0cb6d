//! Accepts acknowledged messages, stores them in the outbox, and waits for their outcome.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    classic::client,
    frame::{Frame, TypeCode},
    link::{AckLevel, OnRestart, OutboxLimits, Reason},
    message::{Over, RequestError, outgoing::OutgoingKind},
    overlay::{Address, PeerId, PeerInfo},
    reliable::{
        Kept, KeptId, Receipt, Reliability, ReliableError, SharedOutbox, Unsure,
        send_queues::{AckError, QueuedMessage, SendQueue, SendQueues},
        send_task,
    },
    session::{Endpoint, Path, Unreached, path, reach},
    time::Later,
};

/// The pause after a failed dial, while the id of the peer is not known.
const RETRY: Duration = Duration::from_millis(50);

/// The pause before stored messages that were not delivered are sent again.
const REPLAY_PAUSE: Duration = Duration::from_secs(1);

/// The sender of acknowledged messages of one node.
pub(crate) struct ReliableSender {
    pub(crate) endpoint: Arc<Endpoint>,
    queues: Mutex<SendQueues>,
    limits: OutboxLimits,
    outbox: OnceLock<SharedOutbox>,
    /// The number of the next stored message.
    stored: AtomicU64,
}

impl ReliableSender {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        let config = &endpoint.config;
        let limits =
            OutboxLimits { messages: config.reliable_messages, bytes: config.reliable_bytes };
        Self {
            endpoint,
            queues: Mutex::default(),
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

    fn queue(&self, (peer, to): (&PeerId, &Address)) -> Arc<SendQueue> {
        let claimed = !self.endpoint.is_proven_only(peer);
        let incarnation = self.endpoint.links.incarnation;
        self.queues().get_or_insert((peer, to), claimed, incarnation, self.limits)
    }

    /// Sends the messages for the peer that claims this id to its new address. Returns their
    /// number.
    pub(crate) fn readdress(&self, peer: &PeerInfo) -> usize {
        self.queues().readdress((peer.id(), peer.address()))
    }

    fn queues(&self) -> MutexGuard<'_, SendQueues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer at `to` for which messages wait. `None` if there is none.
    fn peer_waited_for_at(&self, to: &Address) -> Option<PeerId> {
        self.queues().peer_at(to)
    }
}

/// The destination of a message: its address, and the id of the peer if it is known.
pub(crate) type Destination<'a> = (&'a Address, Option<&'a PeerId>);

/// The time-out for the acknowledgement of a message.
fn limit(endpoint: &Endpoint) -> Duration {
    endpoint.config.reliable_timeout
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
    let limit = limit(endpoint);
    let until = Instant::now().later(limit);
    // Checked before the wait for room, as the length is known.
    let too_long =
        endpoint.links.open_session(to).and_then(|session| session.check_sequenced(&frame).err());
    if let Some(error) = too_long {
        return Err(ReliableError::NotSent(RequestError::NotSendable(error)));
    }
    let queue = queue_for(sender, to, until).await.map_err(ReliableError::NotSent)?;
    let late = || ReliableError::NotSent(RequestError::NoCredit(limit));
    let turn = if wait {
        timeout_at(until, queue.next_sender.lock()).await.map_err(|_| late())?
    } else {
        let turn = queue.next_sender.try_lock().ok().filter(|_| queue.has_room(&frame));
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
            let wait = outcome(queued, (until, limit), &to, frame.clone());
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
async fn outcome(
    mut queued: QueuedMessage,
    (until, limit): (Instant, Duration),
    to: &Address,
    message: Frame,
) -> Result<(), ReliableError> {
    let ended = match timeout_at(until, &mut queued.answer).await {
        Ok(answer) => match send_task::result_of(answer.ok()) {
            Ok(()) => return Ok(()),
            Err(ended) => ended,
        },
        Err(_) if queued.was_sent() => {
            return Err(ReliableError::Unknown { message, why: Unsure::Late });
        }
        Err(_) => {
            let no_credit = || RequestError::NoCredit(limit);
            let unreached = queued.unreached().map(|unreached| unreached.into_error(to));
            return Err(ReliableError::NotSent(unreached.unwrap_or_else(no_credit)));
        }
    };
    Err(match ended {
        AckError::Refused { reason: Reason::GOING_AWAY, .. } | AckError::Restarted => {
            ReliableError::Unknown { message, why: Unsure::Restarted }
        }
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
async fn queue_for(
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
    if let Some(whom) = whom.cloned().or_else(there).or_else(|| sender.peer_waited_for_at(to)) {
        return Ok(sender.queue((&whom, to)));
    }
    loop {
        let why = match reach(endpoint, to, None).await {
            Ok(session) => return Ok(sender.queue((session.peer.id(), to))),
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

async fn delete(sender: &ReliableSender, id: KeptId) {
    if let Some(outbox) = sender.outbox()
        && let Err(error) = outbox.delete(id).await
    {
        tracing::warn!(%id, %error, "a message that is delivered is still stored");
    }
}

/// Sends the messages that earlier incarnations of this node stored, until they are acknowledged or
/// refused.
pub(crate) fn replay(sender: &Arc<ReliableSender>, kept: Vec<Kept>) {
    let mut by_peer: BTreeMap<(PeerId, Address), Vec<Kept>> = BTreeMap::new();
    for kept in kept {
        let to = (kept.to.id().clone(), kept.to.address().clone());
        by_peer.entry(to).or_default().push(kept);
    }
    for kept in by_peer.into_values() {
        let endpoint = &sender.endpoint;
        endpoint.spawn(endpoint.until_aborted(replay_to_one(Arc::clone(sender), kept)));
    }
}

async fn replay_to_one(sender: Arc<ReliableSender>, mut left: Vec<Kept>) {
    let limit = limit(&sender.endpoint);
    left.sort_by_key(Kept::id);
    loop {
        let mut receipts = Vec::new();
        for kept in left {
            let how = Reliability { level: kept.level, on_restart: OnRestart::Resend };
            let queued = push_again(&sender, &kept, how).await;
            receipts.push((kept, queued));
        }
        left = Vec::new();
        for (kept, queued) in receipts {
            let until = (Instant::now().later(limit), limit);
            let ended = match queued {
                Ok(queued) => outcome(queued, until, kept.to.address(), kept.message.clone()).await,
                Err(error) => Err(ReliableError::NotSent(error)),
            };
            match ended {
                // It would be too long again.
                Err(ReliableError::NotSent(error @ RequestError::NotSendable(_))) => {
                    tracing::warn!(id = %kept.id, %error, "a stored message cannot be sent");
                    delete(&sender, kept.id).await;
                }
                Err(ReliableError::Unknown { .. } | ReliableError::NotSent(_)) => left.push(kept),
                ended => {
                    if let Err(error) = ended {
                        tracing::warn!(id = %kept.id, %error, "a stored message was refused");
                    }
                    delete(&sender, kept.id).await;
                }
            }
        }
        let pause = sender.endpoint.drain.run_until_cancelled(sleep(REPLAY_PAUSE));
        if left.is_empty() || pause.await.is_none() {
            return;
        }
    }
}

async fn push_again(
    sender: &ReliableSender,
    kept: &Kept,
    how: Reliability,
) -> Result<QueuedMessage, RequestError> {
    let to = (kept.to.address(), Some(kept.to.id()));
    let queue = queue_for(sender, to, Instant::now()).await?;
    let limit = limit(&sender.endpoint);
    let queued =
        tokio::time::timeout(limit, send_task::push(&sender.endpoint, &queue, &kept.message, how))
            .await;
    queued.map_err(|_| RequestError::NoCredit(limit))
}

/// Sends a message and waits until it is acknowledged. Without links, a classic exchange with a
/// clean end is the acknowledgement.
pub(crate) async fn notify_acked(
    sender: &ReliableSender,
    to: (&Address, Option<&PeerId>),
    frame: Frame,
    over: Over,
    level: AckLevel,
) -> Result<(), RequestError> {
    let endpoint = &sender.endpoint;
    match path(endpoint, to, over).await? {
        Path::Link(session) => {
            session.check_sequenced(&frame).map_err(RequestError::NotSendable)?;
            let queue = sender.queue((session.peer.id(), to.0));
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

//! The task that sends the messages of one queue: in order, and again on the next link.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::future::select;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    fault_points::{Sometimes, reached},
    frame::Frame,
    link::{AckLevel, Reason},
    message::{ReadError, RequestError},
    overlay::Address,
    reliable::{
        Reliability,
        send_queues::{AckError, QueuedMessage, SendQueue, SentMessage},
    },
    session::{Endpoint, Session, Unreached, Unsent, reach},
    time::Later,
};

/// The pause after a failed dial, while messages wait.
const RETRY: Duration = Duration::from_millis(50);

/// The pause after a dial that found another peer, was not admitted, or found a peer that seems to
/// speak no links.
const RETRY_IDENTITY: Duration = Duration::from_secs(1);

/// The number of consecutive dials after which a peer that spoke links before counts as classic. A
/// connection that breaks during the hello looks the same as a classic peer.
const CLASSIC_ANSWERS: u32 = 10;

/// Waits for room, in the order of the calls, and adds a message.
pub(crate) async fn push(
    endpoint: &Arc<Endpoint>,
    queue: &Arc<SendQueue>,
    frame: &Frame,
    how: Reliability,
) -> QueuedMessage {
    let _turn = queue.next_sender.lock().await;
    wait_if_full_early(queue).await;
    loop {
        wait_for_room(queue, frame).await;
        if let Some(queued) = queue.push(frame, how) {
            start(endpoint, queue, &queued);
            return queued;
        }
    }
}

/// How long a queue counts as full at a fault point.
const FULL_EARLY: Duration = Duration::from_millis(100);

/// Waits for a moment, or for the end of a message, if the queue counts as full early.
pub(super) async fn wait_if_full_early(queue: &SendQueue) {
    let changed = queue.changed.notified();
    if queue.is_full_early() {
        timeout(FULL_EARLY, changed).await.ok();
    }
}

/// Completes when there is room for a message.
pub(crate) async fn wait_for_room(queue: &SendQueue, frame: &Frame) {
    loop {
        let changed = queue.changed.notified();
        if queue.has_room(frame) {
            return;
        }
        reached(Sometimes::AckedQueueFull);
        changed.await;
    }
}

/// Starts the task that sends the waiting messages, if none runs, and wakes it.
pub(crate) fn start(endpoint: &Arc<Endpoint>, queue: &Arc<SendQueue>, queued: &QueuedMessage) {
    if queued.first {
        endpoint.spawn(run(Arc::clone(endpoint), Arc::clone(queue)));
    }
    queue.changed.notify_waiters();
}

/// Sends `frame` and waits until it is acknowledged at `level`, at most for `reply_timeout`.
pub(crate) async fn send(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    queue: &Arc<SendQueue>,
    frame: Frame,
    level: AckLevel,
) -> Result<(), RequestError> {
    let limit = endpoint.config.reply_timeout;
    let until = Instant::now().later(limit);
    let queued = timeout_at(until, push(endpoint, queue, &frame, level.into())).await;
    let mut queued = queued.map_err(|_| RequestError::NoCredit(limit))?;
    let acknowledged = timeout_at(until, queued.acknowledged()).await;
    if acknowledged.is_err() {
        reached(Sometimes::AckedLate);
    }
    acknowledged.map_err(|_| RequestError::Reply(ReadError::Late(limit)))?.map_err(|error| {
        match error {
            AckError::Refused { reason, sent } => RequestError::Reset { reason, sent },
            AckError::TooLong(error) => RequestError::NotSendable(error),
            AckError::Restarted | AckError::SentAgain => {
                RequestError::Reset { reason: Reason::LOST, sent: true }
            }
            AckError::Stopped { sent } => RequestError::Stopped { sent },
            AckError::Unreached(unreached) => unreached.into_error(to),
        }
    })
}

/// Sends the waiting messages in order, until there are none.
async fn run(endpoint: Arc<Endpoint>, queue: Arc<SendQueue>) {
    let stopped = endpoint.abort.clone();
    let run = async {
        let mut classic = 0;
        while !send_over_next_link(&endpoint, &queue, &mut classic).await {}
    };
    if stopped.run_until_cancelled(run).await.is_none() {
        // No other task sends a message that is added before this one has ended.
        while !finish_if_empty(&queue) {
            queue.fail_all(false, |sent| AckError::Stopped { sent });
        }
    }
}

/// Whether no message waits. If so, notes that the sending task ends.
fn finish_if_empty(queue: &SendQueue) -> bool {
    let mut state = queue.lock();
    state.running = !state.outbox.is_empty();
    !state.running
}

/// Sends the waiting messages over one link until it ends. True if no message waits.
async fn send_over_next_link(
    endpoint: &Arc<Endpoint>,
    queue: &Arc<SendQueue>,
    classic: &mut u32,
) -> bool {
    let to = queue.lock().to.clone();
    let session = match endpoint.links.proven(&queue.peer) {
        Some(session) => Ok(session),
        None => reach(endpoint, &to, Some(&queue.peer)).await,
    };
    let session = match session {
        Ok(session) => session,
        Err(why) => {
            on_unreached(endpoint, queue, &to, why, classic).await;
            return finish_if_empty(queue);
        }
    };
    // The peer may have been readdressed in the meantime.
    if !queue.may_use(&session) {
        return finish_if_empty(queue);
    }
    *classic = 0;
    let unknown = {
        let mut state = queue.lock();
        state.unreached = None;
        state.outbox.opened(session.incarnation)
    };
    if !unknown.is_empty() {
        reached(Sometimes::ReceiverRestarted);
    }
    for sequence in unknown {
        queue.finish(sequence, Err(AckError::Restarted));
    }
    send_over(endpoint, &session, queue).await
}

async fn send_over(endpoint: &Endpoint, session: &Arc<Session>, queue: &Arc<SendQueue>) -> bool {
    loop {
        let changed = queue.changed.notified();
        // A message that a node that goes away has refused waits for the end of the link.
        let link_ended = endpoint.links.link_ended();
        if !queue.may_use(session) {
            return finish_if_empty(queue);
        }
        let next = {
            let mut state = queue.lock();
            if state.outbox.is_empty() {
                state.running = false;
                return true;
            }
            let next = state.outbox.next_unsent();
            next.map(|next| (state.outbox.tries(next.0.sequence).unwrap_or(1), next))
        };
        match next {
            Some((tries, (sequenced, frame))) => {
                let sequence = sequenced.sequence;
                if tries > 1 {
                    reached(Sometimes::AckedResent);
                    session.node.counters.reliable_resent.one();
                } else if let Err(error) = session.check_sequenced(&frame) {
                    queue.finish(sequence, Err(AckError::TooLong(error)));
                    continue;
                }
                let acked = Box::new(SentMessage { queue: Arc::clone(queue), sequenced, tries });
                match session.send_sequenced(&frame, sequenced, acked).await {
                    Ok(()) => {}
                    Err(Unsent::Gone) => {
                        queue.lock().outbox.not_sent(sequence);
                        return false;
                    }
                    Err(Unsent::Over) => return false,
                }
            }
            None if !session.is_open() => return false,
            None => {
                select(pin!(changed), pin!(link_ended)).await;
            }
        }
    }
}

/// Handles a failed dial: ends the waiting messages, or pauses before the next dial.
async fn on_unreached(
    endpoint: &Arc<Endpoint>,
    queue: &Arc<SendQueue>,
    to: &Address,
    why: Unreached,
    classic: &mut u32,
) {
    queue.lock().unreached = Some(why.clone());
    let pause = match why {
        Unreached::Stopped => return on_stop(endpoint, queue).await,
        Unreached::Classic { .. } => {
            *classic += 1;
            let spoke_before = queue.lock().outbox.was_opened();
            if !spoke_before || *classic >= CLASSIC_ANSWERS {
                let why = |sent| {
                    if sent { AckError::Restarted } else { AckError::Unreached(why.clone()) }
                };
                return queue.fail_all(false, why);
            }
            endpoint.links.doubt_classic(to);
            RETRY_IDENTITY
        }
        Unreached::Identity(_) | Unreached::Banned(_) => RETRY_IDENTITY,
        Unreached::NoRoom | Unreached::Busy | Unreached::Failed { .. } | Unreached::Left => RETRY,
    };
    // The pause ends early if no message waits.
    let over = async {
        loop {
            let changed = queue.changed.notified();
            if queue.lock().outbox.is_empty() {
                return;
            }
            changed.await;
        }
    };
    timeout(pause, over).await.ok();
}

/// Handles the stop of this node: ends the messages that were not sent, and waits for the others
/// while their link is open.
async fn on_stop(endpoint: &Endpoint, queue: &SendQueue) {
    queue.fail_all(true, |sent| AckError::Stopped { sent });
    loop {
        let changed = queue.changed.notified();
        let link_ended = endpoint.links.link_ended();
        let waits = !queue.lock().outbox.is_empty();
        if !(waits && endpoint.links.all().iter().any(|session| queue.may_use(session))) {
            return queue.fail_all(false, |sent| AckError::Stopped { sent });
        }
        select(pin!(changed), pin!(link_ended)).await;
    }
}

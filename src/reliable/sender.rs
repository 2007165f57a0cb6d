//! The sender of acknowledged messages: sends them in order, and again on the next link.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    frame::Frame,
    link::{AckLevel, Reason},
    message::{ReadError, RequestError},
    overlay::Address,
    reliable::{
        Reliability,
        mailbag::{Acked, Answer, Ended, Posted, SendQueue},
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
pub(crate) async fn post(
    endpoint: &Arc<Endpoint>,
    bag: &Arc<SendQueue>,
    frame: &Frame,
    how: Reliability,
) -> Posted {
    let _turn = bag.turn.lock().await;
    loop {
        room(bag, frame).await;
        if let Some(posted) = bag.post(frame, how) {
            sends(endpoint, bag, &posted);
            return posted;
        }
    }
}

/// Completes when there is room for a message.
pub(crate) async fn room(bag: &SendQueue, frame: &Frame) {
    loop {
        let changed = bag.changed.notified();
        if bag.has_room(frame) {
            return;
        }
        changed.await;
    }
}

/// Starts the task that sends the waiting messages, if none runs, and wakes it.
pub(crate) fn sends(endpoint: &Arc<Endpoint>, bag: &Arc<SendQueue>, posted: &Posted) {
    if posted.first {
        endpoint.spawn(pump(Arc::clone(endpoint), Arc::clone(bag)));
    }
    bag.changed.notify_waiters();
}

/// Sends `frame` and waits until it is acknowledged at `level`, at most for `reply_timeout`.
pub(crate) async fn send(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    bag: &Arc<SendQueue>,
    frame: Frame,
    level: AckLevel,
) -> Result<(), RequestError> {
    let limit = endpoint.config.reply_timeout;
    let until = Instant::now().later(limit);
    let posted = timeout_at(until, post(endpoint, bag, &frame, level.into())).await;
    let mut posted = posted.map_err(|_| RequestError::NoCredit(limit))?;
    match timeout_at(until, &mut posted.answer).await {
        Ok(answer) => {
            answer.unwrap_or(Err(Ended::Stopped { sent: true })).map_err(|ended| match ended {
                Ended::Refused { reason, sent } => RequestError::Reset { reason, sent },
                Ended::TooLong(error) => RequestError::NotSendable(error),
                Ended::Restarted => RequestError::Reset { reason: Reason::LOST, sent: true },
                Ended::Stopped { sent } => RequestError::Stopped { sent },
                Ended::Unreached(unreached) => unreached.into_error(to),
            })
        }
        Err(_) => Err(RequestError::Reply(ReadError::Late(limit))),
    }
}

/// Sends the waiting messages in order, until there are none.
async fn pump(endpoint: Arc<Endpoint>, bag: Arc<SendQueue>) {
    let stopped = endpoint.abort.clone();
    let run = async {
        let mut classic = 0;
        while !one_link(&endpoint, &bag, &mut classic).await {}
    };
    if stopped.run_until_cancelled(run).await.is_none() {
        bag.end(false, |sent| Ended::Stopped { sent });
        bag.lock().running = false;
    }
}

/// Whether no message waits. If so, notes that the sending task ends.
fn is_over(bag: &SendQueue) -> bool {
    let mut state = bag.lock();
    state.running = !state.outbox.is_empty();
    !state.running
}

/// Sends the waiting messages over one link until it ends. True if no message waits.
async fn one_link(endpoint: &Arc<Endpoint>, bag: &Arc<SendQueue>, classic: &mut u32) -> bool {
    let to = bag.lock().to.clone();
    let reached = match endpoint.links.proven(&bag.peer) {
        Some(session) => Ok(session),
        None => reach(endpoint, &to, Some(&bag.peer)).await,
    };
    let session = match reached {
        Ok(session) => session,
        Err(why) => {
            unreached(endpoint, bag, &to, (why, classic)).await;
            return is_over(bag);
        }
    };
    // The peer may have been readdressed in the meantime.
    if !bag.fits(&session) {
        return is_over(bag);
    }
    *classic = 0;
    let unknown = {
        let mut state = bag.lock();
        state.unreached = None;
        state.outbox.opened(session.incarnation)
    };
    for sequence in unknown {
        bag.done(sequence, Err(Ended::Restarted));
    }
    send_over(&session, bag).await
}

async fn send_over(session: &Arc<Session>, bag: &Arc<SendQueue>) -> bool {
    loop {
        let changed = bag.changed.notified();
        if !bag.fits(session) {
            return is_over(bag);
        }
        let next = {
            let mut state = bag.lock();
            if state.outbox.is_empty() {
                state.running = false;
                return true;
            }
            let next = state.outbox.next_unsent();
            next.map(|next| (state.outbox.tries(next.0.sequence) > Some(1), next))
        };
        match next {
            Some((again, (numbered, frame))) => {
                let sequence = numbered.sequence;
                if again {
                    session.node.counters.reliable_resent.one();
                } else if let Err(error) = session.check_numbered(&frame) {
                    bag.done(sequence, Err(Ended::TooLong(error)));
                    continue;
                }
                let acked = Box::new(Acked { bag: Arc::clone(bag), numbered });
                match session.ask_numbered(&frame, numbered, acked).await {
                    Ok(()) => {}
                    Err(Unsent::Gone) => {
                        bag.lock().outbox.not_sent(sequence);
                        return false;
                    }
                    Err(Unsent::Over) => return false,
                }
            }
            None if !session.is_open() => return false,
            None => changed.await,
        }
    }
}

/// Handles a failed dial: ends the waiting messages, or pauses before the next dial.
async fn unreached(
    endpoint: &Arc<Endpoint>,
    bag: &Arc<SendQueue>,
    to: &Address,
    (why, classic): (Unreached, &mut u32),
) {
    bag.lock().unreached = Some(why.clone());
    let pause = match why {
        Unreached::Stopped => return stopping(endpoint, bag).await,
        Unreached::Classic { .. } => {
            *classic += 1;
            let spoke_before = bag.lock().outbox.was_opened();
            if !spoke_before || *classic >= CLASSIC_ANSWERS {
                let why = |sent| {
                    if sent { Ended::Restarted } else { Ended::Unreached(why.clone()) }
                };
                return bag.end(false, why);
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
            let changed = bag.changed.notified();
            if bag.lock().outbox.is_empty() {
                return;
            }
            changed.await;
        }
    };
    tokio::time::timeout(pause, over).await.ok();
}

/// Handles the stop of this node: ends the messages that were not sent, and waits for the others
/// while their link is open.
async fn stopping(endpoint: &Endpoint, bag: &SendQueue) {
    bag.end(true, |sent| Ended::Stopped { sent });
    loop {
        let changed = bag.changed.notified();
        let waits = !bag.lock().outbox.is_empty();
        if !(waits && endpoint.links.all().iter().any(|session| bag.fits(session))) {
            return bag.end(false, |sent| Ended::Stopped { sent });
        }
        changed.await;
    }
}

/// The outcome of a message for its sender. `None` means that the sending task was dropped.
pub(crate) fn told(answer: Option<Answer>) -> Answer {
    answer.unwrap_or(Err(Ended::Stopped { sent: true }))
}

//! The queues of messages that wait to be acknowledged, by peer.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, MutexGuard},
};

use indexmap::IndexMap;
use tokio::sync::{Mutex as Lock, oneshot};

use crate::{
    fault_points::{FaultPoint, fault_point},
    frame::{Frame, FrameError},
    link::{AckLevel, AckSender, AckSenderLimits, OnRestart, Reason, Sequenced},
    overlay::{Address, PeerId},
    reliable::Reliability,
    session::{AckWaiter, ExchangeBroken, Session, Unreached},
    sync::{Mutex, Notify},
};

/// Why a message ended without an acknowledgement.
#[derive(Debug)]
pub(crate) enum AckError {
    /// The other side refused it, or its handler failed.
    Refused { reason: Reason, sent: bool },
    /// It is longer than the other side accepts, and was not sent.
    TooLong(FrameError),
    /// It was sent to an earlier incarnation of the peer.
    Restarted,
    /// It was sent again, and the last copy was refused.
    SentAgain,
    /// This node stops.
    Stopped { sent: bool },
    /// No link can be opened, and it was not sent.
    Unreached(Unreached),
}

pub(crate) type AckResult = Result<(), AckError>;

/// The destination of a queue: a proven id, at any address, or a claimed id at one address.
type QueueKey = (PeerId, Option<Address>);

/// The queues of messages that wait to be acknowledged, by peer.
pub(crate) struct SendQueues {
    queues: IndexMap<QueueKey, Arc<SendQueue>>,
    /// The highest sequence number of the queues that were dropped.
    last_sequence: u64,
    /// The secret of this incarnation, from which the series of claimed ids are derived.
    secret: [u64; 2],
}

impl SendQueues {
    /// No queues. The secret is random, and no other node can guess it.
    pub(crate) fn new(secret: [u64; 2]) -> Self {
        Self { queues: IndexMap::new(), last_sequence: 0, secret }
    }

    /// The queue for `peer` at `to`. If its id is only `claimed`, each address has its own queue.
    pub(crate) fn get_or_insert(
        &mut self,
        peer: &PeerId,
        to: &Address,
        claimed: bool,
        incarnation: u64,
        limits: AckSenderLimits,
    ) -> Arc<SendQueue> {
        let last = &mut self.last_sequence;
        self.queues.retain(|_, queue| {
            let keep = Arc::strong_count(queue) > 1 || !queue.is_empty();
            *last = (*last).max(if keep { 0 } else { queue.lock().outbox.last_sequence() });
            keep
        });
        let whom = (peer.clone(), claimed.then(|| to.clone()));
        // A node with the same claimed id at another address must not learn numbers of this queue.
        let series = if claimed { series_of(self.secret, &whom) } else { 0 };
        let new = || {
            let outbox = AckSender::new(incarnation, *last, limits).in_series(series);
            Arc::new(SendQueue::new(peer.clone(), to.clone(), outbox))
        };
        let queue = Arc::clone(self.queues.entry(whom).or_insert_with(new));
        if !claimed {
            queue.set_address(to);
        }
        queue
    }

    /// Sends the messages for the peer that claims this id to its new address `to`. Returns their
    /// number.
    pub(crate) fn readdress(&self, peer: &PeerId, to: &Address) -> usize {
        let claimed = self.queues.iter().filter(|((id, at), _)| id == peer && at.is_some());
        claimed.map(|(_, queue)| queue.set_address(to)).sum()
    }

    /// The peer that was last reached at `to`. `None` if no message waits for one there.
    pub(crate) fn peer_at(&self, to: &Address) -> Option<PeerId> {
        let mut waiting = self.queues.values().filter(|queue| !queue.is_empty());
        let found = waiting.find(|queue| queue.lock().to == *to);
        found.map(|queue| queue.peer.clone())
    }
}

/// The series of a queue for a claimed id.
fn series_of(secret: [u64; 2], whom: &QueueKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    (secret, whom).hash(&mut hasher);
    hasher.finish()
}

/// The messages that wait to be acknowledged by one peer.
pub(crate) struct SendQueue {
    pub(crate) peer: PeerId,
    state: Mutex<QueueState>,
    pub(crate) changed: Notify,
    /// Held by the next sender, so that senders without room wait in order.
    pub(crate) next_sender: Lock<()>,
}

pub(crate) struct QueueState {
    pub(crate) outbox: AckSender,
    pub(crate) to: Address,
    pub(crate) waiting: IndexMap<u64, oneshot::Sender<AckResult>>,
    /// Whether a task sends the messages.
    pub(crate) running: bool,
    /// The error of the last dial. `None` if it succeeded.
    pub(crate) unreached: Option<Unreached>,
}

impl SendQueue {
    fn new(peer: PeerId, to: Address, outbox: AckSender) -> Self {
        let state =
            QueueState { outbox, to, waiting: IndexMap::new(), running: false, unreached: None };
        Self { peer, state: Mutex::new(state), changed: Notify::new(), next_sender: Lock::new(()) }
    }

    /// Sets the address of the peer. Returns the number of messages that are redirected by this.
    fn set_address(&self, to: &Address) -> usize {
        let mut state = self.lock();
        if state.to == *to {
            return 0;
        }
        state.to = to.clone();
        let waiting = state.outbox.len();
        drop(state);
        // Wakes the task that sends, which leaves the link to the old address.
        self.changed.notify_waiters();
        waiting
    }

    /// Whether the messages may be sent over this link.
    pub(crate) fn may_use(&self, session: &Session) -> bool {
        session.peer.id() == &self.peer
            && (session.sender.proven().is_some() || session.to == self.lock().to)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }

    fn is_empty(&self) -> bool {
        let state = self.lock();
        state.outbox.is_empty() && !state.running
    }

    pub(crate) fn has_room(&self, frame: &Frame) -> bool {
        self.lock().outbox.has_room(frame.data().len())
    }

    /// Whether a simulation takes it for full although there may be room. Never if it is empty.
    pub(crate) fn is_full_early(&self) -> bool {
        !self.lock().outbox.is_empty() && fault_point(FaultPoint::AckedQueueFull)
    }

    /// Adds a message. `None` if there is no room.
    pub(crate) fn push(self: &Arc<Self>, frame: &Frame, how: Reliability) -> Option<QueuedMessage> {
        let mut state = self.lock();
        let sequence = state.outbox.push(frame.clone(), how.level, how.on_restart).ok()?;
        let (sender, answer) = oneshot::channel();
        state.waiting.insert(sequence, sender);
        let first = !std::mem::replace(&mut state.running, true);
        drop(state);
        Some(QueuedMessage { queue: Arc::clone(self), sequence, first, answer })
    }

    /// Ends the wait of a message.
    pub(crate) fn finish(&self, sequence: u64, answer: AckResult) {
        let mut state = self.lock();
        state.outbox.done(sequence);
        let waiting = state.waiting.swap_remove(&sequence);
        drop(state);
        if let Some(waiting) = waiting {
            // The send fails only if the caller has dropped the message.
            waiting.send(answer).ok();
        }
        self.changed.notify_waiters();
    }

    /// Ends all waiting messages, or only those that were not sent. The argument of `why` says
    /// whether a message was sent.
    pub(crate) fn fail_all(&self, unsent_only: bool, why: impl Fn(bool) -> AckError) {
        let state = self.lock();
        let all: Vec<_> = state.outbox.sequences().collect();
        let sent = |sequence: &u64| state.outbox.tries(*sequence).is_some_and(|tries| tries > 0);
        let all: Vec<_> = all.iter().map(|sequence| (*sequence, sent(sequence))).collect();
        drop(state);
        for (sequence, sent) in all {
            if !(sent && unsent_only) {
                self.finish(sequence, Err(why(sent)));
            }
        }
    }
}

/// A message that waits to be acknowledged. Dropping it cancels the message.
pub(crate) struct QueuedMessage {
    queue: Arc<SendQueue>,
    sequence: u64,
    /// Whether no task sends the messages of the queue yet.
    pub(crate) first: bool,
    answer: oneshot::Receiver<AckResult>,
}

impl QueuedMessage {
    /// Waits until it is acknowledged, or ends without that. Cancel safe.
    pub(crate) async fn acknowledged(&mut self) -> AckResult {
        // The sender is dropped without a result only if the task that sends was dropped.
        (&mut self.answer).await.unwrap_or(Err(AckError::Stopped { sent: true }))
    }

    /// Whether a part of it may have been sent.
    pub(crate) fn was_sent(&self) -> bool {
        self.queue.lock().outbox.tries(self.sequence).is_none_or(|tries| tries > 0)
    }

    /// The error of the last dial. `None` if it succeeded.
    pub(crate) fn unreached(&self) -> Option<Unreached> {
        self.queue.lock().unreached.clone()
    }
}

impl Drop for QueuedMessage {
    fn drop(&mut self) {
        self.queue.finish(self.sequence, Ok(()));
    }
}

/// An acknowledged message that was sent on a link.
pub(crate) struct SentMessage {
    pub(crate) queue: Arc<SendQueue>,
    pub(crate) sequenced: Sequenced,
    /// How often the message had been sent then, this time included.
    pub(crate) tries: u32,
}

impl AckWaiter for SentMessage {
    fn accepts(&self, acknowledged: Option<(u64, AckLevel)>) -> bool {
        let Sequenced { sequence, level, .. } = self.sequenced;
        acknowledged.is_some_and(|(of, at)| of == sequence && at >= level)
    }

    fn end(self: Box<Self>, end: Result<(), ExchangeBroken>) {
        let sequence = self.sequenced.sequence;
        match end {
            Ok(()) => self.queue.finish(sequence, Ok(())),
            // It is sent again on the next link.
            Err(ExchangeBroken { link: true, .. }) => self.queue.changed.notify_waiters(),
            // It was sent again while this link was closing. That copy may be handled.
            Err(_) if self.queue.lock().outbox.tries(sequence) > Some(self.tries) => {}
            // It is sent again to the next incarnation.
            Err(ExchangeBroken { reason: Reason::GOING_AWAY, .. })
                if self.queue.lock().outbox.on_restart(sequence) == Some(OnRestart::Resend) =>
            {
                self.queue.changed.notify_waiters();
            }
            // The refusal is that of one incarnation only.
            Err(_) if self.queue.lock().outbox.was_sent_earlier(sequence) => {
                self.queue.finish(sequence, Err(AckError::Restarted));
            }
            // An earlier copy may still arrive over the link that it was sent on.
            Err(ExchangeBroken { reason, .. })
                if self.tries > 1 && !reason.may_have_been_handled() =>
            {
                self.queue.finish(sequence, Err(AckError::SentAgain));
            }
            Err(ExchangeBroken { reason, sent, .. }) => {
                self.queue.finish(sequence, Err(AckError::Refused { reason, sent }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_acknowledgement_of_the_message_at_its_level_or_a_higher_one_counts() {
        let outbox = AckSender::new(1, 0, AckSenderLimits::default());
        let queue = SendQueue::new("bob".parse().unwrap(), "bob:9000".parse().unwrap(), outbox);
        let queue = Arc::new(queue);
        let (over, handled) = (AckLevel::Delivered, AckLevel::Handled);
        for (level, acknowledged, meant) in [
            (over, Some((7, over)), true),
            (over, Some((7, handled)), true),
            (handled, Some((7, handled)), true),
            (handled, Some((7, over)), false),
            (over, Some((8, over)), false),
            (over, None, false),
        ] {
            let sequenced = Sequenced { incarnation: 1, series: 0, sequence: 7, level };
            let acked = SentMessage { queue: Arc::clone(&queue), sequenced, tries: 1 };
            assert_eq!(acked.accepts(acknowledged), meant, "{level:?} {acknowledged:?}");
        }
    }

    #[test]
    fn a_refusal_on_a_link_that_closes_does_not_end_a_message_that_was_sent_again() {
        let outbox = AckSender::new(1, 0, AckSenderLimits::default());
        let queue = SendQueue::new("bob".parse().unwrap(), "bob:9000".parse().unwrap(), outbox);
        let queue = Arc::new(queue);
        let queued = queue.push(&Frame::empty("TEST"), AckLevel::Handled.into()).unwrap();
        let copies = [1, 2].map(|tries| {
            let mut state = queue.lock();
            assert!(state.outbox.opened(7).is_empty());
            let (sequenced, _) = state.outbox.next_unsent().unwrap();
            Box::new(SentMessage { queue: Arc::clone(&queue), sequenced, tries })
        });
        let busy = || Err(ExchangeBroken { reason: Reason::BUSY, sent: true, link: false });
        let [first, second] = copies;
        first.end(busy());
        assert_eq!(queue.lock().outbox.len(), 1, "the second copy may still be handled");
        second.end(busy());
        assert_eq!(queue.lock().outbox.len(), 0);
        drop(queued);
    }

    #[test]
    fn an_empty_queue_is_dropped_and_no_number_is_used_twice() {
        let mut queues = SendQueues::new([1, 2]);
        let (bob, to) = ("bob".parse().unwrap(), "bob:9000".parse().unwrap());
        let cyd: PeerId = "cyd".parse().unwrap();
        let limits = AckSenderLimits::default();
        let frame = Frame::empty("TEST");
        let queue = queues.get_or_insert(&bob, &to, true, 1, limits);
        let queued = queue.push(&frame, AckLevel::Handled.into()).unwrap();
        assert!(queued.first && !queued.was_sent());
        assert_eq!(queues.peer_at(&to), Some(bob.clone()));
        drop(queued);
        queue.lock().running = false;
        drop(queue);
        assert_eq!(queues.peer_at(&to), None);
        queues.get_or_insert(&cyd, &to, true, 1, limits);
        assert_eq!(queues.queues.len(), 1);
        let again = queues.get_or_insert(&bob, &to, true, 1, limits);
        let queued = again.push(&frame, AckLevel::Handled.into()).unwrap();
        assert_eq!(queued.sequence, 2);
    }

    #[test]
    fn messages_for_a_claimed_id_belong_to_one_address_until_they_are_readdressed() {
        let mut queues = SendQueues::new([1, 2]);
        let (bob, limits) = ("bob".parse().unwrap(), AckSenderLimits::default());
        let (here, there) = ("bob:9000".parse().unwrap(), "eve:9000".parse().unwrap());
        let frame = Frame::empty("TEST");
        let queue = queues.get_or_insert(&bob, &here, true, 1, limits);
        let _posted = queue.push(&frame, AckLevel::Handled.into()).unwrap();
        let other = queues.get_or_insert(&bob, &there, true, 1, limits);
        assert!(!Arc::ptr_eq(&queue, &other) && queue.lock().to == here);
        let _posted_there = other.push(&frame, AckLevel::Handled.into()).unwrap();
        let series = |queue: &SendQueue| queue.lock().outbox.next_unsent().unwrap().0.series;
        assert_ne!(series(&queue), series(&other));
        assert_eq!(queues.readdress(&bob, &there), 1);
        assert_eq!(queue.lock().to, there);
        assert_eq!(queues.readdress(&bob, &there), 0);
        // The queue of a proven id is the same at each address.
        let proven = queues.get_or_insert(&bob, &here, false, 1, limits);
        assert!(Arc::ptr_eq(&proven, &queues.get_or_insert(&bob, &there, false, 1, limits)));
        assert_eq!(proven.lock().to, there);
    }
}

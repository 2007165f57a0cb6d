//! The queues of messages that wait to be acknowledged, by peer.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex as Turn, Notify, oneshot};

use crate::{
    frame::{Frame, FrameError},
    link::{AckLevel, OnRestart, Outbox, OutboxLimits, Reason, Sequenced},
    overlay::{Address, PeerId},
    reliable::Reliability,
    session::{Acknowledged, Broken, Session, Unreached},
};

/// Why a message ended without an acknowledgement.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The other side refused it, or its handler failed.
    Refused { reason: Reason, sent: bool },
    /// It is longer than the other side accepts, and was not sent.
    TooLong(FrameError),
    /// It was sent to an earlier incarnation of the peer.
    Restarted,
    /// This node stops.
    Stopped { sent: bool },
    /// No link can be opened, and it was not sent.
    Unreached(Unreached),
}

pub(crate) type Answer = Result<(), Ended>;

/// The destination of a queue: a proven id, at any address, or a claimed id at one address.
type Whom = (PeerId, Option<Address>);

/// The queues of messages that wait to be acknowledged, by peer.
#[derive(Default)]
pub(crate) struct SendQueues {
    bags: HashMap<Whom, Arc<SendQueue>>,
    /// The highest sequence number of the queues that were dropped.
    last_sequence: u64,
    /// The secret of this incarnation, from which the series of claimed ids are derived.
    secret: RandomState,
}

impl SendQueues {
    /// The queue for `peer` at `to`. If its id is only `claimed`, each address has its own queue.
    pub(crate) fn of(
        &mut self,
        (peer, to): (&PeerId, &Address),
        claimed: bool,
        incarnation: u64,
        limits: OutboxLimits,
    ) -> Arc<SendQueue> {
        let last = &mut self.last_sequence;
        self.bags.retain(|_, bag| {
            let keep = Arc::strong_count(bag) > 1 || !bag.is_empty();
            *last = (*last).max(if keep { 0 } else { bag.lock().outbox.last_sequence() });
            keep
        });
        let whom = (peer.clone(), claimed.then(|| to.clone()));
        // A node with the same claimed id at another address must not learn numbers of this queue.
        let series = if claimed { self.secret.hash_one(&whom) } else { 0 };
        let new = || {
            let outbox = Outbox::new(incarnation, *last, limits).in_series(series);
            Arc::new(SendQueue::new(peer.clone(), to.clone(), outbox))
        };
        let bag = Arc::clone(self.bags.entry(whom).or_insert_with(new));
        if !claimed {
            bag.is_at(to);
        }
        bag
    }

    /// Sends the messages for the peer that claims this id to its new address `to`. Returns their
    /// number.
    pub(crate) fn readdress(&self, (peer, to): (&PeerId, &Address)) -> usize {
        let claimed = self.bags.iter().filter(|((id, at), _)| id == peer && at.is_some());
        claimed.map(|(_, bag)| bag.is_at(to)).sum()
    }

    /// The peer that was last reached at `to`. `None` if no message waits for one there.
    pub(crate) fn at(&self, to: &Address) -> Option<PeerId> {
        let mut waiting = self.bags.values().filter(|bag| !bag.is_empty());
        let found = waiting.find(|bag| bag.lock().to == *to);
        found.map(|bag| bag.peer.clone())
    }
}

/// The messages that wait to be acknowledged by one peer.
pub(crate) struct SendQueue {
    pub(crate) peer: PeerId,
    state: Mutex<State>,
    pub(crate) changed: Notify,
    /// Held by the next sender, so that senders without room wait in order.
    pub(crate) turn: Turn<()>,
}

pub(crate) struct State {
    pub(crate) outbox: Outbox,
    pub(crate) to: Address,
    pub(crate) waiting: HashMap<u64, oneshot::Sender<Answer>>,
    /// Whether a task sends the messages.
    pub(crate) running: bool,
    /// The error of the last dial. `None` if it succeeded.
    pub(crate) unreached: Option<Unreached>,
}

impl SendQueue {
    fn new(peer: PeerId, to: Address, outbox: Outbox) -> Self {
        let state = State { outbox, to, waiting: HashMap::new(), running: false, unreached: None };
        Self { peer, state: Mutex::new(state), changed: Notify::new(), turn: Turn::new(()) }
    }

    /// Sets the address of the peer. Returns the number of messages that are redirected by this.
    fn is_at(&self, to: &Address) -> usize {
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
    pub(crate) fn fits(&self, session: &Session) -> bool {
        session.peer.id() == &self.peer
            && (session.sender.proven().is_some() || session.to == self.lock().to)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        let state = self.lock();
        state.outbox.is_empty() && !state.running
    }

    pub(crate) fn has_room(&self, frame: &Frame) -> bool {
        self.lock().outbox.has_room(frame.data().len())
    }

    /// Adds a message. `None` if there is no room.
    pub(crate) fn post(self: &Arc<Self>, frame: &Frame, how: Reliability) -> Option<Posted> {
        let mut state = self.lock();
        let sequence = state.outbox.push(frame.clone(), how.level, how.on_restart).ok()?;
        let (sender, answer) = oneshot::channel();
        state.waiting.insert(sequence, sender);
        let first = !std::mem::replace(&mut state.running, true);
        drop(state);
        Some(Posted { bag: Arc::clone(self), sequence, first, answer })
    }

    /// Ends the wait of a message.
    pub(crate) fn done(&self, sequence: u64, answer: Answer) {
        let mut state = self.lock();
        state.outbox.done(sequence);
        let waiting = state.waiting.remove(&sequence);
        drop(state);
        if let Some(waiting) = waiting {
            // The send fails only if the caller has dropped the message.
            waiting.send(answer).ok();
        }
        self.changed.notify_waiters();
    }

    /// Ends all waiting messages, or only those that were not sent. The argument of `why` says
    /// whether a message was sent.
    pub(crate) fn end(&self, unsent_only: bool, why: impl Fn(bool) -> Ended) {
        let state = self.lock();
        let all: Vec<_> = state.outbox.sequences().collect();
        let sent = |sequence: &u64| state.outbox.tries(*sequence).is_some_and(|tries| tries > 0);
        let all: Vec<_> = all.iter().map(|sequence| (*sequence, sent(sequence))).collect();
        drop(state);
        for (sequence, sent) in all {
            if !(sent && unsent_only) {
                self.done(sequence, Err(why(sent)));
            }
        }
    }
}

/// A message that waits to be acknowledged. Dropping it cancels the message.
pub(crate) struct Posted {
    bag: Arc<SendQueue>,
    sequence: u64,
    /// Whether no task sends the messages of the queue yet.
    pub(crate) first: bool,
    pub(crate) answer: oneshot::Receiver<Answer>,
}

impl Posted {
    /// Whether a part of it may have been sent.
    pub(crate) fn was_sent(&self) -> bool {
        self.bag.lock().outbox.tries(self.sequence).is_none_or(|tries| tries > 0)
    }

    /// The error of the last dial. `None` if it succeeded.
    pub(crate) fn unreached(&self) -> Option<Unreached> {
        self.bag.lock().unreached.clone()
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        self.bag.done(self.sequence, Ok(()));
    }
}

/// An acknowledged message that was sent on a link.
pub(crate) struct Acked {
    pub(crate) bag: Arc<SendQueue>,
    pub(crate) numbered: Sequenced,
}

impl Acknowledged for Acked {
    fn is_meant(&self, acknowledged: Option<(u64, AckLevel)>) -> bool {
        let Sequenced { sequence, level, .. } = self.numbered;
        acknowledged.is_some_and(|(of, at)| of == sequence && at >= level)
    }

    fn end(self: Box<Self>, end: Result<(), Broken>) {
        let sequence = self.numbered.sequence;
        match end {
            Ok(()) => self.bag.done(sequence, Ok(())),
            // It is sent again on the next link.
            Err(Broken { link: true, .. }) => self.bag.changed.notify_waiters(),
            // It is sent again to the next incarnation.
            Err(Broken { reason: Reason::GOING_AWAY, .. })
                if self.bag.lock().outbox.on_restart(sequence) == Some(OnRestart::Resend) =>
            {
                self.bag.changed.notify_waiters();
            }
            Err(Broken { reason, sent, .. }) => {
                self.bag.done(sequence, Err(Ended::Refused { reason, sent }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_acknowledgement_of_the_message_at_its_level_or_a_higher_one_counts() {
        let outbox = Outbox::new(1, 0, OutboxLimits::default());
        let bag = SendQueue::new("bob".parse().unwrap(), "bob:9000".parse().unwrap(), outbox);
        let bag = Arc::new(bag);
        let (over, handled) = (AckLevel::Delivered, AckLevel::Handled);
        for (level, acknowledged, meant) in [
            (over, Some((7, over)), true),
            (over, Some((7, handled)), true),
            (handled, Some((7, handled)), true),
            (handled, Some((7, over)), false),
            (over, Some((8, over)), false),
            (over, None, false),
        ] {
            let numbered = Sequenced { incarnation: 1, series: 0, sequence: 7, level };
            let acked = Acked { bag: Arc::clone(&bag), numbered };
            assert_eq!(acked.is_meant(acknowledged), meant, "{level:?} {acknowledged:?}");
        }
    }

    #[test]
    fn an_empty_queue_is_dropped_and_no_number_is_used_twice() {
        let mut bags = SendQueues::default();
        let (bob, to) = ("bob".parse().unwrap(), "bob:9000".parse().unwrap());
        let cyd: PeerId = "cyd".parse().unwrap();
        let limits = OutboxLimits::default();
        let frame = Frame::empty("TEST");
        let bag = bags.of((&bob, &to), true, 1, limits);
        let posted = bag.post(&frame, AckLevel::Handled.into()).unwrap();
        assert!(posted.first && !posted.was_sent());
        assert_eq!(bags.at(&to), Some(bob.clone()));
        drop(posted);
        bag.lock().running = false;
        drop(bag);
        assert_eq!(bags.at(&to), None);
        bags.of((&cyd, &to), true, 1, limits);
        assert_eq!(bags.bags.len(), 1);
        let again = bags.of((&bob, &to), true, 1, limits);
        let posted = again.post(&frame, AckLevel::Handled.into()).unwrap();
        assert_eq!(posted.sequence, 2);
    }

    #[test]
    fn messages_for_a_claimed_id_belong_to_one_address_until_they_are_readdressed() {
        let mut bags = SendQueues::default();
        let (bob, limits) = ("bob".parse().unwrap(), OutboxLimits::default());
        let (here, there) = ("bob:9000".parse().unwrap(), "eve:9000".parse().unwrap());
        let frame = Frame::empty("TEST");
        let bag = bags.of((&bob, &here), true, 1, limits);
        let _posted = bag.post(&frame, AckLevel::Handled.into()).unwrap();
        let other = bags.of((&bob, &there), true, 1, limits);
        assert!(!Arc::ptr_eq(&bag, &other) && bag.lock().to == here);
        let _posted_there = other.post(&frame, AckLevel::Handled.into()).unwrap();
        let series = |bag: &SendQueue| bag.lock().outbox.next_unsent().unwrap().0.series;
        assert_ne!(series(&bag), series(&other));
        assert_eq!(bags.readdress((&bob, &there)), 1);
        assert_eq!(bag.lock().to, there);
        assert_eq!(bags.readdress((&bob, &there)), 0);
        // The queue of a proven id is the same at each address.
        let proven = bags.of((&bob, &here), false, 1, limits);
        assert!(Arc::ptr_eq(&proven, &bags.of((&bob, &there), false, 1, limits)));
        assert_eq!(proven.lock().to, there);
    }
}

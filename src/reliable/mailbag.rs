//! Messages that wait to be acknowledged, by peer.

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
    session::{Session, Unreached, recv_stream::Broken, request::Acknowledged},
};

/// Why a message does not wait any more, and was not acknowledged.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The other side says no, or that its handler failed.
    Refused { reason: Reason, sent: bool },
    /// It is longer than the other side takes, and was not sent.
    TooLong(FrameError),
    /// It was sent to a life of the peer that is over.
    Restarted,
    /// This node stops.
    Stopped { sent: bool },
    /// There is no link to be had, and it was not sent.
    Unreached(Unreached),
}

pub(crate) type Answer = Result<(), Ended>;

/// Whom messages wait for: an id that its node proves, wherever it is, or one that is only claimed,
/// at one address.
type Whom = (PeerId, Option<Address>);

/// What waits to be acknowledged, by peer.
#[derive(Default)]
pub(crate) struct SendQueues {
    bags: HashMap<Whom, Arc<SendQueue>>,
    /// The highest number that one of those that are gone has given.
    last_sequence: u64,
    /// Of this life of the node: what the series of claimed ids are drawn from.
    secret: RandomState,
}

impl SendQueues {
    /// What waits for `peer`, which is reached at `to`. Where its id is only `claimed`, it is another
    /// one at each address.
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
        // No number of it is known to whoever gets those of the same id at another address.
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

    /// The peer that claims this id is at `to` now: what waits for it goes there. Returns how many
    /// messages.
    pub(crate) fn readdress(&self, (peer, to): (&PeerId, &Address)) -> usize {
        let claimed = self.bags.iter().filter(|((id, at), _)| id == peer && at.is_some());
        claimed.map(|(_, bag)| bag.is_at(to)).sum()
    }

    /// Who was last reached at `to`, as long as something waits for it.
    pub(crate) fn at(&self, to: &Address) -> Option<PeerId> {
        let mut waiting = self.bags.values().filter(|bag| !bag.is_empty());
        let found = waiting.find(|bag| bag.lock().to == *to);
        found.map(|bag| bag.peer.clone())
    }
}

/// What waits to be acknowledged by one peer.
pub(crate) struct SendQueue {
    pub(crate) peer: PeerId,
    state: Mutex<State>,
    pub(crate) changed: Notify,
    /// Whose message is next, when there is no room.
    pub(crate) turn: Turn<()>,
}

pub(crate) struct State {
    pub(crate) outbox: Outbox,
    pub(crate) to: Address,
    pub(crate) waiting: HashMap<u64, oneshot::Sender<Answer>>,
    /// Something sends what waits.
    pub(crate) running: bool,
    /// Why the peer could not be reached the last time.
    pub(crate) unreached: Option<Unreached>,
}

impl SendQueue {
    fn new(peer: PeerId, to: Address, outbox: Outbox) -> Self {
        let state = State { outbox, to, waiting: HashMap::new(), running: false, unreached: None };
        Self { peer, state: Mutex::new(state), changed: Notify::new(), turn: Turn::new(()) }
    }

    /// The peer is at `to`. Returns how many messages go there now and did not before.
    fn is_at(&self, to: &Address) -> usize {
        let mut state = self.lock();
        if state.to == *to {
            return 0;
        }
        state.to = to.clone();
        let waiting = state.outbox.len();
        drop(state);
        // The link to the old address is left.
        self.changed.notify_waiters();
        waiting
    }

    /// Whether what waits may go over this link, which is to a peer with its id.
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

    /// Adds a message, when there is room for one.
    pub(crate) fn post(self: &Arc<Self>, frame: &Frame, how: Reliability) -> Option<Posted> {
        let mut state = self.lock();
        let sequence = state.outbox.push(frame.clone(), how.level, how.on_restart).ok()?;
        let (tell, answer) = oneshot::channel();
        state.waiting.insert(sequence, tell);
        let first = !std::mem::replace(&mut state.running, true);
        drop(state);
        Some(Posted { bag: Arc::clone(self), sequence, first, answer })
    }

    /// The message does not wait any more.
    pub(crate) fn done(&self, sequence: u64, answer: Answer) {
        let mut state = self.lock();
        state.outbox.done(sequence);
        let waiting = state.waiting.remove(&sequence);
        drop(state);
        if let Some(waiting) = waiting {
            // Nobody listens when the caller has given up.
            waiting.send(answer).ok();
        }
        self.changed.notify_waiters();
    }

    /// Ends all that waits, or all that was not sent: `why` is told whether it was.
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

/// A message that waits to be acknowledged, as long as somebody waits for that.
pub(crate) struct Posted {
    bag: Arc<SendQueue>,
    sequence: u64,
    /// Nobody sends what waits yet.
    pub(crate) first: bool,
    pub(crate) answer: oneshot::Receiver<Answer>,
}

impl Posted {
    /// Whether some of it may have left this node.
    pub(crate) fn was_sent(&self) -> bool {
        self.bag.lock().outbox.tries(self.sequence).is_none_or(|tries| tries > 0)
    }

    /// Why the peer could not be reached the last time.
    pub(crate) fn unreached(&self) -> Option<Unreached> {
        self.bag.lock().unreached.clone()
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        self.bag.done(self.sequence, Ok(()));
    }
}

/// One numbered message on its way.
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
            // The same, to the life that follows.
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
    fn only_the_message_itself_at_its_level_or_beyond_is_acknowledged() {
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
    fn a_bag_is_let_go_of_when_nothing_waits_and_no_number_is_given_twice() {
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
    fn what_waits_for_a_claimed_id_belongs_to_one_address_until_it_is_readdressed() {
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
        // A proven one is the same wherever it is.
        let proven = bags.of((&bob, &here), false, 1, limits);
        assert!(Arc::ptr_eq(&proven, &bags.of((&bob, &there), false, 1, limits)));
        assert_eq!(proven.lock().to, there);
    }
}

//! Messages that are to be acknowledged, at their receiver: handed over once, in order, and brought
//! to an end whatever becomes of the link ([protocol](crate::protocol#acknowledged-messages)).

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{
    sync::{SemaphorePermit, oneshot},
    time::timeout,
};

use crate::{
    classic::server::answered,
    dispatch::{Route, routes::Told},
    frame::TypeCode,
    link::{AckLevel, Novelty, Reason, Seen, Sequenced},
    message::reply::ReplyKind,
    node::{Permits, Refusal},
    overlay::PeerId,
    session::{
        Endpoint,
        deliver::Delivery,
        inbound::{Arrived, Inbound},
        shared::Session,
        turns::{Turn, Turns},
    },
    time::now,
};

/// Messages wait for their handler also when their link is over, as long as those of the whole node
/// that wait have so many bytes. Those beyond wait as others do, for `busy_after`.
pub(super) const MAX_WAITING: usize = 16 << 20; // bytes

/// Whose message, of which series, in which of its lives, and its number.
type Name = (PeerId, u64, u64, u64);

/// What became of a message, for every link over which it comes.
type Outcome = Shared<BoxFuture<'static, Result<(), Refusal>>>;

/// What is known of the messages that came.
#[derive(Default)]
pub(super) struct Once {
    seen: Seen,
    /// Those that are not at their end. Of all others `seen` knows it.
    outcomes: HashMap<Name, Outcome>,
    /// The messages of each sender and series that wait for each handler, over whichever link they
    /// came.
    turns: Turns<(PeerId, u64, u64)>,
}

/// What is to be done about a message that came.
enum Due {
    Reset(Reason),
    Acknowledge,
    Wait(Outcome),
    HandOver(Name),
}

impl Once {
    /// A message came.
    fn came(&mut self, from: &PeerId, numbered: Sequenced) -> Due {
        let name = (from.clone(), numbered.series, numbered.incarnation, numbered.sequence);
        match self.seen.note(from, numbered, now()) {
            Novelty::New => Due::HandOver(name),
            Novelty::Repeated => {
                self.outcomes.get(&name).cloned().map_or(Due::Acknowledge, Due::Wait)
            }
            Novelty::Failed(reason) => Due::Reset(reason),
            Novelty::NoRoom => Due::Reset(Reason::BUSY),
            Novelty::Outlived | Novelty::Forgotten => Due::Reset(Reason::NOT_ALLOWED),
        }
    }

    /// A message came to its end.
    fn settle(&mut self, name: &Name, numbered: Sequenced, outcome: Result<(), Refusal>) {
        self.outcomes.remove(name);
        if let Err(refusal) = outcome {
            self.seen.failed(&name.0, numbered, refusal.reason());
        }
    }
}

fn once(endpoint: &Endpoint) -> MutexGuard<'_, Once> {
    endpoint.links.once.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inbound {
    /// Hands over a message that is to be acknowledged, unless it was handed over before.
    pub(super) fn deliver_once(&mut self, delivery: Delivery, numbered: Sequenced) {
        let session = Arc::clone(&self.session);
        let (exchange, code) = (delivery.arrived.exchange, delivery.arrived.code);
        let handler = delivery.route.handler;
        let mut known = once(&session.endpoint);
        let name = match known.came(session.peer.id(), numbered) {
            Due::HandOver(name) => name,
            due => {
                drop(known);
                return self.came_again((exchange, code), numbered, due);
            }
        };
        let (tell, told) = oneshot::channel();
        // Without a word the node was stopped.
        let flat = |told: Result<_, _>| told.unwrap_or(Err(Refusal::Stopping));
        let outcome = told.map(flat).boxed().shared();
        known.outcomes.insert(name.clone(), outcome.clone());
        let turns = [known.turns.take((name.0.clone(), name.1, handler)), self.turns.take(handler)];
        drop(known);
        let work = hand_over(Arc::clone(&session), delivery, numbered.level, turns);
        let endpoint = Arc::clone(&session.endpoint);
        let finish = async move {
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            let ended = ended.unwrap_or(Err(Refusal::HandlerFailed));
            once(&endpoint).settle(&name, numbered, ended);
            // Nobody waits any more when its links are over.
            tell.send(ended).ok();
        };
        let cut = session.endpoint.abort.clone();
        let mut finish =
            async move { cut.run_until_cancelled(finish).await.unwrap_or_default() }.boxed();
        // It begins at once, so that the order is kept, and goes on without the link.
        if (&mut finish).now_or_never().is_none() {
            session.endpoint.spawn(finish);
        }
        self.tell_outcome((exchange, code), numbered, outcome);
    }

    /// Says what became of a message that came before.
    fn came_again(&mut self, (exchange, code): (u32, TypeCode), numbered: Sequenced, due: Due) {
        let session = &self.session;
        match due {
            Due::Reset(reason) => session.with(|state| state.link.reset(exchange, reason)),
            Due::Acknowledge | Due::HandOver(..) => {
                session.endpoint.counters.reliable_repeated.one();
                acknowledge(session, exchange, numbered);
            }
            Due::Wait(outcome) => {
                session.endpoint.counters.reliable_repeated.one();
                self.tell_outcome((exchange, code), numbered, outcome);
            }
        }
    }

    fn tell_outcome(
        &mut self,
        (exchange, code): (u32, TypeCode),
        numbered: Sequenced,
        outcome: Outcome,
    ) {
        let session = Arc::clone(&self.session);
        let handled = numbered.level == AckLevel::Handled;
        self.run(exchange, code, handled, async move {
            match outcome.await {
                Ok(()) => acknowledge(&session, exchange, numbered),
                Err(refusal) => session.refuse(exchange, code, refusal),
            }
        });
    }

    /// Refuses a message that is to be acknowledged and never reaches a handler. It is refused again
    /// when it comes again; and what was handed over, when there still was a handler, is not refused.
    pub(super) fn refuse_once(&mut self, arrived: &Arrived, numbered: Sequenced, refusal: Refusal) {
        let session = Arc::clone(&self.session);
        let due = {
            let mut known = once(&session.endpoint);
            let due = known.came(session.peer.id(), numbered);
            if let Due::HandOver(name) = &due {
                known.settle(name, numbered, Err(refusal));
            }
            due
        };
        match due {
            Due::HandOver(..) => session.refuse(arrived.exchange, arrived.code, refusal),
            due => self.came_again((arrived.exchange, arrived.code), numbered, due),
        }
    }
}

/// How long a message may wait for its handler, and its share of all that may wait so long.
fn patience(endpoint: &Endpoint, bytes: usize) -> (Duration, Option<SemaphorePermit<'_>>) {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let held = endpoint.links.waiting.try_acquire_many(bytes.saturating_add(1)).ok();
    let config = &endpoint.config;
    (if held.is_some() { config.handler_timeout } else { config.busy_after }, held)
}

/// Waits for the message's turns, and for the places that it needs.
async fn in_turn(
    endpoint: &Endpoint,
    (route, bytes): (&Route, usize),
    level: AckLevel,
    turns: &[Turn],
) -> Result<Option<Permits>, Refusal> {
    let (limit, _held) = patience(endpoint, bytes);
    let wait = async {
        for turn in turns {
            turn.comes().await;
        }
        match level {
            AckLevel::Handled => endpoint.wait_for_places(&route.places).await.map(Some),
            AckLevel::Delivered => Some(None),
        }
    };
    timeout(limit, wait).await.ok().flatten().ok_or(Refusal::Busy)
}

/// Ready when the handler has the message, or has handled it.
async fn hand_over(
    session: Arc<Session>,
    delivery: Delivery,
    level: AckLevel,
    turns: [Turn; 2],
) -> Result<(), Refusal> {
    let endpoint = &session.endpoint;
    // A body is not looked into: it counts as the longest message that there is.
    let longest = usize::try_from(endpoint.config.max_frame_len).unwrap_or(usize::MAX);
    let bytes = if delivery.body.is_some() { longest } else { delivery.frame.data().len() };
    let route = delivery.route.clone();
    let places = in_turn(endpoint, (&route, bytes), level, &turns).await?;
    // A handler that answers and keeps the message keeps its place.
    let _places = places.clone();
    let (route, incoming) = delivery.open(&session, places);
    if level == AckLevel::Delivered {
        return match route.serve.tell(incoming) {
            Told::Refused(refusal) => Err(refusal),
            Told::Delivered => Ok(()),
            Told::Serving(answer) => {
                // The answer is nobody's.
                endpoint.spawn(endpoint.until_aborted(answer.map(drop)));
                Ok(())
            }
        };
    }
    let answer = route.ask(incoming);
    drop(turns);
    match answered(endpoint.config.handler_timeout, answer, None).await?.0 {
        ReplyKind::Refused(refusal) => Err(refusal),
        _ => Ok(()),
    }
}

/// Acknowledges a numbered message. Nothing to be done when its exchange is over.
fn acknowledge(session: &Session, exchange: u32, numbered: Sequenced) {
    let Sequenced { sequence, level, .. } = numbered;
    session.with(|state| state.link.acknowledge(exchange, sequence, level)).ok();
}

//! Messages that are to be acknowledged, at their receiver: handed over once, and brought to an end
//! whatever becomes of the link (WIRE.md part 3, "Frames").

use std::{
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::{Arc, MutexGuard, PoisonError},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    connection::{
        Node, Refusal,
        conversation::answered,
        incoming::Places,
        links::{
            Line,
            arrive::Arrivals,
            deliver::{Delivery, Queued},
        },
        reply::ReplyKind,
        routes::Told,
    },
    link::{AckLevel, Novelty, Numbered, Reason, Seen},
    overlay::PeerId,
};

/// Messages that failed and are remembered, so that they fail again when they are sent again.
const MAX_FAILED: usize = 1_024;

/// Whose message, in which of its lives, and its number.
type Name = (PeerId, u64, u64);

/// What became of a message, for every link over which it comes.
type Outcome = Shared<BoxFuture<'static, Result<(), Refusal>>>;

/// What is known of the messages that came.
#[derive(Default)]
pub(super) struct Once {
    seen: Seen,
    /// Those that are not at their end, and some of those that failed: all others are done.
    outcomes: HashMap<Name, Outcome>,
    failed: VecDeque<Name>,
}

/// What is to be done about a message that came.
enum Due {
    Refuse,
    Acknowledge,
    Wait(Outcome),
    HandOver(Name, oneshot::Sender<Result<(), Refusal>>, Outcome),
}

impl Once {
    fn came(&mut self, from: &PeerId, numbered: Numbered) -> Due {
        let name = (from.clone(), numbered.incarnation, numbered.sequence);
        match self.seen.note(from, numbered, Instant::now().into_std()) {
            Novelty::Outlived => Due::Refuse,
            Novelty::Repeated => {
                self.outcomes.get(&name).cloned().map_or(Due::Acknowledge, Due::Wait)
            }
            Novelty::New => {
                let (tell, told) = oneshot::channel();
                // Without a word the node was stopped.
                let flat = |told: Result<_, _>| told.unwrap_or(Err(Refusal::Stopping));
                let outcome = told.map(flat).boxed().shared();
                self.outcomes.insert(name.clone(), outcome.clone());
                Due::HandOver(name, tell, outcome)
            }
        }
    }

    fn settle(&mut self, name: Name, outcome: Result<(), Refusal>) {
        if outcome.is_ok() {
            self.outcomes.remove(&name);
            return;
        }
        self.failed.push_back(name);
        if self.failed.len() > MAX_FAILED
            && let Some(oldest) = self.failed.pop_front()
        {
            self.outcomes.remove(&oldest);
        }
    }
}

fn once(node: &Node) -> MutexGuard<'_, Once> {
    node.links.once.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Arrivals {
    /// Hands over a message that is to be acknowledged, unless it was handed over before.
    pub(super) fn deliver_once(&mut self, delivery: Delivery, numbered: Numbered) {
        let line = Arc::clone(&self.line);
        let (exchange, code) = (delivery.arrived.exchange, delivery.arrived.code);
        let due = once(&line.node).came(line.peer.id(), numbered);
        let outcome = match due {
            Due::Refuse => {
                return line.with(|state| state.link.reset(exchange, Reason::NOT_ALLOWED));
            }
            Due::Acknowledge => return acknowledge(&line, exchange, numbered),
            Due::Wait(outcome) => outcome,
            Due::HandOver(name, tell, outcome) => {
                let handler = delivery.route.handler;
                let queued = self.queues.waits(handler).then(|| self.queues.enter(handler));
                let work = hand_over(Arc::clone(&line), delivery, numbered.level, queued);
                let node = Arc::clone(&line.node);
                let finish = async move {
                    let ended = AssertUnwindSafe(work).catch_unwind().await;
                    let ended = ended.unwrap_or(Err(Refusal::HandlerFailed));
                    once(&node).settle(name, ended);
                    // Nobody waits any more when its links are over.
                    tell.send(ended).ok();
                };
                let cut = line.node.cut.clone();
                let mut finish =
                    async move { cut.run_until_cancelled(finish).await.unwrap_or_default() }
                        .boxed();
                // It begins at once, so that the order is kept, and goes on without the link.
                if (&mut finish).now_or_never().is_none() {
                    line.node.tasks.spawn(finish);
                }
                outcome
            }
        };
        let handled = numbered.level == AckLevel::Handled;
        self.run(exchange, code, handled, async move {
            match outcome.await {
                Ok(()) => acknowledge(&line, exchange, numbered),
                Err(refusal) => line.refuse(exchange, code, refusal),
            }
        });
    }
}

/// Ready when the handler has the message, or has handled it.
async fn hand_over(
    line: Arc<Line>,
    delivery: Delivery,
    level: AckLevel,
    queued: Option<Queued>,
) -> Result<(), Refusal> {
    let node = &line.node;
    let places = match (level, &queued) {
        (AckLevel::Handled, _) => Some(node.places(&delivery.route).await.ok_or(Refusal::Busy)?),
        (AckLevel::HandedOver, Some(_)) => {
            let place = Arc::clone(&delivery.route.places).acquire_owned().await;
            Some(Places::from([place.map_err(|_| Refusal::Busy)?]))
        }
        (AckLevel::HandedOver, None) => None,
    };
    // A handler that answers and keeps the message keeps its place.
    let _places = places.clone();
    let (route, incoming) = delivery.open(&line, places);
    if level == AckLevel::HandedOver {
        return match route.serve.tell(incoming) {
            Told::Refused(refusal) => Err(refusal),
            Told::HandedOver => Ok(()),
            Told::Serving(answer) => {
                // The answer is nobody's.
                node.tasks.spawn(answer.map(drop));
                Ok(())
            }
        };
    }
    let answer = route.ask(incoming);
    drop(queued);
    match answered(node.config.handler_timeout, answer, None).await?.0 {
        ReplyKind::Refused(refusal) => Err(refusal),
        _ => Ok(()),
    }
}

/// Acknowledges a numbered message. Nothing to be done when its exchange is over.
fn acknowledge(line: &Line, exchange: u32, numbered: Numbered) {
    let Numbered { sequence, level, .. } = numbered;
    line.with(|state| state.link.acknowledge(exchange, sequence, level)).ok();
}

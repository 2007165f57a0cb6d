//! The receiver of acknowledged messages. It delivers each message once and in order, and completes
//! the delivery even if the link ends ([protocol](crate::protocol#acknowledged-messages)).

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    dispatch::{Route, reply::answered, routes::Notified},
    fault_points::{FaultPoint, Sometimes, reached},
    link::{AckLevel, Sequenced},
    node::{Node, Permits, Refusal, delay_at},
    session::{
        acked::{AckedArrival, Outcome},
        deliver::{Deliveries, Delivery},
        exchange::InExchange,
        pool::LinkPool,
        state::Session,
        turns::Turn,
    },
};

/// The delay of an acknowledgement at a fault point.
const ACK_DELAY: Duration = Duration::from_millis(200);

impl Deliveries {
    /// Delivers an acknowledged message, unless it was delivered before.
    pub(super) fn deliver_acked(&mut self, delivery: Delivery, sequenced: Sequenced) {
        let session = Arc::clone(&self.session);
        let exchange = delivery.head.exchange;
        let handler = delivery.route.handler;
        let mut acked = self.links.acked.lock();
        let name = match acked.on_message(session.peer.id(), sequenced) {
            AckedArrival::Deliver(name) => name,
            due => {
                drop(acked);
                return self.on_repeated(exchange, sequenced, due);
            }
        };
        let (sender, result) = oneshot::channel();
        // The sender is dropped without a result only if the node aborted.
        let flat = |result: Result<_, _>| result.unwrap_or(Err(Refusal::Stopping));
        let outcome = result.map(flat).boxed().shared();
        acked.outcomes.insert(name.clone(), outcome.clone());
        let turns = [acked.turns.take((name.0.clone(), name.1, handler)), self.turns.take(handler)];
        drop(acked);
        let links = Arc::clone(&self.links);
        let work = deliver_to_handler(
            Arc::clone(&session),
            Arc::clone(&links),
            delivery,
            sequenced.level,
            turns,
        );
        let finish = async move {
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            let ended = ended.unwrap_or(Err(Refusal::HandlerFailed));
            links.acked.lock().settle(&name, sequenced, ended);
            // The send fails only if all links over which it arrived have ended.
            sender.send(ended).ok();
        };
        let abort = session.node.abort.clone();
        let mut finish =
            async move { abort.run_until_cancelled(finish).await.unwrap_or_default() }.boxed();
        // It begins at once, to keep the order, and continues without the link.
        if (&mut finish).now_or_never().is_none() {
            session.node.spawn(finish);
        }
        self.answer_with_outcome(exchange, sequenced, outcome);
    }

    /// Answers a message that arrived before.
    fn on_repeated(&mut self, exchange: InExchange, sequenced: Sequenced, due: AckedArrival) {
        let session = &self.session;
        match due {
            AckedArrival::Reset(reason) => {
                session.with(|state| state.link.reset(exchange.id, reason))
            }
            AckedArrival::Acknowledge | AckedArrival::Deliver(..) => {
                reached(Sometimes::AckedDuplicateDiscarded);
                session.node.counters.reliable_repeated.one();
                acknowledge(session, exchange, sequenced);
            }
            AckedArrival::Wait(outcome) => {
                reached(Sometimes::AckedDuplicateWaits);
                session.node.counters.reliable_repeated.one();
                self.answer_with_outcome(exchange, sequenced, outcome);
            }
        }
    }

    fn answer_with_outcome(
        &mut self,
        exchange: InExchange,
        sequenced: Sequenced,
        outcome: Outcome,
    ) {
        let session = Arc::clone(&self.session);
        let handled = sequenced.level == AckLevel::Handled;
        self.run(InExchange { request: handled, ..exchange }, async move {
            match outcome.await {
                Ok(()) => {
                    delay_at(FaultPoint::AckLate, ACK_DELAY).await;
                    acknowledge(&session, exchange, sequenced);
                }
                Err(refusal) => session.refuse(exchange, refusal),
            }
        });
    }

    /// Refuses an acknowledged message that does not reach a handler. It is refused again if it
    /// arrives again. A message that was delivered before, while there was a handler, is not
    /// refused.
    pub(super) fn refuse_acked(
        &mut self,
        exchange: InExchange,
        sequenced: Sequenced,
        refusal: Refusal,
    ) {
        let session = Arc::clone(&self.session);
        let due = {
            let mut acked = self.links.acked.lock();
            let due = acked.on_message(session.peer.id(), sequenced);
            if let AckedArrival::Deliver(name) = &due {
                acked.settle(name, sequenced, Err(refusal));
            }
            due
        };
        match due {
            AckedArrival::Deliver(..) => session.refuse(exchange, refusal),
            due => self.on_repeated(exchange, sequenced, due),
        }
    }
}

/// Waits for the turns of the message, and for the permits that it needs.
async fn wait_for_turn(
    node: &Node,
    links: &LinkPool,
    route: &Route,
    bytes: usize,
    level: AckLevel,
    turns: &[Turn],
) -> Result<Option<Permits>, Refusal> {
    // Held during the wait. Without it the message waits no longer than other messages.
    let long_wait = links.acked.try_wait(bytes);
    let config = &node.config;
    let limit = if long_wait.is_some() { config.handler_timeout } else { config.busy_after };
    let wait = async {
        for turn in turns {
            turn.wait().await;
        }
        match level {
            AckLevel::Handled => node.wait_for_permits(&route.permits).await.map(Some),
            AckLevel::Delivered => Some(None),
        }
    };
    let permits = timeout(limit, wait).await.ok().flatten();
    drop(long_wait);
    permits.ok_or(Refusal::Busy)
}

/// Completes when the message was delivered to the handler, or handled, depending on `level`.
async fn deliver_to_handler(
    session: Arc<Session>,
    links: Arc<LinkPool>,
    delivery: Delivery,
    level: AckLevel,
    turns: [Turn; 2],
) -> Result<(), Refusal> {
    let node = &session.node;
    // The length of a body is unknown: it counts as the longest message.
    let longest = usize::try_from(node.config.max_frame_len).unwrap_or(usize::MAX);
    let bytes = if delivery.body.is_some() { longest } else { delivery.frame.data().len() };
    let route = delivery.route.clone();
    let permits = wait_for_turn(node, &links, &route, bytes, level, &turns).await?;
    // Held until the answer, even if the handler drops the message earlier.
    let _permits = permits.clone();
    let (route, incoming) = delivery.open(&session, permits);
    if level == AckLevel::Delivered {
        return match route.serve.notify(incoming) {
            Notified::Refused(refusal) => Err(refusal),
            Notified::Delivered => Ok(()),
            Notified::Serving(answer) => {
                // The answer is discarded.
                node.spawn(node.until_aborted(answer.map(drop)));
                Ok(())
            }
        };
    }
    let answer = route.call(incoming);
    drop(turns);
    answered(node.config.handler_timeout, answer, None).await.map(drop)
}

/// Acknowledges a message. Does nothing if its exchange has ended.
fn acknowledge(session: &Session, exchange: InExchange, sequenced: Sequenced) {
    let Sequenced { sequence, level, .. } = sequenced;
    session.with(|state| state.link.acknowledge(exchange.id, sequence, level)).ok();
}

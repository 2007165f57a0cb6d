//! Delivers the messages of a link to their handlers, in order.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::timeout;

use crate::{
    dispatch::{Route, reply::answered, routes::Notified},
    fault_points::{FaultPoint, Sometimes, fault_point, reached},
    frame::{Frame, TypeCode},
    link::Sequenced,
    message::{Body, Incoming, MessageGuard, Reply, body::Progress, credit::WindowShare},
    node::{Permits, Refusal},
    session::{
        exchange::InExchange,
        pool::LinkPool,
        reply,
        served::{Handling, Served},
        state::Session,
        tick::{Tick, Ticks},
        turns::Turns,
    },
};

/// A cancelled request is looked up only if no more messages than this are in progress. Among more
/// it is delivered, and its reply is discarded.
const MAX_LOOKED_THROUGH: usize = 1_024;

/// A message that arrived, or its first part.
#[derive(Clone, Copy)]
pub(super) struct MessageHead {
    pub(super) exchange: InExchange,
    /// `None` if it need not be acknowledged.
    pub(super) sequenced: Option<Sequenced>,
}

/// A message with everything that its handler receives.
pub(super) struct Delivery {
    pub(super) head: MessageHead,
    pub(super) route: Route,
    pub(super) frame: Frame,
    pub(super) body: Option<Box<Body>>,
    pub(super) window: Option<WindowShare>,
}

impl Delivery {
    /// The message as its handler receives it.
    pub(super) fn open(self, session: &Session, permits: Option<Permits>) -> (Route, Incoming) {
        let Self { route, frame, body, window, .. } = self;
        let incoming = match window {
            Some(held) => Incoming::over_link(frame, held, body, permits),
            // The parts of a body hold their shares of the window.
            None => {
                Incoming::new(frame, session.sender.clone(), body, MessageGuard::new(permits, None))
            }
        };
        (route, incoming)
    }

    /// Delivers a one-way message. Returns the answer if it is served like a request.
    fn notify(self, session: &Session) -> Option<BoxFuture<'static, Result<Reply, Refusal>>> {
        let exchange = self.head.exchange;
        let (route, incoming) = self.open(session, None);
        match route.serve.notify(incoming) {
            Notified::Delivered => None,
            Notified::Refused(refusal) => {
                session.refuse_one_ways(exchange, refusal, 1);
                None
            }
            Notified::Serving(answer) => Some(answer),
        }
    }
}

/// The messages of one link on their way to their handlers.
pub(super) struct Deliveries {
    pub(super) session: Arc<Session>,
    pub(super) links: Arc<LinkPool>,
    /// Messages that handlers process.
    running: FuturesUnordered<Served>,
    /// Messages that wait for their handler. Later messages for the same handler wait behind them.
    pub(super) turns: Turns<u64>,
}

impl Deliveries {
    pub(super) fn new(session: Arc<Session>, links: Arc<LinkPool>) -> Self {
        Self { session, links, running: FuturesUnordered::new(), turns: Turns::default() }
    }

    /// The number of messages that wait for a handler or are processed by one.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The codes of the requests that handlers process.
    pub(super) fn serving(&self) -> Vec<TypeCode> {
        self.running.iter().filter_map(Served::request).collect()
    }

    /// Drops all messages.
    pub(super) fn clear(&mut self) {
        self.running = FuturesUnordered::new();
    }

    /// Polls the running messages. True if one has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let mut some = false;
        while let Poll::Ready(Some(())) = self.running.poll_next_unpin(cx) {
            some = true;
        }
        if some {
            self.turns.sweep();
        }
        some
    }

    /// Counts a tick for each message. Ends those that have timed out.
    pub(super) fn tick(&mut self, tick: &Tick) {
        let mut late = false;
        self.running.iter_mut().for_each(|served| late |= served.tick(tick));
        if late {
            self.rebuild_running();
        }
    }

    /// Delivers a message to its handler, after all earlier messages for the same handler. An
    /// acknowledged message is [delivered once](Self::deliver_acked).
    pub(super) fn deliver(&mut self, delivery: Delivery, progress: Option<Progress>) {
        let waits = self.turns.is_waiting(&delivery.route.handler);
        if delivery.head.exchange.request {
            self.request(delivery, progress, waits);
        } else {
            self.notify(delivery, waits);
        }
    }

    fn notify(&mut self, delivery: Delivery, waits: bool) {
        let session = Arc::clone(&self.session);
        let exchange = delivery.head.exchange;
        if !waits {
            if let Some(answer) = delivery.notify(&session) {
                self.discard(exchange, answer);
            }
            return;
        }
        reached(Sometimes::TurnAwaited);
        let turn = self.turns.take(delivery.route.handler);
        self.run(exchange, async move {
            turn.wait().await;
            let answer = delivery.notify(&session);
            drop(turn);
            if let Some(answer) = answer {
                answer.await.map(drop).unwrap_or_default();
            }
        });
    }

    /// Runs a handler whose answer is discarded.
    pub(super) fn discard(
        &self,
        exchange: InExchange,
        answer: BoxFuture<'static, Result<Reply, Refusal>>,
    ) {
        let work = answer.map(drop);
        self.running.push(Served::work(&self.session, exchange, work));
    }

    fn request(&mut self, delivery: Delivery, progress: Option<Progress>, waits: bool) {
        let session = Arc::clone(&self.session);
        let exchange = delivery.head.exchange;
        let permits = if waits || fault_point(FaultPoint::NoPermitAtOnce) {
            None
        } else {
            session.node.try_permits(&delivery.route.permits)
        };
        if let Some(permits) = permits {
            let (route, incoming) = delivery.open(&session, Some(Arc::clone(&permits)));
            let answer = route.call(incoming);
            let internal = route.internal;
            let ticks = Ticks::default();
            let handling =
                Handling { answer, _permits: permits, progress, internal, ticks, read: 0 };
            return self.running.push(Served::handling(&session, exchange, handling));
        }
        reached(if waits { Sometimes::TurnAwaited } else { Sometimes::PermitAwaited });
        let turn = self.turns.take(delivery.route.handler);
        let (busy_after, limit) =
            (session.node.config.busy_after, session.node.config.handler_timeout);
        let work = async move {
            let permits = async {
                turn.wait().await;
                session.node.wait_for_permits(&delivery.route.permits).await
            };
            let Some(permits) = timeout(busy_after, permits).await.ok().flatten() else {
                drop(turn);
                return session.refuse(exchange, Refusal::Busy);
            };
            let (route, incoming) = delivery.open(&session, Some(Arc::clone(&permits)));
            let answer = route.call(incoming);
            drop(turn);
            let answer = answered(limit, answer, progress).await;
            drop(permits);
            reply::send(&session, exchange, answer, route.internal).await;
        };
        self.run(exchange, work);
    }

    /// Cancels a request of the other side. Exchanges of this side and one-way messages are not
    /// affected.
    pub(super) fn cancel(&mut self, exchange: u32) {
        // Bounds the work that a remote can cause with cancelled requests.
        if self.running.len() > MAX_LOOKED_THROUGH {
            return;
        }
        if self.running.iter_mut().any(|served| served.cancel(exchange)) {
            self.rebuild_running();
        }
    }

    /// Rebuilds `running`, so that all its futures are polled, and those that have ended are
    /// dropped.
    fn rebuild_running(&mut self) {
        self.running = std::mem::take(&mut self.running).into_iter().collect();
    }

    /// Runs `work` concurrently with the reading.
    pub(super) fn run(
        &mut self,
        exchange: InExchange,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.running.push(Served::work(&self.session, exchange, work));
        // A message that can be delivered at once does not delay those behind it.
        self.poll(&mut Context::from_waker(futures::task::noop_waker_ref()));
    }
}

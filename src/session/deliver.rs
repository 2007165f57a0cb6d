//! Handing what came over a link to the handler, in turn.

use std::{sync::Arc, task::Context};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::timeout;

use crate::{
    classic::server::answered,
    dispatch::{Route, routes::Told},
    frame::{Frame, TypeCode},
    message::{Body, Incoming, Reply, Token, body::Progress, credit::WindowShare},
    node::{Permits, Refusal},
    session::{
        answer,
        inbound::{Arrived, Inbound},
        served::{Handling, Served},
        shared::Session,
        tick::Ticks,
    },
};

/// A request that is given up is looked for among so many messages that handlers have in hand or that
/// wait for one. Among more it is handed over, and its reply is nobody's.
const MAX_LOOKED_THROUGH: usize = 1_024;

/// A message with all that its handler gets.
pub(super) struct Delivery {
    pub(super) arrived: Arrived,
    pub(super) route: Route,
    pub(super) frame: Frame,
    pub(super) body: Option<Box<Body>>,
    pub(super) window: Option<WindowShare>,
}

impl Delivery {
    /// The message as its handler gets it.
    pub(super) fn open(self, session: &Session, places: Option<Permits>) -> (Route, Incoming) {
        let Self { route, frame, body, window, .. } = self;
        let incoming = match window {
            Some(held) => Incoming::over_link(frame, held, body, places),
            // The parts of a body hold it.
            None => Incoming::new(frame, session.sender.clone(), body, Token::new(places, None)),
        };
        (route, incoming)
    }

    /// Hands a one-way message over. Returns the answer where it is served as a request is.
    fn tell(self, session: &Session) -> Option<BoxFuture<'static, Result<Reply, Refusal>>> {
        let Arrived { exchange, code, .. } = self.arrived;
        let (route, incoming) = self.open(session, None);
        match route.serve.tell(incoming) {
            Told::Delivered => None,
            Told::Refused(refusal) => {
                session.refuse_one_ways(exchange, code, refusal, 1);
                None
            }
            Told::Serving(answer) => Some(answer),
        }
    }
}

impl Inbound {
    /// Hands a message to its handler, after all that came before it for the same one.
    pub(super) fn deliver(&mut self, delivery: Delivery, progress: Option<Progress>) {
        self.flush();
        if let Some(numbered) = delivery.arrived.numbered {
            return self.deliver_once(delivery, numbered);
        }
        let waits = self.turns.waits(&delivery.route.handler);
        if delivery.arrived.request {
            self.ask(delivery, progress, waits);
        } else {
            self.tell(delivery, waits);
        }
    }

    fn tell(&mut self, delivery: Delivery, waits: bool) {
        let session = Arc::clone(&self.session);
        let Arrived { exchange, code, .. } = delivery.arrived;
        if !waits {
            // Its sender does not wait for the answer.
            if let Some(answer) = delivery.tell(&session) {
                self.running.push(Served::work(
                    &session,
                    (exchange, code),
                    false,
                    answer.map(drop),
                ));
            }
            return;
        }
        let turn = self.turns.take(delivery.route.handler);
        self.run(exchange, code, false, async move {
            turn.comes().await;
            let answer = delivery.tell(&session);
            drop(turn);
            if let Some(answer) = answer {
                answer.await.map(drop).unwrap_or_default();
            }
        });
    }

    fn ask(&mut self, delivery: Delivery, progress: Option<Progress>, waits: bool) {
        let session = Arc::clone(&self.session);
        let Arrived { exchange, code, .. } = delivery.arrived;
        let places = if waits { None } else { session.endpoint.try_places(&delivery.route.places) };
        if let Some(places) = places {
            let (route, incoming) = delivery.open(&session, Some(Arc::clone(&places)));
            let answer = route.ask(incoming);
            let internal = route.internal;
            let ticks = Ticks::default();
            let handling = Handling { answer, _places: places, progress, internal, ticks, read: 0 };
            return self.running.push(Served::handling(&session, (exchange, code), handling));
        }
        let turn = self.turns.take(delivery.route.handler);
        let (patience, limit) =
            (session.endpoint.config.busy_after, session.endpoint.config.handler_timeout);
        let work = async move {
            let places = async {
                turn.comes().await;
                session.endpoint.wait_for_places(&delivery.route.places).await
            };
            let Some(places) = timeout(patience, places).await.ok().flatten() else {
                drop(turn);
                return session.refuse(exchange, code, Refusal::Busy);
            };
            let (route, incoming) = delivery.open(&session, Some(Arc::clone(&places)));
            let answer = route.ask(incoming);
            drop(turn);
            let answer = answered(limit, answer, progress).await;
            drop(places);
            answer::send(&session, (exchange, code), answer, route.internal).await;
        };
        self.run(exchange, code, true, work);
    }

    /// The other side has given this exchange up. One that this side opened is not among them, nor
    /// are one-way messages.
    pub(super) fn cancel(&mut self, exchange: u32) {
        // Whoever has sent more than that does not have it looked through again and again.
        if self.running.len() > MAX_LOOKED_THROUGH {
            return;
        }
        if self.running.iter_mut().any(|served| served.cancel(exchange)) {
            self.put_in_again();
        }
    }

    /// Those in `running` that are over now are dropped when they are polled, as all are when they
    /// are put in again.
    pub(super) fn put_in_again(&mut self) {
        self.running = std::mem::take(&mut self.running).into_iter().collect();
    }

    /// Runs `work` beside the reading.
    pub(super) fn run(
        &mut self,
        exchange: u32,
        code: TypeCode,
        request: bool,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.running.push(Served::work(&self.session, (exchange, code), request, work));
        // What can be handed over at once does not make those behind it wait.
        self.poll(&mut Context::from_waker(futures::task::noop_waker_ref()));
    }
}

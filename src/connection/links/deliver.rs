//! Handing what came over a link to the handler, in turn.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Context,
};

use crate::{
    connection::{
        Body, Incoming, Refusal, Route, Token,
        body::Progress,
        conversation::answered,
        incoming::Places,
        links::{
            Line, Unconsumed, answer,
            arrive::{Arrivals, Arrived},
            beat::Beats,
            served::{Handling, Served},
        },
        routes::Told,
    },
    frame::{Frame, TypeCode},
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
    pub(super) window: Option<Unconsumed>,
}

impl Delivery {
    /// The message as its handler gets it.
    pub(super) fn open(self, line: &Line, places: Option<Places>) -> (Route, Incoming) {
        let Self { route, frame, body, window, .. } = self;
        let incoming = match window {
            Some(held) => Incoming::over_link(frame, held, body, places),
            // The parts of a body hold it.
            None => Incoming::new(frame, line.sender.clone(), body, Token::new(places, None)),
        };
        (route, incoming)
    }
}

impl Arrivals {
    /// Hands a message to its handler, in turn.
    pub(super) fn deliver(&mut self, delivery: Delivery, progress: Option<Progress>) {
        self.flush();
        let line = Arc::clone(&self.line);
        let Arrived { exchange, code, request, numbered } = delivery.arrived;
        if let Some(numbered) = numbered {
            return self.deliver_once(delivery, numbered);
        }
        let handler = delivery.route.handler;
        let waits = self.queues.waits(handler);
        if !request {
            let queued = waits.then(|| self.queues.enter(handler));
            let work = async move {
                let place = match queued {
                    Some(_) => Arc::clone(&delivery.route.places).acquire_owned().await.ok(),
                    None => None,
                };
                let places = place.map(|place| Places::from([place]));
                let (route, incoming) = delivery.open(&line, places);
                let told = route.serve.tell(incoming);
                drop(queued);
                match told {
                    Told::Refused(refusal) => line.refuse_one_ways(exchange, code, refusal, 1),
                    Told::HandedOver => {}
                    // The answer is nobody's.
                    Told::Serving(answer) => answer.await.map(drop).unwrap_or_default(),
                }
            };
            return self.run(exchange, code, false, work);
        }
        let places = if waits { None } else { line.node.try_places(&delivery.route) };
        if let Some(places) = places {
            let (route, incoming) = delivery.open(&line, Some(Arc::clone(&places)));
            let answer = route.ask(incoming);
            let internal = route.internal;
            let beats = Beats::default();
            let handling = Handling { answer, _places: places, progress, internal, beats, read: 0 };
            return self.running.push(Served::handling(&line, (exchange, code), handling));
        }
        let queued = self.queues.enter(handler);
        let limit = line.node.config.handler_timeout;
        let work = async move {
            let Some(places) = line.node.places(&delivery.route).await else {
                drop(queued);
                return line.refuse(exchange, code, Refusal::Busy);
            };
            let (route, incoming) = delivery.open(&line, Some(Arc::clone(&places)));
            let answer = route.ask(incoming);
            drop(queued);
            let answer = answered(limit, answer, progress).await;
            drop(places);
            answer::send(&line, (exchange, code), answer, route.internal).await;
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
        self.running.push(Served::work(&self.line, (exchange, code), request, work));
        // What can be handed over at once is, before anything that came later.
        self.poll(&mut Context::from_waker(futures::task::noop_waker_ref()));
    }
}

/// How many messages wait for a place with each handler. As long as there is one, what comes for the
/// same handler waits behind it, so that the order is kept.
#[derive(Debug, Default)]
pub(super) struct Queues(HashMap<u64, Arc<AtomicUsize>>);

impl Queues {
    pub(super) fn waits(&mut self, handler: u64) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let waiting = |queue: &Arc<AtomicUsize>| queue.load(Ordering::Relaxed) > 0;
        self.0.retain(|_, queue| waiting(queue));
        self.0.contains_key(&handler)
    }

    pub(super) fn enter(&mut self, handler: u64) -> Queued {
        let queue = self.0.entry(handler).or_default();
        queue.fetch_add(1, Ordering::Relaxed);
        Queued(Arc::clone(queue))
    }
}

/// A message that waits for a place.
pub(super) struct Queued(Arc<AtomicUsize>);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

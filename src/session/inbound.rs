//! Passes the messages and replies of a link to handlers and callers.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    task::Context,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    dispatch::{Intake, Route, Routes, routes::Told},
    frame::{Frame, TypeCode},
    limits::budget::{EXEMPT, Share},
    link::{LinkEvent, MessageBatch, Reason, Sequenced},
    message::{
        Body, Incoming, IncomingBatch, Token,
        assembler::Assembler,
        body::Progress,
        credit::{Run, WindowShare},
    },
    node::Refusal,
    session::{
        buffers::BufferRetention,
        deliver::{Arrived, Deliveries, Delivery},
        pool::LinkPool,
        queue::{Broken, InPart, Queue},
        recv_stream::{Credit, RecvStream},
        send::cost_of,
        shared::Session,
        tick::{Tick, Ticks},
    },
    time::Later,
};

/// Processes the events of the state machine of one link.
pub(super) struct Inbound {
    session: Arc<Session>,
    links: Arc<LinkPool>,
    routes: LastRoute,
    retention: BufferRetention,
    /// Messages whose last part has not arrived.
    gathering: HashMap<u32, Gathering>,
    deliveries: Deliveries,
    /// Delivered messages that are not in the node's counter yet.
    uncounted: u64,
}

/// A message that arrives in parts.
enum Gathering {
    Whole {
        arrived: Arrived,
        gather: Assembler,
        share: Share,
        cost: u32,
        until: Instant,
    },
    Streamed {
        queue: Arc<Queue>,
        code: TypeCode,
        request: bool,
        left: usize,
        /// How long no part has arrived while the queue was empty.
        quiet: Ticks,
    },
}

impl Inbound {
    pub(super) fn new(session: Arc<Session>, links: Arc<LinkPool>) -> Self {
        Self {
            deliveries: Deliveries::new(Arc::clone(&session), Arc::clone(&links)),
            session,
            links,
            routes: LastRoute::default(),
            retention: BufferRetention::default(),
            gathering: HashMap::new(),
            uncounted: 0,
        }
    }

    /// The codes of the requests that handlers process.
    pub(super) fn serving(&self) -> Vec<TypeCode> {
        self.deliveries.serving()
    }

    /// Counts all received bytes.
    pub(super) const fn came(&mut self, bytes: u64) {
        self.retention.came(bytes);
    }

    pub(super) fn take(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Message { exchange, code, data, first, last, request, numbered, cost } => {
                let data = self.retention.keep(data);
                if !first {
                    return self.goes_on(exchange, data, last, cost);
                }
                // A proven id has one series, whatever the message says.
                let proven = self.session.sender.proven().is_some();
                let one =
                    |numbered| if proven { Sequenced { series: 0, ..numbered } } else { numbered };
                let arrived = Arrived { exchange, code, request, numbered: numbered.map(one) };
                if last {
                    self.whole(arrived, Frame::new(code, data), cost);
                } else {
                    self.begins(arrived, data, cost);
                }
            }
            LinkEvent::MessageBatch(messages) => {
                let messages = self.retention.keep_all(messages);
                self.one_ways(&messages);
            }
            LinkEvent::Reply { exchange, code, data, last, cost } => {
                let data = self.retention.keep(data);
                self.session.replied(exchange, InPart { code, data, last, cost });
            }
            LinkEvent::Acknowledged { exchange, sequence, level } => {
                self.session.ended(exchange, Some((sequence, level)), Ok(()));
            }
            LinkEvent::Ended { exchange } => self.session.ended(exchange, None, Ok(())),
            LinkEvent::Reset { exchange, reason } => {
                self.gave_up(exchange, reason);
                self.deliveries.cancel(exchange);
                self.session.ended(exchange, None, Err(reason));
            }
            LinkEvent::Abandoned { exchange, reason } => self.gave_up(exchange, reason),
            LinkEvent::Granted { bytes } => self.session.granted(bytes),
            LinkEvent::ReplyGranted { .. } => self.session.look_again(),
            LinkEvent::Refused { code, reason, messages } => {
                self.session.tell_refused(code, reason, messages);
            }
            LinkEvent::Leaving => {
                self.session.close_to_new();
                self.links.unlist(&self.session);
            }
            LinkEvent::Opened | LinkEvent::Closed { .. } => {}
        }
    }

    /// Drops an incomplete message whose exchange has ended.
    fn gave_up(&mut self, exchange: u32, reason: Reason) {
        match self.gathering.remove(&exchange) {
            Some(Gathering::Whole { cost, .. }) => self.session.consumed(cost),
            Some(Gathering::Streamed { queue, .. }) => {
                queue.end(Err(Broken { reason, sent: false, link: false }));
            }
            None => {}
        }
    }

    fn refuse(&mut self, arrived: &Arrived, refusal: Refusal, cost: u32) {
        match arrived.numbered {
            Some(numbered) => self.deliveries.refuse_once(arrived, numbered, refusal),
            None => {
                let Arrived { exchange, code, request, .. } = *arrived;
                self.session.refuse_one(exchange, code, request, refusal);
            }
        }
        self.session.consumed(cost);
    }

    /// Delivers a complete message.
    fn whole(&mut self, arrived: Arrived, frame: Frame, cost: u32) {
        let Some(route) = self.routes.find(&self.session.routes, arrived.code) else {
            return self.refuse(&arrived, Refusal::UnknownCode, cost);
        };
        self.uncounted += 1;
        if frame.data().len() > route.intake.limit() as usize {
            return self.refuse(&arrived, Refusal::TooLong, cost);
        }
        let (frame, body) = match route.intake {
            Intake::Whole(_) => (frame, None),
            Intake::Streamed(_) => (Frame::empty(frame.code()), Some(Box::new(Body::whole(frame)))),
        };
        let (route, window) = (route.clone(), WindowShare::new(self.session.window(), cost));
        self.deliver(Delivery { arrived, route, frame, body, window: Some(window) }, None);
    }

    fn deliver(&mut self, delivery: Delivery, progress: Option<Progress>) {
        self.flush();
        match delivery.arrived.numbered {
            Some(numbered) => self.deliveries.deliver_once(delivery, numbered),
            None => self.deliveries.deliver(delivery, progress),
        }
    }

    /// Delivers one-way messages that arrived together. This is the common case.
    fn one_ways(&mut self, messages: &MessageBatch) {
        let Self { session, routes, deliveries, uncounted, .. } = self;
        let code = messages.code();
        let direct = routes.find(&session.routes, code).and_then(|route| match route.intake {
            Intake::Whole(limit) if !deliveries.turns.waits(&route.handler) => {
                Some((&route.serve, limit))
            }
            Intake::Whole(_) | Intake::Streamed(_) => None,
        });
        let Some((serve, limit)) = direct else {
            for data in messages.payloads() {
                let arrived = Arrived { exchange: 0, code, request: false, numbered: None };
                let cost = cost_of(data.len());
                self.whole(arrived, Frame::new(code, data), cost);
            }
            return;
        };
        *uncounted += messages.count() as u64;
        let fits = |data: &[u8]| data.len() <= limit as usize;
        if serve.takes_batches() && messages.iter().all(fits) {
            let window = WindowShare::new(session.window(), messages.cost());
            let token = Token::new(None, Some(window));
            let batch = IncomingBatch::new(messages.clone(), session.sender.clone(), token);
            if let Err(refusal) = serve.tell_all(batch) {
                session.refuse_one_ways(0, code, refusal, messages.count());
            }
            return;
        }
        let mut run = Run::new(session.window());
        for data in messages.payloads() {
            let cost = cost_of(data.len());
            let held = run.add(cost).unwrap_or_else(|| {
                run = Run::new(session.window());
                run.add(cost).unwrap_or_else(|| WindowShare::new(session.window(), cost))
            });
            if !fits(&data) {
                session.refuse_one_ways(0, code, Refusal::TooLong, 1);
                continue;
            }
            match serve.tell(Incoming::over_link(Frame::new(code, data), held, None, None)) {
                Told::Delivered => {}
                Told::Refused(refusal) => session.refuse_one_ways(0, code, refusal, 1),
                Told::Serving(answer) => deliveries.discard((0, code), answer),
            }
        }
    }

    /// Adds the delivered messages to the node's counter.
    pub(super) fn flush(&mut self) {
        if self.uncounted > 0 {
            self.session.node.counters.exchanges_in.add(std::mem::take(&mut self.uncounted));
        }
    }

    /// Processes the first part of a message.
    fn begins(&mut self, arrived: Arrived, data: Bytes, cost: u32) {
        let Some(route) = self.routes.find(&self.session.routes, arrived.code).cloned() else {
            return self.refuse(&arrived, Refusal::UnknownCode, cost);
        };
        let (exchange, code) = (arrived.exchange, arrived.code);
        let intake = match route.intake {
            // If a streamed message broke off, its handler would have got a part of it, and it
            // could not be delivered again.
            Intake::Streamed(limit) if arrived.numbered.is_some() => Intake::Whole(limit),
            intake => intake,
        };
        match intake {
            Intake::Whole(limit) => {
                // More than the hello announced would not fit into the window.
                let limit = limit.min(self.session.limits.mine);
                let until = Instant::now().later(self.session.node.config.body_deadline(limit));
                let gather = Assembler::new(code, limit);
                let share = self.session.node.partial.share();
                let gathering = Gathering::Whole { arrived, gather, share, cost: 0, until };
                self.gathering.insert(exchange, gathering);
            }
            Intake::Streamed(limit) if data.len() > limit as usize => {
                return self.refuse(&arrived, Refusal::TooLong, cost);
            }
            Intake::Streamed(limit) => {
                self.uncounted += 1;
                let queue = Arc::new(Queue::default());
                let stream =
                    RecvStream::new(Arc::clone(&self.session), Arc::clone(&queue), Credit::Window)
                        .inside();
                let body = Body::coming((code, None), Box::new(stream));
                let progress = body.progress();
                let left = limit as usize;
                let request = arrived.request;
                let quiet = Ticks::default();
                let gathering = Gathering::Streamed { queue, code, request, left, quiet };
                self.gathering.insert(exchange, gathering);
                let frame = Frame::empty(code);
                let delivery =
                    Delivery { arrived, route, frame, body: Some(Box::new(body)), window: None };
                self.deliver(delivery, Some(progress));
            }
        }
        self.goes_on(exchange, data, false, cost);
    }

    /// Processes a further part of a message.
    fn goes_on(&mut self, exchange: u32, data: Bytes, last: bool, cost: u32) {
        match self.gathering.get_mut(&exchange) {
            Some(Gathering::Streamed { left, .. }) if data.len() > *left => {
                self.give_up(exchange, Refusal::TooLong);
                self.session.consumed(cost);
            }
            Some(Gathering::Streamed { queue, left, quiet, .. }) => {
                *left -= data.len();
                *quiet = Ticks::default();
                let part = InPart { code: TypeCode::REPL, data, last, cost };
                let unread = queue.push(part);
                if last {
                    queue.end(Ok(()));
                    self.gathering.remove(&exchange);
                }
                if let Some(part) = unread {
                    self.session.consumed(part.cost);
                }
            }
            Some(Gathering::Whole { gather, share, cost: costs, .. }) => {
                *costs += cost;
                let arrived = gather.len() + data.len();
                if arrived > EXEMPT && !share.try_cover(arrived) {
                    return self.give_up(exchange, Refusal::Busy);
                }
                match gather.push(&data, last) {
                    Ok(None) => {}
                    Ok(Some(frame)) => {
                        if let Some(Gathering::Whole { arrived, cost, .. }) =
                            self.gathering.remove(&exchange)
                        {
                            self.whole(arrived, frame, cost);
                        }
                    }
                    Err(_) => self.give_up(exchange, Refusal::TooLong),
                }
            }
            None => self.session.consumed(cost),
        }
    }

    /// Refuses an incomplete message.
    fn give_up(&mut self, exchange: u32, refusal: Refusal) {
        match self.gathering.remove(&exchange) {
            Some(Gathering::Whole { arrived, cost, .. }) => self.refuse(&arrived, refusal, cost),
            Some(Gathering::Streamed { queue, code, request, .. }) => {
                let reason = refusal.reason();
                queue.end(Err(Broken { reason, sent: false, link: false }));
                if refusal == Refusal::TooLong {
                    self.session.refuse_begun(exchange, code, request);
                } else {
                    self.session.refuse_one(exchange, code, request, refusal);
                }
            }
            None => {}
        }
    }

    /// Polls the running messages. True if one has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        self.deliveries.poll(cx)
    }

    /// Ends exchanges that have timed out: messages whose parts do not arrive, and handlers that do
    /// not answer.
    pub(crate) fn tick(&mut self, now: Instant, tick: &Tick) {
        let mut stalled = Vec::new();
        for (exchange, gathering) in &mut self.gathering {
            if let Gathering::Streamed { queue, request, quiet, .. } = gathering {
                queue.tick(tick.stall);
                // A request ends with its handler, which has a time-out of its own.
                if !*request && queue.is_empty() && quiet.count(tick.stall) {
                    stalled.push(*exchange);
                }
            }
        }
        self.deliveries.tick(tick);
        let late = self.gathering.iter().filter_map(|(exchange, gathering)| match gathering {
            Gathering::Whole { until, .. } if *until <= now => Some(*exchange),
            _ => None,
        });
        stalled.extend(late);
        for exchange in stalled {
            self.session.node.counters.errors_late.one();
            self.give_up(exchange, Refusal::HandlerLate);
        }
    }

    /// The number of incomplete messages.
    pub(super) fn incomplete(&self) -> usize {
        self.gathering.len()
    }

    /// Stores the sizes of its tables for [`LinkStatus`](super::LinkStatus).
    pub(super) fn note_sizes(&self) {
        self.session.incomplete.store(self.gathering.len(), Ordering::Relaxed);
        self.session.in_hand.store(self.deliveries.len(), Ordering::Relaxed);
    }

    /// Whether there is an operation with a time-out.
    pub(super) fn is_busy(&self) -> bool {
        !self.deliveries.is_empty() || !self.gathering.is_empty()
    }

    /// Ends all messages after the end of the link.
    pub(super) fn broken(&mut self, reason: Reason) {
        for (_, gathering) in self.gathering.drain() {
            if let Gathering::Streamed { queue, .. } = gathering {
                queue.end(Err(Broken { reason, sent: false, link: true }));
            }
        }
        self.deliveries.clear();
    }
}

/// Caches the route that was looked up last: consecutive messages often have the same code.
#[derive(Default)]
struct LastRoute {
    last: Option<(TypeCode, u64, Option<Route>)>,
}

impl LastRoute {
    fn find(&mut self, routes: &Routes, code: TypeCode) -> Option<&Route> {
        let version = routes.version();
        let known = |last: &(TypeCode, u64, _)| last.0 == code && last.1 == version;
        if !self.last.as_ref().is_some_and(known) {
            self.last = Some((code, version, routes.find(code)));
        }
        self.last.as_ref().and_then(|last| last.2.as_ref())
    }
}

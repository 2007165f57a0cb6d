//! Passes the messages and replies of a link to handlers and callers.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use crate::{
    dispatch::{Intake, Route, routes::Told},
    frame::{Frame, TypeCode},
    limits::budget::{EXEMPT, Share},
    link::{LinkEvent, MessageBatch, Reason, Sequenced},
    message::{
        Body, Incoming, IncomingBatch, Token,
        assembler::Assembler,
        credit::{Run, WindowShare},
    },
    node::Refusal,
    session::{
        Endpoint,
        buffers::BufferRetention,
        deliver::Delivery,
        recv_stream::{Broken, Credit, InPart, Queue, RecvStream},
        send::cost_of,
        served::Served,
        shared::Session,
        tick::Ticks,
        turns::Turns,
    },
    time::Later,
};

/// Processes the events of the state machine of one link.
pub(super) struct Inbound {
    pub(super) session: Arc<Session>,
    routes: LastRoute,
    retention: BufferRetention,
    /// Messages whose last part has not arrived.
    pub(super) gathering: HashMap<u32, Gathering>,
    /// Messages that handlers process.
    pub(super) running: FuturesUnordered<Served>,
    /// Messages that wait for their handler. Later messages for the same handler wait behind them.
    pub(super) turns: Turns<u64>,
    /// Delivered messages that are not in the node's counter yet.
    uncounted: u64,
}

/// A message that arrived, or its first part.
pub(super) struct Arrived {
    pub(super) exchange: u32,
    pub(super) code: TypeCode,
    pub(super) request: bool,
    pub(super) numbered: Option<Sequenced>,
}

/// A message that arrives in parts.
pub(super) enum Gathering {
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
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self {
            session,
            routes: LastRoute::default(),
            retention: BufferRetention::default(),
            gathering: HashMap::new(),
            running: FuturesUnordered::new(),
            turns: Turns::default(),
            uncounted: 0,
        }
    }

    /// The codes of the requests that handlers process.
    pub(super) fn serving(&self) -> Vec<TypeCode> {
        self.running.iter().filter_map(Served::request).collect()
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
                self.cancel(exchange);
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
                self.session.endpoint.links.unlist(&self.session);
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
            Some(numbered) => self.refuse_once(arrived, numbered, refusal),
            None => {
                let Arrived { exchange, code, request, .. } = *arrived;
                self.session.refuse_one(exchange, code, request, refusal);
            }
        }
        self.session.consumed(cost);
    }

    /// Delivers a complete message.
    fn whole(&mut self, arrived: Arrived, frame: Frame, cost: u32) {
        let Some(route) = self.routes.find(&self.session.endpoint, arrived.code) else {
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

    /// Delivers one-way messages that arrived together. This is the common case.
    fn one_ways(&mut self, messages: &MessageBatch) {
        let Self { session, routes, turns, uncounted, running, .. } = self;
        let code = messages.code();
        let direct = routes.find(&session.endpoint, code).and_then(|route| match route.intake {
            Intake::Whole(limit) if !turns.waits(&route.handler) => Some((&route.serve, limit)),
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
                // The answer is discarded.
                Told::Serving(answer) => {
                    running.push(Served::work(session, (0, code), false, answer.map(drop)));
                }
            }
        }
    }

    /// Adds the delivered messages to the node's counter.
    pub(super) fn flush(&mut self) {
        if self.uncounted > 0 {
            self.session.endpoint.counters.exchanges_in.add(std::mem::take(&mut self.uncounted));
        }
    }

    /// Processes the first part of a message.
    fn begins(&mut self, arrived: Arrived, data: Bytes, cost: u32) {
        let Some(route) = self.routes.find(&self.session.endpoint, arrived.code).cloned() else {
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
                let until = Instant::now().later(self.session.endpoint.config.body_deadline(limit));
                let gather = Assembler::new(code, limit);
                let share = self.session.endpoint.partial.share();
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
    pub(super) fn give_up(&mut self, exchange: u32, refusal: Refusal) {
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
        let mut some = false;
        while let Poll::Ready(Some(())) = self.running.poll_next_unpin(cx) {
            some = true;
        }
        if some {
            self.turns.sweep();
        }
        some
    }

    /// The number of incomplete messages.
    pub(super) fn incomplete(&self) -> usize {
        self.gathering.len()
    }

    /// Stores the sizes of its tables for [`LinkStatus`](crate::node::LinkStatus).
    pub(super) fn note_sizes(&self) {
        self.session.incomplete.store(self.gathering.len(), Ordering::Relaxed);
        self.session.in_hand.store(self.running.len(), Ordering::Relaxed);
    }

    /// Whether there is an operation with a time-out.
    pub(super) fn is_busy(&self) -> bool {
        !self.running.is_empty() || !self.gathering.is_empty()
    }

    /// Ends all messages after the end of the link.
    pub(super) fn broken(&mut self, reason: Reason) {
        for (_, gathering) in self.gathering.drain() {
            if let Gathering::Streamed { queue, .. } = gathering {
                queue.end(Err(Broken { reason, sent: false, link: true }));
            }
        }
        self.running = FuturesUnordered::new();
    }
}

/// Caches the route that was looked up last: consecutive messages often have the same code.
#[derive(Default)]
struct LastRoute {
    last: Option<(TypeCode, u64, Option<Route>)>,
}

impl LastRoute {
    fn find(&mut self, endpoint: &Endpoint, code: TypeCode) -> Option<&Route> {
        let version = endpoint.routes.version();
        let known = |last: &(TypeCode, u64, _)| last.0 == code && last.1 == version;
        if !self.last.as_ref().is_some_and(known) {
            self.last = Some((code, version, endpoint.routes.find(code)));
        }
        self.last.as_ref().and_then(|last| last.2.as_ref())
    }
}

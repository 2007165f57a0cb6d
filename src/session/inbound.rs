//! Passes the messages and replies of a link to handlers and callers.

use std::{
    sync::{Arc, atomic::Ordering},
    task::Context,
};

use bytes::Bytes;
use indexmap::IndexMap;
use tokio::time::Instant;

use crate::{
    dispatch::{Intake, Route, Routes, routes::Notified},
    fault_points::{FaultPoint, Sometimes, fault_point, reached},
    frame::{Frame, TypeCode},
    limits::budget::{EXEMPT, Share},
    link::{LinkEvent, MessageBatch, Reason, Sequenced},
    message::{
        Body, Incoming, IncomingBatch, MessageGuard,
        assembler::Assembler,
        body::Progress,
        credit::{MessageRun, WindowShare},
    },
    node::Refusal,
    session::{
        buffers::BufferRetention,
        deliver::{Deliveries, Delivery, MessageHead},
        exchange::InExchange,
        pool::LinkPool,
        queue::{ExchangeBroken, InPart, PartQueue},
        recv_stream::{CreditReturn, RecvStream},
        send::cost_of,
        state::Session,
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
    incomplete: IndexMap<u32, Incomplete>,
    deliveries: Deliveries,
    /// Delivered messages that are not in the node's counter yet.
    uncounted: u64,
}

/// A message that arrives in parts.
enum Incomplete {
    Whole {
        head: MessageHead,
        assembler: Assembler,
        share: Share,
        cost: u32,
        until: Instant,
    },
    Streamed {
        queue: Arc<PartQueue>,
        exchange: InExchange,
        left: usize,
        /// How long no part has arrived while the queue was empty.
        idle: Ticks,
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
            incomplete: IndexMap::new(),
            uncounted: 0,
        }
    }

    /// The codes of the requests that handlers process.
    pub(super) fn serving(&self) -> Vec<TypeCode> {
        self.deliveries.serving()
    }

    /// Counts all received bytes.
    pub(super) const fn count_received(&mut self, bytes: u64) {
        self.retention.count_received(bytes);
    }

    pub(super) fn on_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Message { exchange, code, data, first, last, request, numbered, cost } => {
                let data = self.retention.keep(data);
                if !first {
                    return self.on_part(exchange, data, last, cost);
                }
                // A proven id has one series, whatever the message says.
                let proven = self.session.sender.proven().is_some();
                let one = |sequenced| {
                    if proven { Sequenced { series: 0, ..sequenced } } else { sequenced }
                };
                let exchange = InExchange { id: exchange, code, request };
                let head = MessageHead { exchange, sequenced: numbered.map(one) };
                if last {
                    self.on_message(head, Frame::new(code, data), cost);
                } else {
                    self.on_first_part(head, data, cost);
                }
            }
            LinkEvent::MessageBatch(messages) => {
                let messages = self.retention.keep_all(messages);
                self.on_batch(&messages);
            }
            LinkEvent::Reply { exchange, code, data, last, cost } => {
                let data = self.retention.keep(data);
                self.session.on_reply_part(exchange, InPart { code, data, last, cost });
            }
            LinkEvent::Acknowledged { exchange, sequence, level } => {
                self.session.on_exchange_end(exchange, Some((sequence, level)), Ok(()));
            }
            LinkEvent::Ended { exchange } => self.session.on_exchange_end(exchange, None, Ok(())),
            LinkEvent::Reset { exchange, reason } => {
                self.discard_incomplete(exchange, reason);
                self.deliveries.cancel(exchange);
                self.session.on_exchange_end(exchange, None, Err(reason));
            }
            LinkEvent::Abandoned { exchange, reason } => self.discard_incomplete(exchange, reason),
            LinkEvent::Granted { bytes } => self.session.granted(bytes),
            LinkEvent::ReplyGranted { .. } => self.session.wake_waiters(),
            LinkEvent::Refused { code, reason, messages } => {
                self.session.report_refused(code, reason, messages);
            }
            LinkEvent::Leaving => {
                self.session.close_to_new();
                self.links.unlist(&self.session);
            }
            LinkEvent::Opened | LinkEvent::Closed { .. } => {}
        }
    }

    /// Drops an incomplete message whose exchange has ended.
    fn discard_incomplete(&mut self, exchange: u32, reason: Reason) {
        let incomplete = self.incomplete.swap_remove(&exchange);
        if incomplete.is_some() {
            reached(Sometimes::IncompleteMessageReceived);
        }
        match incomplete {
            Some(Incomplete::Whole { cost, .. }) => self.session.consumed(cost),
            Some(Incomplete::Streamed { queue, .. }) => {
                queue.end(Err(ExchangeBroken { reason, sent: false, link: false }));
            }
            None => {}
        }
    }

    fn refuse(&mut self, head: MessageHead, refusal: Refusal, cost: u32) {
        match head.sequenced {
            Some(sequenced) => self.deliveries.refuse_acked(head.exchange, sequenced, refusal),
            None => self.session.refuse_one(head.exchange, refusal),
        }
        self.session.consumed(cost);
    }

    /// Delivers a complete message.
    fn on_message(&mut self, head: MessageHead, frame: Frame, cost: u32) {
        let Some(route) = self.routes.find(&self.session.routes, head.exchange.code) else {
            return self.refuse(head, Refusal::UnknownCode, cost);
        };
        self.uncounted += 1;
        if frame.data().len() > route.intake.limit() as usize {
            return self.refuse(head, Refusal::TooLong, cost);
        }
        let (frame, body) = match route.intake {
            Intake::Whole(_) => (frame, None),
            Intake::Streamed(_) => (Frame::empty(frame.code()), Some(Box::new(Body::whole(frame)))),
        };
        let (route, window) = (route.clone(), WindowShare::new(self.session.window(), cost));
        self.deliver(Delivery { head, route, frame, body, window: Some(window) }, None);
    }

    fn deliver(&mut self, delivery: Delivery, progress: Option<Progress>) {
        self.flush_count();
        match delivery.head.sequenced {
            Some(sequenced) => self.deliveries.deliver_acked(delivery, sequenced),
            None => self.deliveries.deliver(delivery, progress),
        }
    }

    /// Delivers one-way messages that arrived together. This is the common case.
    fn on_batch(&mut self, messages: &MessageBatch) {
        let Self { session, routes, deliveries, uncounted, .. } = self;
        let code = messages.code();
        let exchange = InExchange::one_way(code);
        let direct = routes.find(&session.routes, code).and_then(|route| match route.intake {
            Intake::Whole(limit) if !deliveries.turns.is_waiting(&route.handler) => {
                Some((&route.serve, limit))
            }
            Intake::Whole(_) | Intake::Streamed(_) => None,
        });
        let Some((serve, limit)) = direct else {
            for data in messages.payloads() {
                let head = MessageHead { exchange, sequenced: None };
                let cost = cost_of(data.len());
                self.on_message(head, Frame::new(code, data), cost);
            }
            return;
        };
        *uncounted += messages.count() as u64;
        let fits = |data: &[u8]| data.len() <= limit as usize;
        if serve.takes_batches() && messages.iter().all(fits) {
            let window = WindowShare::new(session.window(), messages.cost());
            let guard = MessageGuard::new(None, Some(window));
            let batch = IncomingBatch::new(messages.clone(), session.sender.clone(), guard);
            if let Err(refusal) = serve.notify_batch(batch) {
                session.refuse_one_ways(exchange, refusal, messages.count());
            }
            return;
        }
        let mut run = MessageRun::new(session.window());
        for data in messages.payloads() {
            let cost = cost_of(data.len());
            let held = run.add(cost).unwrap_or_else(|| {
                run = MessageRun::new(session.window());
                run.add(cost).unwrap_or_else(|| WindowShare::new(session.window(), cost))
            });
            if !fits(&data) {
                session.refuse_one_ways(exchange, Refusal::TooLong, 1);
                continue;
            }
            match serve.notify(Incoming::over_link(Frame::new(code, data), held, None, None)) {
                Notified::Delivered => {}
                Notified::Refused(refusal) => session.refuse_one_ways(exchange, refusal, 1),
                Notified::Serving(answer) => deliveries.discard(exchange, answer),
            }
        }
    }

    /// Adds the delivered messages to the node's counter.
    pub(super) fn flush_count(&mut self) {
        if self.uncounted > 0 {
            self.session.node.counters.exchanges_in.add(std::mem::take(&mut self.uncounted));
        }
    }

    /// Processes the first part of a message.
    fn on_first_part(&mut self, head: MessageHead, data: Bytes, cost: u32) {
        let Some(route) = self.routes.find(&self.session.routes, head.exchange.code).cloned()
        else {
            return self.refuse(head, Refusal::UnknownCode, cost);
        };
        let InExchange { id, code, .. } = head.exchange;
        let intake = match route.intake {
            // If a streamed message broke off, its handler would have got a part of it, and it
            // could not be delivered again.
            Intake::Streamed(limit) if head.sequenced.is_some() => Intake::Whole(limit),
            intake => intake,
        };
        match intake {
            Intake::Whole(limit) => {
                // More than the hello announced would not fit into the window.
                let limit = limit.min(self.session.limits.own_whole);
                let until = Instant::now().later(self.session.node.config.body_deadline(limit));
                let assembler = Assembler::new(code, limit);
                let share = self.session.node.partial.share();
                let incomplete = Incomplete::Whole { head, assembler, share, cost: 0, until };
                self.incomplete.insert(id, incomplete);
            }
            Intake::Streamed(limit) if data.len() > limit as usize => {
                return self.refuse(head, Refusal::TooLong, cost);
            }
            Intake::Streamed(limit) => {
                self.uncounted += 1;
                let queue = Arc::new(PartQueue::default());
                let stream = RecvStream::new(
                    Arc::clone(&self.session),
                    Arc::clone(&queue),
                    CreditReturn::Window,
                )
                .inside();
                let body = Body::streamed(code, None, Box::new(stream));
                let progress = body.progress();
                let left = limit as usize;
                let exchange = head.exchange;
                let idle = Ticks::default();
                let incomplete = Incomplete::Streamed { queue, exchange, left, idle };
                self.incomplete.insert(id, incomplete);
                let frame = Frame::empty(code);
                let delivery =
                    Delivery { head, route, frame, body: Some(Box::new(body)), window: None };
                self.deliver(delivery, Some(progress));
            }
        }
        self.on_part(id, data, false, cost);
    }

    /// Processes a further part of a message.
    fn on_part(&mut self, exchange: u32, data: Bytes, last: bool, cost: u32) {
        match self.incomplete.get_mut(&exchange) {
            Some(Incomplete::Streamed { left, .. }) if data.len() > *left => {
                self.refuse_incomplete(exchange, Refusal::TooLong);
                self.session.consumed(cost);
            }
            Some(Incomplete::Streamed { queue, left, idle, .. }) => {
                *left -= data.len();
                *idle = Ticks::default();
                let part = InPart { code: TypeCode::REPL, data, last, cost };
                let unread = queue.push(part);
                if last {
                    queue.end(Ok(()));
                    self.incomplete.swap_remove(&exchange);
                }
                if let Some(part) = unread {
                    self.session.consumed(part.cost);
                }
            }
            Some(Incomplete::Whole { assembler, share, cost: costs, .. }) => {
                *costs += cost;
                let arrived = assembler.len() + data.len();
                if arrived > EXEMPT
                    && (fault_point(FaultPoint::NoMemoryForMessage) || !share.try_cover(arrived))
                {
                    return self.refuse_incomplete(exchange, Refusal::Busy);
                }
                match assembler.push(&data, last) {
                    Ok(None) => {}
                    Ok(Some(frame)) => {
                        if let Some(Incomplete::Whole { head, cost, .. }) =
                            self.incomplete.swap_remove(&exchange)
                        {
                            self.on_message(head, frame, cost);
                        }
                    }
                    Err(_) => self.refuse_incomplete(exchange, Refusal::TooLong),
                }
            }
            None => self.session.consumed(cost),
        }
    }

    /// Refuses an incomplete message.
    fn refuse_incomplete(&mut self, exchange: u32, refusal: Refusal) {
        match self.incomplete.swap_remove(&exchange) {
            Some(Incomplete::Whole { head, cost, .. }) => self.refuse(head, refusal, cost),
            Some(Incomplete::Streamed { queue, exchange, .. }) => {
                let reason = refusal.reason();
                queue.end(Err(ExchangeBroken { reason, sent: false, link: false }));
                if refusal == Refusal::TooLong {
                    self.session.refuse_begun(exchange);
                } else {
                    self.session.refuse_one(exchange, refusal);
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
        for (id, incomplete) in &mut self.incomplete {
            if let Incomplete::Streamed { queue, exchange, idle, .. } = incomplete {
                queue.tick(tick.stall);
                // A request ends with its handler, which has a time-out of its own.
                if !exchange.request && queue.is_empty() && idle.count(tick.stall) {
                    stalled.push(*id);
                }
            }
        }
        self.deliveries.tick(tick);
        let late = self.incomplete.iter().filter_map(|(id, incomplete)| match incomplete {
            Incomplete::Whole { until, .. } if *until <= now => Some(*id),
            _ => None,
        });
        stalled.extend(late);
        for exchange in stalled {
            self.session.node.counters.errors_late.one();
            self.refuse_incomplete(exchange, Refusal::HandlerLate);
        }
    }

    /// The number of incomplete messages.
    pub(super) fn incomplete_len(&self) -> usize {
        self.incomplete.len()
    }

    /// Stores the sizes of its tables for [`LinkStatus`](super::LinkStatus).
    pub(super) fn publish_sizes(&self) {
        self.session.incomplete.store(self.incomplete.len(), Ordering::Relaxed);
        self.session.in_hand.store(self.deliveries.len(), Ordering::Relaxed);
    }

    /// Whether a message waits for its handler.
    pub(super) fn is_delivering(&mut self) -> bool {
        self.deliveries.turns.is_any_waiting()
    }

    /// Whether there is an operation with a time-out.
    pub(super) fn is_busy(&self) -> bool {
        !self.deliveries.is_empty() || !self.incomplete.is_empty()
    }

    /// Ends all messages after the end of the link.
    pub(super) fn on_link_end(&mut self, reason: Reason) {
        if !self.incomplete.is_empty() {
            reached(Sometimes::IncompleteMessageReceived);
        }
        if !self.deliveries.is_empty() {
            reached(Session::ended_in_exchange(reason));
        }
        for (_, incomplete) in self.incomplete.drain(..) {
            if let Incomplete::Streamed { queue, .. } = incomplete {
                queue.end(Err(ExchangeBroken { reason, sent: false, link: true }));
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

//! Asking over a link: requests, whole or in parts, and messages that are to be acknowledged.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{
        Replies,
        exchange::{OutgoingHeld, OutgoingKind, Sending},
        links::{
            Line,
            beat::Beats,
            inflow::{Broken, Credit, Inflow, Queue},
            line::{State, Unsent},
            mailbag::Acked,
            send::{Failed, Payload, cost_of, send_parts},
        },
        parts::PartReader,
    },
    frame::{Frame, TypeCode},
    link::{Kind, Numbered, Refused},
};

/// An exchange of this side, as long as it is open.
pub(super) enum Asked {
    Request {
        code: TypeCode,
        queue: Arc<Queue>,
        /// Where in this side's output the request ends, once it is there.
        end: Option<u64>,
    },
    Numbered(Acked),
}

impl Asked {
    pub(super) fn end(self, end: Result<(), Broken>) {
        match self {
            Self::Request { queue, .. } => queue.end(end),
            Self::Numbered(acked) => acked.end(end),
        }
    }

    /// Counts a beat of waiting for the reply.
    pub(super) fn beat(&self, limit: Beats) {
        match self {
            Self::Request { queue, .. } => queue.beat(limit),
            // Its sender has a time limit of its own.
            Self::Numbered(_) => {}
        }
    }

    /// Whether all of it is within the first `written` bytes.
    pub(super) fn sent_before(&self, written: u64) -> bool {
        match self {
            Self::Request { end, .. } => end.is_some_and(|end| end <= written),
            Self::Numbered(_) => true,
        }
    }
}

/// Notes that a request was begun: replies go to `queue`.
fn open_request(
    state: &mut State,
    (exchange, code): (u32, TypeCode),
    queue: &Arc<Queue>,
    end: Option<u64>,
) {
    let queue = Arc::clone(queue);
    state.asked.insert(exchange, Asked::Request { code, queue, end });
}

/// Puts a request in one frame into the output.
fn begin_request(state: &mut State, frame: &Frame, queue: &Arc<Queue>) -> Result<u32, Refused> {
    let exchange = state.link.begin(frame.code(), frame.data(), Kind::Request, false)?;
    let end = state.link.said();
    open_request(state, (exchange, frame.code()), queue, Some(end));
    Ok(exchange)
}

impl Line {
    /// Sends a request. A frame is on its way when this is ready; of a body the first part is.
    pub(super) async fn ask(
        self: &Arc<Self>,
        message: OutgoingKind,
    ) -> Result<Replies, (Failed, Option<Frame>)> {
        let code = message.code();
        let queue = Arc::new(Queue::default());
        let sending = match message {
            OutgoingKind::Frame(frame) => {
                let asked = self.ask_frame(&frame, &queue).await;
                let exchange = asked.map_err(|failed| (failed, Some(frame)))?;
                (exchange, Sending::Done)
            }
            body @ OutgoingKind::Body { .. } => {
                self.ask_body(body, &queue).await.map_err(|failed| (failed, None))?
            }
        };
        let (exchange, sending) = sending;
        Ok(self.replies((exchange, code), queue, sending))
    }

    /// Sends a request in one frame, when there is nothing to wait for.
    pub(super) fn try_ask(self: &Arc<Self>, frame: &Frame) -> Option<Replies> {
        let len = frame.data().len();
        if len > self.limits.part {
            return None;
        }
        let slot = self.slots.try_acquire().ok()?;
        let paid = self.try_pay(cost_of(len))?;
        let queue = Arc::new(Queue::default());
        let exchange = self.try_put(|state| begin_request(state, frame, &queue))?.ok()?;
        paid.forget();
        slot.forget();
        Some(self.replies((exchange, frame.code()), queue, Sending::Done))
    }

    fn replies(
        self: &Arc<Self>,
        (exchange, code): (u32, TypeCode),
        queue: Arc<Queue>,
        sending: Sending,
    ) -> Replies {
        self.node.counters.exchanges_out.one();
        let inflow = Inflow::new(Arc::clone(self), queue, Credit::Exchange(exchange));
        let held = OutgoingHeld::on_link(&self.node);
        Replies::new(
            PartReader::Link(inflow),
            (sending, None),
            held,
            self.sender.address().clone(),
            code,
        )
    }

    async fn ask_frame(&self, frame: &Frame, queue: &Arc<Queue>) -> Result<u32, Failed> {
        let slot = self.slot().await?;
        if frame.data().len() <= self.limits.part {
            let paid = self.pay(cost_of(frame.data().len())).await?;
            let exchange = self.put(|state| begin_request(state, frame, queue)).await?;
            paid.forget();
            slot.forget();
            return Ok(exchange);
        }
        let data = Payload::Whole(frame.data().clone());
        let (mut slot, mut begun) = (Some(slot), None);
        let mut opened = |state: &mut State, exchange| {
            open_request(state, (exchange, frame.code()), queue, None);
            begun = Some(exchange);
            if let Some(slot) = slot.take() {
                slot.forget();
            }
        };
        let sent = send_parts(self, frame.code(), data, Kind::Request, &mut opened).await;
        match (sent, begun) {
            (Ok(exchange), _) => {
                self.complete(exchange);
                Ok(exchange)
            }
            // The replies say how the exchange ended.
            (Err(Failed::Unsent(Unsent::Over)), Some(exchange)) => Ok(exchange),
            (Err(failed), _) => Err(failed),
        }
    }

    /// Notes that all of a request is in the output.
    fn complete(&self, exchange: u32) {
        let mut state = self.lock();
        let said = state.link.said();
        if let Some(Asked::Request { end, .. }) = state.asked.get_mut(&exchange) {
            *end = Some(said);
        }
    }

    /// A task of its own sends the body, so that a callee that answers while it reads cannot bring
    /// both to a standstill.
    async fn ask_body(
        self: &Arc<Self>,
        body: OutgoingKind,
        queue: &Arc<Queue>,
    ) -> Result<(u32, Sending), Failed> {
        let stop = CancellationToken::new();
        let (begun, number) = oneshot::channel();
        let (tell, result) = oneshot::channel();
        let (line, queue, stopped) = (Arc::clone(self), Arc::clone(queue), stop.clone());
        // Gives the task up when this future is dropped before the exchange has begun.
        let sending = Sending::UnderWay { stop, result };
        let code = body.code();
        let write = async move {
            let mut begun = Some(begun);
            let send = async {
                let mut slot = Some(line.slot().await?);
                let mut opened = |state: &mut State, exchange| {
                    open_request(state, (exchange, code), &queue, None);
                    if let Some(slot) = slot.take() {
                        slot.forget();
                    }
                    // Without a listener the task is stopped.
                    begun.take().map(|begun| begun.send(Ok(exchange)).ok());
                };
                send_parts(&line, code, body.into(), Kind::Request, &mut opened).await
            };
            let sent = stopped.run_until_cancelled(send).await;
            let error = match sent {
                Some(Ok(exchange)) => {
                    line.complete(exchange);
                    None
                }
                Some(Err(failed)) => match begun.take() {
                    Some(begun) => {
                        begun.send(Err(failed)).ok();
                        None
                    }
                    None => match failed {
                        Failed::Source(error) => Some(error),
                        // The replies say how the exchange ended.
                        Failed::Unsent(_) => None,
                    },
                },
                None => None,
            };
            let failed = error.is_some();
            // Nobody listens when the replies were dropped.
            tell.send(error).ok();
            if failed {
                queue.end(Ok(()));
            }
        };
        self.node.spawn(self.node.until_cut(write));
        match number.await {
            Ok(Ok(exchange)) => Ok((exchange, sending)),
            Ok(Err(failed)) => Err(failed),
            Err(_) => Err(Failed::Unsent(Unsent::Over)),
        }
    }
}

impl Line {
    /// Sends a message that is to be acknowledged.
    pub(super) async fn ask_numbered(
        &self,
        frame: &Frame,
        numbered: Numbered,
        acked: Acked,
    ) -> Result<(), Unsent> {
        let (mut slot, mut acked) = (Some(self.slot().await?), Some(acked));
        let mut opened = |state: &mut State, exchange| {
            if let Some(acked) = acked.take() {
                state.asked.insert(exchange, Asked::Numbered(acked));
            }
            if let Some(slot) = slot.take() {
                slot.forget();
            }
        };
        let (data, kind) = (Payload::Whole(frame.data().clone()), Kind::Numbered(numbered));
        match send_parts(self, frame.code(), data, kind, &mut opened).await {
            Ok(_) => Ok(()),
            Err(Failed::Unsent(unsent)) => Err(unsent),
            // A frame is no source that could fail.
            Err(Failed::Source(_)) => Err(Unsent::Over),
        }
    }
}

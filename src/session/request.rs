//! Sends requests, whole or in parts, and acknowledged messages over a link.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    fault_points::{FaultPoint, fault_point},
    frame::{Frame, TypeCode},
    link::{ExchangeKind, Refused, Sequenced},
    message::{
        Replies,
        outgoing::{OutgoingHeld, OutgoingKind, Sending},
        payload::Payload,
    },
    session::{
        exchange::{AckWaiter, OutExchange},
        queue::PartQueue,
        recv_stream::{CreditReturn, RecvStream},
        send::{PartsError, SendFailure, cost_of, send_parts},
        state::{Session, SessionState, Unsent},
    },
};

/// Registers a request whose first frame is in the output. Replies go to `queue`.
fn open_request(state: &mut SessionState, exchange: u32, code: TypeCode, queue: &Arc<PartQueue>) {
    let (queue, begun) = (Arc::clone(queue), state.link.total_output());
    state.exchanges.insert(exchange, OutExchange::Request { code, queue, begun });
}

/// Adds a request of one frame to the output.
fn begin_request(
    state: &mut SessionState,
    frame: &Frame,
    queue: &Arc<PartQueue>,
) -> Result<u32, Refused> {
    if !state.link.allows(frame.code(), frame.data().len()) {
        return Err(Refused::TooLong);
    }
    let exchange = state.link.begin(frame.code(), frame.data(), ExchangeKind::Request, false)?;
    open_request(state, exchange, frame.code(), queue);
    Ok(exchange)
}

impl Session {
    /// Sends a request, and waits for credit no longer than `limit`. Completes when the frame, or
    /// the first part of a body, is in the output.
    pub(crate) async fn request(
        self: &Arc<Self>,
        message: OutgoingKind,
        limit: Duration,
    ) -> Result<Replies, SendFailure> {
        self.check_length(&message)?;
        let code = message.code();
        let queue = Arc::new(PartQueue::default());
        let (exchange, sending) = match message {
            OutgoingKind::Frame(frame) => {
                (self.request_frame(frame, &queue, limit).await?, Sending::Done)
            }
            body @ OutgoingKind::Body { .. } => self.request_body(body, &queue, limit).await?,
        };
        Ok(self.replies(exchange, code, queue, sending))
    }

    /// Sends a request of one frame, if that is possible without waiting.
    pub(crate) fn try_request(self: &Arc<Self>, frame: &Frame) -> Option<Replies> {
        let len = frame.data().len();
        if len > self.limits.part || fault_point(FaultPoint::NoRoomAtOnce) {
            return None;
        }
        let slot = self.request_permits.try_acquire().ok()?;
        let paid = self.try_pay(cost_of(len))?;
        let queue = Arc::new(PartQueue::default());
        let exchange = self.try_enqueue(|state| begin_request(state, frame, &queue))?.ok()?;
        paid.spend();
        slot.forget();
        Some(self.replies(exchange, frame.code(), queue, Sending::Done))
    }

    fn replies(
        self: &Arc<Self>,
        exchange: u32,
        code: TypeCode,
        queue: Arc<PartQueue>,
        sending: Sending,
    ) -> Replies {
        self.node.counters.exchanges_out.one();
        let stream = RecvStream::new(Arc::clone(self), queue, CreditReturn::Exchange(exchange));
        let held = OutgoingHeld::on_link(&self.node);
        Replies::new(Box::new(stream), (sending, None), held, self.sender.address().clone(), code)
    }

    async fn request_frame(
        &self,
        frame: Frame,
        queue: &Arc<PartQueue>,
        limit: Duration,
    ) -> Result<u32, SendFailure> {
        let mut begun = false;
        let send = async {
            let slot = self.request_permit().await?;
            if frame.data().len() <= self.limits.part {
                let paid = self.pay(cost_of(frame.data().len())).await?;
                let exchange = self.enqueue(|state| begin_request(state, &frame, queue)).await?;
                paid.spend();
                slot.forget();
                return Ok(exchange);
            }
            let data = Payload::Whole(frame.data().clone());
            let mut slot = Some(slot);
            let mut ended = None;
            let mut opened = |state: &mut SessionState, exchange| {
                open_request(state, exchange, frame.code(), queue);
                (begun, ended) = (true, Some(exchange));
                if let Some(slot) = slot.take() {
                    slot.forget();
                }
            };
            match send_parts(self, frame.code(), data, ExchangeKind::Request, &mut opened).await {
                // The replies report how the exchange ended.
                Err(PartsError::Unsent(Unsent::Over)) => ended.ok_or(Unsent::Gone.into()),
                sent => sent,
            }
        };
        match timeout(limit, send).await {
            Ok(Ok(exchange)) => Ok(exchange),
            Ok(Err(PartsError::Unsent(_))) => Err(SendFailure::Gone(Some(frame))),
            Ok(Err(PartsError::Source(unwritten))) => Err(SendFailure::Source(unwritten)),
            Err(_) if begun => Err(SendFailure::Late),
            Err(_) => Err(SendFailure::NoCredit(limit)),
        }
    }

    /// Sends a body in a separate task, so that there is no deadlock with a callee that answers
    /// while it reads.
    async fn request_body(
        self: &Arc<Self>,
        body: OutgoingKind,
        queue: &Arc<PartQueue>,
        limit: Duration,
    ) -> Result<(u32, Sending), SendFailure> {
        let stopped = CancellationToken::new();
        let (begun, mut number) = oneshot::channel();
        let (sender, result) = oneshot::channel();
        let (session, queue) = (Arc::clone(self), Arc::clone(queue));
        // Stops the task if this future is dropped before the exchange has begun.
        let stop = stopped.clone().drop_guard();
        let code = body.code();
        let write = async move {
            let mut begun = Some(begun);
            let send = async {
                let mut slot = Some(session.request_permit().await?);
                let mut opened = |state: &mut SessionState, exchange| {
                    open_request(state, exchange, code, &queue);
                    if let Some(slot) = slot.take() {
                        slot.forget();
                    }
                    // The send fails only if the task is being stopped.
                    begun.take().map(|begun| begun.send(Ok(exchange)).ok());
                };
                send_parts(
                    &session,
                    code,
                    session.payload(body),
                    ExchangeKind::Request,
                    &mut opened,
                )
                .await
            };
            let sent = stopped.run_until_cancelled(send).await;
            let error = match (sent, begun.take()) {
                (Some(Err(stopped)), Some(begun)) => {
                    begun.send(Err(stopped)).ok();
                    None
                }
                (Some(Err(PartsError::Source(unwritten))), None) => Some(unwritten),
                // The replies report how the exchange ended.
                (Some(Err(PartsError::Unsent(_)) | Ok(_)) | None, _) => None,
            };
            let failed = error.is_some();
            // The send fails only if the replies were dropped.
            sender.send(error).ok();
            if failed {
                queue.end(Ok(()));
            }
        };
        self.node.spawn(self.node.until_aborted(write));
        let begun = match timeout(limit, &mut number).await {
            // The sender is dropped without a result only if the node aborted.
            Ok(begun) => begun.map_err(|_| SendFailure::Gone(None))?,
            Err(_) => {
                // The exchange may begin at this moment: wait for the end of the task to know.
                drop(stop);
                result.await.ok();
                let begun = matches!(number.try_recv(), Ok(Ok(_)));
                return Err(if begun { SendFailure::Late } else { SendFailure::NoCredit(limit) });
            }
        };
        match begun {
            Ok(exchange) => Ok((exchange, Sending::UnderWay { stop: stop.disarm(), result })),
            Err(PartsError::Source(unwritten)) => Err(SendFailure::Source(unwritten)),
            Err(PartsError::Unsent(_)) => Err(SendFailure::Gone(None)),
        }
    }
}

impl Session {
    /// Sends an acknowledged message.
    pub(crate) async fn send_sequenced(
        &self,
        frame: &Frame,
        sequenced: Sequenced,
        acked: Box<dyn AckWaiter>,
    ) -> Result<(), Unsent> {
        let (mut slot, mut acked) = (Some(self.request_permit().await?), Some(acked));
        let mut opened = |state: &mut SessionState, exchange| {
            if let Some(acked) = acked.take() {
                state.exchanges.insert(exchange, OutExchange::Sequenced(acked));
            }
            if let Some(slot) = slot.take() {
                slot.forget();
            }
        };
        let (data, kind) =
            (Payload::Whole(frame.data().clone()), ExchangeKind::Sequenced(sequenced));
        match send_parts(self, frame.code(), data, kind, &mut opened).await {
            Ok(_) => Ok(()),
            Err(PartsError::Unsent(unsent)) => Err(unsent),
            // Not reached: reading a frame cannot fail.
            Err(PartsError::Source(_)) => Err(Unsent::Over),
        }
    }
}

//! The callee's side of a classic exchange ([protocol](crate::protocol#classic-exchanges)).

use std::{fmt, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    classic::{
        phase::{Phase, PhaseEvent},
        reader::FrameReader,
        writer::FrameWriter,
    },
    dispatch::{
        Routes,
        reply::{ReplyStop, answered, send_reply},
        routes::{Intake, Route},
    },
    frame::{Frame, FrameHead, Part, TypeCode},
    limits::{Misbehavior, throttle::Throttle},
    message::{
        Body, Incoming, MessageGuard, ReadError, Reply, Sender, body::Progress, error::WriteError,
        source::Lent,
    },
    node::{AbortedExchange, Direction, Node, Refusal, log::Sanitized},
    overlay::{Address, PeerId},
    transport::{ReadHalf, WriteHalf},
};

/// The bytes that are read and discarded after the reply. Closing with unread data would send a
/// reset, which can destroy the reply in transit.
const DRAIN_BYTES: usize = 64 << 10; // bytes

/// The time-out of that.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// One accepted connection whose header is complete.
pub(crate) struct Server {
    node: Arc<Node>,
    routes: Arc<Routes>,
    remote: Address,
    proven: Option<PeerId>,
    phase: Phase,
    head: FrameHead,
    reader: Option<FrameReader>,
    back: Option<oneshot::Receiver<FrameReader>>,
    writer: FrameWriter,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("head", &self.head)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// The exchange ended early. The reason was counted and traced where it was detected.
struct Broken;

impl Server {
    /// An exchange that begins with the bytes in `first`. `None` if they are less than a header.
    pub(crate) fn new(
        reader: ReadHalf,
        writer: WriteHalf,
        first: BytesMut,
        remote: Address,
        proven: Option<PeerId>,
        node: Arc<Node>,
        routes: Arc<Routes>,
    ) -> Option<Self> {
        let throttle = Throttle::new(&node.meters, &remote, node.config.keep_alive);
        let reader = FrameReader::new(reader, first, node.config.stall_timeout, Arc::clone(&node));
        let reader = reader.throttled(throttle);
        Some(Self {
            head: reader.peek_head()?,
            remote,
            proven,
            phase: Phase::Waiting,
            reader: Some(reader),
            back: None,
            writer: FrameWriter::new(writer, Arc::clone(&node)),
            node,
            routes,
        })
    }

    pub(crate) const fn code(&self) -> TypeCode {
        self.head.code()
    }

    /// Runs the exchange to its end. Dropping the future closes the connection.
    pub(crate) async fn run(mut self: Box<Self>) {
        self.step(PhaseEvent::Header);
        self.node.counters.exchanges_in.one();
        let limit = self.node.config.exchange_timeout;
        let end = match timeout(limit, self.exchange()).await {
            Ok(Ok(())) => PhaseEvent::Drained,
            Ok(Err(Broken)) => PhaseEvent::Broken,
            Err(_) => {
                self.node.counters.errors_late.one();
                tracing::debug!(code = %self.head.code(), error = "exchange too long", "connection broken");
                PhaseEvent::Broken
            }
        };
        self.step(end);
    }

    fn step(&mut self, event: PhaseEvent) {
        if let Some(next) = self.phase.next(event) {
            tracing::trace!(phase = ?next, event = ?event, code = %self.head.code(), len = self.head.len(), "phase");
            self.phase = next;
        } else {
            debug_assert!(false, "{event:?} in {:?}", self.phase);
        }
    }

    async fn exchange(&mut self) -> Result<(), Broken> {
        let route = self.routes.find(self.head.code());
        let internal = route.as_ref().is_some_and(|route| route.internal);
        let abort = self.node.abort.clone();
        // Each step is boxed and freed at its end, so that an exchange that waits for a body does
        // not hold the memory for a reply.
        let request = Box::pin(self.request(route));
        let refusal = match abort.run_until_cancelled(request).await.transpose()? {
            Some(Ok(reply)) => {
                self.step(PhaseEvent::Answered);
                Box::pin(self.reply(reply, internal)).await?
            }
            None => {
                self.step(PhaseEvent::Refused);
                self.report_aborted();
                Some(Refusal::Stopping)
            }
            Some(Err(refusal)) => {
                self.refuse(refusal);
                Some(refusal)
            }
        };
        Box::pin(self.close(refusal)).await?;
        self.step(PhaseEvent::Written);
        // An aborted exchange does not wait for the other side.
        abort.run_until_cancelled(Box::pin(self.drain())).await;
        Ok(())
    }

    fn report_aborted(&self) {
        let (peer, code) = (self.remote.clone(), Some(self.head.code()));
        self.node.report_aborted(AbortedExchange { direction: Direction::In, peer, code });
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.step(PhaseEvent::Refused);
        self.node.refuse(&self.remote, Some(self.head.code()), refusal);
        if let Some(what) = refusal.offence(self.code()) {
            self.offended(what);
        }
    }

    fn offended(&self, what: Misbehavior) {
        self.node.offended(&self.remote, self.proven.as_ref(), what);
    }

    /// Receives the request and passes it to its handler.
    async fn request(&mut self, route: Option<Route>) -> Result<Result<Reply, Refusal>, Broken> {
        if self.proven.is_none() && !self.node.serves_unproven() {
            return Ok(Err(Refusal::NoTls));
        }
        if !self.reader.as_ref().is_some_and(FrameReader::is_within_rate) {
            self.node.counters.requests_too_fast.one();
            self.offended(Misbehavior::TooFast);
            return Ok(Err(Refusal::Busy));
        }
        let Some(route) = route else {
            return Ok(Err(Refusal::UnknownCode));
        };
        if self.head.len() > route.intake.limit() {
            return Ok(Err(Refusal::TooLong));
        }
        let whole = match route.intake {
            Intake::Whole(_) => Some(self.receive().await?),
            Intake::Streamed(_) => None,
        };
        let permits = self.node.permits(&route.permits).await;
        self.reader.iter_mut().for_each(FrameReader::release_share);
        let Some(permits) = permits else {
            return Ok(Err(Refusal::Busy));
        };
        let guard = MessageGuard::new(Some(Arc::clone(&permits)), None);
        let sender = Sender::classic(self.remote.clone(), self.proven.clone());
        let (incoming, progress) = match whole {
            Some(frame) => (Incoming::new(frame, sender, None, guard), None),
            None => {
                let (body, progress) = self.stream().await?;
                (
                    Incoming::new(
                        Frame::empty(self.head.code()),
                        sender,
                        Some(Box::new(body)),
                        guard,
                    ),
                    Some(progress),
                )
            }
        };
        self.step(PhaseEvent::Ready);
        let limit = self.node.config.handler_timeout;
        let answer = answered(limit, route.call(incoming), progress).await;
        drop(permits);
        Ok(answer)
    }

    /// Receives the data whole, with a time-out that single bytes do not renew.
    async fn receive(&mut self) -> Result<Frame, Broken> {
        let limit = self.node.config.body_deadline(self.head.len());
        let Some(reader) = self.reader.as_mut() else {
            return Err(Broken);
        };
        reader.reserve_whole(self.head.len());
        let receive = async {
            match reader.part().await? {
                Some(Part::Frame(frame)) => Ok(Some(frame)),
                Some(Part::Head(head)) => reader.rest(head).await.map(Some),
                Some(Part::Piece { .. }) | None => Ok(None),
            }
        };
        match timeout(limit, receive).await {
            Ok(Ok(Some(frame))) => Ok(frame),
            Ok(Ok(None)) => Err(Broken),
            Ok(Err(error)) => {
                self.offended(Misbehavior::Truncated);
                Err(self.broken(&error))
            }
            Err(_) => {
                self.node.counters.errors_late.one();
                self.offended(Misbehavior::Late);
                Err(self.broken(&ReadError::Late(limit)))
            }
        }
    }

    /// Moves the read half into a body.
    async fn stream(&mut self) -> Result<(Body, Progress), Broken> {
        let Some(mut reader) = self.reader.take() else {
            return Err(Broken);
        };
        if self.head.len() == 0 {
            let empty = reader.part().await;
            self.reader = Some(reader);
            return match empty {
                Ok(_) => Ok((Body::whole(Frame::empty(self.head.code())), Progress::default())),
                Err(error) => Err(self.broken(&error)),
            };
        }
        reader.split_into_pieces();
        match reader.part().await {
            Ok(Some(Part::Head(head))) => {
                let (lender, back) = oneshot::channel();
                self.back = Some(back);
                let lent = Lent::new(reader.revocable(), lender);
                let body = Body::streamed(head.code(), Some(head.len()), Box::new(lent));
                let progress = body.progress();
                Ok((body, progress))
            }
            Ok(_) => Err(Broken),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn broken(&self, error: &dyn fmt::Display) -> Broken {
        tracing::debug!(phase = ?self.phase, error = %Sanitized(error), "connection broken");
        Broken
    }

    /// Writes the reply of the handler. Returns the refusal that takes the place of its rest.
    async fn reply(&mut self, reply: Reply, internal: bool) -> Result<Option<Refusal>, Broken> {
        match send_reply(&mut self.writer, reply, internal).await {
            Ok(()) => Ok(None),
            Err(ReplyStop::Refused(refusal)) => {
                match refusal {
                    Refusal::Stopping => self.report_aborted(),
                    _ => self.node.refuse(&self.remote, Some(self.head.code()), refusal),
                }
                Ok(Some(refusal))
            }
            Err(ReplyStop::Failed(error)) => Err(self.unwritten(&error)),
        }
    }

    /// Writes the refusal, if there is one, and closes the write half.
    async fn close(&mut self, refusal: Option<Refusal>) -> Result<(), Broken> {
        let close = async {
            if let Some(refusal) = refusal {
                if self.node.explains() {
                    self.writer.feed(&refusal.to_frame()).await?;
                }
                self.writer.flush().await?;
            }
            self.writer.shutdown().await
        };
        close.await.map_err(|error| self.unwritten(&error))
    }

    fn unwritten(&self, error: &WriteError) -> Broken {
        match error {
            WriteError::Stalled(_) => self.node.counters.errors_stalled.one(),
            WriteError::Source { .. } => {
                self.node.refuse(&self.remote, Some(self.head.code()), Refusal::HandlerFailed);
            }
            // The caller may not wait for replies and may have closed already
            // (src/protocol.md#one-way-messages).
            WriteError::Io(_) => {}
        }
        self.broken(error)
    }

    async fn drain(&mut self) {
        let reader = match (self.reader.take(), self.back.take()) {
            (Some(reader), _) => Some(reader),
            (None, Some(back)) => match timeout(DRAIN_TIME, back).await {
                Ok(Ok(reader)) => Some(reader),
                _ => None,
            },
            (None, None) => None,
        };
        if let Some(mut reader) = reader {
            // A peer that still sends after this time is disconnected.
            timeout(DRAIN_TIME, reader.drain(DRAIN_BYTES)).await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn len<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_waits_for_its_request_holds_no_memory_for_the_reply() {
        let request = |this: &'static mut Server| this.request(None);
        let waits = len(Server::run) + len(request) + size_of::<Server>();
        assert!(waits <= 1_400, "{waits} bytes");
    }
}

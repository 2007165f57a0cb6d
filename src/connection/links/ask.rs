//! Sending over a link: one-way messages and requests, whole or in parts.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::oneshot,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{
        Replies, RequestError,
        exchange::{OutgoingHeld, OutgoingKind, Sending},
        links::{
            Line,
            acked::Acked,
            beat::Beats,
            inflow::{Broken, Credit, Inflow, Queue},
            line::{State, Unsent},
        },
        parts::PartReader,
        writer::WriteError,
    },
    frame::{Frame, TypeCode},
    link::{Kind, Link, NUMBERED_LEN, Numbered, Reason, Refused},
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

/// Why a message did not go out in full, with what its source has to do with it.
#[derive(Debug)]
pub(super) enum Failed {
    Unsent(Unsent),
    Source(WriteError),
}

impl From<Unsent> for Failed {
    fn from(unsent: Unsent) -> Self {
        Self::Unsent(unsent)
    }
}

/// The data of a message, part by part.
enum Payload {
    Whole(Bytes),
    Body { left: u32, len: u32, reader: Box<dyn AsyncRead + Send + Unpin> },
}

impl Payload {
    const fn len(&self) -> usize {
        match self {
            Self::Whole(data) => data.len(),
            Self::Body { left, .. } => *left as usize,
        }
    }

    /// The next part, of at most `max` bytes.
    async fn next(&mut self, max: usize, line: &Line) -> Result<Bytes, WriteError> {
        let (reader, left, len) = match self {
            Self::Whole(data) => return Ok(data.split_to(max.min(data.len()))),
            Self::Body { left: 0, .. } => return Ok(Bytes::new()),
            Self::Body { left, len, reader } => (reader, left, *len),
        };
        let want = u64::from(*left).min(max as u64);
        let mut part = BytesMut::with_capacity(usize::try_from(want).unwrap_or(max));
        let patience = line.node.config.handler_timeout;
        let mut source = (&mut *reader).take(want);
        let read = timeout(patience, source.read_buf(&mut part)).await;
        let failed = |source| WriteError::Source {
            got: u64::from(len - *left),
            len: u64::from(len),
            source,
        };
        match read.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(0) => Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(n) => {
                *left -= u32::try_from(n).unwrap_or(*left);
                Ok(part.freeze())
            }
            Err(error) => Err(failed(error)),
        }
    }
}

impl From<OutgoingKind> for Payload {
    fn from(kind: OutgoingKind) -> Self {
        match kind {
            OutgoingKind::Frame(frame) => Self::Whole(frame.into_data()),
            OutgoingKind::Body { len, reader, .. } => Self::Body { left: len, len, reader },
        }
    }
}

/// An exchange whose message is not complete: given up when it is dropped.
struct Unfinished<'a>(&'a Line, u32);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.give_up(self.1, Reason::CANCELLED);
    }
}

/// What begins with the first part of a message: the exchange is open from then on.
type Opened<'a> = &'a mut (dyn FnMut(&mut State, u32) + Send);

/// Sends a message in as many parts as it needs. What the other side may have to hold whole is paid
/// for before it begins, so that two of them cannot stop each other half-way.
async fn send_parts(
    line: &Line,
    code: TypeCode,
    mut data: Payload,
    kind: Kind,
    opened: Opened<'_>,
) -> Result<u32, Failed> {
    let part = line.limits.part;
    let whole = u32::try_from(data.len()).ok().filter(|len| *len <= line.limits.whole);
    // The numbers of a message that is to be acknowledged are a part of its first frame.
    let mut numbers = if let Kind::Numbered(_) = kind { NUMBERED_LEN } else { 0 };
    let mut paid = match whole {
        Some(len) => Some(line.pay(cost_in_parts(len, part, numbers)).await?),
        None => None,
    };
    let mut unfinished: Option<Unfinished<'_>> = None;
    loop {
        let room = part.saturating_sub(numbers).max(1);
        let bytes = data.next(room, line).await.map_err(Failed::Source)?;
        let more = data.len() > 0;
        let cost = cost_of(bytes.len() + std::mem::take(&mut numbers));
        let share = match paid.as_mut().and_then(|paid| paid.split(cost as usize)) {
            Some(share) => share,
            None => line.pay_part(cost).await?,
        };
        let exchange = match &unfinished {
            None => {
                let begin = |state: &mut State| {
                    let exchange = state.link.begin(code, &bytes, kind, more)?;
                    opened(state, exchange);
                    Ok(exchange)
                };
                line.put(begin).await?
            }
            Some(Unfinished(_, exchange)) => {
                let exchange = *exchange;
                line.put(|state| state.link.go_on(exchange, code, &bytes, more)).await?;
                exchange
            }
        };
        share.forget();
        if !more {
            // What stays open now waits for its replies.
            std::mem::forget(unfinished);
            return Ok(exchange);
        }
        unfinished.get_or_insert_with(|| Unfinished(line, exchange));
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

fn cost_of(len: usize) -> u32 {
    Link::cost(u32::try_from(len).unwrap_or(u32::MAX))
}

/// The credit for `len` bytes in parts of at most `part`; parts of a body may be shorter, then
/// the rest pays as it goes.
fn cost_in_parts(len: u32, part: usize, numbers: usize) -> u32 {
    let len = len as usize + numbers;
    let headers = len.div_ceil(part).max(1) * Link::cost(0) as usize;
    u32::try_from(len + headers).unwrap_or(u32::MAX)
}

impl Line {
    /// Sends a one-way message. Ready when it is on its way: nothing more is waited for than credit
    /// and room. A frame that finds the link gone is given back.
    pub(super) async fn tell(&self, message: OutgoingKind) -> Result<(), (Failed, Option<Frame>)> {
        let frame = match message {
            OutgoingKind::Frame(frame) => frame,
            body @ OutgoingKind::Body { .. } => {
                return self.tell_parts(body).await.map_err(|failed| (failed, None));
            }
        };
        if frame.data().len() <= self.limits.part {
            self.tell_short(&frame).await.map_err(|unsent| (unsent.into(), Some(frame)))
        } else {
            let message = OutgoingKind::Frame(frame.clone());
            self.tell_parts(message).await.map_err(|failed| (failed, Some(frame)))
        }
    }

    /// Sends a one-way message in one frame, when there is nothing to wait for.
    pub(super) fn try_tell(&self, frame: &Frame) -> bool {
        let len = frame.data().len();
        if len > self.limits.part {
            return false;
        }
        let Some(paid) = self.try_pay(cost_of(len)) else { return false };
        let told = self.try_put(|state| state.link.one_way(frame.code(), frame.data()));
        let told = told.is_some_and(|told| told.is_ok());
        if told {
            paid.forget();
        }
        told
    }

    async fn tell_short(&self, frame: &Frame) -> Result<(), Unsent> {
        let paid = self.pay(cost_of(frame.data().len())).await?;
        self.put(|state| state.link.one_way(frame.code(), frame.data())).await?;
        paid.forget();
        Ok(())
    }

    async fn tell_parts(&self, message: OutgoingKind) -> Result<(), Failed> {
        let code = message.code();
        send_parts(self, code, message.into(), Kind::OneWay, &mut |_, _| {}).await.map(drop)
    }

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
        self.node.tasks.spawn(async move {
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
        });
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

impl Failed {
    /// As the caller's error, when nothing else can be tried.
    pub(super) fn into_error(self, line: &Line) -> RequestError {
        match self {
            Self::Unsent(Unsent::Gone | Unsent::Over) => {
                RequestError::Reset { reason: Reason::LOST, sent: false }
            }
            Self::Source(error) => RequestError::not_written(line.sender.address().clone(), error),
        }
    }
}

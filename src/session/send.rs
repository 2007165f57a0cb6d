//! Sends one-way messages, and messages in parts, over a link.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{
    fault_points::{FaultPoint, Sometimes, fault_point, reached},
    frame::{Frame, FrameError, TypeCode},
    link::{ExchangeKind, Link, Reason},
    message::{
        RequestError,
        error::{Unwritten, WriteError},
        outgoing::OutgoingKind,
        payload::Payload,
    },
    session::{
        credit::Paid,
        exchange::OutExchange,
        queue::ExchangeBroken,
        state::{Session, SessionState, Unsent},
    },
};

/// Why a message was not sent in full.
#[derive(Debug)]
pub(crate) enum SendFailure {
    /// Nothing of it was sent, because the link accepts no new exchanges. The caller may use
    /// another link. Only this case returns the frame: a message that has begun is never sent
    /// again.
    Gone(Option<Frame>),
    /// It is longer than the other side accepts. Nothing of it was sent.
    TooLong(FrameError),
    /// There was no credit for this time. Nothing of it was sent.
    NoCredit(Duration),
    /// A part was sent, and there was no credit for the rest in time.
    Late,
    /// A part was sent, and its exchange or the link ended before the rest was sent.
    Ended(ExchangeBroken),
    /// Its source failed.
    Source(Unwritten),
}

impl SendFailure {
    /// The error for the caller, if there is no other link to try.
    pub(crate) fn into_error(self, session: &Session) -> RequestError {
        let to = || session.sender.address().clone();
        match self {
            Self::Gone(_) => RequestError::Reset { reason: Reason::LOST, sent: false },
            Self::TooLong(error) => RequestError::NotSendable(error),
            Self::NoCredit(limit) => RequestError::NoCredit(limit),
            Self::Late => {
                let source = std::io::ErrorKind::TimedOut.into();
                RequestError::Write { to: to(), sent: true, source }
            }
            Self::Ended(ExchangeBroken { reason, sent, .. }) => {
                RequestError::Reset { reason, sent }
            }
            Self::Source(unwritten) => RequestError::not_written(to(), unwritten),
        }
    }
}

impl From<FrameError> for SendFailure {
    fn from(error: FrameError) -> Self {
        Self::TooLong(error)
    }
}

/// Why a message in parts was not sent in full.
#[derive(Debug)]
pub(crate) enum PartsError {
    Unsent(Unsent),
    Source(Unwritten),
}

impl PartsError {
    /// The error of its source. `begun` says whether the first part was sent.
    const fn source(error: WriteError, begun: bool) -> Self {
        Self::Source(Unwritten { error, begun })
    }
}

impl From<Unsent> for PartsError {
    fn from(unsent: Unsent) -> Self {
        Self::Unsent(unsent)
    }
}

/// An exchange whose message is not complete: cancelled when this is dropped.
struct Unfinished<'a>(&'a Session, u32);

impl Unfinished<'_> {
    /// Keeps the exchange: its message is complete, or the exchange has ended.
    const fn leave(self) -> u32 {
        let exchange = self.1;
        std::mem::forget(self);
        exchange
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.cancel_exchange(self.1, Reason::CANCELLED);
    }
}

/// Called with the first part of a message, when the exchange is open.
pub(crate) type Opened<'a> = &'a mut (dyn FnMut(&mut SessionState, u32) + Send);

/// Sends a message in as many parts as it needs. If the other side may have to buffer it whole, all
/// of its credit is taken before it begins, so that two such messages cannot block each other.
///
/// `Unsent::Gone` means that nothing was sent. After the first part, only `Unsent::Over` is
/// possible.
pub(crate) async fn send_parts(
    session: &Session,
    code: TypeCode,
    mut data: Payload,
    kind: ExchangeKind,
    opened: Opened<'_>,
) -> Result<u32, PartsError> {
    let part = session.limits.part;
    let whole = u32::try_from(data.left()).ok().filter(|len| *len <= session.limits.whole);
    // The numbers of an acknowledged message are a part of its first frame.
    let numbers = if let ExchangeKind::Sequenced(_) = kind { session.limits.numbers } else { 0 };
    let mut paid = match whole {
        Some(len) => Some(session.pay(cost_in_parts(len, part, numbers)).await?),
        None => None,
    };
    let room = part.saturating_sub(numbers).max(1);
    let first = data.next(room).await.map_err(|error| PartsError::source(error, false))?;
    let mut more = data.left() > 0;
    let paid_for = share(session, &mut paid, first.len() + numbers).await?;
    let begin = |state: &mut SessionState| {
        let exchange = state.link.begin(code, &first, kind, more)?;
        opened(state, exchange);
        Ok(exchange)
    };
    let exchange = session.enqueue(begin).await?;
    paid_for.spend();
    let unfinished = Unfinished(session, exchange);
    while more {
        let bytes = data.next(part).await.map_err(|error| PartsError::source(error, true))?;
        more = data.left() > 0;
        let sent = async {
            let paid_for = share(session, &mut paid, bytes.len()).await?;
            session.enqueue(|state| state.link.send_next(exchange, code, &bytes, more)).await?;
            paid_for.spend();
            Ok::<_, Unsent>(())
        };
        if sent.await.is_err() {
            reached(Sometimes::IncompleteMessageSent);
            unfinished.leave();
            return Err(Unsent::Over.into());
        }
    }
    Ok(unfinished.leave())
}

/// The credit for a part of `len` bytes, taken from `paid` if that is enough.
async fn share<'a>(
    session: &'a Session,
    paid: &mut Option<Paid<'a>>,
    len: usize,
) -> Result<Paid<'a>, Unsent> {
    let cost = cost_of(len);
    match paid.as_mut().and_then(|paid| paid.split(cost)) {
        Some(share) => Ok(share),
        None => session.pay_part(cost).await,
    }
}

pub(crate) fn cost_of(len: usize) -> u32 {
    Link::cost(u32::try_from(len).unwrap_or(u32::MAX))
}

/// The credit for `len` bytes in parts of at most `part`. The parts of a body may be shorter; then
/// the last parts take their credit separately.
fn cost_in_parts(len: u32, part: usize, numbers: usize) -> u32 {
    let len = (len as usize).saturating_add(numbers);
    let headers = len.div_ceil(part).max(1).saturating_mul(Link::cost(0) as usize);
    u32::try_from(len.saturating_add(headers)).unwrap_or(u32::MAX)
}

impl Session {
    /// Checks that a message is not longer than the other side accepts.
    pub(crate) fn check_length(&self, message: &OutgoingKind) -> Result<(), FrameError> {
        let len = usize::try_from(message.len()).unwrap_or(usize::MAX);
        self.lock().link.check_length(message.code(), len, false)
    }

    /// As [`check_length`](Self::check_length), for an acknowledged message.
    pub(crate) fn check_sequenced(&self, frame: &Frame) -> Result<(), FrameError> {
        self.lock().link.check_length(frame.code(), frame.data().len(), true)
    }

    /// The data of a message, to be sent in parts.
    pub(crate) fn payload(&self, message: OutgoingKind) -> Payload {
        message.into_payload(self.node.config.handler_timeout)
    }

    /// Sends a one-way message. Waits only for credit and room in the output.
    pub(crate) async fn notify(&self, message: OutgoingKind) -> Result<(), SendFailure> {
        self.check_length(&message)?;
        let frame = match message {
            OutgoingKind::Frame(frame) => frame,
            body @ OutgoingKind::Body { .. } => return self.notify_in_parts(body, None).await,
        };
        if frame.data().len() <= self.limits.part {
            self.notify_short(&frame).await.map_err(|_| SendFailure::Gone(Some(frame)))
        } else {
            self.notify_in_parts(OutgoingKind::Frame(frame.clone()), Some(frame)).await
        }
    }

    /// Sends a one-way message of one frame, if that is possible without waiting.
    pub(crate) fn try_notify(&self, frame: &Frame) -> bool {
        !fault_point(FaultPoint::NoRoomAtOnce)
            && self.with(|state| self.try_enqueue_short(state, frame))
    }

    /// Sends as many of these one-way messages, from the front, as possible without waiting and in
    /// one frame each. Removes them from `frames` and returns their number.
    pub(crate) fn try_notify_all(&self, frames: &mut VecDeque<Frame>) -> u64 {
        if fault_point(FaultPoint::NoRoomAtOnce) {
            return 0;
        }
        self.with(|state| {
            let mut sent = 0;
            while frames.front().is_some_and(|frame| self.try_enqueue_short(state, frame)) {
                frames.pop_front();
                sent += 1;
            }
            sent
        })
    }

    fn try_enqueue_short(&self, state: &mut SessionState, frame: &Frame) -> bool {
        let (code, data) = (frame.code(), frame.data());
        !code.is_reserved()
            && data.len() <= self.limits.part
            && state.link.allows(code, data.len())
            && state.has_room()
            && self.pay_short(state, cost_of(data.len()))
            && state.link.one_way(code, data).is_ok()
    }

    async fn notify_short(&self, frame: &Frame) -> Result<(), Unsent> {
        let paid = self.pay(cost_of(frame.data().len())).await?;
        self.enqueue(|state| state.link.one_way(frame.code(), frame.data())).await?;
        paid.spend();
        Ok(())
    }

    async fn notify_in_parts(
        &self,
        message: OutgoingKind,
        frame: Option<Frame>,
    ) -> Result<(), SendFailure> {
        let (code, ended) = (message.code(), Arc::new(OnceLock::new()));
        let data = self.payload(message);
        let mut opened = |state: &mut SessionState, exchange| {
            let open =
                OutExchange::OneWay { ended: Arc::clone(&ended), begun: state.link.total_output() };
            state.exchanges.insert(exchange, open);
        };
        match send_parts(self, code, data, ExchangeKind::OneWay, &mut opened).await {
            Ok(exchange) => {
                self.lock().exchanges.swap_remove(&exchange);
                Ok(())
            }
            Err(PartsError::Unsent(Unsent::Gone)) => Err(SendFailure::Gone(frame)),
            Err(PartsError::Unsent(Unsent::Over)) => {
                let unknown = ExchangeBroken { reason: Reason::LOST, sent: true, link: true };
                Err(SendFailure::Ended(ended.get().copied().unwrap_or(unknown)))
            }
            Err(PartsError::Source(unwritten)) => Err(SendFailure::Source(unwritten)),
        }
    }
}

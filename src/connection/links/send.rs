//! Sending over a link: one-way messages, and messages in parts.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::{
    connection::{
        RequestError,
        exchange::OutgoingKind,
        links::{
            Line,
            line::{State, Unsent},
        },
        writer::WriteError,
    },
    frame::{Frame, TypeCode},
    link::{Kind, Link, Reason},
};

/// Why a message did not go out in full, with what its source has to do with it.
#[derive(Debug)]
pub(super) enum Failed {
    Unsent(Unsent),
    Source(WriteError),
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

impl From<Unsent> for Failed {
    fn from(unsent: Unsent) -> Self {
        Self::Unsent(unsent)
    }
}

/// The data of a message, part by part.
pub(super) enum Payload {
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
pub(super) type Opened<'a> = &'a mut (dyn FnMut(&mut State, u32) + Send);

/// Sends a message in as many parts as it needs. What the other side may have to hold whole is paid
/// for before it begins, so that two of them cannot stop each other half-way.
pub(super) async fn send_parts(
    line: &Line,
    code: TypeCode,
    mut data: Payload,
    kind: Kind,
    opened: Opened<'_>,
) -> Result<u32, Failed> {
    let part = line.limits.part;
    let whole = u32::try_from(data.len()).ok().filter(|len| *len <= line.limits.whole);
    // The numbers of a message that is to be acknowledged are a part of its first frame.
    let mut numbers = if let Kind::Numbered(_) = kind { line.limits.numbers } else { 0 };
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

pub(super) fn cost_of(len: usize) -> u32 {
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
        self.with(|state| self.try_put_short(state, frame))
    }

    /// Sends the first of these one-way messages, as many as can be sent in one frame each when
    /// there is nothing to wait for, and takes them out. Returns how many.
    pub(super) fn try_tell_all(&self, frames: &mut VecDeque<Frame>) -> u64 {
        self.with(|state| {
            let mut told = 0;
            while frames.front().is_some_and(|frame| self.try_put_short(state, frame)) {
                frames.pop_front();
                told += 1;
            }
            told
        })
    }

    fn try_put_short(&self, state: &mut State, frame: &Frame) -> bool {
        let (code, data) = (frame.code(), frame.data());
        !code.is_reserved()
            && data.len() <= self.limits.part
            && state.has_room()
            && self.pay_short(state, cost_of(data.len()))
            && state.link.one_way(code, data).is_ok()
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
}

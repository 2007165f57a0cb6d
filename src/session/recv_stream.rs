//! What comes in one exchange of a link, part by part, for whoever reads it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::{
    frame::{Frame, TypeCode},
    link::Reason,
    message::{
        ReadError,
        source::{BodySource, Chunk},
    },
    session::{shared::Session, tick::Ticks},
};

/// A part of a message.
pub(crate) struct InPart {
    pub(crate) code: TypeCode,
    pub(crate) data: Bytes,
    pub(crate) last: bool,
    pub(crate) cost: u32,
}

/// How an exchange ended before its regular end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken {
    pub(crate) reason: Reason,
    /// Whether the request had left this node in full.
    pub(crate) sent: bool,
    /// Whether the whole link is over.
    pub(crate) link: bool,
}

/// Between the task that reads the link and the reader. What waits in it is bounded by credit.
#[derive(Default)]
pub(crate) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    parts: VecDeque<InPart>,
    end: Option<Result<(), Broken>>,
    /// Somebody who waits for the next part, and for how long already.
    reader: Option<Waker>,
    ticks: Ticks,
    late: bool,
    abandoned: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Waiting) -> R) -> R {
        let mut waiting = self.lock();
        let result = change(&mut waiting);
        let reader = waiting.reader.take();
        drop(waiting);
        if let Some(reader) = reader {
            reader.wake();
        }
        result
    }

    /// Adds a part; gives it back when nobody reads any more.
    pub(crate) fn push(&self, part: InPart) -> Option<InPart> {
        self.change(|waiting| {
            if waiting.abandoned {
                return Some(part);
            }
            waiting.parts.push_back(part);
            None
        })
    }

    /// Whether no part waits to be read.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().parts.is_empty()
    }

    /// Counts a beat of waiting. After `limit` of them the reader is told that it is late.
    pub(crate) fn tick(&self, limit: Ticks) {
        let mut waiting = self.lock();
        let late = waiting.reader.is_some() && waiting.ticks.count(limit);
        drop(waiting);
        if late {
            self.change(|waiting| waiting.late = true);
        }
    }

    /// Nothing more comes. What came before can still be read.
    pub(crate) fn end(&self, end: Result<(), Broken>) {
        self.change(|waiting| {
            waiting.end.get_or_insert(end);
        });
    }
}

/// To whom the credit for what was read goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credit {
    /// The link's window: the data of a request.
    Window,
    /// The exchange's own: replies.
    Exchange(u32),
}

/// The reading end.
pub(crate) struct RecvStream {
    session: Arc<Session>,
    queue: Arc<Queue>,
    credit: Credit,
    /// A piece whose head was handed out.
    piece: Option<Bytes>,
    inside: bool,
    broken: Option<Broken>,
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflow").field("credit", &self.credit).finish_non_exhaustive()
    }
}

impl RecvStream {
    pub(crate) fn new(session: Arc<Session>, queue: Arc<Queue>, credit: Credit) -> Self {
        Self { session, queue, credit, piece: None, inside: false, broken: None }
    }

    /// One whose head is known already.
    pub(crate) const fn inside(mut self) -> Self {
        self.inside = true;
        self
    }

    fn give_back(&self, cost: u32) {
        match self.credit {
            Credit::Window => self.session.consumed(cost),
            Credit::Exchange(exchange) => self.session.read(exchange, cost),
        }
    }
}

impl BodySource for RecvStream {
    fn is_link(&self) -> bool {
        true
    }

    fn was_sent(&self) -> bool {
        self.broken.is_none_or(|broken| broken.sent)
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>> {
        if let Some(data) = self.piece.take() {
            return Poll::Ready(Ok(Some(Chunk::Piece { data, last: false })));
        }
        let mut waiting = self.queue.lock();
        if let Some(InPart { code, data, last, cost }) = waiting.parts.pop_front() {
            drop(waiting);
            self.give_back(cost);
            let begins = !std::mem::replace(&mut self.inside, !last);
            return Poll::Ready(Ok(Some(match (begins, last) {
                (true, true) => Chunk::Frame(Frame::new(code, data)),
                (true, false) => {
                    self.piece = Some(data);
                    Chunk::Head { code, len: None }
                }
                (false, _) => Chunk::Piece { data, last },
            })));
        }
        match waiting.end {
            Some(Ok(())) => return Poll::Ready(Ok(None)),
            Some(Err(broken)) => {
                self.broken = Some(broken);
                return Poll::Ready(Err(ReadError::Reset(broken.reason)));
            }
            None if waiting.late => {
                self.session.endpoint.counters.errors_late.one();
                let config = &self.session.endpoint.config;
                return Poll::Ready(Err(ReadError::Late(match self.credit {
                    Credit::Window => config.stall_timeout,
                    Credit::Exchange(_) => config.reply_timeout,
                })));
            }
            None => {}
        }
        match &mut waiting.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => {
                *none = Some(cx.waker().clone());
                waiting.ticks = Ticks::default();
            }
        }
        Poll::Pending
    }
}

impl Drop for RecvStream {
    /// What is not read gives its credit back; an exchange of which nobody reads the replies is
    /// over.
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.abandoned = true;
        let unread = waiting.parts.drain(..).map(|part| part.cost).sum();
        let ended = waiting.end.is_some();
        drop(waiting);
        match self.credit {
            Credit::Window => self.session.consumed(unread),
            Credit::Exchange(exchange) if !ended => {
                self.session.give_up(exchange, Reason::CANCELLED);
            }
            Credit::Exchange(_) => {}
        }
    }
}

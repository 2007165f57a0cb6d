//! The parts of one exchange of a link, queued for their reader.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, MutexGuard},
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
    sync::Mutex,
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
    /// Whether enough of the request was sent that a handler may have been called.
    pub(crate) sent: bool,
    /// Whether the whole link has ended.
    pub(crate) link: bool,
}

/// The queue between the task that reads the link and the reader. Credit bounds its length.
#[derive(Default)]
pub(crate) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    parts: VecDeque<InPart>,
    end: Option<Result<(), Broken>>,
    /// The waker of a reader that waits for the next part. `None` if none waits.
    reader: Option<Waker>,
    /// How long the reader has waited.
    ticks: Ticks,
    late: bool,
    abandoned: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock()
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

    /// Adds a part. Returns it if the reader was dropped.
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

    /// Counts a tick of waiting. After `limit` ticks the reader gets a time-out.
    pub(crate) fn tick(&self, limit: Ticks) {
        let mut waiting = self.lock();
        let late = waiting.reader.is_some() && waiting.ticks.count(limit);
        drop(waiting);
        if late {
            self.change(|waiting| waiting.late = true);
        }
    }

    /// Ends the queue. The parts before can still be read.
    pub(crate) fn end(&self, end: Result<(), Broken>) {
        self.change(|waiting| {
            waiting.end.get_or_insert(end);
        });
    }
}

/// Where the credit of read data is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credit {
    /// To the window of the link: data of messages.
    Window,
    /// To the exchange: data of replies.
    Exchange(u32),
}

/// The reader of a queue.
pub(crate) struct RecvStream {
    session: Arc<Session>,
    queue: Arc<Queue>,
    credit: Credit,
    /// A piece that follows the head that was returned last.
    piece: Option<Bytes>,
    inside: bool,
    broken: Option<Broken>,
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream").field("credit", &self.credit).finish_non_exhaustive()
    }
}

impl RecvStream {
    pub(crate) fn new(session: Arc<Session>, queue: Arc<Queue>, credit: Credit) -> Self {
        Self { session, queue, credit, piece: None, inside: false, broken: None }
    }

    /// A stream whose head is known already.
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
    /// Returns the credit of unread data, and cancels an exchange whose replies are not complete.
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

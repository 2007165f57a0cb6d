//! The queue of the parts of one exchange, between the task that reads the link and their reader.

use std::{
    collections::VecDeque,
    sync::MutexGuard,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::{frame::TypeCode, link::Reason, session::tick::Ticks, sync::Mutex};

/// A part of a message.
pub(crate) struct InPart {
    pub(crate) code: TypeCode,
    pub(crate) data: Bytes,
    pub(crate) last: bool,
    pub(crate) cost: u32,
}

/// How an exchange ended before its regular end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeBroken {
    pub(crate) reason: Reason,
    /// Whether enough of the request was sent that a handler may have been called.
    pub(crate) sent: bool,
    /// Whether the whole link has ended.
    pub(crate) link: bool,
}

/// The parts that wait for their reader. Credit bounds their number.
#[derive(Default)]
pub(crate) struct PartQueue(Mutex<WaitingParts>);

#[derive(Default)]
struct WaitingParts {
    parts: VecDeque<InPart>,
    end: Option<Result<(), ExchangeBroken>>,
    /// The waker of a reader that waits for the next part. `None` if none waits.
    reader: Option<Waker>,
    /// How long the reader has waited.
    ticks: Ticks,
    late: bool,
    abandoned: bool,
}

impl PartQueue {
    fn lock(&self) -> MutexGuard<'_, WaitingParts> {
        self.0.lock()
    }

    fn change<R>(&self, change: impl FnOnce(&mut WaitingParts) -> R) -> R {
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
    pub(crate) fn end(&self, end: Result<(), ExchangeBroken>) {
        self.change(|waiting| {
            waiting.end.get_or_insert(end);
        });
    }

    /// The next part, or how the queue ended. Wakes `cx` when there is one.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<NextPart> {
        let mut waiting = self.lock();
        if let Some(part) = waiting.parts.pop_front() {
            return Poll::Ready(NextPart::Part(part));
        }
        if let Some(end) = waiting.end {
            return Poll::Ready(NextPart::End(end));
        }
        if waiting.late {
            return Poll::Ready(NextPart::Late);
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

    /// Notes that the reader was dropped. Returns the cost of the unread parts, and whether the
    /// queue has ended.
    pub(crate) fn abandon(&self) -> (u32, bool) {
        let mut waiting = self.lock();
        waiting.abandoned = true;
        let unread = waiting.parts.drain(..).map(|part| part.cost).sum();
        (unread, waiting.end.is_some())
    }
}

/// The next item of a queue, for its reader.
pub(crate) enum NextPart {
    Part(InPart),
    End(Result<(), ExchangeBroken>),
    /// No part arrived in time.
    Late,
}

//! Halves of connections that the application holds and need not poll: the node closes them when it
//! is cut.

use std::{
    collections::HashMap,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::connection::{Cut, Node, reader::ReadHalf, writer::WriteHalf};

/// The halves that are held: at most two for each classic exchange that is open, so that
/// `max_outgoing` and `max_connections` bound them.
#[derive(Default)]
pub(crate) struct Leashes(Mutex<Leashed>);

#[derive(Default)]
struct Leashed {
    next: u64,
    halves: HashMap<u64, Entry>,
    is_cut: bool,
}

struct Entry {
    half: Arc<dyn Close>,
    /// What is reported when it is cut.
    report: Option<Cut>,
}

impl fmt::Debug for Leashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leashes").field("halves", &self.lock().halves.len()).finish_non_exhaustive()
    }
}

impl Leashes {
    fn lock(&self) -> MutexGuard<'_, Leashed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all halves, and those to come at once. Returns the exchanges that were cut.
    pub(crate) fn cut(&self) -> Vec<Cut> {
        let halves = {
            let mut leashed = self.lock();
            leashed.is_cut = true;
            std::mem::take(&mut leashed.halves)
        };
        halves.values().for_each(|entry| entry.half.close());
        halves.into_values().filter_map(|entry| entry.report).collect()
    }
}

trait Close: Send + Sync {
    fn close(&self);
}

struct Shared<T>(Mutex<State<T>>);

struct State<T> {
    half: Option<T>,
    /// What waits for the half.
    waiting: Option<Waker>,
    _task: Option<TaskTrackerToken>,
}

impl<T: Send> Close for Shared<T> {
    fn close(&self) {
        let mut state = self.lock();
        let closed = (state.half.take(), state._task.take(), state.waiting.take());
        drop(state);
        if let (_, _, Some(waiting)) = closed {
            waiting.wake();
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A half of a connection that is closed when it is dropped, or when the node is cut. After a cut
/// it fails as [`ConnectionAborted`](io::ErrorKind::ConnectionAborted).
pub(crate) struct Leash<T> {
    shared: Arc<Shared<T>>,
    number: u64,
    node: Arc<Node>,
}

impl<T: Send + 'static> Leash<T> {
    pub(crate) fn new(node: &Arc<Node>, half: T, task: Option<TaskTrackerToken>) -> Self {
        let state = State { half: Some(half), waiting: None, _task: task };
        let shared = Arc::new(Shared(Mutex::new(state)));
        let mut leashed = node.leashes.lock();
        let number = leashed.next;
        leashed.next = number.wrapping_add(1);
        if leashed.is_cut {
            shared.close();
        } else {
            let half: Arc<dyn Close> = Arc::clone(&shared) as _;
            leashed.halves.insert(number, Entry { half, report: None });
        }
        drop(leashed);
        Self { shared, number, node: Arc::clone(node) }
    }

    /// Has `cut` reported when this is cut, or at once if it is cut already.
    pub(crate) fn report(&self, cut: Cut) {
        match self.node.leashes.lock().halves.get_mut(&self.number) {
            Some(entry) => entry.report = Some(cut),
            None => self.node.report_cut(cut),
        }
    }

    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>>
    where
        T: Unpin,
    {
        let mut state = self.shared.lock();
        let Some(half) = &mut state.half else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        let polled = poll(Pin::new(half), cx);
        if polled.is_pending() {
            match &mut state.waiting {
                Some(waiting) => waiting.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        polled
    }
}

impl<T> Drop for Leash<T> {
    fn drop(&mut self) {
        let entry = self.node.leashes.lock().halves.remove(&self.number);
        drop(entry);
    }
}

impl AsyncRead for Leash<ReadHalf> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(cx, |half, cx| half.poll_read(cx, into))
    }
}

impl AsyncWrite for Leash<WriteHalf> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, |half, cx| half.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, |half, cx| half.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.shared.lock().half.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |half, cx| half.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |half, cx| half.poll_shutdown(cx))
    }
}

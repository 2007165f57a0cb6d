//! Dials and halves of connections that the application holds and may not poll. The node drops them
//! when it aborts.

use std::{
    collections::BTreeMap,
    fmt, io,
    pin::Pin,
    sync::{Arc, MutexGuard, Weak},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    node::{AbortedExchange, Node},
    sync::Mutex,
    transport::{ReadHalf, WriteHalf},
};

/// The held dials and halves: at most one dial, or two halves, for each open classic exchange, so
/// that `max_outgoing` and `max_connections` bound them.
#[derive(Default)]
pub(crate) struct Revocables(Mutex<RevocableValues>);

#[derive(Default)]
struct RevocableValues {
    next: u64,
    held: BTreeMap<u64, Entry>,
    is_aborted: bool,
}

struct Entry {
    shared: Arc<dyn Revoke>,
    /// The exchange that is reported if this is aborted.
    report: Option<AbortedExchange>,
}

impl fmt::Debug for Revocables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocables").field("held", &self.lock().held.len()).finish_non_exhaustive()
    }
}

impl Revocables {
    fn lock(&self) -> MutexGuard<'_, RevocableValues> {
        self.0.lock()
    }

    /// Drops everything that is held, and later additions at once. Returns the aborted exchanges.
    pub(crate) fn abort(&self) -> Vec<AbortedExchange> {
        let held = {
            let mut values = self.lock();
            values.is_aborted = true;
            std::mem::take(&mut values.held)
        };
        held.values().for_each(|entry| entry.shared.revoke());
        held.into_values().filter_map(|entry| entry.report).collect()
    }
}

/// Something that a [`Revocable`] holds, and that can be dropped from elsewhere.
pub(crate) trait Revoke: Send + Sync {
    fn revoke(&self);
}

struct Shared<T>(Mutex<RevocableState<T>>);

struct RevocableState<T> {
    /// `None` while it is polled, and after it was revoked.
    held: Option<T>,
    is_revoked: bool,
    waiting: Option<Waker>,
    task: Option<TaskTrackerToken>,
}

impl<T: Send> Revoke for Shared<T> {
    fn revoke(&self) {
        let mut state = self.lock();
        state.is_revoked = true;
        let revoked = (state.held.take(), state.task.take(), state.waiting.take());
        drop(state);
        if let (_, _, Some(waiting)) = revoked {
            waiting.wake();
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, RevocableState<T>> {
        self.0.lock()
    }
}

/// A dial, or a half of a connection, that is dropped with this or when the node aborts. After that
/// it fails as [`ConnectionAborted`](io::ErrorKind::ConnectionAborted).
pub(crate) struct Revocable<T> {
    shared: Arc<Shared<T>>,
    number: u64,
    node: Arc<Node>,
}

impl<T: Send + 'static> Revocable<T> {
    pub(crate) fn new(node: &Arc<Node>, held: T, task: Option<TaskTrackerToken>) -> Self {
        let state = RevocableState { held: Some(held), is_revoked: false, waiting: None, task };
        let shared = Arc::new(Shared(Mutex::new(state)));
        let mut values = node.revocables.lock();
        let number = values.next;
        values.next = number.wrapping_add(1);
        let is_aborted = values.is_aborted;
        if !is_aborted {
            let shared: Arc<dyn Revoke> = Arc::clone(&shared) as _;
            values.held.insert(number, Entry { shared, report: None });
        }
        drop(values);
        if is_aborted {
            shared.revoke();
        }
        Self { shared, number, node: Arc::clone(node) }
    }

    /// Drops what this holds, from elsewhere.
    pub(crate) fn revoker(&self) -> Weak<dyn Revoke> {
        let shared: Weak<Shared<T>> = Arc::downgrade(&self.shared);
        shared
    }

    /// Reports `exchange` when this is aborted, or at once if it is aborted already.
    pub(crate) fn report(&self, exchange: AbortedExchange) {
        match self.node.revocables.lock().held.get_mut(&self.number) {
            Some(entry) => entry.report = Some(exchange),
            None => self.node.report_aborted(exchange),
        }
    }

    /// Polls the held value outside the lock: it may be code of the application that aborts the
    /// node.
    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>>
    where
        T: Unpin,
    {
        let aborted = || Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        let Some(mut held) = self.shared.lock().held.take() else {
            return aborted();
        };
        let polled = poll(Pin::new(&mut held), cx);
        let mut state = self.shared.lock();
        if state.is_revoked {
            drop(state);
            return if polled.is_ready() { polled } else { aborted() };
        }
        state.held = Some(held);
        if polled.is_pending() {
            match &mut state.waiting {
                Some(waiting) => waiting.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        polled
    }
}

/// A dial. Must not be polled after it has completed.
impl<F, T> Future for Revocable<Pin<Box<F>>>
where
    F: Future<Output = T> + Send + 'static,
{
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        Self::poll(&self, cx, |dial, cx| dial.poll(cx).map(Ok))
    }
}

impl<T> Drop for Revocable<T> {
    fn drop(&mut self) {
        let entry = self.node.revocables.lock().held.remove(&self.number);
        drop(entry);
    }
}

impl AsyncRead for Revocable<ReadHalf> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(cx, |half, cx| half.poll_read(cx, into))
    }
}

impl AsyncWrite for Revocable<WriteHalf> {
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
        self.shared.lock().held.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |half, cx| half.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |half, cx| half.poll_shutdown(cx))
    }
}

//! A connection, shared by both sides and the network, and the halves of each side.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::pipe::{PipeConfig, Pipes, Read, Wakers};
use super::{Ending, StreamDirection};
use crate::sync::Mutex;

/// The state that both sides of a connection and the network share.
#[derive(Debug)]
pub(super) struct Connection {
    pipes: Mutex<Pipes>,
    ending: Ending,
}

impl Connection {
    /// A connection, and the halves of the dialler and of the listener.
    pub(super) fn open(
        to_listener: PipeConfig,
        to_dialler: PipeConfig,
        ending: Ending,
    ) -> (Arc<Self>, Halves, Halves) {
        let mut pipes = Pipes::new(to_listener, to_dialler);
        for direction in [StreamDirection::ToListener, StreamDirection::ToDialler] {
            if pipes.get(direction).has_reached_break() {
                // There are no wakers yet.
                drop(pipes.break_now(ending, Some(direction)));
            }
        }
        let connection = Arc::new(Self { pipes: Mutex::new(pipes), ending });
        let dialler = halves(&connection, StreamDirection::ToListener);
        let listener = halves(&connection, StreamDirection::ToDialler);
        (connection, dialler, listener)
    }

    fn lock(&self) -> MutexGuard<'_, Pipes> {
        self.pipes.lock()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.lock().broken
    }

    /// Breaks the connection at once. `None` if it is broken already.
    pub(super) fn break_now(&self) -> Option<Wakers> {
        let mut pipes = self.lock();
        (!pipes.broken).then(|| pipes.break_now(self.ending, None))
    }

    /// Begins or ends partitions of the directions.
    pub(super) fn set_partitioned(&self, to_listener: bool, to_dialler: bool) -> Wakers {
        let mut pipes = self.lock();
        let mut wakers = Wakers::default();
        pipes.get(StreamDirection::ToListener).set_partitioned(to_listener, &mut wakers);
        pipes.get(StreamDirection::ToDialler).set_partitioned(to_dialler, &mut wakers);
        wakers
    }

    /// Stalls both directions until then.
    pub(super) fn stall(&self, until: Instant) -> Wakers {
        let mut pipes = self.lock();
        let mut wakers = Wakers::default();
        for direction in [StreamDirection::ToListener, StreamDirection::ToDialler] {
            pipes.get(direction).stall(until, &mut wakers);
        }
        wakers
    }
}

type Halves = (ReadHalf, WriteHalf);

fn halves(connection: &Arc<Connection>, writes: StreamDirection) -> Halves {
    let side = Arc::new(Side { connection: Arc::clone(connection), writes });
    (ReadHalf { side: Arc::clone(&side), sleep: None }, WriteHalf { side })
}

/// One end of a connection, closed when both of its halves are dropped.
#[derive(Debug)]
struct Side {
    connection: Arc<Connection>,
    writes: StreamDirection,
}

impl Side {
    const fn reads(&self) -> StreamDirection {
        self.writes.reverse()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let mut wakers = Wakers::default();
        let mut pipes = self.connection.lock();
        let pipe = pipes.get(self.reads());
        pipe.close_reader(&mut wakers);
        // The wakers of this side are also dropped without the lock: dropping them may take it.
        let own = (pipe.reading.take(), pipes.get(self.writes).writing.take());
        drop(pipes);
        drop(own);
        wakers.wake();
    }
}

/// Reads what the other side writes.
#[derive(Debug)]
pub(super) struct ReadHalf {
    side: Arc<Side>,
    /// The timer for the next arrival. `None` if there is none.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let Self { side, sleep } = &mut *self;
        loop {
            let mut wakers = Wakers::default();
            let mut pipes = side.connection.lock();
            let pipe = pipes.get(side.reads());
            let read = pipe.read(into, Instant::now(), &mut wakers);
            // An old waker is dropped without the lock.
            let old = match read {
                Read::Done(_) => pipe.reading.take(),
                Read::Later(_) => pipe.reading.replace(cx.waker().clone()),
            };
            drop(pipes);
            drop(old);
            wakers.wake();
            let next = match read {
                Read::Done(done) => {
                    *sleep = None;
                    return Poll::Ready(done);
                }
                Read::Later(Some(next)) => next,
                Read::Later(None) => {
                    *sleep = None;
                    return Poll::Pending;
                }
            };
            let timer = sleep.get_or_insert_with(|| Box::pin(sleep_until(next)));
            if timer.deadline() != next {
                timer.as_mut().reset(next);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // The data is due by now.
        }
    }
}

/// Writes what the other side reads.
#[derive(Debug)]
pub(super) struct WriteHalf {
    side: Arc<Side>,
}

impl WriteHalf {
    fn finish(&self) -> io::Result<()> {
        let mut wakers = Wakers::default();
        let finished = self.side.connection.lock().get(self.side.writes).finish(&mut wakers);
        wakers.wake();
        finished
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Side { connection, writes } = &*self.side;
        let mut wakers = Wakers::default();
        let mut pipes = connection.lock();
        let pipe = pipes.get(*writes);
        let written = pipe.write(data, &mut wakers);
        let wait = matches!(written, Ok(0)) && !data.is_empty();
        let old = if wait { pipe.writing.replace(cx.waker().clone()) } else { pipe.writing.take() };
        if !wait && written.is_ok() && pipe.has_reached_break() {
            wakers.append(pipes.break_now(connection.ending, Some(*writes)));
        }
        drop(pipes);
        drop(old);
        wakers.wake();
        if wait { Poll::Pending } else { Poll::Ready(written) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        // An error means that the connection is broken already.
        self.finish().ok();
    }
}

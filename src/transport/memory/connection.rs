//! A connection, shared by both sides and the network, and the halves of each side.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::pipe::{Pipes, Read, Wakers};
use super::record::{FrameRecord, Parser, Protocol, Tap, Unit, WireEvent};
use super::{Ending, MemoryLink, StreamDirection};
use crate::sync::Mutex;

/// The state that both sides of a connection and the network share.
#[derive(Debug)]
pub(super) struct Connection {
    pipes: Mutex<Pipes>,
    ending: Ending,
    link: Arc<MemoryLink>,
    tap: Arc<Tap>,
    /// What it carries, known once a byte was written.
    protocol: OnceLock<Protocol>,
}

/// A new connection, and the halves of the dialler and of the listener.
pub(super) struct Opened {
    pub(super) connection: Arc<Connection>,
    pub(super) dialler: Halves,
    pub(super) listener: Halves,
}

impl Connection {
    /// Opens a connection. With an ending in `broken` it breaks at once.
    pub(super) fn open(
        link: MemoryLink,
        tap: &Arc<Tap>,
        mut pipes: Pipes,
        ending: Ending,
        broken: Option<Ending>,
    ) -> Opened {
        // There are no wakers yet.
        let mut wakers = Wakers::default();
        pipes.draw_break(0);
        if let Some(broken) = broken {
            wakers.append(pipes.break_now(broken, None));
        }
        for direction in [StreamDirection::ToListener, StreamDirection::ToDialler] {
            if !pipes.broken {
                pipes.break_if_due(direction, ending, &mut wakers);
            }
        }
        drop(wakers);
        let connection = Arc::new(Self {
            pipes: Mutex::new(pipes),
            ending,
            link: Arc::new(link),
            tap: Arc::clone(tap),
            protocol: OnceLock::new(),
        });
        let dialler = halves(&connection, StreamDirection::ToListener);
        let listener = halves(&connection, StreamDirection::ToDialler);
        Opened { connection, dialler, listener }
    }

    pub(super) const fn link(&self) -> &Arc<MemoryLink> {
        &self.link
    }

    /// Records that it was opened, and that it is broken if it broke at once. No lock may be held.
    pub(super) fn record_opened(&self) {
        let link = &self.link;
        self.tap.emit(|at| WireEvent::Connected { at, link: Arc::clone(link) });
        if self.tap.is_active() && self.is_broken() {
            self.record_broken();
        }
    }

    /// Records that a fault broke it. No lock may be held.
    pub(super) fn record_broken(&self) {
        self.tap.emit(|at| WireEvent::Broken { at, link: Arc::clone(&self.link) });
    }

    /// Records the frames that the written bytes complete. No lock may be held.
    fn record_written(&self, direction: StreamDirection, bytes: &[u8], parser: &mut Parser) {
        let Some(first) = bytes.first() else { return };
        let protocol = *self.protocol.get_or_init(|| Protocol::of(*first));
        parser.feed(bytes, protocol, |unit| {
            let link = Arc::clone(&self.link);
            self.tap.emit(|at| match unit {
                Unit::Frame { code, len, hash } => {
                    WireEvent::Frame(FrameRecord { at, link, direction, code, len, hash })
                }
                Unit::Tls { content_type, len } => {
                    WireEvent::TlsRecord { at, link, direction, content_type, len }
                }
            });
        });
    }

    /// Draws anew whether chaos breaks it.
    pub(super) fn draw_break(&self) {
        self.lock().draw_break(1);
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

pub(super) type Halves = (ReadHalf, WriteHalf);

fn halves(connection: &Arc<Connection>, writes: StreamDirection) -> Halves {
    let side = Arc::new(Side { connection: Arc::clone(connection), writes });
    let parser = connection.tap.is_active().then(Parser::default);
    let reader = ReadHalf { side: Arc::clone(&side), sleep: None };
    (reader, WriteHalf { side, parser, is_finished: false })
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
        let Self { connection, writes } = self;
        connection.tap.emit(|at| {
            let link = Arc::clone(&connection.link);
            WireEvent::Closed { at, link, direction: *writes }
        });
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
    /// Reads the frames that are written. `None` if they are not recorded.
    parser: Option<Parser>,
    is_finished: bool,
}

impl WriteHalf {
    fn finish(&mut self) -> io::Result<()> {
        let Side { connection, writes } = &*self.side;
        let mut wakers = Wakers::default();
        let finished = connection.lock().get(*writes).finish(&mut wakers);
        if !std::mem::replace(&mut self.is_finished, true) {
            let incomplete = self.parser.as_ref().map_or(0, Parser::incomplete);
            connection.tap.emit(|at| {
                let link = Arc::clone(&connection.link);
                WireEvent::Finished { at, link, direction: *writes, incomplete }
            });
        }
        wakers.wake();
        finished
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { side, parser, .. } = &mut *self;
        let Side { connection, writes } = &**side;
        let mut wakers = Wakers::default();
        let mut pipes = connection.lock();
        let pipe = pipes.get(*writes);
        if !data.is_empty() && pipe.holds_back() {
            drop(pipes);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = pipe.write(data, &mut wakers);
        let wait = matches!(written, Ok(0)) && !data.is_empty();
        let old = if wait { pipe.writing.replace(cx.waker().clone()) } else { pipe.writing.take() };
        let breaks =
            !wait && written.is_ok() && pipes.break_if_due(*writes, connection.ending, &mut wakers);
        drop(pipes);
        drop(old);
        if !connection.tap.is_active() {
            // The bytes of now are missing, so that later ones cannot be parsed.
            *parser = None;
        } else if let (Some(parser), Ok(written)) = (parser, &written) {
            connection.record_written(*writes, data.get(..*written).unwrap_or_default(), parser);
        }
        if breaks {
            connection.record_broken();
        }
        wakers.wake();
        if wait { Poll::Pending } else { Poll::Ready(written) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        // An error means that the connection is broken already.
        self.finish().ok();
    }
}

//! The two halves of a connection, which is closed when its peer is no longer admitted.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, MutexGuard, OnceLock, Weak},
    task::{Context, Poll, Waker},
};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, Join, ReadBuf};
use tokio_rustls::TlsStream;

use super::admission::{Admission, Revoke, Ticket};
use crate::{
    overlay::{Address, PeerId},
    sync::Mutex,
    transport::{IdentityFault, Io},
};

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The stream below TLS.
pub(super) type Wire = Join<Reader, Writer>;

/// The polled stream: TLS, or a plain connection, which proves no id.
pub(super) enum Stream {
    Tls(Box<TlsStream<Wire>>, PeerId),
    Plain(Wire),
}

impl Stream {
    fn id(&self) -> Option<&PeerId> {
        match self {
            Self::Tls(_, id) => Some(id),
            Self::Plain(_) => None,
        }
    }

    /// The stream below.
    fn wire(&mut self) -> &mut Wire {
        match self {
            Self::Tls(stream, _) => stream.get_mut().0,
            Self::Plain(wire) => wire,
        }
    }
}

/// Runs the same code on either stream.
macro_rules! either {
    ($stream:expr, $inner:ident => $work:expr) => {
        match $stream {
            Stream::Tls($inner, _) => $work,
            Stream::Plain($inner) => $work,
        }
    };
}

/// The state that both halves share. The admission has a weak reference.
struct Shared {
    /// `None` if it was closed because the peer is no longer admitted.
    stream: Mutex<Option<Stream>>,
    /// The wakers of both halves, woken by the close.
    reading: AtomicWaker,
    writing: AtomicWaker,
    at: Address,
    id: Option<PeerId>,
    ticket: OnceLock<Ticket>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("at", &self.at).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Stream>> {
        self.stream.lock()
    }

    fn not_admitted(&self) -> IdentityFault {
        let at = self.at.clone();
        match self.id.clone() {
            Some(id) => IdentityFault::NotAdmitted { at, id },
            None => IdentityFault::NotTls { at },
        }
    }

    /// Polls the stream. A pending caller is also woken when the stream is closed.
    fn poll<R>(
        &self,
        waker: &AtomicWaker,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Stream, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let mut stream = self.lock();
        let Some(open) = stream.as_mut() else {
            drop(stream);
            return Poll::Ready(Err(self.not_admitted().into()));
        };
        let polled = poll(open, cx);
        if polled.is_pending() {
            // Under the lock, so that a revocation comes before the poll or wakes this waker.
            waker.register(cx.waker());
        }
        polled
    }
}

impl Revoke for Shared {
    fn revoke(&self) {
        let stream = self.lock().take();
        // Dropping the stream closes the connection, whatever the holders of the halves do.
        drop(stream);
        self.reading.wake();
        self.writing.wake();
    }
}

/// Reads what the other side writes.
#[derive(Debug)]
struct Reading(Arc<Shared>);

impl AsyncRead for Reading {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll(
            &self.0.reading,
            cx,
            |stream, cx| either!(stream, io => Pin::new(io).poll_read(cx, into)),
        )
    }
}

/// Writes to the other side.
#[derive(Debug)]
struct Writing(Arc<Shared>);

impl AsyncWrite for Writing {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll(
            &self.0.writing,
            cx,
            |stream, cx| either!(stream, io => Pin::new(io).poll_write(cx, data)),
        )
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(
            &self.0.writing,
            cx,
            |stream, cx| either!(stream, io => Pin::new(io).poll_flush(cx)),
        )
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(
            &self.0.writing,
            cx,
            |stream, cx| either!(stream, io => Pin::new(io).poll_shutdown(cx)),
        )
    }
}

impl Drop for Writing {
    /// Shuts down the stream below, without a TLS close alert unless there was a shutdown, so that
    /// the other side can distinguish truncated data from complete data.
    fn drop(&mut self) {
        if let Some(stream) = self.0.lock().as_mut() {
            let mut cx = Context::from_waker(Waker::noop());
            // If this is pending, the stream is closed with the reader.
            drop(Pin::new(stream.wire()).poll_shutdown(&mut cx));
        }
    }
}

/// The halves of an open connection. An error if its peer is no longer admitted; a node always
/// admits itself.
pub(super) fn halves(
    stream: Stream,
    at: Address,
    admission: Option<&Admission>,
) -> Result<Io, IdentityFault> {
    let shared = Arc::new(Shared {
        id: stream.id().cloned(),
        stream: Mutex::new(Some(stream)),
        reading: AtomicWaker::new(),
        writing: AtomicWaker::new(),
        at,
        ticket: OnceLock::new(),
    });
    if let Some(admission) = admission {
        let weak: Weak<Shared> = Arc::downgrade(&shared);
        let ticket = admission.enter(shared.id.as_ref(), weak);
        let ticket = ticket.ok_or_else(|| shared.not_admitted())?;
        shared.ticket.get_or_init(|| ticket);
    }
    let (remote, proven) = (shared.at.clone(), shared.id.clone());
    let (reader, writer) = (Reading(Arc::clone(&shared)), Writing(shared));
    Ok(Io { proven, ..Io::new(reader, writer, remote) })
}

//! The caller's side of a classic exchange (WIRE.md part 1).

use std::{fmt, sync::Arc};

use bytes::BytesMut;
use tokio::{
    io::AsyncRead,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};
use tracing::{Instrument, Span};

use crate::{
    connection::{
        Cut, Direction, Node, Replies, RequestError,
        node::{OpenGuard, span},
        parts::PartReader,
        reader::FrameReader,
        writer::{FrameWriter, WriteError, WriteHalf},
    },
    frame::{Frame, FrameError, IntoTypeCode, TypeCode},
    overlay::later::Later,
    overlay::{Address, PeerId},
    transport::{IdentityFault, Io},
};

/// Requests above this are written by a task of their own, so that a callee that answers while it
/// reads cannot bring both to a standstill.
const INLINE_UP_TO: usize = 64 << 10; // bytes

/// What a message goes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Over {
    /// A link when the other node speaks links, else a classic exchange.
    #[default]
    Any,
    /// A link, or an error.
    Link,
    /// A classic exchange: a connection of its own.
    Classic,
}

/// A request to send: a frame, or a body streamed from a reader.
pub struct Outgoing {
    pub(crate) kind: OutgoingKind,
    pub(crate) over: Over,
    /// The node that it is for, where that is known.
    pub(crate) whom: Option<PeerId>,
}

pub(crate) enum OutgoingKind {
    Frame(Frame),
    Body { code: TypeCode, len: u32, reader: Box<dyn AsyncRead + Send + Unpin> },
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("code", &self.code()).finish_non_exhaustive()
    }
}

impl From<Frame> for Outgoing {
    fn from(frame: Frame) -> Self {
        Self { kind: OutgoingKind::Frame(frame), over: Over::Any, whom: None }
    }
}

impl Outgoing {
    /// Says what it is to go over. Default [`Over::Any`].
    ///
    /// ```
    /// use actix_peer::{Outgoing, Over, frame::Frame};
    ///
    /// let alone = Outgoing::from(Frame::text("NAME", "")).over(Over::Classic);
    /// # drop(alone);
    /// ```
    #[must_use]
    pub const fn over(mut self, over: Over) -> Self {
        self.over = over;
        self
    }

    /// A request whose data is `len` bytes out of `reader`, sent while they are read, in bounded
    /// memory.
    ///
    /// A reader that ends early breaks the connection short of the length; a longer one is cut at
    /// `len`. At most 4,294,967,295 bytes, as a request is one frame.
    ///
    /// # Panics
    /// As [`Frame::new`] when `code` is text of another length than four.
    #[must_use]
    #[track_caller]
    pub fn body(
        code: impl IntoTypeCode,
        len: u32,
        reader: impl AsyncRead + Send + Unpin + 'static,
    ) -> Self {
        let code = code.into_type_code();
        let kind = OutgoingKind::Body { code, len, reader: Box::new(reader) };
        Self { kind, over: Over::Any, whom: None }
    }

    /// Says which node is to get it, and no other.
    pub(crate) fn only_to(mut self, whom: &PeerId) -> Self {
        self.whom = Some(whom.clone());
        self
    }

    pub(crate) const fn code(&self) -> TypeCode {
        self.kind.code()
    }

    /// The frame, unless it is a body.
    pub(crate) fn into_frame(self) -> Result<Frame, Self> {
        match self.kind {
            OutgoingKind::Frame(frame) => Ok(frame),
            OutgoingKind::Body { .. } => Err(self),
        }
    }

    /// Refuses what may not or cannot be sent.
    pub(crate) fn check(&self) -> Result<(), FrameError> {
        if self.code().is_reserved() {
            return Err(FrameError::Reserved { code: self.code() });
        }
        match &self.kind {
            OutgoingKind::Frame(frame) if u32::try_from(frame.data().len()).is_err() => {
                let length = frame.data().len() as u64;
                Err(FrameError::TooLong { code: frame.code(), length, limit: u64::from(u32::MAX) })
            }
            OutgoingKind::Frame(_) | OutgoingKind::Body { .. } => Ok(()),
        }
    }
}

impl OutgoingKind {
    pub(crate) const fn code(&self) -> TypeCode {
        match self {
            Self::Frame(frame) => frame.code(),
            Self::Body { code, .. } => *code,
        }
    }

    async fn write(self, writer: &mut FrameWriter) -> Result<(), WriteError> {
        match self {
            Self::Frame(frame) => {
                writer.feed(&frame).await?;
                writer.flush().await
            }
            Self::Body { code, len, mut reader } => {
                writer.body(code, u64::from(len), &mut reader).await
            }
        }
    }

    const fn is_small(&self) -> bool {
        match self {
            Self::Frame(frame) => frame.encoded_len() <= INLINE_UP_TO,
            Self::Body { .. } => false,
        }
    }
}

/// What an exchange holds as long as it is open.
pub(crate) struct OutgoingHeld {
    _place: Option<OwnedSemaphorePermit>,
    _open: OpenGuard,
    _task: TaskTrackerToken,
    pub(crate) span: Span,
}

impl OutgoingHeld {
    /// Of an exchange on a link: how many there may be is the other side's to say.
    pub(crate) fn on_link(node: &Arc<Node>) -> Self {
        Self {
            _place: None,
            _open: node.count_open(Direction::Out),
            _task: node.tasks.token(),
            span: Span::current(),
        }
    }
}

/// The write half, kept open until the exchange is over: some callees take a half-close for a
/// goodbye. Stops the task that writes when it is dropped.
pub(crate) enum Sending {
    Done,
    Sent { _writer: FrameWriter },
    UnderWay { stop: CancellationToken, result: oneshot::Receiver<Option<WriteError>> },
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Self::UnderWay { stop, .. } = self {
            stop.cancel();
        }
    }
}

async fn place(of: &Arc<Semaphore>, until: Instant) -> Result<OwnedSemaphorePermit, RequestError> {
    let place =
        timeout_at(until, Arc::clone(of).acquire_owned()).await.map_err(|_| RequestError::Busy)?;
    place.map_err(|_| RequestError::Stopped { sent: false })
}

/// Opens a connection to `to`, within the node's limits.
async fn dial(
    node: &Arc<Node>,
    to: &Address,
    whom: Option<&PeerId>,
) -> Result<(Io, OutgoingHeld), RequestError> {
    let until = Instant::now().later(node.config.connect_timeout);
    let place = place(&node.outgoing, until).await?;
    let held = OutgoingHeld { _place: Some(place), ..OutgoingHeld::on_link(node) };
    let (shared, at, whom) = (Arc::clone(node), to.clone(), whom.cloned());
    // The connection belongs to the runtime that opens it, and is not to end with the caller's.
    let connect = async move { connect(&shared, &at, whom.as_ref(), until).await };
    let connected = node.run(connect.in_current_span()).await;
    let ended = || {
        let source = std::io::Error::other("the dial ended early");
        Err(RequestError::Connect { to: to.clone(), source })
    };
    Ok((connected.unwrap_or_else(ended)?, held))
}

/// Opens a connection to `to`, and to nobody but `whom` nor to who is banned, within the limit of dials
/// at once.
pub(crate) async fn connect(
    node: &Node,
    to: &Address,
    whom: Option<&PeerId>,
    until: Instant,
) -> Result<Io, RequestError> {
    node.bans.allows(whom)?;
    let dialling = place(&node.dials, until).await?;
    let dial =
        whom.map_or_else(|| node.transport.dial(to), |whom| node.transport.dial_peer(to, whom));
    let io = timeout_at(until, dial).await;
    drop(dialling);
    let refused = |source| {
        node.counters.errors_dial.one();
        tracing::debug!(error = %source, "dial failed");
        match IdentityFault::of(&source) {
            Some(fault) => RequestError::Identity(fault.clone()),
            None => RequestError::Connect { to: to.clone(), source },
        }
    };
    let io = io.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(refused)?;
    node.counters.connections_dialled.one();
    node.bans.allows(io.proven.as_ref())?;
    Ok(io)
}

/// Sends `request` to `to`, where `whom` is, and returns the replies to come.
pub(crate) async fn open(
    node: &Arc<Node>,
    (to, whom): (&Address, Option<&PeerId>),
    request: OutgoingKind,
) -> Result<Replies, RequestError> {
    let code = request.code();
    if node.cut.is_cancelled() {
        return Err(RequestError::Stopped { sent: false });
    }
    let run = async {
        let (io, held) = dial(node, to, whom).await?;
        let Io { reader, writer, remote, .. } = io;
        tracing::trace!(%code, "request");
        node.counters.exchanges_out.one();
        let sending = send(node, writer, request).await;
        let reader =
            FrameReader::new(reader, BytesMut::new(), node.config.reply_timeout, Arc::clone(node));
        Ok(Replies::new(PartReader::Classic(reader), sending, held, remote, code))
    };
    // Cut before the request was written in full: the callee has got a part at most, which it does
    // not handle.
    let cut = || {
        node.report_cut(Cut { direction: Direction::Out, peer: to.clone(), code: Some(code) });
        Err(RequestError::Stopped { sent: false })
    };
    node.cut.run_until_cancelled(run.instrument(span(to, Direction::Out))).await.unwrap_or_else(cut)
}

/// Writes the request, here when it is small. An error in writing is kept: the callee may have
/// refused, and its reply says more.
async fn send(
    node: &Arc<Node>,
    half: WriteHalf,
    request: OutgoingKind,
) -> (Sending, Option<WriteError>) {
    let mut writer = FrameWriter::new(half, Arc::clone(node));
    if request.is_small() {
        let error = request.write(&mut writer).await.err();
        return (Sending::Sent { _writer: writer }, error);
    }
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let (tell, result) = oneshot::channel();
    node.spawn(async move {
        let written = stopped.run_until_cancelled(request.write(&mut writer)).await;
        let keep = matches!(written, Some(Ok(())));
        // Nobody listens when the replies were dropped.
        tell.send(written.and_then(Result::err)).ok();
        // On an error the half is dropped at once, so that the callee sees the cut; else it stays
        // open until the exchange is over.
        if keep {
            stopped.cancelled().await;
        }
    });
    (Sending::UnderWay { stop, result }, None)
}

/// Sends `request` to `to`, where `whom` is, and does not wait: the connection is closed as soon as the frame is
/// written (WIRE.md part 1, step 5).
pub(crate) async fn notify(
    node: &Arc<Node>,
    (to, whom): (&Address, Option<&PeerId>),
    request: OutgoingKind,
) -> Result<(), RequestError> {
    if node.cut.is_cancelled() {
        return Err(RequestError::Stopped { sent: false });
    }
    let code = request.code();
    let run = async {
        let (io, held) = dial(node, to, whom).await?;
        tracing::trace!(%code, "one-way message");
        node.counters.exchanges_out.one();
        let mut writer = FrameWriter::new(io.writer, Arc::clone(node));
        let written = async {
            request.write(&mut writer).await?;
            writer.shutdown().await
        };
        let result = written.await.map_err(|error| RequestError::not_written(io.remote, error));
        drop(held);
        result
    };
    let cut = || {
        node.report_cut(Cut { direction: Direction::Out, peer: to.clone(), code: Some(code) });
        Err(RequestError::Stopped { sent: false })
    };
    node.cut.run_until_cancelled(run.instrument(span(to, Direction::Out))).await.unwrap_or_else(cut)
}

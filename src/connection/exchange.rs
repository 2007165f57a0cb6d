//! The caller's side of a classic exchange ([protocol](crate::protocol#classic-exchanges)).

use std::{fmt, io, panic::AssertUnwindSafe, sync::Arc};

use bytes::BytesMut;
use futures::FutureExt;
use tokio::{
    io::AsyncRead,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::{
    connection::{
        Cut, Direction, Node, Replies, RequestError,
        leash::Leash,
        node::{OpenGuard, span},
        parts::PartReader,
        reader::{FrameReader, ReadHalf},
        writer::{FrameWriter, Unwritten, WriteError, WriteHalf},
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

    /// Bytes of data.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Frame(frame) => frame.data().len() as u64,
            Self::Body { len, .. } => u64::from(*len),
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
    pub(crate) span: Span,
}

impl OutgoingHeld {
    /// Of an exchange on a link: how many there may be is the other side's to say.
    pub(crate) fn on_link(node: &Arc<Node>) -> Self {
        Self { _place: None, _open: node.count_open(Direction::Out), span: Span::current() }
    }
}

/// The write half, kept open until the exchange is over: some callees take a half-close for a
/// goodbye. Stops the task that writes when it is dropped.
pub(crate) enum Sending {
    Done,
    Sent { _writer: FrameWriter },
    UnderWay { stop: CancellationToken, result: oneshot::Receiver<Option<Unwritten>> },
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

/// A connection for one exchange. The application holds it and need not poll it.
struct Dialled {
    reader: Leash<ReadHalf>,
    writer: Leash<WriteHalf>,
    remote: Address,
    held: OutgoingHeld,
}

/// Opens a connection to `to`, within the node's limits.
async fn dial(
    node: &Arc<Node>,
    to: &Address,
    whom: Option<&PeerId>,
) -> Result<Dialled, RequestError> {
    let until = Instant::now().later(node.config.connect_timeout);
    let place = place(&node.outgoing, until).await?;
    let held = OutgoingHeld { _place: Some(place), ..OutgoingHeld::on_link(node) };
    let (shared, at, whom) = (Arc::clone(node), to.clone(), whom.cloned());
    let connect = async move {
        let io = connect(&shared, &at, whom.as_ref(), until).await?;
        let reader = Leash::new(&shared, io.reader, Some(shared.tasks.token()));
        let writer = Leash::new(&shared, io.writer, None);
        Ok(Dialled { reader, writer, remote: io.remote, held })
    };
    let connect = Leash::new(node, Box::pin(connect), Some(node.tasks.token()));
    connect.await.unwrap_or_else(|source| Err(RequestError::Connect { to: to.clone(), source }))
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
    // The transport may be the application's.
    let dial = AssertUnwindSafe(async {
        match whom {
            None => node.transport.dial(to).await,
            Some(whom) => node.transport.dial_peer(to, whom).await,
        }
    });
    let dial = async {
        let dialled = dial.catch_unwind().await;
        dialled.unwrap_or_else(|_| Err(io::Error::other("the transport panicked in a dial")))
    };
    let io = timeout_at(until, dial).await;
    drop(dialling);
    let refused = |source| {
        node.counters.errors_dial.one();
        tracing::debug!(error = %source, "dial failed");
        match IdentityFault::of(&source) {
            Some(fault) => {
                if let IdentityFault::WrongPeer { at, expected, .. } = fault {
                    node.doubts.note(expected, at);
                }
                RequestError::Identity(fault.clone())
            }
            None => RequestError::Connect { to: to.clone(), source },
        }
    };
    let io = io.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(refused)?;
    node.counters.connections_dialled.one();
    node.bans.allows(io.proven.as_ref())?;
    Ok(io)
}

/// Runs `work` until the node is cut, which is reported then. Work that fails because of the cut is
/// cut too.
async fn unless_cut<T, E>(
    node: &Node,
    (to, code): (&Address, TypeCode),
    work: impl Future<Output = Result<T, E>>,
) -> Option<Result<T, E>> {
    let done = node.cut.run_until_cancelled(work).await;
    let done = done.filter(|done| done.is_ok() || !node.cut.is_cancelled());
    if done.is_none() {
        node.report_cut(Cut { direction: Direction::Out, peer: to.clone(), code: Some(code) });
    }
    done
}

/// Opens a connection for a message with this code, unless the node is cut.
async fn begin(
    node: &Arc<Node>,
    (to, whom): (&Address, Option<&PeerId>),
    code: TypeCode,
) -> Result<Dialled, RequestError> {
    let stopped = || RequestError::Stopped { sent: false };
    if node.cut.is_cancelled() {
        return Err(stopped());
    }
    unless_cut(node, (to, code), dial(node, to, whom)).await.ok_or_else(stopped)?
}

/// Sends `request` to `to`, where `whom` is, and returns the replies to come.
pub(crate) async fn open(
    node: &Arc<Node>,
    (to, whom): (&Address, Option<&PeerId>),
    request: OutgoingKind,
) -> Result<Replies, RequestError> {
    let code = request.code();
    let run = async {
        let Dialled { reader, writer, remote, held } = begin(node, (to, whom), code).await?;
        tracing::trace!(%code, "request");
        node.counters.exchanges_out.one();
        let sending = send(node, to, Box::new(writer), request).await?;
        reader.report(Cut { direction: Direction::Out, peer: to.clone(), code: Some(code) });
        let (reader, patience) = (Box::new(reader), node.config.reply_timeout);
        let reader = FrameReader::new(reader, BytesMut::new(), patience, Arc::clone(node));
        Ok(Replies::new(PartReader::Classic(reader), sending, held, remote, code))
    };
    run.instrument(span(to, Direction::Out)).await
}

/// Writes the request, here when it is small. An error in writing is kept: the callee may have
/// refused, and its reply says more.
async fn send(
    node: &Arc<Node>,
    to: &Address,
    half: WriteHalf,
    request: OutgoingKind,
) -> Result<(Sending, Option<Unwritten>), RequestError> {
    let mut writer = FrameWriter::new(half, Arc::clone(node));
    if request.is_small() {
        let code = request.code();
        let Some(written) = unless_cut(node, (to, code), request.write(&mut writer)).await else {
            return Err(RequestError::Stopped { sent: writer.has_begun() });
        };
        let begun = writer.has_begun();
        let error = written.err().map(|error| Unwritten { error, begun });
        return Ok((Sending::Sent { _writer: writer }, error));
    }
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let (tell, result) = oneshot::channel();
    let write = async move {
        let written = stopped.run_until_cancelled(request.write(&mut writer)).await;
        let keep = matches!(written, Some(Ok(())));
        let begun = writer.has_begun();
        let error = written.and_then(Result::err).map(|error| Unwritten { error, begun });
        // Nobody listens when the replies were dropped.
        tell.send(error).ok();
        // On an error the half is dropped at once, so that the callee sees the cut; else it stays
        // open until the exchange is over.
        if keep {
            stopped.cancelled().await;
        }
    };
    node.spawn(node.until_cut(write));
    Ok((Sending::UnderWay { stop, result }, None))
}

/// Sends `request` to `to`, where `whom` is, and does not wait: the connection is closed as soon as the frame is
/// written ([protocol](crate::protocol#one-way-messages)).
pub(crate) async fn notify(
    node: &Arc<Node>,
    (to, whom): (&Address, Option<&PeerId>),
    request: OutgoingKind,
) -> Result<(), RequestError> {
    let code = request.code();
    let run = async {
        let Dialled { reader, writer, remote, held } = begin(node, (to, whom), code).await?;
        tracing::trace!(%code, "one-way message");
        node.counters.exchanges_out.one();
        let mut writer = FrameWriter::new(Box::new(writer), Arc::clone(node));
        let write = async {
            request.write(&mut writer).await?;
            writer.shutdown().await
        };
        let written = unless_cut(node, (to, code), write).await;
        let begun = writer.has_begun();
        let written = written.ok_or(RequestError::Stopped { sent: begun })?;
        drop((reader, held));
        written.map_err(|error| RequestError::not_written(remote, Unwritten { error, begun }))
    };
    run.instrument(span(to, Direction::Out)).await
}

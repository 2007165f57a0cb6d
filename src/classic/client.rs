//! The caller's side of a classic exchange ([protocol](crate::protocol#classic-exchanges)).

use std::{
    convert::Infallible,
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
};

use bytes::BytesMut;
use futures::FutureExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    classic::{reader::FrameReader, writer::FrameWriter},
    frame::TypeCode,
    message::{
        Replies, RequestError,
        error::{Unwritten, WriteError},
        outgoing::{OutgoingHeld, OutgoingKind, Sending},
    },
    node::{
        AbortedExchange, Direction, Node,
        connections::{Opened, OpenedProtocol},
        revocable::{Revocable, Revoke},
        span,
    },
    overlay::{Address, PeerId},
    time::Later,
    transport::{IdentityFault, Io, ReadHalf, WriteHalf},
};

/// Longer requests are written by a separate task, so that there is no deadlock with a callee that
/// answers while it reads.
const INLINE_UP_TO: usize = 64 << 10; // bytes

async fn write(message: OutgoingKind, writer: &mut FrameWriter) -> Result<(), WriteError> {
    match message {
        OutgoingKind::Frame(frame) => {
            writer.feed(&frame).await?;
            writer.flush().await
        }
        OutgoingKind::Body { code, len, reader } => writer.body(code, len.into(), reader).await,
    }
}

fn is_small(message: &OutgoingKind) -> bool {
    match message {
        OutgoingKind::Frame(frame) => frame.encoded_len() <= INLINE_UP_TO,
        OutgoingKind::Body { .. } => false,
    }
}

async fn permit(of: &Arc<Semaphore>, until: Instant) -> Result<OwnedSemaphorePermit, RequestError> {
    let permit =
        timeout_at(until, Arc::clone(of).acquire_owned()).await.map_err(|_| RequestError::Busy)?;
    permit.map_err(|_| RequestError::Stopped { sent: false })
}

/// A connection for one exchange. The application holds it and may not poll it.
struct Dialled {
    reader: Revocable<ReadHalf>,
    writer: Revocable<WriteHalf>,
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
    let permit = permit(&node.outgoing, until).await?;
    let held = OutgoingHeld::dialled(node, permit);
    let (shared, at, whom) = (Arc::clone(node), to.clone(), whom.cloned());
    let connect = async move {
        let io = connect(&shared, &at, whom.as_ref(), until).await?;
        let reader = Revocable::new(&shared, io.reader, Some(shared.tasks.token()));
        let writer = Revocable::new(&shared, io.writer, None);
        Ok(Dialled { reader, writer, remote: io.remote, held })
    };
    let connect = Revocable::new(node, Box::pin(connect), Some(node.tasks.token()));
    connect.await.unwrap_or_else(|source| Err(RequestError::Connect { to: to.clone(), source }))
}

/// Opens a connection to `to`, within the limit of concurrent dials. Fails if the peer there is not
/// `whom`, or is banned.
pub(crate) async fn connect(
    node: &Node,
    to: &Address,
    whom: Option<&PeerId>,
    until: Instant,
) -> Result<Io, RequestError> {
    node.bans.allows(whom)?;
    let dialling = permit(&node.dials, until).await?;
    // The application may supply the transport: catch its panics.
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
                    node.verifications.push(expected, at);
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

/// Runs `work` until the node aborts. `None`, with a report, if it was aborted or failed because of
/// the abort.
async fn unless_aborted<T, E>(
    node: &Node,
    (to, code): (&Address, TypeCode),
    work: impl Future<Output = Result<T, E>>,
) -> Option<Result<T, E>> {
    let done = node.abort.run_until_cancelled(work).await;
    let done = done.filter(|done| done.is_ok() || !node.abort.is_cancelled());
    if done.is_none() {
        node.report_aborted(AbortedExchange {
            direction: Direction::Out,
            peer: to.clone(),
            code: Some(code),
        });
    }
    done
}

/// Opens a connection for a message with this code, unless the node aborts.
async fn begin(
    node: &Arc<Node>,
    (to, whom): (&Address, Option<&PeerId>),
    code: TypeCode,
) -> Result<Dialled, RequestError> {
    let stopped = || RequestError::Stopped { sent: false };
    if node.abort.is_cancelled() {
        return Err(stopped());
    }
    let dialled = unless_aborted(node, (to, code), dial(node, to, whom)).await;
    let mut dialled = dialled.ok_or_else(stopped)??;
    dialled.held.actor = Some(host(node, &dialled, code));
    Ok(dialled)
}

/// The halves of a connection, which are dropped with this.
struct Halves([Weak<dyn Revoke>; 2]);

impl Drop for Halves {
    fn drop(&mut self) {
        self.0.iter().filter_map(Weak::upgrade).for_each(|half| half.revoke());
    }
}

/// Starts the actor of a connection. The actor ends with the connection, and the connection with the
/// actor. The caller reads and writes, so that no frame passes through the mailbox of the actor.
fn host(node: &Arc<Node>, dialled: &Dialled, code: TypeCode) -> oneshot::Sender<Infallible> {
    let (sender, ended) = oneshot::channel::<Infallible>();
    // The exchange ends by dropping its sender. The caller may hold it and not poll it, so that an
    // abort does not wait for it.
    let ended = node.until_aborted(ended);
    let halves = Halves([dialled.reader.revoker(), dialled.writer.revoker()]);
    node.host(Opened {
        address: dialled.remote.clone(),
        direction: Direction::Out,
        protocol: OpenedProtocol::Classic(code),
        run: Box::pin(async move {
            let _halves = halves;
            let _ended = ended.await;
        }),
    });
    sender
}

/// Sends `request` to the peer `whom` at `to`, and returns its replies.
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
        reader.report(AbortedExchange {
            direction: Direction::Out,
            peer: to.clone(),
            code: Some(code),
        });
        let (reader, limit) = (Box::new(reader), node.config.reply_timeout);
        let reader = FrameReader::new(reader, BytesMut::new(), limit, Arc::clone(node));
        Ok(Replies::new(Box::new(reader), sending, held, remote, code))
    };
    run.instrument(span(to, Direction::Out)).await
}

/// Writes the request: in this task if it is small, otherwise in a separate one. An error of the
/// write is kept for later, because the callee may have refused the request, and its reply says
/// why.
async fn send(
    node: &Arc<Node>,
    to: &Address,
    half: WriteHalf,
    request: OutgoingKind,
) -> Result<(Sending, Option<Unwritten>), RequestError> {
    let mut writer = FrameWriter::new(half, Arc::clone(node));
    if is_small(&request) {
        let code = request.code();
        let Some(written) = unless_aborted(node, (to, code), write(request, &mut writer)).await
        else {
            return Err(RequestError::Stopped { sent: writer.has_begun() });
        };
        let begun = writer.has_begun();
        let error = written.err().map(|error| Unwritten { error, begun });
        return Ok((Sending::Sent { _half: writer.into_half() }, error));
    }
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let (sender, result) = oneshot::channel();
    let write = async move {
        let written = stopped.run_until_cancelled(write(request, &mut writer)).await;
        let keep = matches!(written, Some(Ok(())));
        let begun = writer.has_begun();
        let error = written.and_then(Result::err).map(|error| Unwritten { error, begun });
        // The send fails only if the replies were dropped.
        sender.send(error).ok();
        // On an error the half is dropped at once, so that the callee detects the truncation.
        // Otherwise it stays open until the exchange ends.
        if keep {
            stopped.cancelled().await;
        }
    };
    node.spawn(node.until_aborted(write));
    Ok((Sending::UnderWay { stop, result }, None))
}

/// Sends `request` to the peer `whom` at `to` without waiting for replies: the connection is closed
/// as soon as the frame is written ([protocol](crate::protocol#one-way-messages)).
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
            write(request, &mut writer).await?;
            writer.shutdown().await
        };
        let written = unless_aborted(node, (to, code), write).await;
        let begun = writer.has_begun();
        let written = written.ok_or(RequestError::Stopped { sent: begun })?;
        drop((reader, held));
        written.map_err(|error| RequestError::not_written(remote, Unwritten { error, begun }))
    };
    run.instrument(span(to, Direction::Out)).await
}

//! Accepted connections, from the socket to the start of their actor.

use std::{
    io,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::prelude::Actor;
use bytes::BytesMut;
use futures::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, error::Elapsed, timeout_at},
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use crate::{
    classic::{reader::first_bytes, server::Server, writer::explain},
    connection::{ConnectionActor, Connections},
    fault_points::{FaultPoint, fault_point},
    frame::{FrameError, FrameHead, HEADER_LEN},
    limits::{Misbehavior, admission::ConnectionPermit},
    link::code,
    node::{
        AbortedExchange, Direction, Node, OpenGuard, Refusal,
        connections::{Opened, OpenedProtocol},
        log::Sanitized,
        span,
    },
    overlay::Address,
    session,
    session::Endpoint,
    time::Later,
    transport::{Io, ReadHalf},
};

/// The permits that a connection holds while it is open.
#[derive(Debug)]
pub(crate) struct Held {
    admission: ConnectionPermit,
    _permit: OwnedSemaphorePermit,
    _open: OpenGuard,
    _task: TaskTrackerToken,
    connections: Connections,
}

impl Held {
    pub(crate) fn new(
        admission: ConnectionPermit,
        permit: OwnedSemaphorePermit,
        node: &Arc<Node>,
        connections: Connections,
    ) -> Self {
        let (open, task) = (node.count_open(Direction::In), node.tasks.token());
        Self { admission, _permit: permit, _open: open, _task: task, connections }
    }
}

/// Runs a new connection until its header is complete, and then starts its actor.
///
/// Until then it is a small task without buffers. It is closed when the header is not complete in
/// time ([`Config::header_timeout`](crate::Config::header_timeout)) or when the node stops.
#[expect(clippy::manual_async_fn, reason = "its arguments would be kept twice")]
pub(crate) fn accepted(
    mut io: Io,
    node: Arc<Endpoint>,
    mut held: Held,
) -> impl Future<Output = ()> + Send {
    async move {
        let until = Instant::now().later(node.config.header_timeout);
        // Boxed, like the work after the header, so that a silent connection holds no memory for
        // it.
        match Box::pin(secured(io, until, &node, &mut held.admission)).await {
            Some(secured) => io = secured,
            None => return,
        }
        let first = header(&mut io.reader, until, &node, &mut held.admission).await;
        let begun = node.until_aborted(begin(io, &node, &held.admission, first));
        if let Some(Some(opened)) = Box::pin(begun).await {
            let connections = held.connections.clone();
            ConnectionActor::new(&connections, &node.node, opened, Some(held)).start();
        }
    }
}

/// The time in which an aborted exchange may send its refusal. It is less than the node waits.
const ABORT_GRACE: Duration = Duration::from_millis(500);

/// Runs a classic exchange to its end, at the latest when the node aborts.
async fn serve(server: Server, node: Arc<Node>, remote: Address) {
    let code = Some(server.code());
    let late = async {
        node.abort.cancelled().await;
        if !node.silent.load(Ordering::Relaxed) {
            tokio::time::sleep(ABORT_GRACE).await;
        }
    };
    // A reply stream of the application may panic.
    let run = AssertUnwindSafe(Box::new(server).run()).catch_unwind();
    let end = match select(pin!(run), pin!(late)).await {
        Either::Left((end, _)) => Some(end),
        Either::Right(_) => None,
    };
    match end {
        Some(Ok(())) => {}
        Some(Err(_)) => node.refuse(&remote, code, Refusal::HandlerFailed),
        None => {
            node.report_aborted(AbortedExchange { direction: Direction::In, peer: remote, code });
        }
    }
}

/// Authenticates the peer. `None` if the peer is not admitted.
async fn secured(
    io: Io,
    until: Instant,
    node: &Endpoint,
    admission: &mut ConnectionPermit,
) -> Option<Io> {
    let from = io.remote.clone();
    let secured = {
        let secured = pin!(timeout_at(until, node.transport.secure(io)));
        let drained = pin!(node.drain.cancelled());
        match select(secured, select(drained, pin!(admission.displaced()))).await {
            Either::Left((secured, _)) => secured,
            // No `ERRO` can be sent before the handshake is complete.
            Either::Right(_) => return None,
        }
    };
    let offended = |what| node.offended(&from, None, what);
    match secured {
        Ok(Ok(io)) if io.proven.as_ref().is_some_and(|id| node.bans.refuses_id(id)) => {
            node.counters.connections_banned.one();
            None
        }
        Ok(Ok(io)) => Some(io),
        Ok(Err(error)) => {
            node.counters.errors_handshake.one();
            offended(Misbehavior::NoHandshake);
            tracing::debug!(peer = %from, error = %Sanitized(&error), "TLS handshake failed");
            None
        }
        Err(_) => {
            node.counters.errors_late.one();
            offended(Misbehavior::Late);
            tracing::debug!(peer = %from, error = "TLS handshake timed out", "connection broken");
            None
        }
    }
}

/// The first bytes, with a complete header; or the refusal if the connection has to be closed.
type Header = Result<Result<io::Result<BytesMut>, Elapsed>, Refusal>;

#[expect(clippy::manual_async_fn, reason = "its arguments would be kept twice")]
fn header<'a>(
    reader: &'a mut ReadHalf,
    until: Instant,
    node: &'a Endpoint,
    admission: &'a mut ConnectionPermit,
) -> impl Future<Output = Header> + Send + 'a {
    async move {
        // A header that has arrived is served, even if the node begins to stop.
        let first = pin!(timeout_at(until, first_bytes(reader)));
        let drained = pin!(node.drain.cancelled());
        match select(first, select(drained, pin!(admission.displaced()))).await {
            Either::Left((first, _)) => Ok(first),
            Either::Right((Either::Left(_), _)) => Err(Refusal::Stopping),
            Either::Right((Either::Right(_), _)) => Err(Refusal::Busy),
        }
    }
}

/// Prepares the protocol that the header selects. `None` if the connection ends here.
async fn begin(
    io: Io,
    node: &Arc<Endpoint>,
    admission: &ConnectionPermit,
    first: Header,
) -> Option<Opened> {
    let Io { reader, writer, remote, proven } = io;
    let span = span(&remote, Direction::In);
    admission.header_complete();
    let first = match first {
        Ok(first) => first,
        // Without the reason, the caller would take the end for an empty answer.
        Err(refusal) => {
            explain(writer, refusal, Arc::clone(&node.node)).await;
            return None;
        }
    };
    let error = match first {
        Ok(Ok(first)) if first.is_empty() => {
            node.counters.connections_silent.one();
            return None;
        }
        Ok(Ok(first)) if first.len() < HEADER_LEN => {
            FrameError::TruncatedHeader { got: first.len() }
        }
        Ok(Ok(first)) => {
            node.counters.bytes_in.add(first.len() as u64);
            let is_link = FrameHead::peek(&first).is_some_and(|head| head.code() == code::LNK);
            let served = proven.is_some() || node.serves_unproven();
            if is_link && fault_point(FaultPoint::LinkRefused) {
                node.refuse(&remote, Some(code::LNK), Refusal::Busy);
                explain(writer, Refusal::Busy, Arc::clone(&node.node)).await;
                return None;
            }
            let (protocol, run) = if node.config.links && is_link && served {
                let link = session::welcome(node, (reader, writer), first, (&remote, proven));
                let driver = link.await?;
                let link = OpenedProtocol::Link(driver.link());
                // A link handles an abort itself, for each open exchange.
                (link, Box::pin(driver.run().instrument(span)) as BoxFuture<'static, ()>)
            } else {
                let (shared, routes) = (Arc::clone(&node.node), Arc::clone(&node.routes));
                let server =
                    Server::new(reader, writer, first, remote.clone(), proven, shared, routes)?;
                let code = server.code();
                let run = serve(server, Arc::clone(&node.node), remote.clone()).instrument(span);
                (OpenedProtocol::Classic(code), Box::pin(run) as _)
            };
            return Some(Opened { address: remote, direction: Direction::In, protocol, run });
        }
        Ok(Err(error)) => FrameError::Io(error),
        Err(_) => {
            node.counters.errors_late.one();
            node.offended(&remote, proven.as_ref(), Misbehavior::Late);
            tracing::debug!(parent: &span, error = "no header in time", "connection broken");
            return None;
        }
    };
    node.count_frame_error(&error);
    if matches!(error, FrameError::TruncatedHeader { .. }) {
        node.offended(&remote, proven.as_ref(), Misbehavior::Truncated);
    }
    tracing::debug!(parent: &span, error = %Sanitized(&error), "connection broken");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn len<F>(_: impl FnOnce(Io, Arc<Endpoint>, Held) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_silent_connection_is_a_small_task() {
        assert!(len(accepted) <= 544, "{} bytes", len(accepted));
    }
}

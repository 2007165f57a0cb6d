//! Layer 12: the actor that runs an accepted connection: a classic exchange or a link.

use std::{
    io,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::prelude::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use bytes::BytesMut;
use futures::{
    FutureExt,
    future::{Either, select},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, error::Elapsed, timeout_at},
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use crate::{
    classic::{reader::first_bytes, server::Server, writer::explain},
    frame::{FrameError, FrameHead, HEADER_LEN, TypeCode},
    limits::{Misbehavior, admission::ConnectionPermit},
    link::code,
    node::{AbortedExchange, Direction, Node, OpenGuard, Refusal, log::Sanitized, span},
    overlay::Address,
    session,
    session::{Driver, Endpoint},
    time::Later,
    transport::{Io, ReadHalf},
};

/// An accepted connection whose header is complete.
///
/// The actor owns the connection. The listener starts one for each connection when the first header
/// is complete, so that a silent connection takes no actor. It handles no messages: the exchange or
/// link runs in its context and stops the actor at its end, at the latest when the node aborts. It
/// never blocks and never waits for an actor above it. A panic in it, for example in a reply stream
/// of the application, affects only this connection.
#[derive(Debug)]
pub struct ConnectionActor {
    code: TypeCode,
    remote: Address,
    node: Arc<Endpoint>,
    talk: Option<(Talk, tracing::Span)>,
    // Released when the actor ends, whatever the cause.
    _held: Held,
}

/// The protocol of a connection.
#[derive(Debug)]
enum Talk {
    Classic(Box<Server>),
    Link(Box<Driver>),
}

impl Talk {
    const fn code(&self) -> TypeCode {
        match self {
            Self::Classic(server) => server.code(),
            Self::Link(_) => code::LNK,
        }
    }
}

/// The permits that a connection holds while it is open.
#[derive(Debug)]
pub(crate) struct Held {
    admission: ConnectionPermit,
    _permit: OwnedSemaphorePermit,
    _open: OpenGuard,
    _task: TaskTrackerToken,
}

impl Held {
    pub(crate) fn new(
        admission: ConnectionPermit,
        permit: OwnedSemaphorePermit,
        node: &Arc<Node>,
    ) -> Self {
        let (open, task) = (node.count_open(Direction::In), node.tasks.token());
        Self { admission, _permit: permit, _open: open, _task: task }
    }
}

/// The time in which an aborted exchange may send its refusal. It is less than the node waits.
const ABORT_GRACE: Duration = Duration::from_millis(500);

/// How a classic exchange ended.
enum End {
    Regular,
    Aborted,
    Panicked,
}

impl Actor for ConnectionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (server, span) = match self.talk.take() {
            Some((Talk::Classic(server), span)) => (server, span),
            Some((Talk::Link(link), span)) => {
                // A link handles an abort itself, for each open exchange.
                let run = link.run().instrument(span).into_actor(self);
                ctx.spawn(run.map(|(), _, ctx| ctx.stop()));
                return;
            }
            None => return ctx.stop(),
        };
        let node = Arc::clone(&self.node);
        let run = async move {
            let late = async move {
                node.abort.cancelled().await;
                if !node.silent.load(Ordering::Relaxed) {
                    tokio::time::sleep(ABORT_GRACE).await;
                }
            };
            let run = AssertUnwindSafe(server.run()).catch_unwind();
            match select(pin!(run), pin!(late)).await {
                Either::Left((Ok(()), _)) => End::Regular,
                Either::Left((Err(_), _)) => End::Panicked,
                Either::Right(_) => End::Aborted,
            }
        };
        ctx.spawn(run.instrument(span).into_actor(self).map(|end, this, ctx| {
            this.ended(&end);
            ctx.stop();
        }));
    }
}

impl ConnectionActor {
    fn ended(&self, end: &End) {
        match end {
            End::Regular => {}
            End::Panicked => {
                self.node.refuse(&self.remote, Some(self.code), Refusal::HandlerFailed)
            }
            End::Aborted => {
                self.node.report_aborted(AbortedExchange {
                    direction: Direction::In,
                    peer: self.remote.clone(),
                    code: Some(self.code),
                });
            }
        }
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
        if let Some(Some((remote, talk, span))) = Box::pin(begun).await {
            let (code, talk) = (talk.code(), Some((talk, span)));
            ConnectionActor { code, remote, node, talk, _held: held }.start();
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
        match select(secured, select(drained, pin!(admission.told_to_go()))).await {
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
            tracing::debug!(peer = %from, error = %Sanitized(&error), "connection not secured");
            None
        }
        Err(_) => {
            node.counters.errors_late.one();
            offended(Misbehavior::Late);
            tracing::debug!(peer = %from, error = "not secured in time", "connection broken");
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
        match select(first, select(drained, pin!(admission.told_to_go()))).await {
            Either::Left((first, _)) => Ok(first),
            Either::Right((Either::Left(_), _)) => Err(Refusal::Stopping),
            Either::Right((Either::Right(_), _)) => Err(Refusal::Busy),
        }
    }
}

/// Starts the protocol that the header selects. `None` if the connection ends here.
async fn begin(
    io: Io,
    node: &Arc<Endpoint>,
    admission: &ConnectionPermit,
    first: Header,
) -> Option<(Address, Talk, tracing::Span)> {
    let Io { reader, writer, remote, proven } = io;
    let span = span(&remote, Direction::In);
    admission.greeted();
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
            let talk = if node.config.links && is_link && served {
                let link = session::welcome(node, (reader, writer), first, (&remote, proven));
                link.await.map(|driver| Talk::Link(Box::new(driver)))
            } else {
                let (node, routes) = (Arc::clone(&node.node), Arc::clone(&node.routes));
                Server::new(reader, writer, first, remote.clone(), proven, node, routes)
                    .map(|server| Talk::Classic(Box::new(server)))
            };
            return talk.map(|talk| (remote, talk, span));
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

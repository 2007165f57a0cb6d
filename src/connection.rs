//! Layer 12: the actor that hosts a connection, whichever protocol it speaks.

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

/// One accepted connection whose header has come.
///
/// It owns the connection; the listener starts one for each, when the first header is complete (a
/// silent connection is not worth an actor). It has no messages of its own: the conversation runs
/// in its context and ends it, at the latest when the node cuts it. It never blocks and never waits
/// upwards, and a panic in it (in a reply stream of the application, say) costs this one
/// connection.
#[derive(Debug)]
pub struct ConnectionActor {
    code: TypeCode,
    remote: Address,
    node: Arc<Endpoint>,
    talk: Option<(Talk, tracing::Span)>,
    // Given back when the actor ends, whatever the cause.
    _held: Held,
}

/// What is said on a connection.
#[derive(Debug)]
enum Talk {
    Classic(Box<Server>),
    Link(Box<Driver>),
}

impl Talk {
    const fn code(&self) -> TypeCode {
        match self {
            Self::Classic(conversation) => conversation.code(),
            Self::Link(_) => code::LNK,
        }
    }
}

/// What a connection holds as long as it is open.
#[derive(Debug)]
pub(crate) struct Held {
    pass: ConnectionPermit,
    _place: OwnedSemaphorePermit,
    _open: OpenGuard,
    _task: TaskTrackerToken,
}

impl Held {
    pub(crate) fn new(
        pass: ConnectionPermit,
        place: OwnedSemaphorePermit,
        node: &Arc<Node>,
    ) -> Self {
        let (open, task) = (node.count_open(Direction::In), node.tasks.token());
        Self { pass, _place: place, _open: open, _task: task }
    }
}

/// A conversation that is cut has this long to say so. Less than the node waits for it.
const ABORT_GRACE: Duration = Duration::from_millis(500);

/// How a conversation ended.
enum End {
    Regular,
    Aborted,
    Panicked,
}

impl Actor for ConnectionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (conversation, span) = match self.talk.take() {
            Some((Talk::Classic(conversation), span)) => (conversation, span),
            Some((Talk::Link(link), span)) => {
                // It looks after its end itself: each open exchange has its own.
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
            let run = AssertUnwindSafe(conversation.run()).catch_unwind();
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

/// Takes a new connection from its first byte to its actor.
///
/// Until the header is complete it is a small task without buffers: closed without ado when it says
/// nothing for too long ([`Config::header_timeout`](crate::Config::header_timeout)) or when the
/// node stops.
#[expect(clippy::manual_async_fn, reason = "its arguments would be kept twice")]
pub(crate) fn accepted(
    mut io: Io,
    node: Arc<Endpoint>,
    mut held: Held,
) -> impl Future<Output = ()> + Send {
    async move {
        let until = Instant::now().later(node.config.header_timeout);
        // Boxed, as is what comes after the header: a silent connection does not keep the room for it.
        match Box::pin(secured(io, until, &node, &mut held.pass)).await {
            Some(secured) => io = secured,
            None => return,
        }
        let first = header(&mut io.reader, until, &node, &mut held.pass).await;
        let begun = node.until_aborted(begin(io, &node, &held.pass, first));
        if let Some(Some((remote, talk, span))) = Box::pin(begun).await {
            let (code, talk) = (talk.code(), Some((talk, span)));
            ConnectionActor { code, remote, node, talk, _held: held }.start();
        }
    }
}

/// Finds out who is there. None when nobody is who may be.
async fn secured(
    io: Io,
    until: Instant,
    node: &Endpoint,
    pass: &mut ConnectionPermit,
) -> Option<Io> {
    let from = io.remote.clone();
    let secured = {
        let secured = pin!(timeout_at(until, node.transport.secure(io)));
        let drained = pin!(node.drain.cancelled());
        match select(secured, select(drained, pin!(pass.told_to_go()))).await {
            Either::Left((secured, _)) => secured,
            // There are no words for it before it is known who is there.
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

/// The first bytes, as soon as there is a header among them; or why nobody waits for them.
type Header = Result<Result<io::Result<BytesMut>, Elapsed>, Refusal>;

#[expect(clippy::manual_async_fn, reason = "its arguments would be kept twice")]
fn header<'a>(
    reader: &'a mut ReadHalf,
    until: Instant,
    node: &'a Endpoint,
    pass: &'a mut ConnectionPermit,
) -> impl Future<Output = Header> + Send + 'a {
    async move {
        // What has come already is served, even when the node is about to stop.
        let first = pin!(timeout_at(until, first_bytes(reader)));
        let drained = pin!(node.drain.cancelled());
        match select(first, select(drained, pin!(pass.told_to_go()))).await {
            Either::Left((first, _)) => Ok(first),
            Either::Right((Either::Left(_), _)) => Err(Refusal::Stopping),
            Either::Right((Either::Right(_), _)) => Err(Refusal::Busy),
        }
    }
}

/// Begins with what the header says, if it is one.
async fn begin(
    io: Io,
    node: &Arc<Endpoint>,
    pass: &ConnectionPermit,
    first: Header,
) -> Option<(Address, Talk, tracing::Span)> {
    let Io { reader, writer, remote, proven } = io;
    let span = span(&remote, Direction::In);
    pass.greeted();
    let first = match first {
        Ok(first) => first,
        // So that the caller does not take the end for an empty answer.
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
                let who = (remote.clone(), proven);
                let node = (Arc::clone(&node.node), Arc::clone(&node.routes));
                Server::new(reader, writer, first, who, node)
                    .map(|conversation| Talk::Classic(Box::new(conversation)))
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
    fn a_connection_that_says_nothing_is_a_small_task() {
        assert!(len(accepted) <= 544, "{} bytes", len(accepted));
    }
}

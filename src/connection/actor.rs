//! `ConnectionActor`: one accepted connection as an actor.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use actix::prelude::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures::{
    FutureExt,
    future::{Either, select},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use crate::{
    connection::{
        Cut, Direction, Node, Offence, Refusal,
        conversation::Conversation,
        door::Pass,
        links::{self, Driver},
        node::{OpenGuard, span},
        quiet::Shown,
        reader::first_bytes,
        writer::explain,
    },
    frame::{FrameError, FrameHead, HEADER_LEN, TypeCode},
    link::code,
    overlay::Address,
    transport::Io,
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
    node: Arc<Node>,
    talk: Option<(Talk, tracing::Span)>,
    // Given back when the actor ends, whatever the cause.
    _held: Held,
}

/// What is said on a connection.
#[derive(Debug)]
enum Talk {
    Classic(Box<Conversation>),
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
    pass: Pass,
    _place: OwnedSemaphorePermit,
    _open: OpenGuard,
    _task: TaskTrackerToken,
}

impl Held {
    pub(crate) fn new(pass: Pass, place: OwnedSemaphorePermit, node: &Arc<Node>) -> Self {
        let (open, task) = (node.count_open(Direction::In), node.tasks.token());
        Self { pass, _place: place, _open: open, _task: task }
    }
}

/// A conversation that is cut has this long to say so. Less than the node waits for it.
const CUT_GRACE: Duration = Duration::from_millis(500);

/// How a conversation ended.
enum End {
    Regular,
    Cut,
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
        let cut = self.node.cut.clone();
        let run = async move {
            let late = async move {
                cut.cancelled().await;
                tokio::time::sleep(CUT_GRACE).await;
            };
            let run = AssertUnwindSafe(conversation.run()).catch_unwind();
            match select(pin!(run), pin!(late)).await {
                Either::Left((Ok(()), _)) => End::Regular,
                Either::Left((Err(_), _)) => End::Panicked,
                Either::Right(_) => End::Cut,
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
            End::Cut => {
                self.node.report_cut(Cut {
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
pub(crate) async fn accepted(io: Io, node: Arc<Node>, mut held: Held) {
    let span = span(&io.remote, Direction::In);
    let limit = node.config.header_timeout;
    let until = Instant::now() + limit;
    let from = io.remote.clone();
    let mut told_to_go = pin!(held.pass.told_to_go());
    let secured = {
        let secured = pin!(timeout_at(until, node.transport.secure(io)));
        let drained = pin!(node.drain.cancelled());
        match select(secured, select(drained, told_to_go.as_mut())).await {
            Either::Left((secured, _)) => secured,
            // There are no words for it before it is known who is there.
            Either::Right(_) => return,
        }
    };
    let Io { mut reader, writer, remote, proven } = match secured {
        Ok(Ok(io)) => io,
        Ok(Err(error)) => {
            node.counters.errors_handshake.one();
            node.offended(&from, None, Offence::NoHandshake);
            tracing::debug!(parent: &span, error = %Shown(&error), "connection not secured");
            return;
        }
        Err(_) => {
            node.counters.errors_late.one();
            node.offended(&from, None, Offence::Late);
            tracing::debug!(parent: &span, error = "not secured in time", "connection broken");
            return;
        }
    };
    if proven.as_ref().is_some_and(|id| node.bans.refuses_id(id)) {
        return node.counters.connections_banned.one();
    }
    // What has come already is served, even when the node is about to stop.
    let first = {
        let first = pin!(timeout_at(until, first_bytes(&mut reader)));
        let drained = pin!(node.drain.cancelled());
        match select(first, select(drained, told_to_go)).await {
            Either::Left((first, _)) => Ok(first),
            Either::Right((Either::Left(_), _)) => Err(Refusal::Stopping),
            Either::Right((Either::Right(_), _)) => Err(Refusal::Busy),
        }
    };
    held.pass.greeted();
    let first = match first {
        Ok(first) => first,
        // So that the caller does not take the end for an empty answer. Boxed: it is no part of what
        // a silent connection costs.
        Err(refusal) => return Box::pin(explain(writer, refusal, node)).await,
    };
    let error = match first {
        Ok(Ok(first)) if first.is_empty() => return node.counters.connections_silent.one(),
        Ok(Ok(first)) if first.len() < HEADER_LEN => FrameError::CutHeader { got: first.len() },
        Ok(Ok(first)) => {
            node.counters.bytes_in.add(first.len() as u64);
            let is_link = FrameHead::peek(&first).is_some_and(|head| head.code() == code::LNK);
            let served = proven.is_some() || node.serves_unproven();
            let talk = if node.config.links && is_link && served {
                // Boxed, so that a silent connection does not keep the room for it.
                let link =
                    Box::pin(links::welcome(&node, (reader, writer), first, (&remote, proven)));
                link.await.map(|driver| Talk::Link(Box::new(driver)))
            } else {
                let (who, node) = ((remote.clone(), proven), Arc::clone(&node));
                Conversation::new(reader, writer, first, who, node)
                    .map(|conversation| Talk::Classic(Box::new(conversation)))
            };
            if let Some(talk) = talk {
                let code = talk.code();
                ConnectionActor { code, remote, node, talk: Some((talk, span)), _held: held }
                    .start();
            }
            return;
        }
        Ok(Err(error)) => FrameError::Io(error),
        Err(_) => {
            node.counters.errors_late.one();
            node.offended(&remote, proven.as_ref(), Offence::Late);
            tracing::debug!(parent: &span, error = "no header in time", "connection broken");
            return;
        }
    };
    node.count_frame_error(&error);
    if matches!(error, FrameError::CutHeader { .. }) {
        node.offended(&remote, proven.as_ref(), Offence::Cut);
    }
    tracing::debug!(parent: &span, error = %Shown(&error), "connection broken");
}

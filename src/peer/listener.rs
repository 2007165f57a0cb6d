//! `ListenerActor`: accepts connections.

use std::{fmt, sync::Arc, time::Duration};

use actix::prelude::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures::future::{Either, select};
use tokio::sync::Semaphore;

use crate::{
    connection::{Held, Node, PeerEvent, Refusal, accepted, explain},
    peer::child::Guard,
    transport::{Io, Listener},
};

/// After an error in accepting (no descriptors left, say), the first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The pause doubles up to this. Short enough that a node recovers within seconds when descriptors
/// are free again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Connections over the limit that are told so at the same time; further ones are closed without a
/// word.
const REFUSALS_AT_ONCE: usize = 64;

/// Accepts connections, within the limit, and starts each on its way to its own `ConnectionActor`.
///
/// The `PeerActor` starts it, watches it, and starts a successor on the same address when it dies.
/// Ends when the node drains.
pub struct ListenerActor {
    listener: Option<Box<dyn Listener>>,
    node: Arc<Node>,
    _guard: Guard,
}

impl fmt::Debug for ListenerActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerActor").field("me", &self.node.me).finish_non_exhaustive()
    }
}

impl ListenerActor {
    pub(crate) const fn new(listener: Box<dyn Listener>, node: Arc<Node>, guard: Guard) -> Self {
        Self { listener: Some(listener), node, _guard: guard }
    }
}

impl Actor for ListenerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(listener) = self.listener.take() else {
            return ctx.stop();
        };
        let node = Arc::clone(&self.node);
        let accept = async move { node.drain.run_until_cancelled(accept(listener, &node)).await };
        ctx.spawn(accept.into_actor(self).map(|_, _, ctx| ctx.stop()));
    }
}

async fn accept(mut listener: Box<dyn Listener>, node: &Arc<Node>) {
    let refusals = Arc::new(Semaphore::new(REFUSALS_AT_ONCE));
    let mut paused = node.paused.subscribe();
    let mut pause = FIRST_PAUSE;
    loop {
        // The sender of this channel lives in the node.
        paused.wait_for(|paused| !paused).await.ok();
        let next = std::future::poll_fn(|cx| listener.poll_accept(cx));
        let accepted = match select(next, std::pin::pin!(paused.wait_for(|paused| *paused))).await {
            Either::Left((accepted, _)) => accepted,
            Either::Right(_) => continue,
        };
        match accepted {
            Ok(io) => {
                pause = FIRST_PAUSE;
                take(io, node, &refusals);
            }
            Err(error) => {
                node.counters.errors_accept.one();
                tracing::warn!(%error, "accept failed");
                node.emit(&PeerEvent::AcceptFailed { error: error.kind().to_string() });
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn take(io: Io, node: &Arc<Node>, refusals: &Arc<Semaphore>) {
    node.counters.connections_accepted.one();
    if let Ok(place) = Arc::clone(&node.connections).try_acquire_owned() {
        let held = Held::new(place, node);
        node.threads.spawn_on_arbiter(accepted(io, Arc::clone(node), held));
        return;
    }
    node.counters.connections_refused.one();
    node.refuse(&io.remote, None, Refusal::Busy);
    // Plain words would look as if nobody spoke TLS here, and a handshake is too dear.
    if node.secure {
        return;
    }
    if let Ok(place) = Arc::clone(refusals).try_acquire_owned() {
        let node = Arc::clone(node);
        actix_rt::spawn(async move {
            explain(io.writer, Refusal::Busy, node).await;
            drop((io.reader, place));
        });
    }
}

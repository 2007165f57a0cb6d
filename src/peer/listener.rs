//! `ListenerActor`: accepts connections.

use std::{fmt, fs::File, io, sync::Arc, time::Duration};

use actix::prelude::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures::{
    FutureExt,
    future::{Either, select},
};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{
    classic::explain,
    connection::{Connections, Held, accepted},
    fault_points::{FaultPoint, Sometimes, reached},
    limits::AdmissionDenied,
    node::{
        PeerEvent, Refusal, delay_at,
        log::{LogKind, warn_some},
    },
    peer::supervision::Guard,
    session::Endpoint,
    transport::{Io, Listener},
};

/// The first pause after an error of `accept`, for example when no descriptors are left.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The maximum pause. Short enough that a node recovers within seconds when descriptors are free
/// again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The number of connections over the limit that receive a refusal at the same time. Further ones
/// are closed without an answer.
const REFUSALS_AT_ONCE: usize = 64;

/// The same number for transports with a handshake before the refusal: a plain text answer would
/// look like a node without TLS.
const SECURED_REFUSALS_AT_ONCE: usize = 8;

/// The time for a handshake that only serves a refusal.
const SECURED_WITHIN: Duration = Duration::from_secs(2);

/// The minimum time that each such refusal holds its permit. It bounds the handshakes of a flood:
/// 80 in a second are about a hundredth of a core.
const SECURED_PAUSE: Duration = Duration::from_millis(100);

/// The delay of an accepted connection at a fault point.
const ACCEPT_DELAY: Duration = Duration::from_millis(100);

/// Accepts connections within the limit, and starts a `ConnectionActor` for each.
///
/// The `PeerActor` starts it, watches it, and starts a successor on the same address when it dies.
/// It ends when the node drains.
pub struct ListenerActor {
    listener: Option<Box<dyn Listener>>,
    node: Arc<Endpoint>,
    connections: Connections,
    _guard: Guard,
}

impl fmt::Debug for ListenerActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerActor").field("me", &self.node.me).finish_non_exhaustive()
    }
}

impl ListenerActor {
    pub(crate) fn new(
        listener: Box<dyn Listener>,
        (node, connections): (Arc<Endpoint>, Connections),
        guard: Guard,
    ) -> Self {
        Self { listener: Some(listener), node, connections, _guard: guard }
    }
}

impl Actor for ListenerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(listener) = self.listener.take() else {
            return ctx.stop();
        };
        let (node, connections) = (Arc::clone(&self.node), self.connections.clone());
        let accept = async move {
            node.drain.run_until_cancelled(accept(listener, &node, &connections)).await
        };
        ctx.spawn(accept.into_actor(self).map(|_, _, ctx| ctx.stop()));
    }
}

async fn accept(mut listener: Box<dyn Listener>, node: &Arc<Endpoint>, connections: &Connections) {
    let at_once = if node.secure { SECURED_REFUSALS_AT_ONCE } else { REFUSALS_AT_ONCE };
    let refusals = Arc::new(Semaphore::new(at_once));
    let mut paused = node.paused.subscribe();
    let mut pause = FIRST_PAUSE;
    let mut reserve = Reserve::default();
    reserve.fill();
    loop {
        // The sender of this channel is owned by the node, so it is not dropped.
        paused.wait_for(|paused| !paused).await.ok();
        let next = std::future::poll_fn(|cx| listener.poll_accept(cx));
        let accepted = match select(next, std::pin::pin!(paused.wait_for(|paused| *paused))).await {
            Either::Left((accepted, _)) => accepted,
            Either::Right(_) => continue,
        };
        match accepted {
            Ok(io) => {
                pause = FIRST_PAUSE;
                delay_at(FaultPoint::AcceptLate, ACCEPT_DELAY).await;
                take(io, node, connections, &refusals);
            }
            Err(error) => {
                node.counters.errors_accept.one();
                warn_some!(LogKind::Accept, %error, "accept failed");
                node.emit(&PeerEvent::AcceptFailed { error: error.kind().to_string() });
                if out_of_descriptors(&error) {
                    reserve.release();
                    let next = std::future::poll_fn(|cx| listener.poll_accept(cx));
                    if let Some(Ok(io)) = next.now_or_never() {
                        let told = refuse(io, node, &refusals);
                        // The last descriptor is not used for a handshake.
                        if !node.secure {
                            told.await;
                        }
                    }
                }
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
        }
        reserve.fill();
    }
}

/// One file descriptor that is kept in reserve. When no other descriptor is left, the node uses it
/// to accept a connection and answer that it is busy.
#[derive(Debug, Default)]
struct Reserve(Option<File>);

impl Reserve {
    fn fill(&mut self) {
        if self.0.is_none() {
            // Best effort: the file may not exist, or no descriptor may be free.
            self.0 = File::open("/dev/null").ok();
        }
    }

    fn release(&mut self) {
        self.0 = None;
    }
}

/// `EMFILE` or `ENFILE`: this process, or the machine, has no file descriptor left.
fn out_of_descriptors(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

fn take(io: Io, node: &Arc<Endpoint>, connections: &Connections, refusals: &Arc<Semaphore>) {
    node.counters.connections_accepted.one();
    // Banned sources get no answer.
    if node.bans.refuses(&io.remote) {
        reached(Sometimes::BannedConnection);
        return node.counters.connections_banned.one();
    }
    // Without a permit no connection is admitted, so no half-open one is displaced.
    let entered = match Arc::clone(&node.connections).try_acquire_owned() {
        Ok(permit) => node.admission.admit(&io.remote).map(|(pass, displaced)| {
            if displaced {
                reached(Sometimes::ConnectionDisplaced);
                node.counters.connections_displaced.one();
            }
            (permit, pass)
        }),
        Err(_) => Err(node.admission.deny(&io.remote)),
    };
    match entered {
        Ok((permit, pass)) => {
            let held = Held::new(pass, permit, &node.node, connections.clone());
            node.threads.spawn_on_arbiter(accepted(io, Arc::clone(node), held));
        }
        Err(AdmissionDenied::TooFast) => node.counters.connections_too_fast.one(),
        Err(AdmissionDenied::TooMany) => {
            let refusing = node.until_aborted(refuse(io, node, refusals));
            drop(actix_rt::spawn(node.tasks.track_future(refusing)));
        }
    }
}

/// Answers a connection that the node is busy, unless too many such answers are under way.
fn refuse(
    io: Io,
    node: &Arc<Endpoint>,
    refusals: &Arc<Semaphore>,
) -> impl Future<Output = ()> + use<> {
    reached(Sometimes::ConnectionRefused);
    node.counters.connections_refused.one();
    node.refuse(&io.remote, None, Refusal::Busy);
    let permit = Arc::clone(refusals).try_acquire_owned().ok();
    let node = Arc::clone(&node.node);
    async move {
        let Some(_permit) = permit else { return };
        if !node.secure {
            let Io { reader, writer, .. } = io;
            explain(writer, Refusal::Busy, node).await;
            return drop(reader);
        }
        let pause = sleep(SECURED_PAUSE);
        // Best effort: closed without an answer on time-out.
        if let Ok(Ok(io)) = timeout(SECURED_WITHIN, node.transport.secure(io)).await {
            let Io { reader, writer, .. } = io;
            explain(writer, Refusal::Busy, node).await;
            // The peer's request may still arrive. An immediate close could reset the connection
            // before the peer reads the answer.
            pause.await;
            drop(reader);
        } else {
            pause.await;
        }
    }
}

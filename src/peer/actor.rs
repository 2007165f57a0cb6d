//! `PeerActor`: supervises the parts of one node.

use std::{
    collections::BTreeMap,
    fmt, io,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use actix::prelude::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message,
    ResponseActFuture, WrapFuture,
};
use futures::FutureExt;

use crate::{
    connection::Connections,
    node::{
        Child, PeerEvent,
        log::{LogKind, warn_some},
        watch,
    },
    overlay::Address,
    peer::{
        Peers, StopReport, WeakPeer,
        listener::ListenerActor,
        maintenance::{Maintenance, NodeContext, StabilizerActor},
        stop,
        supervision::{ChildEnded, Guard, Restarts},
        table::{PeerListActor, Table},
    },
    session::Endpoint,
    sync::Mutex,
    time::now,
    transport::Listener,
};

/// Supervises the parts of one node: the listener, the peer list, the maintenance and the
/// connections.
///
/// [`Builder::start`](crate::Builder::start) starts it. When a child dies, it starts a successor,
/// with back-off and a limit. It never waits for a child. A
/// [connection](crate::connection::ConnectionActor) that dies has no successor; it ends with the
/// node. The actor handles the messages of [`messages`](crate::messages), as an alternative to the
/// methods of the [`Peer`](crate::Peer) handle. It ends with the node.
pub struct PeerActor {
    pub(crate) node: Arc<Endpoint>,
    pub(crate) peer: WeakPeer,
    peers: Peers,
    pub(crate) connections: Connections,
    table: Arc<Mutex<Table>>,
    list: Rc<watch::Sender<Option<Addr<PeerListActor>>>>,
    listen_at: Address,
    maintenance: Vec<Rc<dyn Maintenance>>,
    restarts: BTreeMap<(Child, usize), Restarts>,
    stopped: watch::Sender<Option<Arc<StopReport>>>,
}

impl fmt::Debug for PeerActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerActor").field("me", &self.node.me).finish_non_exhaustive()
    }
}

/// The values that the builder passes to the actor.
pub(crate) struct Parts {
    pub(crate) node: Arc<Endpoint>,
    pub(crate) connections: Connections,
    pub(crate) peer: WeakPeer,
    pub(crate) table: Table,
    pub(crate) list: watch::Sender<Option<Addr<PeerListActor>>>,
    pub(crate) maintenance: Vec<Rc<dyn Maintenance>>,
    pub(crate) stopped: watch::Sender<Option<Arc<StopReport>>>,
    pub(crate) listen_at: Address,
}

impl PeerActor {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { node, connections, peer, table, list, maintenance, stopped, listen_at } = parts;
        Self {
            peers: Peers::new(list.subscribe(), node.threads.home().clone()),
            table: Arc::new(Mutex::new(table)),
            restarts: BTreeMap::new(),
            node,
            connections,
            peer,
            list: Rc::new(list),
            listen_at,
            maintenance,
            stopped,
        }
    }

    /// `number` is the position of a piece of maintenance, whose name may not be unique.
    fn guard(&self, child: Child, number: usize, ctx: &Context<Self>) -> Guard {
        let parent = ctx.address().downgrade().recipient();
        Guard { parent, child, number, _part: self.node.parts.token() }
    }

    pub(crate) fn start_list(&self, ctx: &Context<Self>) {
        let guard = self.guard(Child::PeerList, 0, ctx);
        let actor =
            PeerListActor::new(Arc::clone(&self.table), Arc::clone(&self.node), guard).start();
        self.list.send_replace(Some(actor));
    }

    pub(crate) fn start_listener(&self, listener: Box<dyn Listener>, ctx: &Context<Self>) {
        let node = (Arc::clone(&self.node), self.connections.clone());
        ListenerActor::new(listener, node, self.guard(Child::Listener, 0, ctx)).start();
    }

    fn start_stabilizer(&self, number: usize, ctx: &Context<Self>) {
        let Some(piece) = self.maintenance.get(number) else { return };
        let guard = self.guard(Child::Stabilizer(piece.name().to_owned()), number, ctx);
        let context = NodeContext { node: Arc::clone(&self.node), peers: self.peers.clone() };
        StabilizerActor::new(Rc::clone(piece), context, guard).start();
    }

    pub(crate) fn start_stabilizers(&self, ctx: &Context<Self>) {
        (0..self.maintenance.len()).for_each(|number| self.start_stabilizer(number, ctx));
    }

    /// Starts the successor of `child`.
    fn restart(&mut self, child: Child, number: usize, ctx: &mut Context<Self>) {
        if self.node.drain.is_cancelled() {
            return;
        }
        match &child {
            Child::PeerList => self.start_list(ctx),
            Child::Listener => return self.listen_again(ctx),
            Child::Stabilizer(_) => self.start_stabilizer(number, ctx),
        }
        self.node.restarted(child);
    }

    fn listen_again(&self, ctx: &mut Context<Self>) {
        let (node, at) = (Arc::clone(&self.node), self.listen_at.clone());
        // The transport may be application code.
        let listen = async move {
            let listen = AssertUnwindSafe(async { node.transport.listen(&at).await });
            listen
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(io::Error::other("the transport panicked")))
        };
        ctx.spawn(listen.into_actor(self).map(|listener, this, ctx| match listener {
            Ok(listener) => {
                this.start_listener(listener, ctx);
                this.node.restarted(Child::Listener);
            }
            Err(error) => {
                warn_some!(LogKind::Part, %error, "cannot listen again");
                this.died(Child::Listener, 0, ctx);
            }
        }));
    }

    fn died(&mut self, child: Child, number: usize, ctx: &mut Context<Self>) {
        if self.node.drain.is_cancelled() {
            return;
        }
        match self.restarts.entry((child.clone(), number)).or_default().died(now()) {
            Some(pause) => {
                warn_some!(LogKind::Part, %child, ?pause, "part of the node died: restarting it");
                ctx.run_later(pause, move |this, ctx| this.restart(child, number, ctx));
            }
            None => {
                warn_some!(LogKind::Part, %child, "part of the node not restarted: too many failures");
                self.node.emit(&PeerEvent::GaveUp { child });
            }
        }
    }
}

impl Drop for PeerActor {
    /// The node does not exist without this actor, which ends when its arbiter ends or when it
    /// stops. Pending calls fail at once.
    fn drop(&mut self) {
        self.node.drain.cancel();
        self.node.abort_all(true);
        self.node.threads.stop();
    }
}

impl Actor for PeerActor {
    type Context = Context<Self>;
}

impl Handler<ChildEnded> for PeerActor {
    type Result = ();

    fn handle(&mut self, msg: ChildEnded, ctx: &mut Self::Context) {
        self.died(msg.child, msg.number, ctx);
    }
}

/// Ends the node, gracefully or at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) politely: bool,
}

impl Message for End {
    type Result = ();
}

impl Handler<End> for PeerActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, msg: End, _: &mut Self::Context) -> Self::Result {
        let already = self.node.drain.is_cancelled();
        // Cancelled synchronously, so that messages later in the mailbox see it.
        self.node.drain.cancel();
        if !msg.politely {
            self.node.silent.store(true, Ordering::Relaxed);
            self.node.abort_all(true);
        }
        if already {
            return Box::pin(std::future::ready(()).into_actor(self));
        }
        let (node, peers) = (Arc::clone(&self.node), self.peers.clone());
        let list = Rc::clone(&self.list);
        let stop = async move { stop::stop(&node, &peers, &list, msg.politely).await };
        Box::pin(stop.into_actor(self).map(|report, this, ctx| {
            this.stopped.send_replace(Some(Arc::new(report)));
            ctx.stop();
        }))
    }
}

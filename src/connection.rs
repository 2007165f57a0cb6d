//! Layer 12: the actors of connections. Each open connection has one, whichever side opened it and
//! whichever protocol it carries.

mod accepted;

use std::{
    collections::BTreeMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, MutexGuard},
};

use actix::{
    WeakAddr,
    prelude::{
        Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message,
        MessageResult, WrapFuture,
    },
};
use futures::{FutureExt, future::BoxFuture};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(crate) use self::accepted::{Held, accepted};
pub use crate::node::{ConnectionStatus, LinkStatus, Protocol};
use crate::{
    node::{
        Direction, Node,
        connections::{Host, Opened, OpenedProtocol},
        log::{LogKind, warn_some},
    },
    overlay::Address,
    sync::Mutex,
};

/// Closes a connection. A message for a [`ConnectionActor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// A link accepts no new exchanges and ends after those that are open, as when the node stops.
    /// A connection for a classic exchange ends with its exchange anyway: nothing changes.
    AfterExchanges,
    /// The connection ends now. Open exchanges of a link end with
    /// [`Reason::GOING_AWAY`](crate::link::Reason::GOING_AWAY) on both sides, and a handler may
    /// have seen their messages. A classic exchange ends without a further byte.
    Now,
}

impl Message for Close {
    type Result = ();
}

/// Asks a connection for its state. A message for a [`ConnectionActor`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GetStatus;

impl Message for GetStatus {
    type Result = ConnectionStatus;
}

/// An open connection: its state at one moment, and its actor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenConnection {
    /// The state of the connection.
    pub status: ConnectionStatus,
    /// The actor of the connection, which handles [`Close`] and [`GetStatus`].
    pub actor: Addr<ConnectionActor>,
}

/// The facts about a connection that its actor and the node share.
struct Facts {
    number: u64,
    address: Address,
    direction: Direction,
    since: Instant,
    protocol: OpenedProtocol,
}

impl Facts {
    fn status(&self) -> ConnectionStatus {
        ConnectionStatus {
            number: self.number,
            address: self.address.clone(),
            direction: self.direction,
            age: self.since.elapsed(),
            protocol: match &self.protocol {
                OpenedProtocol::Classic(code) => Protocol::Classic(*code),
                OpenedProtocol::Link(link) => Protocol::Link(link.status()),
            },
        }
    }
}

/// The open connections of one node. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    last: u64,
    open: BTreeMap<u64, Entry>,
}

struct Entry {
    facts: Arc<Facts>,
    /// `None` until the actor has started.
    actor: Option<WeakAddr<ConnectionActor>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("open", &self.lock().open.len()).finish()
    }
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock()
    }

    fn add(&self, address: Address, direction: Direction, protocol: OpenedProtocol) -> Arc<Facts> {
        let since = Instant::now();
        let mut table = self.lock();
        table.last = table.last.wrapping_add(1);
        let facts = Arc::new(Facts { number: table.last, address, direction, since, protocol });
        table.open.insert(facts.number, Entry { facts: Arc::clone(&facts), actor: None });
        facts
    }

    /// The open connections whose actor has started, in the order in which they were opened.
    pub(crate) fn list(&self) -> Vec<OpenConnection> {
        let started = |entry: &Entry| {
            let actor = entry.actor.as_ref()?.upgrade()?;
            Some((Arc::clone(&entry.facts), actor))
        };
        let open: Vec<_> = self.lock().open.values().filter_map(started).collect();
        // Without the lock: the state of a link has a lock of its own.
        open.into_iter()
            .map(|(facts, actor)| OpenConnection { status: facts.status(), actor })
            .collect()
    }

    /// The connections for classic exchanges, in the order in which they were opened.
    pub(crate) fn exchanges(&self) -> Vec<ConnectionStatus> {
        let is_classic =
            |entry: &&Entry| matches!(entry.facts.protocol, OpenedProtocol::Classic(_));
        self.lock().open.values().filter(is_classic).map(|entry| entry.facts.status()).collect()
    }
}

impl Host for Connections {
    fn host(&self, node: &Arc<Node>, dialled: Opened) {
        let actor = ConnectionActor::new(self, node, dialled, None);
        node.threads.send_to_arbiter(async { drop(actor.start()) });
    }
}

/// An open connection: a classic exchange or a link, accepted or dialled.
///
/// The actor runs the connection, and the connection lives as long as the actor. The node starts it
/// as soon as the protocol is known: for an accepted connection when the first header is complete,
/// so that a silent connection takes no actor; for a dialled one when the link is open or the
/// exchange begins. It ends with the connection, at the latest when the node aborts. It never
/// blocks and never waits for an actor above it. A panic in it, for example in a reply stream of
/// the application, affects only this connection.
///
/// It handles [`Close`] and [`GetStatus`]. Frames do not pass through its mailbox: the exchange or
/// the link runs in its context, and delivers decoded frames to the handlers. For a classic exchange
/// of this node the caller reads the replies.
///
/// [`Peer::connections`](crate::Peer::connections) lists the open connections.
///
/// ```
/// use actix_peer::{Peer, connection::{Close, Protocol}, frame::Frame};
///
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let other = Peer::builder().id("other").well_known().start().await?;
/// # let peer = Peer::builder().start().await?;
/// peer.request(other.info(), Frame::empty("NAME")).await?.collect().await?;
/// let link = &peer.connections()[0];
/// assert!(matches!(&link.status.protocol, Protocol::Link(link) if link.peer.as_str() == "other"));
/// link.actor.send(Close::AfterExchanges).await?;
/// # Ok(()) }
/// ```
pub struct ConnectionActor {
    facts: Arc<Facts>,
    run: Option<BoxFuture<'static, ()>>,
    connections: Connections,
    // Released when the actor ends, whatever the cause.
    _held: Option<Held>,
    _task: TaskTrackerToken,
}

impl fmt::Debug for ConnectionActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionActor")
            .field("number", &self.facts.number)
            .field("address", &self.facts.address)
            .field("direction", &self.facts.direction)
            .finish_non_exhaustive()
    }
}

impl ConnectionActor {
    fn new(
        connections: &Connections,
        node: &Arc<Node>,
        opened: Opened,
        held: Option<Held>,
    ) -> Self {
        let Opened { address, direction, protocol, run } = opened;
        Self {
            facts: connections.add(address, direction, protocol),
            run: Some(run),
            connections: connections.clone(),
            _held: held,
            _task: node.tasks.token(),
        }
    }
}

impl Actor for ConnectionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(entry) = self.connections.lock().open.get_mut(&self.facts.number) {
            entry.actor = Some(ctx.address().downgrade());
        }
        let Some(run) = self.run.take() else { return ctx.stop() };
        let run = AssertUnwindSafe(run).catch_unwind();
        ctx.spawn(run.into_actor(self).map(|end, this, ctx| {
            if end.is_err() {
                warn_some!(LogKind::Part, connection = ?this, "a connection panicked");
            }
            ctx.stop();
        }));
    }
}

impl Drop for ConnectionActor {
    fn drop(&mut self) {
        let entry = self.connections.lock().open.remove(&self.facts.number);
        drop(entry);
    }
}

impl Handler<Close> for ConnectionActor {
    type Result = ();

    fn handle(&mut self, close: Close, ctx: &mut Self::Context) {
        match (&self.facts.protocol, close) {
            (OpenedProtocol::Link(link), Close::AfterExchanges) => link.leave(),
            // It ends with its exchange.
            (OpenedProtocol::Classic(_), Close::AfterExchanges) => {}
            // The link first tells the other side why it ends.
            (OpenedProtocol::Link(link), Close::Now) => link.abort(),
            (OpenedProtocol::Classic(_), Close::Now) => ctx.stop(),
        }
    }
}

impl Handler<GetStatus> for ConnectionActor {
    type Result = MessageResult<GetStatus>;

    fn handle(&mut self, GetStatus: GetStatus, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.facts.status())
    }
}

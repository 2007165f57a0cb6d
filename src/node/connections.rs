//! Open connections, as the layer that hosts them sees them.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde::Serialize;

use crate::{
    frame::TypeCode,
    node::{Direction, Node},
    overlay::{Address, PeerId},
};

/// The state of an open connection at one moment. Serialisable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConnectionStatus {
    /// The number of the connection. A node gives each number once.
    pub number: u64,
    /// The address of the other side: where it was dialled, or where it connected from.
    pub address: Address,
    /// Which side opened the connection: `In` is the other side.
    pub direction: Direction,
    /// The time since its protocol is known.
    pub age: Duration,
    /// The protocol that it carries.
    pub protocol: Protocol,
}

/// The protocol of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Protocol {
    /// A [classic exchange](crate::protocol#classic-exchanges) of a message with this code.
    Classic(TypeCode),
    /// A link.
    Link(LinkStatus),
}

/// The state of an open link at one moment. Serialisable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LinkStatus {
    /// The other side's id.
    pub peer: PeerId,
    /// Whether that id is proven. If false, it is only claimed.
    pub proven: bool,
    /// The address of the other side.
    pub address: Address,
    /// Which side opened it: `In` is the other side.
    pub direction: Direction,
    /// The time since it was opened.
    pub age: Duration,
    /// Bytes received, headers included.
    pub bytes_in: u64,
    /// Bytes sent, headers included.
    pub bytes_out: u64,
    /// Open exchanges of both sides.
    pub open: usize,
    /// Incomplete messages of the other side, whose further parts this node expects.
    pub incomplete: usize,
    /// Messages of the other side that wait for earlier messages or for a permit, and requests that
    /// a handler has not answered.
    pub in_hand: usize,
    /// Bytes of one-way messages and requests that this node may send now.
    pub credit: u32,
    /// Bytes of one-way messages and requests that handlers of this node hold.
    pub held: u32,
    /// Round-trip time of the last keepalive. `None` if there was none yet.
    pub round_trip: Option<Duration>,
    /// Whether it is being closed and accepts no new exchanges.
    pub closing: bool,
}

/// A link, as the layer that hosts it sees it.
pub(crate) trait HostedLink: Send + Sync {
    fn status(&self) -> LinkStatus;

    /// Accepts no new exchanges, and ends the link after the open ones.
    fn leave(&self);

    /// Ends the link now. Its open exchanges end with an error that says why.
    fn abort(&self);
}

/// A connection whose protocol is known and for which an actor is to be started.
pub(crate) struct Opened {
    pub(crate) address: Address,
    pub(crate) direction: Direction,
    pub(crate) protocol: OpenedProtocol,
    /// Runs the connection to its end. Dropping it closes the connection.
    pub(crate) run: BoxFuture<'static, ()>,
}

pub(crate) enum OpenedProtocol {
    Classic(TypeCode),
    Link(Arc<dyn HostedLink>),
}

/// The layer that starts the actors of connections.
pub(crate) trait Host: fmt::Debug + Send + Sync {
    /// Starts the actor of a connection that this node has dialled.
    fn host(&self, node: &Arc<Node>, dialled: Opened);
}

impl Node {
    /// Starts the actor of a connection that this node has dialled.
    pub(crate) fn host(self: &Arc<Self>, dialled: Opened) {
        // The builder sets the host before the node dials.
        if let Some(host) = self.host.get() {
            host.host(self, dialled);
        }
    }
}

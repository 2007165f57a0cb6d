//! What the views ask of their driver.

use crate::overlay::views::ViewsMessage;

/// What the driver has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewsOutput<P> {
    /// Sends a message. If there is no link to the peer, the driver dials it. If the dial fails,
    /// the driver calls [`Views::unreachable`](crate::overlay::views::Views::unreachable).
    Send {
        /// The receiver.
        to: P,
        /// The message.
        message: ViewsMessage<P>,
    },
    /// Reports an event.
    Event(ViewsEvent<P>),
}

/// A change of the views.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewsEvent<P> {
    /// A peer has become a neighbour. Its link is to be kept open.
    NeighborUp(P),
    /// A peer is no longer a neighbour. Its link may be closed after the messages sent before.
    NeighborDown(P, DownReason),
    /// The node has its first neighbour, or again one after [`Alone`](Self::Alone).
    Joined,
    /// The node has been without a neighbour for some time. It asks its contacts.
    Alone,
}

/// Why a peer is no longer a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// The link broke.
    Lost,
    /// The peer has left the network.
    Left,
    /// The peer has ended the relation, or does not know of it.
    Disconnected,
    /// Another peer took its place.
    Evicted,
    /// The driver dropped the peer.
    Dropped,
    /// This node leaves.
    Leaving,
}

//! Sending to other nodes: requests, one-way messages, typed messages and routed messages.

#[cfg(feature = "gossip")]
mod broadcast;
mod first_hop;
pub(crate) mod forward;
mod notify_all;
mod reliable;
mod target;

#[cfg(feature = "gossip")]
pub use self::broadcast::{BroadcastError, MAX_BROADCAST};
use self::target::ForWhom;
pub use self::{
    notify_all::NotAllSent,
    target::{IntoTarget, Target},
};
use crate::{
    dispatch::{PeerMessage, typed},
    message::{Outgoing, Over, Replies, RequestError, SendError},
    overlay::PeerId,
    peer::Peer,
    session,
};

/// The error of a call whose node's runtime has ended meanwhile.
const fn ended(sent: bool) -> RequestError {
    RequestError::Stopped { sent }
}

impl Peer {
    /// Sends a request. The replies are read from the returned [`Replies`].
    ///
    /// `to` is an address, a known peer's id, a [`PeerInfo`](crate::PeerInfo), text for one of
    /// them, or [`Target::routed`].
    ///
    /// After a failed dial for a link the node pauses before the next one: 50 ms, doubled after
    /// each further failure, up to 5 s. A request waits for up to 500 ms of a pause. In a longer
    /// pause it fails at once with [`RequestError::Connect`], whose source is of the kind
    /// [`NotConnected`](std::io::ErrorKind::NotConnected). A sign of life of the peer ends the
    /// pause: the peer joined, answered a ping, was verified or added, or opened a link. Requests
    /// that go [`Over::Classic`] are not subject to the pause.
    ///
    /// # Errors
    /// See [`RequestError`]; [`RequestError::may_have_been_handled`] says what is known about the
    /// request.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection. If the request had been written, it may have been
    /// handled.
    ///
    /// # Examples
    /// ```
    /// # use actix_peer::{Peer, frame::Frame};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let other = Peer::builder().id("other").well_known().start().await?;
    /// # let peer = Peer::builder().start().await?;
    /// let replies = peer.request(other.info(), Frame::text("NAME", "")).await?.collect().await?;
    /// assert_eq!(replies, [Frame::text("REPL", "other")]);
    /// # Ok(()) }
    /// ```
    pub async fn request(
        &self,
        to: impl IntoTarget,
        message: impl Into<Outgoing>,
    ) -> Result<Replies, RequestError> {
        let asking = self.node().metrics.asking();
        let message = message.into();
        let node = self.node();
        let quick = |to_address| session::try_request(node, (to_address, to.as_id()), &message);
        if let Some(replies) = to.as_address().and_then(quick) {
            return Ok(replies.measured(asking));
        }
        let message = to.for_whom(message);
        let to = to.into_target();
        let waiting = async {
            let first = self.first_hop(to, message).await?;
            let asked = session::request(self.node(), &first.to, first.message).await;
            let replies = self.note_unreached(first.chosen, asked).await?;
            Ok(if first.routed { replies.routed() } else { replies })
        };
        match self.inside(Box::pin(waiting), ended).await {
            Ok(replies) => Ok(replies.measured(asking)),
            Err(error) => {
                asking.end(false);
                Err(error)
            }
        }
    }

    /// Sends a one-way message, without waiting for replies.
    ///
    /// Over a link this resolves when the message has been queued within the link's credit; it
    /// waits while the other node's handlers have not processed earlier messages. In a classic
    /// exchange it resolves when the operating system has accepted the whole message.
    ///
    /// Delivery is at most once, and the caller does not learn whether the message was handled;
    /// [`notify_acked`](Self::notify_acked) waits for that. Over a link, a node that refuses the
    /// message reports so ([`PeerEvent::NotifyRefused`](crate::PeerEvent::NotifyRefused)). In a
    /// classic exchange a refusal is not reported.
    ///
    /// # Errors
    /// See [`RequestError`].
    ///
    /// # Cancel safety
    /// As [`request`](Self::request).
    pub async fn notify(
        &self,
        to: impl IntoTarget,
        message: impl Into<Outgoing>,
    ) -> Result<(), RequestError> {
        let message = message.into();
        let node = self.node();
        let quick = |to_address| session::try_notify(node, (to_address, to.as_id()), &message);
        if to.as_address().is_some_and(quick) {
            return Ok(());
        }
        let message = to.for_whom(message);
        let to = to.into_target();
        let waiting = async {
            let first = self.first_hop(to, message).await?;
            let told = session::notify(self.node(), &first.to, first.message).await;
            self.note_unreached(first.chosen, told).await
        };
        self.inside(Box::pin(waiting), ended).await
    }

    /// Sends a typed message and returns its result.
    ///
    /// # Errors
    /// See [`SendError`]; [`SendError::may_have_been_handled`] says what is known about the
    /// message.
    ///
    /// # Cancel safety
    /// As [`request`](Self::request).
    pub async fn send<M: PeerMessage>(
        &self,
        to: impl IntoTarget,
        message: M,
    ) -> Result<M::Result, SendError> {
        self.send_over(Over::Any, to, message).await
    }

    /// As [`send`](Self::send), over a link or in a classic exchange as `over` says.
    ///
    /// # Errors
    /// See [`SendError`]; [`RequestError::NoLink`] if no link is available.
    ///
    /// # Cancel safety
    /// As [`request`](Self::request).
    pub async fn send_over<M: PeerMessage>(
        &self,
        over: Over,
        to: impl IntoTarget,
        message: M,
    ) -> Result<M::Result, SendError> {
        let frame = message.to_frame().map_err(SendError::Encode)?;
        let message = Outgoing::from(frame).over(over);
        typed::answer::<M>(self.request(to, message).await).await
    }

    /// Sends a request to the node with this id, which need not be a neighbour: short for
    /// [`request`](Self::request) to [`Target::routed`].
    ///
    /// The message carries its origin and the nodes that it passed. Each node asks its own
    /// [`Router`](crate::Router) for the next hop, and the replies come back along the same path.
    ///
    /// # Errors
    /// [`RequestError::Route`] when the message could not be routed, with the reason and the node
    /// where it stopped; otherwise as [`request`](Self::request).
    ///
    /// # Cancel safety
    /// As [`request`](Self::request).
    pub async fn route(
        &self,
        to: &PeerId,
        message: impl Into<Outgoing>,
    ) -> Result<Replies, RequestError> {
        self.request(Target::Routed(to.clone()), message).await
    }
}

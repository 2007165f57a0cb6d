//! What a node sends to other nodes: requests, one-way messages, typed and routed ones.

use crate::{
    dispatch::{PeerMessage, typed},
    link::AckLevel,
    message::{Outgoing, Over, Replies, RequestError, SendError},
    overlay::PeerId,
    peer::{IntoTarget, Peer, Target, target::ForWhom},
    reliable, session,
};

/// The runtime of the node has ended meanwhile.
const fn ended(sent: bool) -> RequestError {
    RequestError::Stopped { sent }
}

impl Peer {
    /// Sends a request; the replies come as they are read from what this returns.
    ///
    /// `to` is an address, a known peer's id, a [`PeerInfo`](crate::PeerInfo), text for one of them, or
    /// [`Target::routed`].
    ///
    /// After a dial for a link that failed, the node pauses before the next one: 50 ms, and twice as
    /// long after each further one, up to 5 s. A request waits for up to 500 ms of a pause; in a
    /// longer one it ends at once with [`RequestError::Connect`], whose source is of the kind
    /// [`NotConnected`](std::io::ErrorKind::NotConnected). A sign of life of the peer ends the pause:
    /// it joined, answered a ping, was verified or added, or opened a link. Requests that go
    /// [`Over::Classic`] know no pause.
    ///
    /// # Errors
    /// See [`RequestError`]; [`RequestError::may_have_been_handled`] says what is known about the
    /// request.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the request may have been handled when it had
    /// been written.
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
        let asking = self.node().measures.asking();
        let message = message.into();
        let node = self.node();
        let quick = |to_address| session::try_request(node, (to_address, to.as_id()), &message);
        if let Some(replies) = to.as_address().and_then(quick) {
            return Ok(replies.measured(asking));
        }
        let message = to.for_whom(message);
        let to = to.into_target();
        let waiting = async {
            let way = self.way(to, message).await?;
            let asked = session::request(self.node(), &way.to, way.message).await;
            let replies = self.lost_way(way.hop, asked).await?;
            Ok(if way.routed { replies.routed() } else { replies })
        };
        match self.inside(Box::pin(waiting), ended).await {
            Ok(replies) => Ok(replies.measured(asking)),
            Err(error) => {
                asking.end(false);
                Err(error)
            }
        }
    }

    /// Sends a message and does not wait for replies.
    ///
    /// Over a link this resolves when the message is on its way under credit: as long as the other
    /// node's handlers have not worked off what came before, it waits. In a classic exchange it
    /// resolves when the operating system has taken all of it. At most once: whether it was handled
    /// is not known; [`notify_acked`](Self::notify_acked) waits for that. A node that refuses it over a
    /// link says so ([`PeerEvent::NotifyRefused`](crate::PeerEvent::NotifyRefused)); in a classic
    /// exchange nothing is heard of that.
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
            let way = self.way(to, message).await?;
            let told = session::notify(self.node(), &way.to, way.message).await;
            self.lost_way(way.hop, told).await
        };
        self.inside(Box::pin(waiting), ended).await
    }

    /// Sends a message and waits until the other node's handler has it, or has handled it.
    ///
    /// The message is numbered and kept until it is acknowledged: after a broken link it is sent
    /// again on the next one, and the other node recognises what it has had. So it is handled at
    /// most once, and when this returns `Ok`, exactly once. To a node without links it goes in a
    /// classic exchange, whose regular end counts as the acknowledgement of either level.
    ///
    /// # Errors
    /// See [`RequestError`]; when no acknowledgement came within
    /// [`Config::reply_timeout`](crate::Config::reply_timeout), the message may have been handled. A
    /// body is not kept, and is refused as [`RequestError::BodyNotKept`]; over several hops there is no
    /// acknowledgement, and [`Target::Routed`] to a node that is no neighbour is
    /// [`RequestError::NoLink`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the message up: it is not sent again, and may have been handled.
    ///
    /// # Examples
    /// ```
    /// # use actix_peer::{Incoming, Peer, Reply, frame::Frame, handler, link::AckLevel};
    /// # use actix::prelude::*;
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let news = handler::from_fn(async |_: Incoming| Reply::none()).start();
    /// # let other = Peer::builder().handle("NEWS", news)?.start().await?;
    /// # let peer = Peer::builder().start().await?;
    /// let message = Frame::text("NEWS", "it rains");
    /// peer.notify_acked(other.info(), message, AckLevel::Handled).await?;
    /// # Ok(()) }
    /// ```
    pub async fn notify_acked(
        &self,
        to: impl IntoTarget,
        message: impl Into<Outgoing>,
        level: AckLevel,
    ) -> Result<(), RequestError> {
        let message = to.for_whom(message.into());
        let to = to.into_target();
        let waiting = async {
            let way = self.way(to, message).await?;
            if way.routed {
                // Only the first hop would acknowledge it.
                return Err(RequestError::NoLink(way.to));
            }
            let (over, whom) = (way.message.over, way.message.whom.clone());
            let frame = way.message.into_frame().map_err(|_| RequestError::BodyNotKept)?;
            reliable::notify_acked(self.reliable(), (&way.to, whom.as_ref()), frame, over, level)
                .await
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

    /// As [`send`](Self::send), over a link or in a classic exchange, whichever is asked for.
    ///
    /// # Errors
    /// See [`SendError`]; [`RequestError::NoLink`] when there is no link to be had.
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
    /// The message carries its origin and what it passed; each node asks its own
    /// [`Router`](crate::Router), and the replies come back along the way.
    ///
    /// # Errors
    /// [`RequestError::Route`] when it got stuck, with the reason and the node where it did; else
    /// as [`request`](Self::request).
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

//! Sending messages that are acknowledged and survive broken links.

use super::ended;
use crate::{
    link::AckLevel,
    message::{Outgoing, Over, RequestError},
    overlay::PeerInfo,
    peer::{IntoTarget, Peer, sending::target::ForWhom},
    reliable::{self, Receipt, Reliability, ReliableError},
};

impl Peer {
    /// Sends a message and waits until the other node's handler has received it, or has handled it.
    ///
    /// The message is numbered and kept until it is acknowledged. After a broken link it is sent
    /// again on the next one, and the other node discards duplicates. The message is therefore
    /// handled at most once, and exactly once when this returns `Ok`.
    ///
    /// A node without links receives it in a classic exchange, whose regular end counts as the
    /// acknowledgement of either level. That proves nothing: a connection also ends in this way if
    /// the node dies, or gives up waiting for the header, before its handler was called.
    /// [`Outgoing::over`] with [`Over::Link`] makes it an error to reach a node without links.
    ///
    /// # Errors
    /// See [`RequestError`]. When no acknowledgement arrives within
    /// [`Config::reply_timeout`](crate::Config::reply_timeout), the message may have been handled.
    /// A body cannot be kept and is refused with [`RequestError::BodyNotKept`]. There is no
    /// acknowledgement over several hops: [`Target::Routed`](crate::Target::Routed) to a node that
    /// is not a neighbour fails with [`RequestError::NoLink`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the message: it is not sent again, and may have been handled.
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
            let first = self.first_hop(to, message).await?;
            if first.routed {
                // Only the first hop would acknowledge the message.
                return Err(RequestError::NoLink(first.to));
            }
            let (over, whom) = (first.message.over, first.message.whom.clone());
            let frame = first.message.into_frame().map_err(|_| RequestError::BodyNotKept)?;
            reliable::notify_acked(self.reliable(), (&first.to, whom.as_ref()), frame, over, level)
                .await
        };
        self.inside(Box::pin(waiting), ended).await
    }

    /// Sends a message and waits until it is acknowledged, over as many links as that takes.
    ///
    /// `how` is an [`AckLevel`](crate::link::AckLevel) or a full [`Reliability`]. The message is
    /// numbered and kept until the other node acknowledges that its handler has received it, or has
    /// handled it. When the link breaks, this node dials again with back-off, and sends the
    /// unacknowledged messages again in order. It also uses a link that the other node has opened.
    /// The other node discards duplicates.
    ///
    /// While both nodes run, every acknowledged message was delivered exactly once, and messages
    /// for one handler are delivered in the order in which these futures were first polled. For
    /// restarts of the other node see [`Reliability::across_restarts`]; for restarts of this node
    /// see [`Outbox`](crate::reliable::Outbox).
    ///
    /// At most [`Config::reliable_messages`](crate::Config::reliable_messages) messages and
    /// [`Config::reliable_bytes`](crate::Config::reliable_bytes) bytes wait for each node. A
    /// further message waits until there is room; [`try_send_reliable`](Self::try_send_reliable)
    /// returns it instead. A message is one frame and goes to a neighbour. A streamed body is
    /// refused with [`RequestError::BodyNotKept`]. [`Target::Routed`](crate::Target::Routed) over
    /// several hops, a node that does not speak links, and this node itself are refused with
    /// [`RequestError::NoLink`].
    ///
    /// Unlike [`notify_acked`](Self::notify_acked), it never sends to a node without links, waits
    /// for an unreachable node, and its error says more exactly what is known.
    ///
    /// # Errors
    /// See [`ReliableError`]; [`ReliableError::may_have_been_handled`] says what is known about the
    /// message. The message is given up after
    /// [`Config::reliable_timeout`](crate::Config::reliable_timeout) without an acknowledgement.
    ///
    /// # Cancel safety
    /// Dropping the future gives the message up: it is not sent again, and may have been handled.
    /// The messages behind it continue. In an [`Outbox`](crate::reliable::Outbox) it stays, and is
    /// sent when the node starts the next time.
    ///
    /// # Examples
    /// ```
    /// # use actix_peer::{Incoming, Peer, Reply, frame::Frame, handler, reliable::ReliableError};
    /// # use actix_peer::link::{AckLevel, Reason};
    /// # use actix::prelude::*;
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let news = handler::from_fn(async |_: Incoming| Reply::none()).start();
    /// # let other = Peer::builder().handle("NEWS", news)?.start().await?;
    /// # let peer = Peer::builder().start().await?;
    /// let message = Frame::text("NEWS", "it rains");
    /// peer.send_reliable(other.info(), message, AckLevel::Handled).await?;
    ///
    /// let unhandled = Frame::text("OLDS", "it rained");
    /// let error = peer.send_reliable(other.info(), unhandled, AckLevel::Delivered).await;
    /// let error = error.unwrap_err();
    /// assert!(matches!(error, ReliableError::Refused { reason: Reason::UNKNOWN_CODE }));
    /// # Ok(()) }
    /// ```
    pub async fn send_reliable(
        &self,
        to: impl IntoTarget,
        message: impl Into<Outgoing>,
        how: impl Into<Reliability>,
    ) -> Result<(), ReliableError> {
        self.accept(to, message.into(), how.into(), true).await?.await
    }

    /// As [`send_reliable`](Self::send_reliable), if there is room for the message now. Resolves
    /// when the message is queued, with a future for its result. It waits at most to learn the id
    /// of the node, if only an address is known, and until an [`Outbox`](crate::reliable::Outbox)
    /// has stored the message.
    ///
    /// # Errors
    /// [`ReliableError::Full`] returns the message; other errors as
    /// [`send_reliable`](Self::send_reliable).
    ///
    /// # Cancel safety
    /// As [`send_reliable`](Self::send_reliable). Dropping the [`Receipt`] gives the message up as
    /// well.
    pub async fn try_send_reliable(
        &self,
        to: impl IntoTarget,
        message: impl Into<Outgoing>,
        how: impl Into<Reliability>,
    ) -> Result<Receipt, ReliableError> {
        self.accept(to, message.into(), how.into(), false).await
    }

    /// Redirects the messages that wait for the peer with this id, whatever address they were for:
    /// from now on they are sent to this address. Returns how many messages that are.
    ///
    /// An id that is only claimed is bound to the address that the message was sent to. Messages
    /// for it never move to another address automatically, because any node can claim the id. With
    /// this call the application vouches that the peer has moved. Messages that were sent and not
    /// acknowledged are sent again. The same node discards duplicates; a restarted node is a new
    /// one ([`Reliability::across_restarts`]). There is no order between these messages and those
    /// that are sent to the new address directly.
    ///
    /// An id that is proven (feature `tls`) needs no such call and is not affected: its messages go
    /// to the node that proves it, at any address. An [`Outbox`](crate::reliable::Outbox) keeps the
    /// earlier address, so after a restart of this node the call has to be repeated.
    ///
    /// # Examples
    /// ```
    /// # use actix_peer::Peer;
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let peer = Peer::builder().start().await?;
    /// let moved = peer.readdress(&"ada 192.0.2.7 9000".parse()?);
    /// assert_eq!(moved, 0);
    /// # Ok(()) }
    /// ```
    pub fn readdress(&self, peer: &PeerInfo) -> usize {
        self.reliable().readdress(peer)
    }

    async fn accept(
        &self,
        to: impl IntoTarget,
        message: Outgoing,
        how: Reliability,
        wait: bool,
    ) -> Result<Receipt, ReliableError> {
        let message = to.for_whom(message);
        let to = to.into_target();
        let waiting = async {
            let first = self.first_hop(to, message).await.map_err(ReliableError::NotSent)?;
            if first.routed || first.message.over == Over::Classic {
                return Err(ReliableError::NotSent(RequestError::NoLink(first.to)));
            }
            let whom = first.message.whom.clone();
            let frame = first.message.into_frame();
            let frame = frame.map_err(|_| ReliableError::NotSent(RequestError::BodyNotKept))?;
            reliable::accept(self.reliable(), (&first.to, whom.as_ref()), frame, how, wait).await
        };
        let ended = |_| ReliableError::NotSent(RequestError::Stopped { sent: false });
        self.inside(Box::pin(waiting), ended).await
    }
}

//! Sending messages that survive a broken link.

use crate::{
    message::{Outgoing, Over, RequestError},
    overlay::PeerInfo,
    peer::{IntoTarget, Peer, target::ForWhom},
    reliable::{self, Receipt, Reliability, ReliableError},
};

impl Peer {
    /// Sends a message and waits until it is acknowledged, over however many links that takes.
    ///
    /// `how` is an [`AckLevel`](crate::link::AckLevel), or more ([`Reliability`]). The message is
    /// numbered, and kept until the other node acknowledges it: that its handler has it, or has
    /// handled it. When the link breaks, this node dials again, with back-off, and sends what was not
    /// acknowledged again, in order; a link that the other node has opened will do. The other node
    /// recognises what it has had. So as long as both nodes live, every message that is acknowledged
    /// was handed over exactly once; and messages for one handler in the order in which these futures
    /// were polled for the first time. Across restarts see [`Reliability::across_restarts`], of the
    /// other node, and [`Outbox`](crate::reliable::Outbox), of this one.
    ///
    /// At most [`Config::reliable_messages`](crate::Config::reliable_messages) messages and
    /// [`Config::reliable_bytes`](crate::Config::reliable_bytes) bytes wait for each node; a further
    /// one waits for its turn, [`try_send_reliable`](Self::try_send_reliable) returns it. A message
    /// is one frame, and goes to a neighbour: a streamed body is refused
    /// ([`RequestError::BodyNotKept`]), as is [`Target::Routed`](crate::Target::Routed) over several
    /// hops, a node that speaks no links, and this node itself ([`RequestError::NoLink`]).
    ///
    /// Unlike [`notify_acked`](Self::notify_acked) it goes to no node without links, waits for an
    /// unreachable one, and says more exactly what is known.
    ///
    /// # Errors
    /// See [`ReliableError`]; [`ReliableError::may_have_been_handled`] says what is known about the
    /// message. After [`Config::reliable_timeout`](crate::Config::reliable_timeout) without an
    /// acknowledgement it is given up.
    ///
    /// # Cancel safety
    /// Dropping the future gives the message up: it is not sent again, and may have been handled.
    /// Those behind it go on. In an [`Outbox`](crate::reliable::Outbox) it stays, and is sent when
    /// the node starts the next time.
    ///
    /// # Examples
    /// ```
    /// # use actix_peer::{Incoming, Peer, Reply, reliable::ReliableError, frame::Frame, handler, link::{AckLevel, Reason}};
    /// # use actix::prelude::*;
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let news = handler::from_fn(async |_: Incoming| Reply::none()).start();
    /// # let other = Peer::builder().handle("NEWS", news)?.start().await?;
    /// # let peer = Peer::builder().start().await?;
    /// let message = Frame::text("NEWS", "it rains");
    /// peer.send_reliable(other.info(), message, AckLevel::Handled).await?;
    ///
    /// let nobodys = Frame::text("OLDS", "it rained");
    /// let error = peer.send_reliable(other.info(), nobodys, AckLevel::Delivered).await.unwrap_err();
    /// assert!(matches!(error, ReliableError::Refused { reason: Reason::UNKNOWN_CODE }));
    /// # Ok(()) }
    /// ```
    pub async fn send_reliable(
        &self,
        to: impl IntoTarget,
        message: impl Into<Outgoing>,
        how: impl Into<Reliability>,
    ) -> Result<(), ReliableError> {
        self.take(to, message.into(), how.into(), true).await?.await
    }

    /// As [`send_reliable`](Self::send_reliable), when there is room for the message now: ready when
    /// it is taken, with a future of what comes of it. What is waited for is at most to learn who is
    /// there, where only an address is known, and that an [`Outbox`](crate::reliable::Outbox) has
    /// stored the message.
    ///
    /// # Errors
    /// [`ReliableError::Full`] gives the message back; others as
    /// [`send_reliable`](Self::send_reliable).
    ///
    /// # Cancel safety
    /// As [`send_reliable`](Self::send_reliable); dropping the [`Receipt`] gives the message up as
    /// well.
    pub async fn try_send_reliable(
        &self,
        to: impl IntoTarget,
        message: impl Into<Outgoing>,
        how: impl Into<Reliability>,
    ) -> Result<Receipt, ReliableError> {
        self.take(to, message.into(), how.into(), false).await
    }

    /// Sends what waits to be acknowledged by the peer with this id to this address from now on,
    /// whichever address it was for. Returns how many messages.
    ///
    /// An id that is only claimed belongs to the address that it was sent to: what waits for it goes
    /// to no other address on its own, as any node can claim the id. This call is the application's
    /// word that the peer has moved. What was sent and not acknowledged is sent again: the same node
    /// recognises it, and a new life of it is one ([`Reliability::across_restarts`]). There is no
    /// order between these messages and those that are sent to the new address directly.
    ///
    /// An id that is proven (feature `tls`) needs no such call and is not affected: what waits for it
    /// goes to the node that proves it, wherever that is. An [`Outbox`](crate::reliable::Outbox) goes
    /// on storing the earlier address: after a restart of this node the call is due again.
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

    async fn take(
        &self,
        to: impl IntoTarget,
        message: Outgoing,
        how: Reliability,
        wait: bool,
    ) -> Result<Receipt, ReliableError> {
        let message = to.for_whom(message);
        let to = to.into_target();
        let waiting = async {
            let way = self.way(to, message).await.map_err(ReliableError::NotSent)?;
            if way.routed || way.message.over == Over::Classic {
                return Err(ReliableError::NotSent(RequestError::NoLink(way.to)));
            }
            let whom = way.message.whom.clone();
            let frame = way.message.into_frame();
            let frame = frame.map_err(|_| ReliableError::NotSent(RequestError::BodyNotKept))?;
            reliable::take(self.reliable(), (&way.to, whom.as_ref()), frame, how, wait).await
        };
        let ended = |_| ReliableError::NotSent(RequestError::Stopped { sent: false });
        self.inside(Box::pin(waiting), ended).await
    }
}

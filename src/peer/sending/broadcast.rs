//! Broadcasts to all nodes of the network.

use crate::{
    frame::{Frame, TypeCode},
    overlay::trees::{MAX_PAYLOAD, PublishError},
    peer::{Peer, gossip::publish},
};

/// The maximum length of the data of a broadcast, in bytes: 64 KiB with the code.
pub const MAX_BROADCAST: usize = MAX_PAYLOAD - 4;

/// Why a message was not broadcast. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// The node keeps no neighbours: it was built
    /// [`without_gossip`](crate::Builder::without_gossip), or other nodes cannot ask it for its name
    /// ([`well_known`](crate::Builder::well_known)).
    #[error("this node keeps no neighbours: build it with Builder::gossip")]
    NotEnabled,
    /// The code belongs to the framework: it begins with `@`.
    #[error("the code {0} is reserved for the framework")]
    Reserved(TypeCode),
    /// The data is longer than [`MAX_BROADCAST`].
    #[error("the message has {len} bytes, a broadcast at most {MAX_BROADCAST}: send a reference")]
    TooLong {
        /// The length of the data in bytes.
        len: usize,
    },
    /// This run of the node has published the greatest possible number of messages.
    #[error("this run of the node has published too many messages: start it again")]
    Exhausted,
    /// The node has stopped.
    #[error(transparent)]
    Down(#[from] crate::peer::NodeDown),
}

impl Peer {
    /// Sends a one-way message to all nodes of the network, over neighbours that pass it on
    /// ([`overlay::trees`](crate::overlay::trees)). A node that has a handler for its code handles
    /// it; [`Sender::via`](crate::message::Sender::via) names the author. Returns the number of the
    /// message among those that this run of the node has published. This node does not get it.
    ///
    /// Each node gets the message at most once, and those of one author in the order in which they
    /// were published, as far as that is possible within a second;
    /// [`PeerEvent::BroadcastsMissed`](crate::PeerEvent::BroadcastsMissed) reports what is missing.
    /// Which nodes get it is not known: those that are connected when it is published, and those
    /// that become neighbours of them within half a minute. Programs of the original framework get
    /// none. With TLS the author signs, and no node passes on what its author has not signed;
    /// without, the author is a claim.
    ///
    /// It never waits: a neighbour that is too slow for its messages gets them later, or from
    /// others, or misses them.
    ///
    /// # Errors
    /// See [`BroadcastError`].
    ///
    /// # Examples
    /// ```
    /// use actix::prelude::*;
    /// use actix_peer::{Incoming, Peer, Reply, frame::Frame, handler, message::Via};
    ///
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (heard, mut news) = tokio::sync::mpsc::channel(8);
    /// let hear = handler::from_fn(async move |msg: Incoming| {
    ///     let Via::Broadcast { author, .. } = msg.sender().via() else { return Reply::none() };
    ///     let text = msg.frame.as_str().unwrap_or_default();
    ///     heard.send(format!("{}: {text}", author.id())).await.ok();
    ///     Reply::none()
    /// });
    /// let ada = Peer::builder().id("ada").well_known().start().await?;
    /// let bob = Peer::builder().id("bob").well_known().handle("NEWS", hear.start())?.start().await?;
    /// bob.join(&ada.info().address().to_string()).await?;
    /// ada.broadcast(Frame::text("NEWS", "hello"))?;
    /// assert_eq!(news.recv().await.as_deref(), Some("ada: hello"));
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
    pub fn broadcast(&self, message: impl Into<Frame>) -> Result<u64, BroadcastError> {
        let frame = message.into();
        if frame.code().is_reserved() {
            return Err(BroadcastError::Reserved(frame.code()));
        }
        let len = frame.data().len();
        if len > MAX_BROADCAST {
            return Err(BroadcastError::TooLong { len });
        }
        if self.node().drain.is_cancelled() {
            return Err(crate::peer::NodeDown.into());
        }
        match publish(self.node(), &frame) {
            None => Err(BroadcastError::NotEnabled),
            Some(Ok(sequence)) => Ok(sequence),
            Some(Err(PublishError::NoSequence)) => Err(BroadcastError::Exhausted),
            Some(Err(PublishError::PayloadTooLong { .. } | PublishError::ProofTooLong { .. })) => {
                Err(BroadcastError::TooLong { len })
            }
        }
    }
}

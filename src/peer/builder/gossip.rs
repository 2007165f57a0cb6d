//! The option of the builder for neighbours.

use crate::peer::{Builder, GossipConfig};

impl Builder {
    /// The options of the neighbours, which make the node part of its network however many nodes
    /// that has ([`overlay::views`](crate::overlay::views)). Default: on, with
    /// [`GossipConfig::default`], for a node that other nodes can ask for its name
    /// ([`well_known`](Self::well_known), [`contacts`](Self::contacts)).
    ///
    /// A node that joins is taken in even if the peer table of its contact is full. A lost neighbour
    /// is replaced. Each neighbour is in the peer table, and has a link that stays open. A node
    /// without a neighbour emits [`PeerEvent::Alone`](crate::PeerEvent::Alone).
    ///
    /// ```
    /// # use actix_peer::{Peer, peer::GossipConfig};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let node = || Peer::builder().well_known().gossip(GossipConfig::default().neighbors(6)).start();
    /// let (ada, bob) = (node().await?, node().await?);
    /// let joined = bob.join(&ada.info().address().to_string()).await?;
    /// assert_eq!(joined.added(), [ada.info().clone()]);
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
    pub fn gossip(mut self, config: GossipConfig) -> Self {
        self.needs_well_known = true;
        self.gossip = Some(config);
        self
    }
}

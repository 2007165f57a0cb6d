//! The nodes that this node knows or has a link with, in one list.

use indexmap::IndexMap;

#[cfg(feature = "gossip")]
use crate::peer::gossip::active_neighbors;
use crate::{
    node::Direction,
    overlay::{PeerEntry, PeerId, PeerInfo},
    peer::{NodeDown, Peer},
};

/// A node that this node knows or has a link with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Neighbor {
    /// Its id and address, as it describes itself.
    pub info: PeerInfo,
    /// Its entry in the peer table. `None` if it only has a link.
    pub entry: Option<PeerEntry>,
    /// The side that opened the link with it: `In` is the other node. `None` if there is no link.
    pub link: Option<Direction>,
    /// Whether this node keeps it as a neighbour, with a link that stays open (feature `gossip`).
    pub is_kept: bool,
}

impl Peer {
    /// The nodes that this node keeps as neighbours ([`Builder::gossip`](crate::Builder::gossip)),
    /// in the order in which they came. Empty without that option.
    #[cfg(feature = "gossip")]
    #[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
    #[must_use]
    pub fn active_neighbors(&self) -> Vec<PeerInfo> {
        active_neighbors(self.node())
    }

    /// The nodes that this node knows: the peer table in its order, then those that only have a link
    /// with it, such as nodes that opened one to send a message.
    ///
    /// # Errors
    /// [`NodeDown`].
    ///
    /// # Examples
    /// ```
    /// # use actix_peer::Peer;
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let node = || Peer::builder().well_known().start();
    /// let (ada, bob) = (node().await?, node().await?);
    /// bob.join(&ada.info().address().to_string()).await?;
    /// let neighbors = bob.neighbors().await?;
    /// assert_eq!(neighbors[0].info, *ada.info());
    /// assert!(neighbors[0].entry.is_some());
    /// # Ok(()) }
    /// ```
    pub async fn neighbors(&self) -> Result<Vec<Neighbor>, NodeDown> {
        let list = self.peers().list().await?;
        let mut all: IndexMap<PeerId, Neighbor> = IndexMap::new();
        let new = |info: PeerInfo| Neighbor { info, entry: None, link: None, is_kept: false };
        for entry in list.iter() {
            let neighbor = Neighbor { entry: Some(entry.clone()), ..new(entry.info().clone()) };
            all.insert(entry.info().id().clone(), neighbor);
        }
        for link in self.node().links.all() {
            let peer = link.peer.clone();
            let neighbor = all.entry(peer.id().clone()).or_insert_with(|| new(peer));
            neighbor.link = Some(link.status().direction);
        }
        #[cfg(feature = "gossip")]
        for kept in self.active_neighbors() {
            all.entry(kept.id().clone()).or_insert_with(|| new(kept)).is_kept = true;
        }
        Ok(all.into_values().collect())
    }
}

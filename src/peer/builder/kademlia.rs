//! The option of the builder for Kademlia.

use std::sync::Arc;

use crate::{
    overlay::kademlia::{KademliaRouter, SharedTable},
    peer::{
        Builder, KademliaConfig,
        kademlia::{Dht, Kademlia},
    },
};

impl Builder {
    /// Makes the node part of a [Kademlia](crate::overlay::kademlia) network: it answers `@KAD`,
    /// and refreshes its table and the records that it keeps. This call sets the router to a
    /// [`KademliaRouter`]; a later call of [`router`](Self::router) replaces it.
    #[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
    pub fn kademlia(mut self, config: KademliaConfig) -> Self {
        let table = SharedTable::default();
        self.router = Box::new(KademliaRouter::new(table.clone()));
        self.part(Kademlia(Arc::new(Dht::new(config, table))))
    }
}

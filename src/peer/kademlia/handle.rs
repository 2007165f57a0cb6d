//! The Kademlia methods of the handle.

use std::{sync::Arc, time::Duration};

use super::{Dht, KademliaError, lock, lookup::Goal};
use crate::{
    overlay::{
        Address, PeerId, PeerInfo,
        kademlia::{Key, chosen},
    },
    peer::{NodeDown, Peer},
    session::Endpoint,
};

/// The key of the providers of a name.
fn key_of(name: &str) -> Key {
    Key::of_bytes(format!("provider {name}").as_bytes())
}

impl Peer {
    fn dht(&self) -> Result<(Arc<Endpoint>, Arc<Dht>), KademliaError> {
        let node = Arc::clone(self.node());
        let dht = Dht::of(&node).ok_or(KademliaError::NotEnabled)?;
        Ok((node, dht))
    }

    async fn with_dht<T>(
        &self,
        work: impl AsyncFnOnce(&Arc<Endpoint>, &Arc<Dht>) -> Result<T, KademliaError>,
    ) -> Result<T, KademliaError> {
        let (node, dht) = self.dht()?;
        let drain = node.drain.clone();
        // Boxed, to keep the future of the caller small.
        let work = Box::pin(work(&node, &dht));
        let work = drain.run_until_cancelled(node.threads.inside(work));
        work.await.flatten().unwrap_or(Err(NodeDown.into()))
    }

    /// Joins the Kademlia network of `contact` (`host:port`): asks it, looks up this node itself,
    /// and looks up a key in each bucket further away. Returns how many nodes are known then. The
    /// peer table is not changed. A node that has joined by [`join`](Self::join) does the same by
    /// itself within a second.
    ///
    /// # Errors
    /// [`KademliaError::ContactFailed`] and [`KademliaError::InvalidContact`].
    ///
    /// # Cancel safety
    /// Nodes that were found before the future is dropped stay known.
    ///
    /// # Examples
    /// ```
    /// # use actix_peer::{Peer, peer::KademliaConfig};
    /// # use std::time::Duration;
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = || Peer::builder().kademlia(KademliaConfig::default()).start();
    /// let (ada, bob) = (node().await?, node().await?);
    /// bob.join_kademlia(&ada.info().address().to_string()).await?;
    /// bob.provide("printer").await?;
    /// assert_eq!(ada.providers("printer").await?, [bob.info().clone()]);
    /// assert_eq!(bob.find(ada.id()).await?.as_ref(), Some(ada.info()));
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
    pub async fn join_kademlia(&self, contact: &str) -> Result<usize, KademliaError> {
        let contact: Address = contact.parse()?;
        self.with_dht(async |node, dht| {
            let joined = dht.join(node, &contact).await;
            if joined {
                Ok(dht.known())
            } else {
                Err(KademliaError::ContactFailed(contact.clone()))
            }
        })
        .await
    }

    /// The nodes in the table, nearest to this node first, without those that did not answer the
    /// last question. At most [`k`](crate::peer::KademliaConfig::k) for each power of two of
    /// distance. Sends nothing.
    ///
    /// # Errors
    /// [`KademliaError::NotEnabled`].
    #[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
    pub fn known_nodes(&self) -> Result<Vec<PeerInfo>, KademliaError> {
        let (node, dht) = self.dht()?;
        let table = dht.table.lock();
        let own = Key::of(node.me.id());
        Ok(table.map(|table| table.closest(own, usize::MAX)).unwrap_or_default())
    }

    /// Looks up the nodes nearest to a key that answer, nearest first, at most
    /// [`k`](crate::peer::KademliaConfig::k), without this node.
    ///
    /// # Errors
    /// [`KademliaError::NotEnabled`] and [`KademliaError::Stopped`].
    ///
    /// # Cancel safety
    /// Dropping the future loses only the answer.
    #[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
    pub async fn lookup(&self, key: Key) -> Result<Vec<PeerInfo>, KademliaError> {
        self.with_dht(async |node, dht| Ok(dht.look_up(node, key, Goal::Nodes).await.closest)).await
    }

    /// Looks up the node with this id; it has just answered at the returned address. `None` if no
    /// node leads to it.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    ///
    /// # Cancel safety
    /// As [`lookup`](Self::lookup).
    #[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
    pub async fn find(&self, id: &PeerId) -> Result<Option<PeerInfo>, KademliaError> {
        self.with_dht(async |node, dht| {
            if id == node.me.id() {
                return Ok(Some(node.me.clone()));
            }
            Ok(dht.look_up(node, Key::of(id), Goal::Node(id)).await.exact)
        })
        .await
    }

    /// Publishes a value under a key at the nodes nearest to the key, for `ttl`, at most
    /// [`KademliaConfig::ttl`](crate::peer::KademliaConfig::ttl). It replaces the earlier value of
    /// this node under the key. It is sent again every
    /// [`republish`](crate::peer::KademliaConfig::republish) until `ttl` has elapsed.
    ///
    /// Returns how many other nodes keep it. This node keeps it as well and answers with it. 0
    /// means that this node is the only one so far, because it knows no other node. Nodes that
    /// appear later receive it within seconds.
    ///
    /// Each node has one value of its own under a key; other nodes may add theirs. Records are not
    /// signed: without `tls`, the nodes that keep a record can forge it.
    ///
    /// # Errors
    /// See [`KademliaError`].
    ///
    /// # Cancel safety
    /// Once the value is accepted it is published, at the latest when it is republished.
    #[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
    pub async fn put(
        &self,
        key: Key,
        value: impl Into<Vec<u8>>,
        ttl: Duration,
    ) -> Result<usize, KademliaError> {
        let value = value.into();
        self.with_dht(async |node, dht| dht.publish(node, key, value, Some(ttl)).await).await
    }

    /// Looks up the value under a key; `None` if no node keeps one. All of the nodes nearest to the
    /// key are asked. The newest value of each publisher counts. Of several publishers, the one
    /// that most of these nodes have is chosen, and among equals the one with the lower id.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    ///
    /// # Cancel safety
    /// As [`lookup`](Self::lookup).
    #[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
    pub async fn get(&self, key: Key) -> Result<Option<Vec<u8>>, KademliaError> {
        self.with_dht(async |node, dht| {
            let found = dht.look_up(node, key, Goal::Records).await.records;
            let said = found.into_iter().map(|(_, record)| record);
            let said = said.chain(dht.here(node, key));
            Ok(chosen(said).into_iter().next().map(|record| record.into_value()))
        })
        .await
    }

    /// Announces this node as a provider of a name until the node ends. It announces itself three
    /// times in each [`provider_ttl`](crate::peer::KademliaConfig::provider_ttl). Returns how many
    /// other nodes keep the announcement; 0 has the same meaning as in [`put`](Self::put).
    ///
    /// # Errors
    /// See [`KademliaError`].
    ///
    /// # Cancel safety
    /// As [`put`](Self::put).
    #[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
    pub async fn provide(&self, name: &str) -> Result<usize, KademliaError> {
        let key = key_of(name);
        self.with_dht(async |node, dht| dht.publish(node, key, Vec::new(), None).await).await
    }

    /// Stops announcing that this node provides a name. Other nodes forget it when the time of the
    /// last announcement has elapsed.
    ///
    /// # Errors
    /// [`KademliaError::NotEnabled`].
    #[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
    pub fn withdraw(&self, name: &str) -> Result<(), KademliaError> {
        let (_, dht) = self.dht()?;
        lock(&dht.own).remove(&key_of(name));
        Ok(())
    }

    /// Looks up the live providers of a name, those that most nodes know of first; at most
    /// [`max_providers_per_key`](crate::peer::KademliaConfig::max_providers_per_key). Each has just
    /// answered with its id, or is a member of the network that is up (`Builder::swim`). A provider
    /// that does not answer is left out and forgotten. It is asked again after a minute, or as soon
    /// as it has announced itself again. Sixteen are asked at once, each for
    /// [`request_time`](crate::peer::KademliaConfig::request_time), and at most 128 in all.
    ///
    /// A provider may end at any time after that. A message to a [`PeerInfo`] goes to the node with
    /// that id or fails: see [`IntoTarget::as_id`](crate::peer::IntoTarget::as_id).
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    ///
    /// # Cancel safety
    /// As [`lookup`](Self::lookup).
    #[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
    pub async fn providers(&self, name: &str) -> Result<Vec<PeerInfo>, KademliaError> {
        let key = key_of(name);
        self.with_dht(async |node, dht| Ok(dht.providers(node, key).await)).await
    }
}

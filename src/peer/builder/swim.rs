//! The option of the builder for membership.

use crate::{
    overlay::swim::{MAX_METADATA, MetadataTooLong, SwimConfig},
    peer::{Builder, RegisterError, swim::Swim},
};

impl Builder {
    /// Takes part in the membership of the network. [`Peer::members`](crate::Peer::members) returns
    /// the current members; `PeerEvent::MemberUp`, `MemberDown`, `MemberRejoined` and
    /// `MemberChanged` report changes. Default: off.
    ///
    /// The node announces itself to the peers in its table, so join or add one. Its messages go
    /// over links (`@SWM`), which are opened when needed. Every member is probed from time to time,
    /// so keep [`Config::max_links`](crate::Config::max_links) above the number of members where
    /// that is possible. A member that is down keeps its links and its entry in the peer table: the
    /// ping sweep decides about the entry.
    ///
    /// `metadata` is what the node tells all members about itself, for example its roles and
    /// version.
    ///
    /// ```
    /// # use actix_peer::{Peer, overlay::swim::SwimConfig};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let peer = Peer::builder().well_known().swim(SwimConfig::lan(20), "store 1.2")?.start().await?;
    /// assert!(peer.members().is_empty());
    /// # peer.stop().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`RegisterError::MetadataTooLong`].
    #[cfg_attr(docsrs, doc(cfg(feature = "swim")))]
    pub fn swim(
        self,
        config: SwimConfig,
        metadata: impl AsRef<[u8]>,
    ) -> Result<Self, RegisterError> {
        let metadata = metadata.as_ref().to_vec();
        if metadata.len() > MAX_METADATA {
            return Err(MetadataTooLong { len: metadata.len() }.into());
        }
        Ok(self.part(Swim { config, metadata }))
    }
}

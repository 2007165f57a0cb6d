//! The builder's part about membership.

use crate::{
    overlay::swim::{MAX_METADATA, MetadataTooLong, SwimConfig},
    peer::{Builder, RegisterError, swim::Swim},
};

impl Builder {
    /// Takes part in the membership of its network: [`Peer::members`](crate::Peer::members) says who is there, and
    /// `PeerEvent::MemberUp`, `MemberDown`, `MemberRejoined` and `MemberChanged` what changes. Default: not.
    ///
    /// It announces itself to the peers in its table, so join or add one. Its messages go over links (`@SWM`), which are
    /// opened when needed: every member is probed now and then, so keep
    /// [`Config::max_links`](crate::Config::max_links) above the number of members where that is possible. That a member is
    /// down closes no link and takes nobody out of the peer table: the ping sweep decides that.
    ///
    /// `metadata` is what the node says about itself to all members: its roles and version, say.
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
        Ok(self.service(Swim { config, metadata }))
    }
}

//! The option of the builder for discovery in the local network.

use crate::peer::{
    Builder,
    discovery::mdns::{Mdns, MdnsConfig},
};

impl Builder {
    /// Announces the node in its local network and discovers other nodes there, by multicast DNS:
    /// see [`mdns`](crate::peer::mdns). If no interface is available, the node keeps running,
    /// retries a few times, and then emits [`PeerEvent::GaveUp`](crate::PeerEvent).
    ///
    /// The option also serves the [well-known codes](Self::well_known), because nodes that discover
    /// this one ask it for its `NAME`.
    #[cfg_attr(docsrs, doc(cfg(feature = "mdns")))]
    pub fn mdns(mut self, config: MdnsConfig) -> Self {
        self.needs_well_known = true;
        self.part(Mdns { config })
    }
}

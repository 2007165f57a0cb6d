//! Finding peers: from an earlier run, from other peers, and in the local network.

pub(crate) mod address_book;
#[cfg(feature = "mdns")]
#[cfg_attr(docsrs, doc(cfg(feature = "mdns")))]
pub mod mdns;
pub(crate) mod peer_exchange;

//! Peers in words.

use actix_peer::PeerInfo;

/// A peer as a person sees it: an id that is the address says both.
pub(crate) fn named(peer: &PeerInfo) -> String {
    let address = peer.address().to_string();
    if peer.id().as_str() == address { address } else { format!("{} at {address}", peer.id()) }
}

//! Peers as text.

use actix_peer::PeerInfo;

/// The id and the address of a peer, or only the address if the id is the address.
pub(crate) fn named(peer: &PeerInfo) -> String {
    let address = peer.address().to_string();
    if peer.id().as_str() == address { address } else { format!("{} at {address}", peer.id()) }
}

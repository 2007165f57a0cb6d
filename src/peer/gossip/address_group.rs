//! The groups of nodes that share the views: one address is one group.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::overlay::{PeerInfo, Scope, address_of};

/// The share of either view that nodes at one address take, in percent.
pub(super) const SHARE: usize = 50;

/// The group of a peer: its address, as the shares of the peer table count it. `None` for loopback,
/// which is exempt.
pub(super) fn group_of(peer: &PeerInfo) -> Option<u64> {
    if Scope::of(peer.host()) == Some(Scope::Machine) {
        return None;
    }
    // The same in each process: `DefaultHasher::new` has no random keys.
    let mut hasher = DefaultHasher::new();
    address_of(peer.host()).hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(host: &str) -> Option<u64> {
        group_of(&format!("ada {host} 9000").parse().unwrap())
    }

    #[test]
    fn one_address_is_one_group_and_loopback_is_none() {
        assert_eq!(group("192.0.2.1"), group("192.0.2.1"));
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
        assert_eq!(group("2001:db8::1"), group("2001:db8::2"));
        assert_ne!(group("2001:db8::1"), group("2001:db8:0:1::1"));
        assert_eq!(group("node.example"), group("NODE.example"));
        assert_eq!(group("127.0.0.1"), None);
        assert_eq!(group("localhost"), None);
    }
}

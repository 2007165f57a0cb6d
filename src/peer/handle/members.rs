//! The methods of the handle for the membership of the network.

use crate::{
    overlay::swim::{Member, MetadataTooLong},
    peer::{
        Peer,
        swim::{leave, lock, now, with},
    },
};

impl Peer {
    /// Leaves the membership. The node keeps running, with its links and its peer table, and takes
    /// no part in the membership from then on.
    ///
    /// # Cancel safety
    /// The node has left after the first poll; some members may not have been told.
    pub async fn leave_members(&self) {
        self.node().threads.inside(leave(self.node())).await;
    }

    /// The other members that this node has met, including members that are down, sorted by id.
    /// Empty without [`Builder::swim`](crate::Builder::swim).
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.node().membership.get().map(|shared| lock(shared).members()).unwrap_or_default()
    }

    /// Changes what this node tells all members about itself (its roles, its version). The members
    /// receive it within seconds and emit
    /// [`PeerEvent::MemberChanged`](crate::PeerEvent::MemberChanged). Without
    /// [`Builder::swim`](crate::Builder::swim) nothing happens.
    ///
    /// # Errors
    /// [`MetadataTooLong`]: more than [`MAX_METADATA`](crate::overlay::swim::MAX_METADATA) bytes.
    /// Nothing was changed.
    pub fn set_metadata(&self, metadata: &[u8]) -> Result<(), MetadataTooLong> {
        let node = self.node();
        let set = |shared| with(node, shared, |machine| machine.set_metadata(metadata, now()));
        let set = node.membership.get().map_or(Ok(()), set);
        if let Some(shared) = node.membership.get() {
            shared.wake.notify_one();
        }
        set
    }
}

//! The router that forwards to ever nearer nodes.

use std::sync::{Arc, MutexGuard, OnceLock};

use crate::{
    overlay::{
        PeerId, PeerInfo, PeerList, Router,
        kademlia::{KBuckets, Key},
    },
    sync::Mutex,
};

/// The table that the driver fills and the router reads. Empty until the node's own key is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedTable(Arc<OnceLock<Mutex<KBuckets>>>);

impl SharedTable {
    /// Makes the table of the node at `own`, once.
    pub(crate) fn make(&self, own: Key, k: usize) {
        self.0.get_or_init(|| Mutex::new(KBuckets::new(own, k)));
    }

    /// Locks the table; `None` before it is made.
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, KBuckets>> {
        self.0.get().map(|table| table.lock())
    }
}

/// Routes by the table of [Kademlia](crate::overlay::kademlia): to the target itself if it is
/// known, otherwise to the known node whose key is nearest to the target's key, if it is nearer
/// than this node's own key. Each hop is therefore nearer than the one before, and a message cannot
/// loop. A message fails where neither the target nor a nearer node is known.
///
/// [`Builder::kademlia`](crate::Builder::kademlia) sets it as the router of the node. The first
/// message over a dead hop that no look-up has detected fails with
/// [`Unreachable`](crate::overlay::RouteReason::Unreachable); the next one takes another hop.
#[derive(Clone, Debug)]
pub struct KademliaRouter(SharedTable);

impl KademliaRouter {
    pub(crate) const fn new(table: SharedTable) -> Self {
        Self(table)
    }
}

impl Router for KademliaRouter {
    fn next_hop(&mut self, to: &PeerId, peers: &PeerList) -> Option<PeerInfo> {
        if let Some(entry) = peers.get(to) {
            return Some(entry.info().clone());
        }
        let table = self.0.lock()?;
        if let Some(known) = table.get(to) {
            return Some(known.clone());
        }
        let target = Key::of(to);
        let next = table.closest(target, 1).into_iter().next()?;
        let is_nearer = Key::of(next.id()).distance(target) < table.own().distance(target);
        is_nearer.then_some(next)
    }

    fn unreachable(&mut self, hop: &PeerId) {
        if let Some(mut table) = self.0.lock() {
            table.failed(hop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::Learned;

    fn peer(n: usize) -> PeerInfo {
        format!("n{n} 10.0.0.1 {}", n + 1).parse().unwrap()
    }

    #[test]
    fn the_next_hop_is_the_target_or_strictly_nearer_to_it() {
        let table = SharedTable::default();
        let mut router = KademliaRouter::new(table.clone());
        let me: PeerId = "me".parse().unwrap();
        let mut peers = PeerList::new(me.clone(), 0);
        assert_eq!(router.next_hop(peer(1).id(), &peers), None, "no table");
        table.make(Key::of(&me), 20);
        (0..50).for_each(|n| drop(table.lock().unwrap().heard(peer(n))));
        let mut stuck = 0;
        for n in 0..1_000 {
            let (to, target) = (peer(n), Key::of(peer(n).id()));
            let own = Key::of(&me).distance(target);
            match router.next_hop(to.id(), &peers) {
                Some(next) if n < 50 => assert_eq!(next, to),
                Some(next) => {
                    let distance = Key::of(next.id()).distance(target);
                    assert!(distance < own);
                    assert!((0..50).all(|m| Key::of(peer(m).id()).distance(target) >= distance));
                }
                None => {
                    stuck += 1;
                    assert!((0..50).all(|m| Key::of(peer(m).id()).distance(target) > own));
                }
            }
        }
        assert!(stuck > 0);
        let now = tokio::time::Instant::now().into_std();
        peers.add(peer(2_000), Learned::Manual, now);
        assert_eq!(router.next_hop(peer(2_000).id(), &peers), Some(peer(2_000)));
    }
}

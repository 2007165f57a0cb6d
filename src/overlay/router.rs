//! Routers, which pick the next hop for a message to a node that is not a neighbour.

use std::fmt;

use crate::overlay::{PeerId, PeerInfo, PeerList};

/// Picks the next hop. The application supplies it; every node on the path asks its own router.
///
/// ```
/// use actix_peer::{PeerId, PeerInfo, Router, overlay::PeerList};
///
/// /// Forwards everything to the first peer.
/// struct First;
/// impl Router for First {
///     fn next_hop(&mut self, _to: &PeerId, peers: &PeerList) -> Option<PeerInfo> {
///         peers.get_at(0).map(|entry| entry.info().clone())
///     }
/// }
/// ```
pub trait Router: Send + 'static {
    /// The peer that receives a message for `to`; `None` if no path is known. `peers` is the node's
    /// table, without the node itself.
    ///
    /// It should not block, because the peer table waits for it. A panic is caught, and the asker
    /// gets an error.
    fn next_hop(&mut self, to: &PeerId, peers: &PeerList) -> Option<PeerInfo>;

    /// A peer that it picked was not reached, and nothing of the message was sent. A router that
    /// knows peers besides those of the table can pick another one for the next message. Unless
    /// overridden, nothing happens.
    fn unreachable(&mut self, _hop: &PeerId) {}
}

impl Router for Box<dyn Router> {
    fn next_hop(&mut self, to: &PeerId, peers: &PeerList) -> Option<PeerInfo> {
        (**self).next_hop(to, peers)
    }

    fn unreachable(&mut self, hop: &PeerId) {
        (**self).unreachable(hop);
    }
}

/// Routes to known peers directly, and to no other node: the default router of the original
/// framework.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct;

impl Router for Direct {
    fn next_hop(&mut self, to: &PeerId, peers: &PeerList) -> Option<PeerInfo> {
        peers.get(to).map(|entry| entry.info().clone())
    }
}

/// Makes a router from a closure.
///
/// ```
/// use actix_peer::router;
///
/// let direct = router::from_fn(|to, peers| peers.get(to).map(|entry| entry.info().clone()));
/// # drop(direct);
/// ```
pub const fn from_fn<F>(f: F) -> FnRouter<F>
where
    F: FnMut(&PeerId, &PeerList) -> Option<PeerInfo> + Send + 'static,
{
    FnRouter(f)
}

/// The router that [`from_fn`] makes.
#[derive(Clone)]
pub struct FnRouter<F>(F);

impl<F> fmt::Debug for FnRouter<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnRouter").finish_non_exhaustive()
    }
}

impl<F> Router for FnRouter<F>
where
    F: FnMut(&PeerId, &PeerList) -> Option<PeerInfo> + Send + 'static,
{
    fn next_hop(&mut self, to: &PeerId, peers: &PeerList) -> Option<PeerInfo> {
        (self.0)(to, peers)
    }
}

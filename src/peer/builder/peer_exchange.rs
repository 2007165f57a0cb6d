//! The option of the builder for the peer exchange.

use crate::{
    overlay::PeerExchange,
    peer::{Builder, discovery::peer_exchange::Exchanging},
};

impl Builder {
    /// Tells other nodes about peers that were seen alive recently, and asks other nodes for
    /// theirs, so that the table fills and stays full: see [`PeerExchange`]. Default: off. Add a
    /// [`PingSweep`](crate::PingSweep), because the ping sweep is what sees that peers are alive.
    /// The last call counts.
    ///
    /// The node gives all askers the same list of at most 16 peers for 30 s, without peers that the
    /// asker could not reach. The option also serves the [well-known codes](Self::well_known),
    /// because peers ask the node for its `NAME`.
    ///
    /// ```
    /// # use actix_peer::{Peer, PingSweep, overlay::PeerExchange};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Peer::builder().well_known().stabilizer(PingSweep::new());
    /// let peer = builder.peer_exchange(PeerExchange::new()).start().await?;
    /// # peer.stop().await;
    /// # Ok(()) }
    /// ```
    pub fn peer_exchange(mut self, exchange: PeerExchange) -> Self {
        self.needs_well_known = true;
        self.part(Exchanging::new(exchange))
    }
}

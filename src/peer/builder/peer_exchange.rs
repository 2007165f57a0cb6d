//! The builder's part about the peer exchange.

use crate::{
    node::Ambient,
    overlay::{PeerExchange, Stabilizer},
    peer::{Builder, peer_exchange::ExchangeService},
};

impl Builder {
    /// Tells others about peers that were seen alive lately, and asks others for theirs, so that the
    /// table fills and stays filled: see [`PeerExchange`]. Default: neither. A
    /// [`PingSweep`](crate::PingSweep) beside it is what sees peers alive. Said twice, the last one
    /// counts.
    ///
    /// Everybody is told the same at most 16 peers for 30 s, and nobody those that it could not reach.
    /// The node serves the [well-known codes](Self::well_known) then: its peers ask it for its `NAME`.
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
        self.services.retain(|service| service.name() != ExchangeService::NAME);
        self.recipes.retain(|recipe| recipe.name != exchange.name());
        self.needs_well_known = true;
        let (exchange, told) = exchange.seeded(Ambient::default().random());
        self.service(ExchangeService::new(told)).stabilizer(exchange)
    }
}

//! Maintenance: a ping sweep removes a node that crashed.
//!
//! ```text
//! $ cargo run --example stabilizer
//! ada knows 2 peers
//! bob crashes
//! ada removed bob: lost
//! ada knows 1 peer
//! ```

#[macro_use]
#[path = "support/print.rs"]
mod print;

use std::time::Duration;

use actix_peer::{Peer, PeerEvent, PingSweep, node::Removed};
use futures::StreamExt;

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let often = Duration::from_millis(100);
    let sweep = PingSweep::new().every(often).within(Duration::from_secs(1)).misses(2);
    let count = async |peer: Peer| {
        let peers = peer.status().await.peers;
        println!("{} knows {peers} peer{}", peer.id(), if peers == 1 { "" } else { "s" });
    };
    let bob = Peer::builder().id("bob").well_known().start().await?;
    let eve = Peer::builder().id("eve").well_known().start().await?;
    let ada = Peer::builder().id("ada").well_known().stabilizer(sweep).start().await?;
    let mut events = ada.events();
    for other in [&bob, &eve] {
        ada.peers().add(other.info().clone()).await?;
    }
    count(ada.clone()).await;

    println!("bob crashes");
    bob.abort().await;
    while let Some(event) = events.next().await {
        if let PeerEvent::PeerRemoved { peer, why: Removed::Lost } = event {
            println!("ada removed {}: lost", peer.id());
            break;
        }
    }
    count(ada.clone()).await;

    ada.stop().await;
    eve.stop().await;
    Ok(())
}

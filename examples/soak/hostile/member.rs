//! Hostile peers that run a node: they join, send requests, and leave or crash.

use std::{net::SocketAddr, time::Duration};

use actix_peer::{Config, Outgoing, Over, Peer, frame::Frame};
use futures::future::join_all;

type Failed = Box<dyn std::error::Error>;

/// Runs a node for a few seconds. A node that crashes has open requests.
pub(super) async fn run(
    to: SocketAddr,
    leaves: bool,
    rng: &mut fastrand::Rng,
) -> Result<(), Failed> {
    let config = Config::default().max_peers(rng.usize(2..16));
    let peer = Peer::builder().config(config).well_known().start().await?;
    let outcome = requests(&peer, to, rng).await;
    if leaves {
        peer.stop().await;
    } else {
        let to = to.to_string();
        let ask = || async {
            let asked = Frame::new("LONG", Vec::new());
            peer.request(to.as_str(), asked).await.map(drop)
        };
        tokio::select! {
            _ = join_all([ask(), ask(), ask()]) => {}
            () = tokio::time::sleep(Duration::from_millis(rng.u64(..20))) => {}
        }
        if rng.bool() {
            peer.abort().await;
        }
        // Otherwise it is dropped.
    }
    outcome
}

async fn requests(peer: &Peer, to: SocketAddr, rng: &mut fastrand::Rng) -> Result<(), Failed> {
    let to = to.to_string();
    peer.join(&to).await?;
    for _ in 0..rng.usize(1..20) {
        let frame = Frame::new("ECHO", vec![rng.u8(..); rng.usize(..64 << 10)]);
        let over = if rng.u8(..4) == 0 { Over::Classic } else { Over::Any };
        peer.request(to.as_str(), Outgoing::from(frame).over(over)).await?.collect().await?;
        tokio::time::sleep(Duration::from_millis(rng.u64(..300))).await;
    }
    Ok(())
}

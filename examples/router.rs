//! A router: four nodes in a ring, each knowing the next one only, and a question that goes round.
//!
//! ```text
//! $ cargo run --example router
//! n0 asks n3, which answers: "n3 here; it came by n0 n1 n2"
//! n0 asks n9: a loop at n0
//! ```

#[macro_use]
#[path = "support/print.rs"]
mod print;

use actix::prelude::*;
use actix_peer::{Incoming, Peer, Reply, frame::Frame, handler, message::Via, router};

async fn node(n: usize) -> Result<Peer, Box<dyn std::error::Error>> {
    let who = handler::from_fn(async move |msg: Incoming| match msg.sender().via() {
        Via::Routed { path, .. } => {
            let path: Vec<_> = path.iter().map(|id| id.as_str()).collect();
            Reply::one(Frame::text("REPL", format!("n{n} here; it came by {}", path.join(" "))))
        }
        _ => Reply::one(Frame::text("REPL", format!("n{n} here"))),
    });
    // The rule of the ring: whoever it is for, the next one knows better.
    let next = router::from_fn(|_, peers| peers.get_at(0).map(|entry| entry.info().clone()));
    let builder = Peer::builder().id(format!("n{n}")).handle("WHO?", who.start())?.router(next);
    Ok(builder.start().await?)
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut ring = Vec::new();
    for n in 0..4 {
        ring.push(node(n).await?);
    }
    for (from, to) in ring.iter().zip(ring.iter().cycle().skip(1)) {
        from.peers().add(to.info().clone()).await?;
    }
    let (Some(first), Some(last)) = (ring.first(), ring.last()) else { return Ok(()) };

    let replies = first.route(last.id(), Frame::empty("WHO?")).await?.collect().await?;
    for reply in replies {
        println!("{} asks {}, which answers: {:?}", first.id(), last.id(), reply.as_str()?);
    }

    // Nobody is called n9. What went wrong, and where, comes back the way that the question took.
    let nobody = "n9".parse()?;
    if let Err(error) = first.route(&nobody, Frame::empty("WHO?")).await?.collect().await {
        println!("{} asks {nobody}: {error}", first.id());
    }

    for peer in ring {
        peer.stop().await;
    }
    Ok(())
}

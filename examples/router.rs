//! A router: a request passes through a ring of four nodes, each of which knows only the next one.
//!
//! ```text
//! $ cargo run --example router
//! n3 answers: "this is n3; the path was n0 n1 n2"
//! n9 does not answer: a loop at n0
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
            let path = path.join(" ");
            Reply::one(Frame::text("REPL", format!("this is n{n}; the path was {path}")))
        }
        _ => Reply::one(Frame::text("REPL", format!("this is n{n}"))),
    });
    // Every message goes to the only known peer, the next node of the ring.
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
        println!("{} answers: {:?}", last.id(), reply.as_str()?);
    }

    // There is no n9. The error says what went wrong, and at which node.
    let unknown = "n9".parse()?;
    if let Err(error) = first.route(&unknown, Frame::empty("WHO?")).await?.collect().await {
        println!("{unknown} does not answer: {error}");
    }

    for peer in ring {
        peer.stop().await;
    }
    Ok(())
}

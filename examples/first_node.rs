//! The first node: one handler actor, one node, one request to it.
//!
//! ```text
//! $ cargo run --example first_node
//! a node listens on 127.0.0.1:…
//! it answers: ECHO "hello"
//! ```

#[macro_use]
#[path = "support/print.rs"]
mod print;

use actix::prelude::*;
use actix_peer::{HandlerActor, Incoming, Peer, Reply, frame::Frame};

struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

// A panic in it costs one request.
impl Supervised for Echo {}

impl Handler<Incoming> for Echo {
    type Result = Reply;

    fn handle(&mut self, msg: Incoming, _: &mut Self::Context) -> Reply {
        Reply::one(msg.frame)
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Peer::builder().handle("ECHO", Echo.start_supervised())?.start().await?;
    println!("a node listens on {}", node.info().address());

    // Every node is a client as well: this one asks from a port of its own.
    let asker = Peer::builder().start().await?;
    let replies = asker.request(node.info(), Frame::text("ECHO", "hello")).await?.collect().await?;
    for reply in replies {
        println!("it answers: {} {:?}", reply.code(), reply.as_str()?);
    }

    asker.stop().await;
    node.stop().await;
    Ok(())
}

//! Measures one frame to a handler actor and its reply: `cargo bench --all-features --bench
//! dispatch`.
//!
//! `actor`: only the message from a `Recipient` to the actor and back, which is the cost of actix.
//! `node`: a whole exchange with a node over the memory transport, which is all the work of the
//! crate for one request, on both sides, without the kernel.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark may panic, and measures real time"
)]

use std::time::Instant;

use actix::prelude::*;
use actix_peer::{
    Incoming, Outgoing, Over, Peer, Reply, frame::Frame, overlay::Host,
    transport::memory::MemoryNetwork,
};
use criterion::{Criterion, criterion_group, criterion_main};

struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Incoming> for Echo {
    type Result = Reply;

    fn handle(&mut self, msg: Incoming, _: &mut Self::Context) -> Reply {
        Reply::one(msg.frame)
    }
}

fn dispatch(c: &mut Criterion) {
    let system = System::new();
    let frame = Frame::new("ECHO", vec![7; 64]);
    let mut group = c.benchmark_group("dispatch");
    let recipient: Recipient<Incoming> = system.block_on(async { Echo.start().recipient() });
    group.bench_function("actor", |b| {
        b.iter_custom(|times| {
            system.block_on(async {
                let from: actix_peer::overlay::Address = "127.0.0.1:9".parse().expect("an address");
                let begun = Instant::now();
                for _ in 0..times {
                    let incoming = Incoming::for_tests(frame.clone(), from.clone());
                    recipient.send(incoming).await.expect("a reply");
                }
                begun.elapsed()
            })
        });
    });
    let network = MemoryNetwork::new(1);
    let start = |name: &'static str| {
        let transport = network.transport(name.parse::<Host>().expect("a host"));
        let builder = Peer::builder().transport(transport).listen(format!("{name}:9000"));
        builder.handle("ECHO", Echo.start()).expect("a code").start()
    };
    let (node, peer) = system.block_on(async {
        (start("node").await.expect("a node"), start("peer").await.expect("a node"))
    });
    group.bench_function("node", |b| {
        b.iter_custom(|times| {
            system.block_on(async {
                let begun = Instant::now();
                for _ in 0..times {
                    let frame = Outgoing::from(frame.clone()).over(Over::Classic);
                    let replies = peer.request(node.info(), frame).await;
                    replies.expect("a connection").collect().await.expect("a reply");
                }
                begun.elapsed()
            })
        });
    });
    group.finish();
    system.block_on(async { futures::future::join(peer.stop(), node.stop()).await });
}

criterion_group!(benches, dispatch);
criterion_main!(benches);

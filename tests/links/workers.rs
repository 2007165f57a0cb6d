//! Links and connections on several threads, over TCP on loopback in real time. A paused clock
//! belongs to one thread.

use std::{collections::BTreeSet, thread, time::Duration};

use actix::prelude::*;
use actix_peer::{Config, Incoming, Outgoing, Over, Peer, Reply, frame::Frame, handler};
use futures::{FutureExt, future::join_all, stream};

use crate::{ask, common::handlers};

#[actix::test]
async fn links_and_connections_are_spread_over_the_workers() {
    // The frames of a streamed reply are produced on the thread of the connection.
    let place = handler::from_fn(async |_: Incoming| {
        let here = async { Frame::text("REPL", format!("{:?}", thread::current().id())) };
        Reply::stream(stream::once(here))
    });
    let builder = Peer::builder().handle("WHER", place.start()).unwrap();
    // 600 requests wait for 64 permits, however slow the machine is.
    let patient = Config::default().busy_after(Duration::from_secs(60));
    let builder = builder.handle("ECHO", handlers::echo()).unwrap().config(patient);
    let hub = builder.workers(3).start().await.unwrap();
    let nodes = join_all((0..12).map(|_| Peer::builder().start().map(|node| node.unwrap()))).await;
    for over in [Over::Link, Over::Classic] {
        let message = || Outgoing::from(Frame::empty("WHER")).over(over);
        let threads = join_all(nodes.iter().map(|node| ask(node, &hub, message()))).await;
        let threads: BTreeSet<_> = threads.into_iter().map(|thread| thread.unwrap()).collect();
        assert_eq!(threads.len(), 3, "{over:?}: {threads:?}");
        assert!(!threads.contains(&format!("{:?}", thread::current().id())));
    }
    // All links and connections carry load at the same time.
    let many = nodes.iter().flat_map(|node| (0..50).map(move |n| (node, n.to_string())));
    let echoed = many.map(|(node, text)| {
        let hub = &hub;
        async move { ask(node, hub, crate::echo(&text)).await.unwrap() == text }
    });
    assert!(join_all(echoed).await.into_iter().all(|same| same));
    assert!(hub.stop().await.aborted.is_empty());
}

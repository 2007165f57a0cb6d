//! A network of two hundred nodes that exchange messages over links.

use std::{collections::BTreeMap, time::Duration};

use actix_peer::{
    Config, Outgoing, Over, Peer, frame::Frame, message::Via, transport::memory::MemoryNetwork,
};
use futures::future::join_all;

use crate::{Recorder, SECOND, Taken, ask, builder, echo, links, pass};

const NODES: usize = 200;
const MAX_LINKS: usize = 8;

#[actix::test]
async fn two_hundred_nodes_exchange_messages_over_few_links_each_without_loss() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(7);
    wires.latency(Duration::from_millis(1)..Duration::from_millis(20));
    let mut random = fastrand::Rng::with_seed(7);
    let taken: Vec<_> = (0..NODES).map(|_| Taken::default()).collect();
    let config = || Config::default().max_links(MAX_LINKS);
    let nodes = join_all(taken.iter().enumerate().map(async |(n, taken)| {
        let recorder = Recorder::start(taken, Duration::ZERO);
        let builder = builder(&wires, &format!("n{n}")).config(config());
        builder.handle("NOTE", recorder).unwrap().start().await.unwrap()
    }));
    let nodes: Vec<Peer> = nodes.await;
    let mut sent: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for round in 0..5 {
        let talk = nodes.iter().enumerate().map(|(n, node)| {
            let to = (n + random.usize(1..NODES)) % NODES;
            let text = format!("{round} {n}");
            sent.entry(to).or_default().push(text.clone());
            let to = &nodes[to];
            async move {
                node.notify(to.info(), Frame::text("NOTE", text)).await.unwrap();
                assert_eq!(ask(node, to, echo("x")).await.unwrap(), "x");
            }
        });
        join_all(talk).await;
        pass(SECOND).await;
        for node in &nodes {
            let open = links(node).await.iter().filter(|link| !link.closing).count();
            assert!(open <= MAX_LINKS, "{open}");
        }
    }
    for (n, mut sent) in sent {
        let mut got = taken[n].all();
        got.sort();
        sent.sort();
        assert_eq!(got, sent, "n{n}");
    }
    let open = join_all(nodes.iter().map(links)).await;
    assert!(open.iter().all(|links| links.iter().all(|link| link.open == 0 && link.held == 0)));
    // Over links: neighbours use one connection for all of their messages.
    let via =
        ask(&nodes[0], &nodes[1], Outgoing::from(Frame::empty("VIA_")).over(Over::Link)).await;
    assert_eq!(via.unwrap(), format!("{:?}", Via::Link));
    for report in join_all(nodes.iter().map(|node| node.stop())).await {
        assert!(report.aborted.is_empty(), "{report:?}");
    }
    assert_eq!(wires.connections(), 0);
}

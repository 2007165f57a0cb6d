//! The membership: whoever is known, and whoever is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::BTreeMap;

use actix_peer::{
    Builder, Outgoing, Over, Peer, PingSweep, frame::Frame, overlay::Host,
    transport::memory::MemoryNetwork,
};

/// The options of a node as the examples have them.
fn builder(wires: &MemoryNetwork, id: &str, host: &str) -> Builder {
    let transport = wires.transport(host.parse::<Host>().unwrap());
    let builder = Peer::builder().transport(transport).listen(format!("{host}:9000")).id(id);
    builder.well_known()
}

async fn node(wires: &MemoryNetwork, id: &str, host: &str) -> Peer {
    builder(wires, id, host).stabilizer(PingSweep::new()).start().await.unwrap()
}

/// Whom a node lists, verified, and where.
async fn listed(node: &Peer) -> BTreeMap<String, String> {
    let list = node.peers().list().await.unwrap();
    let verified = list.iter().filter(|entry| entry.verified().is_some());
    verified.map(|e| (e.info().id().to_string(), e.info().address().to_string())).collect()
}

#[actix::test]
async fn stop_says_quit_to_whoever_is_in_the_table_or_has_a_link() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = node(&wires, "ada", "ada").await;
    let bob = node(&wires, "bob", "bob").await;
    let cyd = node(&wires, "cyd", "cyd").await;
    // In the table, by hand.
    ada.peers().add(bob.info().clone()).await.unwrap();
    bob.peers().add(ada.info().clone()).await.unwrap();
    // Has a link, and lists the node, which does not list it.
    cyd.peers().add(ada.info().clone()).await.unwrap();
    let over_a_link = Outgoing::from(Frame::empty("NAME")).over(Over::Link);
    cyd.request(ada.info(), over_a_link).await.unwrap().collect().await.unwrap();
    assert!(!listed(&ada).await.contains_key("cyd"));
    let report = ada.stop().await;
    assert_eq!(report.told, 2);
    assert!(listed(&bob).await.is_empty() && listed(&cyd).await.is_empty());
}

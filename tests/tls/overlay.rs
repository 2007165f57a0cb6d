//! Networks with partial tables, and membership, with proven ids.

use std::time::Duration;

use actix_peer::{
    Config, JoinPolicy, Peer,
    frame::Frame,
    overlay::{
        kademlia::Key,
        swim::{MemberState, SwimConfig},
    },
    peer::KademliaConfig,
    transport::memory::MemoryNetwork,
};

use crate::{SECOND, builder, pass};

#[actix::test]
async fn look_ups_records_and_routes_work_with_proven_ids() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(5);
    let mut nodes: Vec<Peer> = Vec::new();
    for n in 0..12 {
        let node = builder(&wires, &format!("n{n}")).kademlia(KademliaConfig::default().k(3));
        let node = node.start().await.unwrap();
        if n > 0 {
            node.join_kademlia(&format!("n{}:9000", n / 2)).await.unwrap();
        }
        nodes.push(node);
    }
    let key = Key::of_bytes(b"a key");
    nodes[11].put(key, "a value", Duration::from_secs(600)).await.unwrap();
    for (n, node) in nodes.iter().enumerate() {
        let to = &nodes[(n + 5) % nodes.len()];
        assert_eq!(node.find(to.id()).await.unwrap().as_ref(), Some(to.info()));
        assert_eq!(node.get(key).await.unwrap().as_deref(), Some(b"a value".as_slice()));
        let replies = node.route(to.id(), Frame::text("ECHO", "x")).await.unwrap();
        assert_eq!(replies.collect().await.unwrap(), [Frame::text("ECHO", "x")]);
        assert!(node.status().await.links.iter().all(|link| link.proven));
    }
}

#[actix::test]
async fn members_with_proven_ids_detect_which_member_is_down() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(6);
    let mut nodes: Vec<Peer> = Vec::new();
    for n in 0..5 {
        let open = Config::default().join_policy(JoinPolicy::Open);
        let node = builder(&wires, &format!("n{n}")).config(open);
        let node = node.swim(SwimConfig::fast(), format!("node {n}")).unwrap();
        let node = node.start().await.unwrap();
        if let Some(first) = nodes.first() {
            node.peers().add(first.info().clone()).await.unwrap();
        }
        nodes.push(node);
    }
    pass(10 * SECOND).await;
    let states =
        |node: &Peer, state| node.members().iter().filter(|member| member.state() == state).count();
    assert!(nodes.iter().all(|node| states(node, MemberState::Up) == 4));
    nodes.pop().unwrap().abort().await;
    pass(10 * SECOND).await;
    assert!(nodes.iter().all(|node| states(node, MemberState::Down) == 1));
}

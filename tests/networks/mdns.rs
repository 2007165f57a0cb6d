//! Nodes of one machine find each other by multicast DNS, on the loopback interface only.

use std::time::Duration;

use actix::Actor;
use actix_peer::{
    Incoming, Peer, PeerEvent, Reply,
    frame::Frame,
    handler,
    overlay::Learned,
    peer::mdns::{MAX_NETWORK, MdnsConfig},
};
use futures::StreamExt;
use tokio::time::timeout;

/// Not 5353, which belongs to the machine. Each test has its own port.
const PORTS: [u16; 2] = [53_531, 53_532];

fn here(network: &str, port: u16) -> MdnsConfig {
    MdnsConfig::new(network).unwrap().port(port).loopback(true)
}

async fn node(id: &str, config: MdnsConfig) -> Peer {
    Peer::builder().listen("127.0.0.1:0").id(id).well_known().mdns(config).start().await.unwrap()
}

/// Waits until `peer` knows the node with this id, which may have happened before the subscription.
async fn knows(peer: &Peer, id: &str) {
    let id = id.parse().unwrap();
    let mut events = peer.events();
    let known = async {
        while peer.peers().get(&id).await.unwrap().is_none() {
            while !matches!(events.next().await, Some(PeerEvent::PeerAdded { .. })) {}
        }
    };
    timeout(Duration::from_secs(30), known)
        .await
        .unwrap_or_else(|_| panic!("{} does not know {id}", peer.id()));
}

#[actix::test]
async fn nodes_of_one_network_find_each_other_and_ignore_those_of_another() {
    let ada = node("ada", here("chess", PORTS[0])).await;
    let eve = node("eve", here("poker", PORTS[0])).await;
    let bob = node("bob", here("chess", PORTS[0])).await;
    knows(&ada, "bob").await;
    knows(&bob, "ada").await;
    let entry = ada.peers().get(bob.id()).await.unwrap().unwrap();
    assert_eq!((entry.info(), entry.learned()), (bob.info(), &Learned::Nearby));
    assert!(entry.verified().is_some());
    for peer in [&ada, &bob] {
        assert_eq!(peer.peers().list().await.unwrap().len(), 1);
    }
    assert!(eve.peers().list().await.unwrap().is_empty());
    for peer in [ada, bob, eve] {
        peer.stop().await;
    }
}

#[actix::test]
async fn an_announcement_with_the_id_of_another_node_is_not_trusted() {
    // A node never announces a wrong id, so the test asks an mDNS daemon to do it.
    let daemon = mdns_sd::ServiceDaemon::new_with_port(PORTS[1]).unwrap();
    daemon.disable_interface(mdns_sd::IfKind::All).unwrap();
    daemon.enable_interface(mdns_sd::IfKind::LoopbackV4).unwrap();
    daemon.set_multicast_loop_v4(true).unwrap();
    let (asked, mut questions) = tokio::sync::mpsc::channel(9);
    let name = handler::from_fn(move |_: Incoming| {
        let asked = asked.clone();
        async move {
            asked.try_send(()).unwrap();
            Reply::one(Frame::text("REPL", "mallory"))
        }
    });
    let mallory = Peer::builder().handle("NAME", name.start()).unwrap().start().await.unwrap();
    let port = mallory.info().address().port();
    let announce = |label: &str, port, id: &str| {
        let properties = [("id", id), ("v", "1"), ("net", "chess")];
        let host = format!("{label}.local.");
        let service = mdns_sd::ServiceInfo::new(
            "_actixpeer._tcp.local.",
            label,
            &host,
            "127.0.0.1",
            port,
            &properties[..],
        );
        daemon.register(service.unwrap()).unwrap();
    };
    announce("false", port, "queen");
    announce("broken", port, "not an id");
    let ada = node("ada", here("chess", PORTS[1])).await;
    timeout(Duration::from_secs(30), questions.recv()).await.unwrap();
    let bob = node("bob", here("chess", PORTS[1])).await;
    knows(&ada, "bob").await;
    assert_eq!(ada.peers().list().await.unwrap().len(), 1);
    daemon.shutdown().unwrap();
    for peer in [ada, bob, mallory] {
        peer.stop().await;
    }
}

#[test]
fn a_name_that_cannot_be_announced_is_refused() {
    for name in ["", "a b", "ä", &"x".repeat(MAX_NETWORK + 1)] {
        let error = MdnsConfig::new(name).unwrap_err();
        assert!(error.to_string().contains("letters, digits"), "{error}");
    }
    assert!(MdnsConfig::new("x".repeat(MAX_NETWORK)).is_ok());
}

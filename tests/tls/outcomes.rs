//! The result of a message, by the node at the address and the admissions of both sides.

use actix::Actor;
use actix_peer::{
    Incoming, Outgoing, Over, Peer, PeerId, PeerInfo, Reply, RequestError, Target,
    frame::Frame,
    handler,
    link::AckLevel,
    message::{Cause, Identity},
    transport::{
        IdentityFault,
        memory::MemoryNetwork,
        tls::{Admission, NodeIdentity},
    },
};

use crate::{SECOND, counts, id_of, info, links, pass, start, transport};

const BOTH: [Over; 2] = [Over::Classic, Over::Link];

fn who(over: Over) -> Outgoing {
    Outgoing::from(Frame::empty("WHO_")).over(over)
}

async fn ask(from: &Peer, to: impl actix_peer::peer::IntoTarget, over: Over) -> String {
    let replies = from.request(to, who(over)).await.unwrap().collect().await.unwrap();
    replies[0].as_str().unwrap().to_owned()
}

fn proven(id: &PeerId) -> String {
    format!("{:?}", Identity::Proven(id.clone()))
}

#[track_caller]
fn fault(error: &RequestError) -> &IdentityFault {
    assert!(!error.may_have_been_handled(), "{error:?}");
    match error {
        RequestError::Identity(fault) => fault,
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn peers_on_each_others_lists_see_each_others_proven_ids() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let only = |name: &str| Admission::allow_list([id_of(name)]);
    let ada = start("ada", transport(&wires, "ada").admission(only("bob"))).await;
    let bob = start("bob", transport(&wires, "bob").admission(only("ada"))).await;
    assert_eq!((ada.id(), bob.id()), (&id_of("ada"), &id_of("bob")));
    for over in BOTH {
        assert_eq!(ask(&ada, bob.info(), over).await, proven(ada.id()));
        assert_eq!(ask(&bob, ada.info(), over).await, proven(bob.id()));
    }
    assert!(links(&ada).await.iter().chain(&links(&bob).await).all(|link| link.proven));
    // By the address alone as well, and to itself.
    assert_eq!(ask(&ada, bob.info().address(), Over::Any).await, proven(ada.id()));
    assert_eq!(ask(&ada, ada.info(), Over::Any).await, proven(ada.id()));
    bob.join("ada:9000").await.unwrap();
    assert_eq!(ask(&ada, bob.id(), Over::Any).await, proven(ada.id()));
    assert_eq!(ask(&bob, Target::routed(ada.id().clone()), Over::Any).await, proven(bob.id()));
}

#[actix::test]
async fn a_node_that_is_not_admitted_is_told_so_whatever_it_sends() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    for admission in [Admission::allow_list([]), Admission::ban_list([id_of("ada")])] {
        let bob = start("bob", transport(&wires, "bob").admission(admission.clone())).await;
        let ada = start("ada", transport(&wires, "ada")).await;
        let refused = IdentityFault::Refused { at: bob.info().address().clone() };
        for over in [Over::Any, Over::Link, Over::Classic] {
            let error = ada.request(bob.info(), who(over)).await.unwrap_err();
            assert_eq!((fault(&error), error.cause()), (&refused, Cause::Remote));
            assert_eq!(error.to_string(), "the peer at bob:9000 does not admit this node");
            let error = ada.notify(bob.info(), who(over)).await.unwrap_err();
            assert_eq!(fault(&error), &refused);
            let told = ada.notify_acked(bob.info(), who(over), AckLevel::Handled).await;
            assert_eq!(fault(&told.unwrap_err()), &refused);
        }
        assert!(ada.join("bob:9000").await.is_err());
        let counts = counts(&bob).await;
        // A join asks for a link as well.
        let handshakes = 10 + u64::from(cfg!(feature = "gossip"));
        assert_eq!((counts.exchanges_in, counts.errors_handshake), (0, handshakes), "{counts:?}");
        // As soon as it is admitted, it is served.
        admission.allow(ada.id());
        assert_eq!(ask(&ada, bob.info(), Over::Any).await, proven(ada.id()));
        tokio::join!(ada.stop(), bob.stop());
    }
}

#[actix::test]
async fn a_node_sends_nothing_to_a_peer_that_it_does_not_admit() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let admission = Admission::ban_list([id_of("bob")]);
    let ada = start("ada", transport(&wires, "ada").admission(admission)).await;
    let bob = start("bob", transport(&wires, "bob")).await;
    for over in BOTH {
        let error = ada.request(bob.info().address(), who(over)).await.unwrap_err();
        let (at, id) = (bob.info().address().clone(), bob.id().clone());
        assert_eq!(fault(&error), &IdentityFault::NotAdmitted { at, id });
        assert_eq!(error.cause(), Cause::Node);
    }
    // The node aborts the handshake before it shows its own key.
    let counts = counts(&bob).await;
    assert_eq!((counts.errors_handshake, counts.exchanges_in), (2, 0), "{counts:?}");
}

#[actix::test]
async fn another_peer_at_the_address_is_a_readable_error() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, eve) = (
        start("ada", transport(&wires, "ada")).await,
        start("eve", transport(&wires, "eve")).await,
    );
    // Eve has taken over Bob's address.
    let bob = info("bob", "eve");
    // Bob is removed with the first error, because the node at his address states another name.
    // Bob is asked for his name where Eve was found, and removed. Then he is added again.
    let is_known = async || {
        while ada.peers().list().await?.contains(bob.id()) {
            tokio::task::yield_now().await;
        }
        ada.peers().add(bob.clone()).await.map(|_| ())
    };
    let (at, expected, found) = (eve.info().address().clone(), id_of("bob"), id_of("eve"));
    let wrong = IdentityFault::WrongPeer { at, expected, found };
    for linked in [false, true] {
        for over in [Over::Any, Over::Link, Over::Classic] {
            for error in [
                ada.request(&bob, who(over)).await.unwrap_err(),
                {
                    is_known().await.unwrap();
                    ada.request(bob.id(), who(over)).await.unwrap_err()
                },
                {
                    is_known().await.unwrap();
                    ada.route(bob.id(), who(over)).await.unwrap_err()
                },
                ada.notify(&bob, who(over)).await.unwrap_err(),
                ada.notify_acked(&bob, who(over), AckLevel::Delivered).await.unwrap_err(),
                ada.notify_all(&bob, [Frame::empty("WHO_")]).await.unwrap_err().source,
            ] {
                assert_eq!(fault(&error), &wrong, "{over:?}");
                let (bob, eve) = (&bob.id().as_str()[..8], &eve.id().as_str()[..8]);
                let text = format!("the peer at eve:9000 is not {bob}… but {eve}…");
                assert_eq!(error.to_string(), text);
            }
        }
        assert_eq!(links(&ada).await.len(), usize::from(linked));
        // The node at the address can be asked by the address. Its link does not count as Bob's.
        assert_eq!(ask(&ada, eve.info().address(), Over::Link).await, proven(ada.id()));
    }
    // The two requests, and the question for her name each of the twelve times that she was found
    // in the place of Bob while he was in the table.
    assert_eq!(counts(&eve).await.exchanges_in, 2 + 12);
}

#[actix::test]
async fn callers_that_wait_for_one_dial_get_a_result_of_their_own() {
    tokio::time::pause();
    // Which caller begins the dial: one that asks for another id, or one that asks for the node
    // that is there.
    for first in 0..3 {
        let wires = MemoryNetwork::new(1);
        wires.latency(SECOND / 50..SECOND / 20);
        let (ada, eve) = (
            start("ada", transport(&wires, "ada")).await,
            start("eve", transport(&wires, "eve")).await,
        );
        let bob = info("bob", "eve");
        let asks = (first..first + 12).map(|n| {
            let (ada, bob, eve) = (ada.clone(), bob.clone(), eve.info().clone());
            async move {
                let asked = match n % 3 {
                    0 => ada.request(&bob, who(Over::Link)).await,
                    1 => ada.request(&eve, who(Over::Link)).await,
                    _ => ada.request(eve.address(), who(Over::Link)).await,
                };
                (n % 3 == 0, asked)
            }
        });
        for (wrong, asked) in futures::future::join_all(asks).await {
            match asked {
                Err(error) => assert!(wrong, "{first}: {error}"),
                Ok(_) => assert!(!wrong, "{first}"),
            }
        }
    }
}

#[actix::test]
async fn the_ping_sweep_removes_a_peer_whose_address_has_another_node() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let sweep = actix_peer::PingSweep::default();
    let builder = Peer::builder().transport(transport(&wires, "ada")).listen("ada:9000");
    let ada = builder.stabilizer(sweep).start().await.unwrap();
    // Eve is at Bob's address, and claims to be Bob.
    let pong = handler::from_fn(async |_: Incoming| {
        Reply::one(Frame::text("PONG", id_of("bob").to_string()))
    });
    let eve = Peer::builder().transport(transport(&wires, "eve")).listen("eve:9000");
    let _eve = eve.handle("PING", pong.start()).unwrap().start().await.unwrap();
    let _cyd = start("cyd", transport(&wires, "cyd")).await;
    ada.peers().add(info("bob", "eve")).await.unwrap();
    ada.peers().add(info("cyd", "cyd")).await.unwrap();
    pass(30 * SECOND).await;
    let left = ada.peers().list().await.unwrap();
    let left: Vec<_> = left.iter().map(|entry| entry.info().id().clone()).collect();
    assert_eq!(left, [id_of("cyd")]);
}

#[actix::test]
async fn an_id_that_is_not_the_key_is_refused_at_the_start() {
    let identity = NodeIdentity::generate().unwrap();
    let error = Peer::builder().identity(identity.clone()).id("ada").start().await.unwrap_err();
    let text =
        format!("the id ada was given, but the identity is {}…", &identity.id().as_str()[..8]);
    assert_eq!(error.to_string(), text);
    let key = identity.id().to_string();
    let node = Peer::builder().identity(identity).id(key).start().await.unwrap();
    node.stop().await;
}

#[actix::test]
async fn a_waiting_reliable_message_uses_the_link_of_a_proven_peer_at_any_address() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = start("ada", transport(&wires, "ada")).await;
    let bob = start("bob", transport(&wires, "bob")).await;
    // No node listens there. Bob is elsewhere, and dials by himself.
    let elsewhere = PeerInfo::new(bob.id().clone(), "elsewhere:9000".parse().unwrap()).unwrap();
    let sent = ada.send_reliable(elsewhere, who(Over::Link), AckLevel::Handled);
    let dial = async {
        pass(10 * SECOND).await;
        ask(&bob, ada.info(), Over::Link).await
    };
    let (sent, asked) = futures::future::join(sent, dial).await;
    sent.unwrap();
    assert_eq!(asked, proven(bob.id()));
}

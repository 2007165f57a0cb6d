//! Changes of the admission take effect at once.

use std::time::Duration;

use actix::Actor;
use actix_peer::{
    Outgoing, Over, Peer, PeerEvent, RequestError,
    frame::Frame,
    handler,
    node::Removed,
    transport::{
        IdentityFault, Transport,
        memory::MemoryNetwork,
        tls::{Admission, Policy},
    },
};
use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::{SECOND, counts, event, host, id_of, links, pass, start, transport, turns};

fn echo(over: Over) -> Outgoing {
    Outgoing::from(Frame::text("ECHO", "x")).over(over)
}

async fn answered(from: &Peer, to: &Peer, over: Over) -> Result<(), RequestError> {
    from.request(to.info(), echo(over)).await?.collect().await.map(drop)
}

#[actix::test]
async fn a_ban_breaks_the_open_links_of_both_directions_at_once() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    for dialled_by_bob in [false, true] {
        let admission = Admission::open();
        let bob = start("bob", transport(&wires, "bob").admission(admission.clone())).await;
        let (ada, cyd) = (
            start("ada", transport(&wires, "ada")).await,
            start("cyd", transport(&wires, "cyd")).await,
        );
        let (from, to) = if dialled_by_bob { (&bob, &ada) } else { (&ada, &bob) };
        answered(from, to, Over::Link).await.unwrap();
        answered(&cyd, &bob, Over::Link).await.unwrap();
        assert_eq!((links(&bob).await.len(), wires.connections()), (2, 2));
        let mut events = bob.events();
        assert_eq!(admission.ban(ada.id()), 1);
        turns().await;
        assert_eq!((links(&bob).await.len(), wires.connections()), (1, 1));
        let closed = event(&mut events, |event| match event {
            PeerEvent::LinkClosed { peer, .. } => Some(peer.id().clone()),
            _ => None,
        });
        assert_eq!(closed.now_or_never(), Some(ada.id().clone()));
        // The others stay, and the banned peer does not return.
        answered(&cyd, &bob, Over::Link).await.unwrap();
        assert!(answered(&ada, &bob, Over::Any).await.is_err());
        assert!(answered(&bob, &ada, Over::Any).await.is_err());
        tokio::join!(ada.stop(), bob.stop(), cyd.stop());
    }
}

#[actix::test]
async fn a_banned_peer_is_removed_from_the_table_and_the_others_stay() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let admission = Admission::open();
    let bob = start("bob", transport(&wires, "bob").admission(admission.clone())).await;
    let (mut events, mut others) = (bob.events(), Vec::new());
    for name in ["ada", "cyd"] {
        let node = start(name, transport(&wires, name)).await;
        node.join("bob:9000").await.unwrap();
        bob.peers().add(node.info().clone()).await.unwrap();
        answered(&node, &bob, Over::Link).await.unwrap();
        others.push(node);
    }
    // A ban of an id without connections changes nothing.
    admission.ban(&id_of("nobody"));
    turns().await;
    assert_eq!(bob.peers().list().await.unwrap().len(), 2);
    admission.ban(&id_of("ada"));
    turns().await;
    let list = bob.peers().list().await.unwrap();
    let left: Vec<_> = list.iter().map(|entry| entry.info().id().clone()).collect();
    assert_eq!(left, [id_of("cyd")]);
    let removed = event(&mut events, |event| match event {
        PeerEvent::PeerRemoved { peer, why } => Some((peer.id().clone(), *why)),
        _ => None,
    });
    assert_eq!(removed.now_or_never(), Some((id_of("ada"), Removed::NotAdmitted)));
    admission.set(Policy::AllowList([id_of("eve")].into()));
    turns().await;
    assert!(bob.peers().list().await.unwrap().is_empty());
}

#[actix::test]
async fn a_ban_while_a_handler_works_closes_the_connection_before_it_answers() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let admission = Admission::open();
    let slow = handler::from_fn(async |_| std::future::pending().await);
    let bob = Peer::builder()
        .transport(transport(&wires, "bob").admission(admission.clone()))
        .listen("bob:9000")
        .handle("SLOW", slow.start())
        .unwrap()
        .start()
        .await
        .unwrap();
    let ada = start("ada", transport(&wires, "ada")).await;
    for over in [Over::Classic, Over::Link] {
        admission.set(Policy::Open);
        let slow = Outgoing::from(Frame::empty("SLOW")).over(over);
        let asked = ada.request(bob.info(), slow).await.unwrap();
        turns().await;
        assert_eq!(wires.connections(), 1, "{over:?}");
        assert_eq!(admission.set(Policy::AllowList([id_of("cyd")].into())), 1);
        let begun = Instant::now();
        let error = asked.collect().await.unwrap_err();
        assert!(error.may_have_been_handled(), "{error:?}");
        turns().await;
        assert_eq!((wires.connections(), begun.elapsed()), (0, Duration::ZERO), "{over:?}");
    }
}

#[actix::test]
async fn a_request_to_a_peer_that_is_banned_meanwhile_fails_with_that_reason() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let admission = Admission::open();
    let ada = start("ada", transport(&wires, "ada").admission(admission.clone())).await;
    let bob = start("bob", transport(&wires, "bob")).await;
    let io = transport(&wires, "ada").admission(admission.clone());
    let mut io = io.dial(bob.info().address()).await.unwrap();
    admission.ban(bob.id());
    let error = io.reader.read_u8().await.unwrap_err();
    let not_admitted =
        IdentityFault::NotAdmitted { at: bob.info().address().clone(), id: bob.id().clone() };
    assert_eq!(IdentityFault::of(&error), Some(&not_admitted));
    let error = io.writer.write_all(b"x").await.unwrap_err();
    assert_eq!(IdentityFault::of(&error), Some(&not_admitted));
    assert!(answered(&ada, &bob, Over::Any).await.is_err());
}

#[actix::test]
async fn a_ban_during_the_handshake_takes_effect() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    wires.latency(SECOND / 10..SECOND / 10);
    let (of_ada, of_bob) = (Admission::open(), Admission::open());
    let bob = start("bob", transport(&wires, "bob").admission(of_bob.clone())).await;
    let ada = start("ada", transport(&wires, "ada").admission(of_ada.clone())).await;
    // Six latencies of the network, and two more for the question and the answer.
    for (after, by_ada) in (0..14).flat_map(|after| [(after, false), (after, true)]) {
        let asked = answered(&ada, &bob, Over::Classic);
        let ban = async {
            pass(after * SECOND / 20).await;
            if by_ada { of_ada.ban(bob.id()) } else { of_bob.ban(ada.id()) }
        };
        let (asked, _) = tokio::join!(asked, ban);
        assert!(asked.is_err(), "{after} {by_ada}");
        pass(SECOND).await;
        assert_eq!(wires.connections(), 0, "{after} {by_ada}");
        of_ada.allow(bob.id());
        of_bob.allow(ada.id());
        answered(&ada, &bob, Over::Classic).await.unwrap();
        pass(SECOND).await;
    }
}

#[actix::test]
async fn an_allow_list_admits_only_proven_ids() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let admission = Admission::open();
    let bob = transport(&wires, "bob").admission(admission.clone());
    let bob = start("bob", bob.plain(actix_peer::transport::tls::Plain::Served)).await;
    let plain = start("ada", host(&wires, "ada")).await;
    answered(&plain, &bob, Over::Any).await.unwrap();
    pass(SECOND).await;
    let before = counts(&bob).await.exchanges_in;
    admission.set(Policy::AllowList([id_of("cyd")].into()));
    for over in [Over::Classic, Over::Link] {
        let replies = plain.request(bob.info().address(), echo(over)).await;
        let replies = match replies {
            Ok(replies) => replies.collect().await,
            Err(error) => Err(error),
        };
        assert_ne!(replies.ok(), Some(vec![Frame::text("ECHO", "x")]), "{over:?}");
    }
    assert!(counts(&bob).await.errors_no_tls > 0);
    assert!(counts(&bob).await.exchanges_in >= before);
}

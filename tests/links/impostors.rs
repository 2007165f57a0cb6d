//! Nodes that claim the id of another node at an address of their own, over links without proofs.

use std::time::Duration;

use actix_peer::{
    Builder, Peer, PeerInfo, frame::Frame, link::AckLevel, reliable::Receipt,
    transport::memory::MemoryNetwork,
};

use crate::{Recorder, SECOND, Taken, builder, node, pass, reliable::Shelf, transport};

fn note(text: &str) -> Frame {
    Frame::text("NOTE", text)
}

/// A node on a host with an id, which may be the id of another node. It records its messages.
fn claiming(wires: &MemoryNetwork, (id, host): (&str, &str), taken: &Taken) -> Builder {
    let builder = Peer::builder().transport(transport(wires, host)).id(id);
    let recorder = Recorder::start(taken, Duration::ZERO);
    builder.listen(format!("{host}:9000")).handle("NOTE", recorder).unwrap()
}

async fn start(wires: &MemoryNetwork, who: (&str, &str), taken: &Taken) -> Peer {
    claiming(wires, who, taken).start().await.unwrap()
}

/// Sends a message that waits for a node that is gone.
async fn waiting(from: &Peer, to: &PeerInfo, text: &str) -> Receipt {
    from.try_send_reliable(to, note(text), AckLevel::Handled).await.unwrap()
}

/// Sends messages between two nodes in every acknowledged way.
async fn meet(ada: &Peer, eve: &Peer) {
    let level = AckLevel::Handled;
    ada.send_reliable(eve.info(), note("to eve"), level).await.unwrap();
    ada.send_reliable(eve.info().address(), note("to eve"), level).await.unwrap();
    ada.notify_acked(eve.info(), note("to eve"), level).await.unwrap();
    ada.notify_acked(eve.info().address(), note("to eve"), level).await.unwrap();
    ada.peers().add(eve.info().clone()).await.unwrap();
    ada.send_reliable(eve.id(), note("to eve"), level).await.unwrap();
    eve.send_reliable(ada.info(), note("from eve"), level).await.unwrap();
    pass(5 * SECOND).await;
}

#[actix::test]
async fn a_message_waiting_for_a_claimed_id_is_not_sent_to_another_address_with_that_id() {
    tokio::time::pause();
    let (wires, at_bob, at_eve) = (MemoryNetwork::new(1), Taken::default(), Taken::default());
    let ada = start(&wires, ("ada", "ada"), &Taken::default()).await;
    let bob = start(&wires, ("bob", "bob"), &at_bob).await;
    let to = bob.info().clone();
    ada.send_reliable(&to, note("first"), AckLevel::Handled).await.unwrap();
    bob.abort().await;
    let second = waiting(&ada, &to, "second").await;
    let acked = {
        let (ada, to) = (ada.clone(), to.clone());
        actix_rt::spawn(
            async move { ada.notify_acked(to, note("acked"), AckLevel::Delivered).await },
        )
    };
    let eve = start(&wires, ("bob", "eve"), &at_eve).await;
    meet(&ada, &eve).await;
    assert_eq!(at_eve.all(), ["to eve"; 5]);
    let _bob = start(&wires, ("bob", "bob"), &at_bob).await;
    second.await.unwrap();
    // There was no link, so the call had nothing to wait for.
    assert!(acked.await.unwrap().is_err());
    assert_eq!(at_bob.all(), ["first", "second"]);
    assert_eq!(at_eve.all(), ["to eve"; 5]);
}

#[actix::test]
async fn an_unacknowledged_message_to_a_claimed_id_is_sent_again_only_to_its_address() {
    tokio::time::pause();
    let (wires, at_bob, at_eve) = (MemoryNetwork::new(1), Taken::default(), Taken::default());
    let ada = start(&wires, ("ada", "ada"), &Taken::default()).await;
    let slow = Recorder::start(&at_bob, 3 * SECOND);
    let bob = builder(&wires, "bob").handle("NOTE", slow).unwrap().start().await.unwrap();
    let send = |text: &'static str, acked: bool| {
        let (ada, to) = (ada.clone(), bob.info().clone());
        actix_rt::spawn(async move {
            if acked {
                ada.notify_acked(to, note(text), AckLevel::Handled).await.unwrap();
            } else {
                ada.send_reliable(to, note(text), AckLevel::Handled).await.unwrap();
            }
        })
    };
    let sent = [send("one", true), send("two", false), send("three", true)];
    pass(SECOND).await;
    // The link breaks, and bob is unreachable for a while.
    let cut = || wires.links().iter().filter(|link| wires.break_link(link.number())).count();
    assert_eq!(cut(), 1);
    let eve = start(&wires, ("bob", "eve"), &at_eve).await;
    meet(&ada, &eve).await;
    for sent in sent {
        sent.await.unwrap();
    }
    let mut taken = at_bob.all();
    taken.sort();
    assert_eq!(taken, ["one", "three", "two"]);
    assert_eq!(at_eve.all(), ["to eve"; 5]);
}

#[actix::test]
async fn a_message_stored_for_a_claimed_id_is_not_sent_to_another_address_with_that_id() {
    tokio::time::pause();
    let (wires, at_bob, at_eve) = (MemoryNetwork::new(1), Taken::default(), Taken::default());
    let shelf = Shelf::default();
    let with_shelf = || claiming(&wires, ("ada", "ada"), &Taken::default()).outbox(shelf.clone());
    let ada = with_shelf().start().await.unwrap();
    let bob = start(&wires, ("bob", "bob"), &at_bob).await;
    let to = bob.info().clone();
    bob.abort().await;
    let stored = waiting(&ada, &to, "stored").await;
    ada.abort().await;
    stored.await.unwrap_err();
    let eve = start(&wires, ("bob", "eve"), &at_eve).await;
    let ada = with_shelf().start().await.unwrap();
    meet(&ada, &eve).await;
    assert_eq!((at_eve.all().len(), shelf.texts()), (5, vec!["stored".to_owned()]));
    let _bob = start(&wires, ("bob", "bob"), &at_bob).await;
    pass(10 * SECOND).await;
    assert_eq!(at_bob.all(), ["stored"]);
    assert_eq!((at_eve.all().len(), shelf.texts().len()), (5, 0));
}

#[actix::test]
async fn a_message_waiting_for_a_claimed_id_moves_to_another_address_on_request() {
    tokio::time::pause();
    let (wires, at_old, at_new) = (MemoryNetwork::new(1), Taken::default(), Taken::default());
    let ada = node(&wires, "ada").await;
    let bob = start(&wires, ("bob", "old"), &at_old).await;
    let to = bob.info().clone();
    bob.abort().await;
    let receipts = [waiting(&ada, &to, "one").await, waiting(&ada, &to, "two").await];
    let bob = start(&wires, ("bob", "new"), &at_new).await;
    ada.send_reliable(bob.info(), note("zero"), AckLevel::Handled).await.unwrap();
    assert_eq!(at_new.all(), ["zero"]);
    assert_eq!(ada.readdress(bob.info()), 2);
    for receipt in receipts {
        receipt.await.unwrap();
    }
    assert_eq!(ada.readdress(bob.info()), 0);
    assert_eq!((at_new.all(), at_old.len()), (["zero", "one", "two"].map(Into::into).into(), 0));
}

#[actix::test]
async fn a_node_that_claims_the_id_of_a_sender_does_not_disturb_its_messages() {
    tokio::time::pause();
    let (wires, at_bob) = (MemoryNetwork::new(1), Taken::default());
    let bob = start(&wires, ("bob", "bob"), &at_bob).await;
    let ada = node(&wires, "ada").await;
    let send = async |from: &Peer, text: &str| {
        from.send_reliable(bob.info(), note(text), AckLevel::Handled).await.unwrap();
    };
    send(&ada, "1").await;
    // Its incarnation is a later one, and its numbers are higher.
    let eve = start(&wires, ("ada", "eve"), &Taken::default()).await;
    for text in ["x", "y", "z"] {
        send(&eve, text).await;
    }
    send(&ada, "2").await;
    send(&eve, "0").await;
    send(&ada, "3").await;
    assert_eq!(at_bob.all(), ["1", "x", "y", "z", "2", "0", "3"]);
}

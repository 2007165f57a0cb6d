//! Links that close: each link ends, whatever the other side does with `@BYE`.

use actix_peer::{
    Config, Outgoing, Over, Peer, PeerEvent,
    frame::{Frame, TypeCode},
    link::{AckLevel, LinkEvent, Reason},
    node::Direction,
    transport::memory::MemoryNetwork,
};
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use crate::{
    SECOND, event,
    fake::{self, Fake, listen},
    links, node_with, pass,
};

/// A little more than the time that a link without exchanges may take to close.
const LEAVES_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

async fn asks(node: &Peer, name: &str) {
    let message = Outgoing::from(Frame::text("TEST", "x")).over(Over::Link);
    node.request(&format!("{name}:9000"), message).await.unwrap().collect().await.unwrap();
}

fn idle_soon() -> Config {
    Config::default().link_idle_timeout(2 * SECOND).keep_alive(SECOND)
}

#[actix::test]
async fn an_idle_link_closes_soon_even_if_the_other_side_sends_no_goodbye() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let node = node_with(&wires, "node", idle_soon()).await;
    let mut events = node.events();
    for n in 0..10 {
        fake::host(&wires, &format!("eve{n}")).await;
        asks(&node, &format!("eve{n}")).await;
        // The same for a link that the other side has opened.
        actix_rt::spawn(Fake::dial(&wires, &format!("mal{n}"), "node").await.serve());
    }
    assert_eq!(links(&node).await.len(), 20);
    pass(2 * SECOND + SECOND + LEAVES_WITHIN).await;
    assert_eq!((links(&node).await, wires.connections()), (vec![], 0));
    let closed = event(&mut events, |event| match event {
        PeerEvent::LinkClosed { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(closed.await, Reason::TIMED_OUT);
}

#[actix::test]
async fn closing_links_count_against_the_limit_and_the_next_link_opens_soon() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let node = node_with(&wires, "node", Config::default().max_links(4)).await;
    for n in 0..40 {
        fake::host(&wires, &format!("eve{n}")).await;
        let begun = Instant::now();
        asks(&node, &format!("eve{n}")).await;
        assert!(begun.elapsed() <= LEAVES_WITHIN, "{n}: {:?}", begun.elapsed());
        assert!(wires.connections() <= 4, "{n}: {}", wires.connections());
        assert!(links(&node).await.len() <= 4);
        // New links are not ended to make room.
        pass(3 * SECOND).await;
    }
}

/// A node with two links to the same peer. The link that the node opened has to close.
async fn two_links(wires: &MemoryNetwork) -> (Peer, Fake, Fake) {
    let node = node_with(wires, "node", Config::default()).await;
    let mut listener = listen(wires, "eve").await;
    let first = async {
        let mut first = Fake::accept(&mut listener, "eve").await;
        while !first.events().await.unwrap().contains(&LinkEvent::Opened) {}
        first
    };
    let message = Outgoing::from(Frame::text("TEST", "x")).over(Over::Link);
    let (told, first) = tokio::join!(node.notify("eve:9000", message), first);
    told.unwrap();
    let second = Fake::dial(wires, "eve", "node").await;
    (node, first, second)
}

/// The number of links that the node has opened.
async fn own(node: &Peer) -> usize {
    links(node).await.iter().filter(|link| link.direction == Direction::Out).count()
}

#[actix::test]
async fn the_surplus_link_of_two_closes_soon() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (node, first, second) = two_links(&wires).await;
    assert_eq!(own(&node).await, 1);
    actix_rt::spawn(first.serve());
    actix_rt::spawn(second.serve());
    pass(LEAVES_WITHIN).await;
    assert_eq!((own(&node).await, links(&node).await.len()), (0, 1));
}

#[actix::test]
async fn exchanges_on_a_closing_link_complete_as_long_as_they_progress() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let node = node_with(&wires, "node", Config::default()).await;
    let mut listener = listen(&wires, "eve").await;
    let message = Outgoing::from(Frame::text("TEST", "x")).over(Over::Link);
    let asked = node.request("eve:9000", message);
    let serve = async {
        let mut first = Fake::accept(&mut listener, "eve").await;
        let exchange = first.asked().await;
        (first, exchange)
    };
    let (replies, (mut first, exchange)) = tokio::join!(asked, serve);
    let mut replies = replies.unwrap();
    actix_rt::spawn(Fake::dial(&wires, "eve", "node").await.serve());
    let told = actix_rt::spawn(async move {
        for n in 0..20 {
            // Keep-alives are answered meanwhile.
            let next = Instant::now() + 20 * SECOND;
            while timeout_at(next, first.events()).await.is_ok_and(|events| events.is_some()) {}
            let reply = first.link.reply(exchange, TypeCode::REPL, b"x", false, n == 19);
            reply.unwrap();
            first.flush().await;
        }
        first
    });
    for _ in 0..20 {
        assert!(replies.next().await.unwrap().is_ok());
    }
    assert!(replies.next().await.is_none());
    let first = told.await.unwrap();
    actix_rt::spawn(first.serve());
    pass(LEAVES_WITHIN).await;
    assert_eq!(own(&node).await, 0);
}

#[actix::test]
async fn a_closing_link_does_not_wait_for_a_stalled_exchange() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let node = node_with(&wires, "node", Config::default()).await;
    let mut listener = listen(&wires, "eve").await;
    let asking = node.clone();
    // The other side never acknowledges it, over any link.
    let told = actix_rt::spawn(async move {
        asking.notify_acked("eve:9000", Frame::text("TEST", "x"), AckLevel::Handled).await
    });
    let mut first = Fake::accept(&mut listener, "eve").await;
    first.asked().await;
    let mut second = Fake::dial(&wires, "eve", "node").await;
    actix_rt::spawn(async move { while first.events().await.is_some() {} });
    actix_rt::spawn(async move { while second.events().await.is_some() {} });
    told.await.unwrap().unwrap_err();
    pass(45 * SECOND).await;
    assert_eq!(own(&node).await, 0);
}

//! `stop` completes the open exchanges of links, within its limit.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use actix::prelude::*;
use actix_peer::{
    Builder, Config, Incoming, Outgoing, Over, PeerEvent, Reply, RequestError,
    frame::Frame,
    handler,
    link::{AckLevel, Reason},
    transport::memory::MemoryNetwork,
};
use futures::{FutureExt, StreamExt, future::join_all, stream};
use tokio::time::Instant;

use crate::{SECOND, builder, event, links, node, node_with, pass, zeros};

/// A node whose handler `SLOW` takes two seconds and counts its calls.
fn slow(wires: &MemoryNetwork, name: &str) -> (Builder, Arc<AtomicUsize>) {
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    let slow = handler::from_fn(async move |msg: Incoming| {
        pass(2 * SECOND).await;
        count.fetch_add(1, Ordering::SeqCst);
        Reply::one(msg.frame)
    });
    (builder(wires, name).handle("SLOW", slow.start()).unwrap(), done)
}

fn request() -> Outgoing {
    Outgoing::from(Frame::text("SLOW", "x")).over(Over::Link)
}

#[actix::test]
async fn a_stopping_node_finishes_its_incoming_and_its_own_requests() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ((ada, _), (bob, done)) = (slow(&wires, "ada"), slow(&wires, "bob"));
    let (ada, bob) = (ada.start().await.unwrap(), bob.start().await.unwrap());
    let mut events = ada.events();
    let mut here = Vec::new();
    for _ in 0..10 {
        here.push(ada.request(bob.info(), request()).await.unwrap());
    }
    let there = bob.request(ada.info(), request()).await.unwrap();
    ada.notify(bob.info(), request()).await.unwrap();
    let body = Outgoing::body("SINK", 8 << 20, zeros(8 << 20)).over(Over::Link);
    here.push(ada.request(bob.info(), body).await.unwrap());
    pass(SECOND).await;
    let begun = Instant::now();
    let stopping = actix_rt::spawn({
        let bob = bob.clone();
        async move { bob.stop().await }
    });
    pass(SECOND / 2).await;
    // No new exchange begins on its links.
    assert!(links(&ada).await.iter().all(|link| link.closing));
    let refused = ada.request(bob.info(), request()).await.unwrap_err();
    assert!(!refused.may_have_been_handled(), "{refused:?}");
    for replies in join_all(here.into_iter().map(|replies| replies.collect())).await {
        assert_eq!(replies.unwrap().len(), 1);
    }
    assert_eq!(there.collect().await.unwrap().len(), 1);
    let report = stopping.await.unwrap();
    assert_eq!((report.aborted.len(), begun.elapsed().as_secs()), (0, 1), "{report:?}");
    assert_eq!(done.load(Ordering::SeqCst), 11, "the one-way message is handled as well");
    let closed = event(&mut events, |event| match event {
        PeerEvent::LinkClosed { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(closed.await, Reason::GOING_AWAY);
    assert_eq!(wires.connections(), 0);
}

#[actix::test]
async fn late_requests_are_aborted_at_the_stop_and_reported_to_the_node_and_their_callers() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let never = handler::from_fn(async |_| std::future::pending().await);
    let endless = handler::from_fn(async |_| {
        Reply::stream(stream::iter(0..).map(|_: u64| Frame::new("PART", vec![0; 1 << 10])))
    });
    let bob = builder(&wires, "bob").config(Config::default().drain_timeout(3 * SECOND));
    let bob = bob.handle("WAIT", never.start()).unwrap().handle("MORE", endless.start()).unwrap();
    let (ada, bob) = (node(&wires, "ada").await, bob.start().await.unwrap());
    let waiting = ada.request(bob.info(), Frame::empty("WAIT")).await.unwrap();
    // The reply is not read.
    let unread = ada.request(bob.info(), Frame::empty("MORE")).await.unwrap();
    pass(SECOND).await;
    let begun = Instant::now();
    let report = bob.stop().await;
    assert_eq!(begun.elapsed().as_secs(), 3);
    let mut codes: Vec<_> =
        report.aborted.iter().map(|cut| cut.code.unwrap().to_string()).collect();
    codes.sort();
    assert_eq!(codes, ["MORE", "WAIT"]);
    let error = waiting.collect().await.unwrap_err();
    assert!(error.may_have_been_handled(), "{error:?}");
    drop(unread);
    assert_eq!(wires.connections(), 0);
}

#[actix::test]
async fn a_stopping_caller_waits_for_its_replies_and_reports_what_it_aborted() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let never = handler::from_fn(async |_| std::future::pending().await);
    let (bob, _) = slow(&wires, "bob");
    let bob = bob.handle("WAIT", never.start()).unwrap().start().await.unwrap();
    let ada = node_with(&wires, "ada", Config::default().drain_timeout(5 * SECOND)).await;
    let answered = ada.request(bob.info(), request()).await.unwrap();
    let waiting = ada.request(bob.info(), Frame::empty("WAIT")).await.unwrap();
    let told = actix_rt::spawn({
        let (ada, bob) = (ada.clone(), bob.info().clone());
        async move { ada.notify_acked(&bob, Frame::text("SLOW", "x"), AckLevel::Handled).await }
    });
    pass(SECOND / 10).await;
    let stopping = actix_rt::spawn({
        let ada = ada.clone();
        async move { ada.stop().await }
    });
    assert_eq!(answered.collect().await.unwrap().len(), 1);
    told.await.unwrap().unwrap();
    let error = waiting.collect().await.unwrap_err();
    assert!(error.may_have_been_handled(), "{error:?}");
    let report = stopping.await.unwrap();
    assert_eq!(report.aborted.len(), 1, "{report:?}");
    let after = ada.request(bob.info(), request()).await.unwrap_err();
    assert!(matches!(after, RequestError::Stopped { sent: false }), "{after:?}");
    assert!(ada.notify(bob.info(), request()).now_or_never().unwrap().is_err());
}

//! Dials that fail in every way, and when the next dial follows.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_peer::{
    Outgoing, Over, Peer, PingSweep, RequestError,
    frame::Frame,
    link::AckLevel,
    overlay::{Address, Host},
    transport::{
        Io, Listener, Transport,
        memory::{MemoryNetwork, MemoryTransport},
    },
};
use futures::future::{BoxFuture, join_all};
use tokio::time::{Instant, timeout};

use crate::{
    SECOND, ask, builder, echo,
    fake::{Fake, listen},
    node, pass, transport,
};

/// The limit of the backoff.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

fn link(text: &str) -> Outgoing {
    echo(text).over(Over::Link)
}

/// A transport whose dials panic while the flag is set.
#[derive(Debug)]
struct Panicky(MemoryTransport, Arc<AtomicUsize>, Arc<AtomicBool>);

impl Transport for Panicky {
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.0.listen(at)
    }
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            tokio::task::yield_now().await;
            assert!(!self.2.load(Ordering::SeqCst), "requested by the test");
            self.0.dial(to).await
        })
    }
    fn own_host(&self, listening: &Address) -> Host {
        self.0.own_host(listening)
    }
}

#[actix::test]
async fn a_panicking_dial_fails_all_of_its_callers_and_is_retried_with_backoff() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (dials, panics) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let panicky = Panicky(transport(&wires, "ada"), Arc::clone(&dials), Arc::clone(&panics));
    let ada = builder(&wires, "ada").transport(panicky).start().await.unwrap();
    let bob = node(&wires, "bob").await;
    for over in [Over::Link, Over::Any, Over::Classic] {
        let all = (0..10).map(|_| timeout(SECOND, ask(&ada, &bob, echo("x").over(over))));
        for asked in join_all(all).await {
            let error = asked.expect("the request ends in time").unwrap_err();
            assert!(matches!(error, RequestError::Connect { .. }), "{over:?}: {error:?}");
        }
    }
    let before = dials.load(Ordering::SeqCst);
    let waits = ada.send_reliable(bob.info(), Frame::text("ECHO", "x"), AckLevel::Handled);
    let mut waits = Box::pin(waits);
    let begun = Instant::now();
    assert!(timeout(60 * SECOND, &mut waits).await.is_err());
    // The backoff of failed dials.
    let times = dials.load(Ordering::SeqCst) - before;
    assert!((10..30).contains(&times), "{times} dials in {:?}", begun.elapsed());
    panics.store(false, Ordering::SeqCst);
    timeout(LONGEST_PAUSE + SECOND, waits).await.unwrap().unwrap();
    assert_eq!(ask(&ada, &bob, link("again")).await.unwrap(), "again");
}

#[actix::test]
async fn a_peer_that_closes_each_unused_link_is_not_dialled_again_at_once() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    wires.latency(SECOND / 1_000..SECOND / 1_000);
    let ada = node(&wires, "ada").await;
    let mut listener = listen(&wires, "eve").await;
    actix_rt::spawn(async move {
        loop {
            let mut eve = Fake::accept(&mut listener, "eve").await;
            eve.says_goodbye = true;
            actix_rt::spawn(eve.serve());
        }
    });
    for _ in 0..50 {
        let asked = timeout(30 * SECOND, ada.request("eve:9000", link("x"))).await;
        assert!(asked.expect("the request ends in time").is_err());
        pass(SECOND / 10).await;
    }
    assert!(wires.dials() < 20, "{} dials", wires.dials());
}

/// A node whose dials failed so often that it is not dialled again for seconds.
async fn given_up(wires: &MemoryNetwork, sweep: Option<PingSweep>) -> (Peer, Address) {
    let ada = builder(wires, "ada");
    let ada = match sweep {
        Some(sweep) => ada.stabilizer(sweep),
        None => ada,
    };
    let (ada, bob) = (ada.start().await.unwrap(), node(wires, "bob").await);
    let to = bob.info().address().clone();
    bob.join("ada:9000").await.unwrap();
    // The peer is verified.
    pass(10 * SECOND).await;
    bob.abort().await;
    let begun = Instant::now();
    while begun.elapsed() < 60 * SECOND {
        assert!(ada.request(&to, link("x")).await.is_err());
        pass(SECOND / 10).await;
    }
    // The node has just been dialled again: the longest pause begins.
    let dials = wires.dials();
    while wires.dials() == dials {
        assert!(ada.request(&to, link("x")).await.is_err());
        pass(SECOND / 100).await;
    }
    (ada, to)
}

#[actix::test]
async fn a_sign_of_life_ends_the_backoff_after_failed_dials() {
    tokio::time::pause();
    for sign in ["none", "joined", "joined again", "verified", "answered a ping", "opened a link"] {
        let wires = MemoryNetwork::new(1);
        let pinged = sign == "answered a ping";
        // The sweep is frequent, so that it sees the peer, and never gives it up.
        let sweep = pinged.then(|| PingSweep::new().every(SECOND / 10).misses(u32::MAX));
        let (ada, to) = given_up(&wires, sweep).await;
        let bob = node(&wires, "bob").await;
        match sign {
            "joined again" => drop(bob.join("ada:9000").await),
            "joined" => {
                ada.peers().remove(bob.id()).await.unwrap();
                bob.join("ada:9000").await.unwrap();
            }
            "verified" => {
                ada.peers().remove(bob.id()).await.unwrap();
                ada.join("bob:9000").await.unwrap();
            }
            "answered a ping" => pass(SECOND / 2).await,
            "opened a link" => {
                assert_eq!(ask(&bob, &ada, link("x")).await.unwrap(), "x");
                // Lifted when the dial in the other direction is tried.
                let (ada, bob) = ("ada".parse().unwrap(), "bob".parse().unwrap());
                wires.break_links_between(&ada, &bob);
                pass(SECOND / 10).await;
            }
            _ => {}
        }
        let answered = ada.request(&to, link("x")).await;
        assert_eq!(answered.is_ok(), sign != "none", "{sign}: {answered:?}");
    }
}

//! Four hosts on a switch that is split, and a flapping cable.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_peer::{Peer, PeerEvent, frame::Frame, link::AckLevel};
use tokio::time::{Instant, sleep};

use crate::{
    common::SECOND,
    host::{Diary, Served, address, ask, node, pass},
    net::Network,
};

/// Checks that every acknowledged message arrived once and in order.
fn all_once_in_order(diary: &Diary, sent: usize) {
    let all: Vec<_> = (0..sent).map(|n| n.to_string()).collect();
    assert_eq!(diary.notes(), all);
}

/// Sends requests to a host until `ended` is set. Returns how many were answered.
async fn ask_until(ended: &AtomicBool, peer: &Peer, host: usize, limit: Duration) -> usize {
    let mut asked = 0;
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        ask(peer, host, "ECHO", "side by side").await.unwrap();
        assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
        asked += 1;
        sleep(SECOND / 20).await;
    }
    asked
}

/// Sends acknowledged messages to a host until `ended` is set. Returns how many, and the longest
/// wait for an acknowledgement.
async fn notify_until(ended: &AtomicBool, peer: &Peer, host: usize) -> (usize, Duration) {
    let (mut sent, mut longest) = (0, Duration::ZERO);
    while !ended.load(Ordering::Relaxed) {
        let (begun, note) = (Instant::now(), Frame::text("NOTE", sent.to_string()));
        peer.notify_acked(address(host).as_str(), note, AckLevel::Handled).await.unwrap();
        sent += 1;
        longest = longest.max(begun.elapsed());
        sleep(SECOND / 20).await;
    }
    (sent, longest)
}

#[test]
#[ignore = "real time, and needs root"]
fn both_sides_of_a_partition_serve_and_no_acknowledged_message_is_lost_or_duplicated() {
    let Some(network) = Network::of(4) else { return };
    let (_bob, carol, _dave) =
        (Served::start(&network, 2), Served::start(&network, 3), Served::start(&network, 4));
    let ended = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&ended);
    let ada = network.run(1, async move || {
        let ada = node(1, &Diary::default()).await;
        let neighbours = ask_until(&over, &ada, 2, SECOND);
        let (asked, (sent, longest)) = tokio::join!(neighbours, notify_until(&over, &ada, 3));
        println!("partition: {asked} requests on one side, {sent} messages across");
        println!("partition: the longest wait for an acknowledgement was {longest:.1?}");
        // Otherwise there was no partition.
        assert!(longest >= 19 * SECOND);
        ada.abort().await;
        sent
    });
    // A node on the other side sends as well.
    let over = Arc::clone(&ended);
    let eve = network.run(3, async move || {
        let eve = Peer::builder().listen("10.7.0.3:9001").start().await.unwrap();
        let asked = ask_until(&over, &eve, 4, Duration::MAX).await;
        eve.abort().await;
        asked
    });
    let handled = || carol.diary.notes().len();
    pass(2 * SECOND);
    network.part(3);
    network.part(4);
    pass(20 * SECOND);
    let before = handled();
    network.unite(3);
    network.unite(4);
    let healed = Instant::now();
    while handled() == before && healed.elapsed() < 20 * SECOND {
        pass(SECOND / 20);
    }
    println!("partition: rejoined after {:.1?}", healed.elapsed());
    assert!(healed.elapsed() < 20 * SECOND);
    pass(2 * SECOND);
    ended.store(true, Ordering::Relaxed);
    let sent = ada.join().unwrap();
    println!("partition: {} requests on the other side", eve.join().unwrap());
    all_once_in_order(&carol.diary, sent);
}

#[test]
#[ignore = "real time, and needs root"]
fn a_flapping_cable_loses_no_acknowledged_message_and_causes_few_events() {
    const TOGGLES: u32 = 60;
    let Some(network) = Network::of(2) else { return };
    let bob = Served::start(&network, 2);
    let ended = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&ended);
    let ada = network.run(1, async move || {
        let diary = Diary::default();
        let ada = node(1, &diary).await;
        ada.join(&address(2)).await.unwrap();
        let mut sent = 0;
        while !over.load(Ordering::Relaxed) {
            let note = Frame::text("NOTE", sent.to_string());
            ada.notify_acked(address(2).as_str(), note, AckLevel::Handled).await.unwrap();
            sent += 1;
            sleep(SECOND / 20).await;
        }
        ada.abort().await;
        (sent, diary)
    });
    for toggle in 0..TOGGLES {
        pass(SECOND);
        if toggle % 2 == 0 { network.cut(2) } else { network.plug(2) }
    }
    pass(2 * SECOND);
    ended.store(true, Ordering::Relaxed);
    let (sent, diary) = ada.join().unwrap();
    let peers = diary.times(|event| matches!(event, PeerEvent::PeerRemoved { .. })).len();
    let (opened, closed) = (diary.opened(), diary.closed().len());
    println!(
        "flapping: {sent} messages; links opened {opened}, closed {closed}; peers lost {peers}"
    );
    all_once_in_order(&bob.diary, sent);
    // At most one pair of events in ten seconds.
    assert!(opened <= 7 && closed <= 7 && peers <= 6);
}

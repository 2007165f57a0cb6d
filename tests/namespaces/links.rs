//! Faults of the network between two hosts.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use actix_peer::{Outgoing, Over, RequestError, frame::Frame, link::Reason, message::ReadError};
use tokio::time::Instant;

use crate::{
    common::SECOND,
    host::{Diary, Served, address, ask, ask_until_answered, node, pass},
    net::Network,
};

/// When a silent link is detected: after three keep-alive intervals of 5 s, less the time that it
/// was silent before, plus a margin for a busy machine.
const SILENT: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(16);

/// A side that still receives the keep-alives of the other one sees no silence before the other
/// side has closed the link.
const HALF_SILENT: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(27);

/// A fault of the network, or its repair.
type Fault = fn(&Network);

/// Causes a fault while a request waits. The caller gets an error in time, in both directions, and
/// the next request after the repair is answered.
fn found_in_time(name: &'static str, found: RangeInclusive<Duration>, fault: Fault, repair: Fault) {
    let Some(network) = Network::of(2) else { return };
    let (bob, within) = (Served::start(&network, 2), found.clone());
    let (begun, broke) = std::sync::mpsc::channel();
    let (mend, mended) = tokio::sync::oneshot::channel::<()>();
    let (told, hear) = std::sync::mpsc::channel();
    let ada = network.run(1, async move || {
        let diary = Diary::default();
        let ada = node(1, &diary).await;
        ask(&ada, 2, "ECHO", "hello").await.unwrap();
        begun.send(()).unwrap();
        let asked = Instant::now();
        let error = ask(&ada, 2, "WAIT", "29000").await.unwrap_err();
        println!("{name}: a waiting request failed after {:.1?}: {error}", asked.elapsed());
        assert!(error.may_have_been_handled(), "{error:?}");
        // A silent peer may be dead, or the network between may be.
        assert!(
            matches!(error, RequestError::Reset { reason: Reason::TIMED_OUT, sent: true }),
            "{error:?}"
        );
        assert!(within.contains(&asked.elapsed()), "{:?}", asked.elapsed());
        let again = Instant::now();
        let error = ask(&ada, 2, "ECHO", "nobody").await.unwrap_err();
        println!("{name}: a new one failed after {:.1?}: {error}", again.elapsed());
        assert!(!error.may_have_been_handled(), "{error:?}");
        assert!(again.elapsed() <= 6 * SECOND);
        told.send(()).unwrap();
        mended.await.unwrap();
        let (took, errors) = ask_until_answered(&ada, 2).await;
        println!("{name}: answered {took:.1?} after the repair, {errors} errors before");
        assert!(took <= 10 * SECOND, "{took:?}");
        assert_eq!(diary.opened(), 2);
        ada.abort().await;
    });
    broke.recv().unwrap();
    let cut = Instant::now();
    fault(&network);
    // An error means that the host has failed, which reports the cause.
    if hear.recv().is_ok() {
        repair(&network);
        mend.send(()).unwrap();
    }
    ada.join().unwrap();
    let closed = bob.diary.closed().first().map(|at| at.duration_since(cut));
    println!("{name}: the other side found it after {closed:.1?}");
    assert!(closed.is_some_and(|after| found.contains(&after)), "{closed:?}");
}

#[test]
#[ignore = "real time, and needs root"]
fn a_cut_cable_of_the_peer_is_detected_within_15_seconds() {
    found_in_time("cable", SILENT, |network| network.cut(2), |network| network.plug(2));
}

#[test]
#[ignore = "real time, and needs root"]
fn a_cut_cable_of_the_own_host_is_detected_within_15_seconds() {
    found_in_time("own cable", SILENT, |network| network.cut(1), |network| network.plug(1));
}

#[test]
#[ignore = "real time, and needs root"]
fn a_removed_address_is_detected_within_15_seconds() {
    found_in_time(
        "address",
        SILENT,
        |network| network.take_address(2),
        |network| network.give_address(2),
    );
}

#[test]
#[ignore = "real time, and needs root"]
fn packets_lost_on_the_way_to_the_peer_are_detected_by_both_sides() {
    found_in_time(
        "one way, there",
        HALF_SILENT,
        |network| network.deafen(1, 2),
        |network| network.hear(1, 2),
    );
}

#[test]
#[ignore = "real time, and needs root"]
fn packets_lost_on_the_way_from_the_peer_are_detected_by_both_sides() {
    found_in_time(
        "one way, back",
        HALF_SILENT,
        |network| network.deafen(2, 1),
        |network| network.hear(2, 1),
    );
}

#[test]
#[ignore = "real time, and needs root"]
fn a_cable_outage_of_eight_seconds_only_delays_a_request() {
    let Some(network) = Network::of(2) else { return };
    let _bob = Served::start(&network, 2);
    let (begun, broke) = std::sync::mpsc::channel();
    let ada = network.run(1, async move || {
        let diary = Diary::default();
        let ada = node(1, &diary).await;
        ask(&ada, 2, "ECHO", "hello").await.unwrap();
        begun.send(()).unwrap();
        let asked = Instant::now();
        ask(&ada, 2, "WAIT", "2000").await.unwrap();
        println!("cable out for 8 s: answered after {:.1?}", asked.elapsed());
        assert!(asked.elapsed() >= 8 * SECOND);
        assert_eq!((diary.opened(), diary.closed().len()), (1, 0));
        ada.abort().await;
    });
    broke.recv().unwrap();
    // The request is in flight within a moment.
    pass(SECOND);
    network.cut(2);
    pass(8 * SECOND);
    network.plug(2);
    ada.join().unwrap();
}

#[test]
#[ignore = "real time, and needs root"]
fn a_classic_request_over_a_cut_cable_ends_at_its_own_timeout() {
    let Some(network) = Network::of(2) else { return };
    let _bob = Served::start(&network, 2);
    let (begun, broke) = std::sync::mpsc::channel();
    let ada = network.run(1, async move || {
        let ada = node(1, &Diary::default()).await;
        let wait = Outgoing::from(Frame::text("WAIT", "5000")).over(Over::Classic);
        let replies = ada.request(address(2).as_str(), wait).await.unwrap();
        begun.send(()).unwrap();
        let asked = Instant::now();
        let error = replies.collect().await.unwrap_err();
        println!("classic: a waiting request failed after {:.1?}: {error}", asked.elapsed());
        assert!(error.may_have_been_handled(), "{error:?}");
        assert!(matches!(error, RequestError::Reply(ReadError::Late(_))), "{error:?}");
        let limit =
            ada.config().entries().into_iter().find(|entry| entry.option == "reply_timeout");
        assert_eq!(limit.unwrap().value, "35 s");
        assert!((33..=37).contains(&asked.elapsed().as_secs()), "{:?}", asked.elapsed());
        ada.abort().await;
    });
    broke.recv().unwrap();
    network.cut(2);
    ada.join().unwrap();
}

fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().with_file_name("examples").join("node");
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    path
}

#[test]
#[ignore = "real time, and needs root"]
fn a_silently_killed_host_is_detected_and_back_within_2_seconds_of_its_restart() {
    let Some(network) = Network::of(2) else { return };
    let options = ["--listen", &address(2), "--id", "host2", "--test-handlers"];
    let start = |network: &Network| {
        let begun = Instant::now();
        let mut node = network.start(2, &program(), &options);
        assert_eq!(node.line(), format!("listening on {}", address(2)));
        println!("killed: it listens {:.1?} after its start", begun.elapsed());
        assert!(begun.elapsed() <= 2 * SECOND);
        node
    };
    let bob = start(&network);
    let (begun, broke) = std::sync::mpsc::channel();
    let (mend, mended) = tokio::sync::oneshot::channel::<()>();
    let (told, hear) = std::sync::mpsc::channel();
    let ada = network.run(1, async move || {
        let ada = node(1, &Diary::default()).await;
        ask(&ada, 2, "ECHO", "hello").await.unwrap();
        begun.send(()).unwrap();
        let asked = Instant::now();
        let error = ask(&ada, 2, "SLOW", "29000").await.unwrap_err();
        println!("killed: a waiting request failed after {:.1?}: {error}", asked.elapsed());
        assert!(error.may_have_been_handled(), "{error:?}");
        assert!(SILENT.contains(&asked.elapsed()), "{:?}", asked.elapsed());
        told.send(()).unwrap();
        mended.await.unwrap();
        let (took, errors) = ask_until_answered(&ada, 2).await;
        println!("killed: answered {took:.1?} after the new start, {errors} errors before");
        assert!(took <= 10 * SECOND, "{took:?}");
        ada.abort().await;
    });
    broke.recv().unwrap();
    network.cut(2);
    // Killed while the network drops the goodbye of its kernel.
    drop(bob);
    let _bob = hear.recv().is_ok().then(|| {
        network.plug(2);
        let bob = start(&network);
        mend.send(()).unwrap();
        bob
    });
    ada.join().unwrap();
}

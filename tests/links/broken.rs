//! Broken links: what the errors say, and which messages are sent again.

use std::{collections::BTreeSet, time::Duration};

use actix_peer::{
    Config, Incoming, Outgoing, Over, Peer, PeerEvent, Reply, RequestError,
    frame::Frame,
    link::{AckLevel, Reason},
    transport::memory::{Ending, MemoryNetwork, StreamDirection},
};
use futures::{
    StreamExt,
    future::{join, join_all},
};

use crate::{Recorder, SECOND, Taken, builder, event, links, node, node_with, pass};

const DIRECTIONS: [StreamDirection; 2] = [StreamDirection::ToListener, StreamDirection::ToDialler];

fn note(text: &str) -> Outgoing {
    Outgoing::from(Frame::text("NOTE", text)).over(Over::Link)
}

async fn two(wires: &MemoryNetwork, taken: &Taken) -> (Peer, Peer) {
    let recorder = Recorder::start(taken, Duration::ZERO);
    let bob = builder(wires, "bob").handle("NOTE", recorder).unwrap().start().await.unwrap();
    (node(wires, "ada").await, bob)
}

/// The number of bytes that a conversation sends in a direction.
async fn bytes(talk: impl AsyncFn(&Peer, &Peer), direction: StreamDirection) -> u64 {
    let wires = MemoryNetwork::new(1);
    let (ada, bob) = two(&wires, &Taken::default()).await;
    talk(&ada, &bob).await;
    let link = links(&ada).await.remove(0);
    match direction {
        StreamDirection::ToListener => link.bytes_out,
        StreamDirection::ToDialler => link.bytes_in,
    }
}

#[actix::test]
async fn wherever_a_link_is_cut_the_errors_are_true_and_nothing_is_handled_twice() {
    tokio::time::pause();
    let mut told = BTreeSet::new();
    for direction in DIRECTIONS {
        let all = bytes(async |ada, bob| drop(small_talk(ada, bob).await), direction).await;
        assert!((100..1_000).contains(&all), "{all}");
        for (cut, ending) in
            crate::cuts(0, all).flat_map(|at| [(at, Ending::Reset), (at, Ending::Eof)])
        {
            let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
            wires.ending(ending);
            let (ada, bob) = two(&wires, &taken).await;
            wires.break_after(direction, cut);
            let results = small_talk(&ada, &bob).await;
            pass(SECOND).await;
            let taken = taken.all();
            for (text, result) in results {
                let handled = taken.iter().filter(|other| *other == text).count();
                let at = format!("{direction:?} {cut} of {all}: {text}: {result:?}");
                assert!(handled <= 1, "{at}");
                match result {
                    Ok(true) => assert_eq!(handled, 1, "{at}"),
                    // A one-way message was sent, which promises no more.
                    Ok(false) => {}
                    Err(error) => {
                        let possible = error.may_have_been_handled();
                        assert!(possible || handled == 0, "{at}");
                        told.insert((possible, handled));
                    }
                }
            }
        }
    }
    // Every possible truth occurred: not handled, possibly handled but was not, possibly handled
    // and was.
    assert_eq!(told, BTreeSet::from(crate::TRUTHS));
}

/// Sends a one-way message, two requests in sequence and two at once. Returns the result of each.
async fn small_talk(ada: &Peer, bob: &Peer) -> Vec<(&'static str, Result<bool, RequestError>)> {
    let ask = async |text: &'static str| {
        let asked = async { ada.request(bob.info(), note(text)).await?.collect().await };
        (text, asked.await.map(|replies| replies == [Frame::text("NOTE", text)]))
    };
    let mut results =
        vec![("one-way", ada.notify(bob.info(), note("one-way")).await.map(|()| false))];
    results.push(ask("first").await);
    results.push(ask("second").await);
    results.extend(join_all(["third", "fourth"].map(ask)).await);
    results
}

#[actix::test]
async fn an_acknowledged_message_is_handled_exactly_once_wherever_the_link_is_cut() {
    tokio::time::pause();
    for level in [AckLevel::Delivered, AckLevel::Handled] {
        let tell = async |ada: &Peer, bob: &Peer| {
            let all = ["first", "second", "third"];
            let each = all.map(|text| ada.notify_acked(bob.info(), note(text), level));
            for told in join_all(each).await {
                told.unwrap();
            }
        };
        for direction in DIRECTIONS {
            let all = bytes(tell, direction).await;
            // A peer that is cut off before it answers the hello seems not to support links.
            let hello = bytes(async |ada, bob| open(ada, bob).await, direction).await;
            for cut in crate::cuts(hello, all) {
                let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
                let (ada, bob) = two(&wires, &taken).await;
                wires.break_after(direction, cut);
                tell(&ada, &bob).await;
                pass(SECOND).await;
                let handled = taken.all();
                assert_eq!(handled, ["first", "second", "third"], "{level:?} {direction:?} {cut}");
            }
        }
    }
}

/// Opens the link with as few bytes as possible.
async fn open(ada: &Peer, bob: &Peer) {
    let mut events = ada.events();
    ada.notify(bob.info(), Outgoing::from(Frame::empty("NOPE")).over(Over::Link)).await.unwrap();
    event(&mut events, |event| matches!(event, PeerEvent::LinkOpened { .. }).then_some(())).await;
}

#[actix::test]
async fn when_a_link_breaks_its_exchanges_fail_and_the_next_exchange_opens_a_new_link() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let never = actix_peer::handler::from_fn(async |_| std::future::pending().await);
    let builder = builder(&wires, "bob").handle("WAIT", actix::Actor::start(never)).unwrap();
    let (ada, bob) = (node(&wires, "ada").await, builder.start().await.unwrap());
    let mut events = ada.events();
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(ada.request(bob.info(), Frame::empty("WAIT")).await.unwrap());
    }
    pass(SECOND).await;
    assert_eq!((wires.connections(), links(&ada).await[0].open), (1, 20));
    assert!(wires.break_link(wires.links()[0].number()));
    for mut replies in open {
        let error = replies.next().await.unwrap().unwrap_err();
        assert!(error.may_have_been_handled(), "{error:?}");
        assert!(matches!(error, RequestError::Reset { reason: Reason::LOST, sent: true }));
    }
    let reason = event(&mut events, |event| match event {
        PeerEvent::LinkClosed { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(reason.await, Reason::LOST);
    assert!(links(&ada).await.is_empty() && links(&bob).await.is_empty());
    assert_eq!(crate::ask(&ada, &bob, crate::echo("again")).await.unwrap(), "again");
    assert_eq!((wires.connections(), wires.dials()), (1, 2));
}

#[actix::test]
async fn a_handler_that_runs_when_its_link_breaks_reports_its_result_over_the_next_link() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let taken = Taken::default();
    let note = taken.clone();
    let slow = actix_peer::handler::from_fn(async move |msg: Incoming| {
        let text = msg.frame.as_str().unwrap().to_owned();
        note.add(text.as_str());
        pass(SECOND).await;
        assert_ne!(text, "boom");
        Reply::none()
    });
    let builder = builder(&wires, "bob").handle("SLOW", actix::Actor::start(slow)).unwrap();
    let (ada, bob) = (node(&wires, "ada").await, builder.start().await.unwrap());
    let tell = |text: &str| {
        let (ada, bob, message) = (ada.clone(), bob.info().clone(), Frame::text("SLOW", text));
        async move { ada.notify_acked(&bob, message, AckLevel::Handled).await }
    };
    for (text, cuts) in [("well", 1), ("twice", 2), ("boom", 1)] {
        let begun = tokio::time::Instant::now();
        let told = actix_rt::spawn(tell(text));
        for _ in 0..cuts {
            pass(SECOND / 4).await;
            assert!(wires.break_link(wires.links()[0].number()));
        }
        match told.await.unwrap() {
            Ok(()) => assert_ne!(text, "boom"),
            Err(error) => {
                assert_eq!(text, "boom");
                let failed = RequestError::Reset { reason: Reason::HANDLER_FAILED, sent: true };
                assert_eq!(error.to_string(), failed.to_string());
            }
        }
        assert_eq!(begun.elapsed().as_millis() / 10, 100, "{text}");
    }
    assert_eq!(taken.all(), ["well", "twice", "boom"]);
}

#[actix::test]
async fn a_request_that_is_written_while_its_stalled_link_ends_may_have_been_handled() {
    tokio::time::pause();
    let mut written_late = 0;
    for stall in (180..400).step_by(4) {
        let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
        let ada = node_with(&wires, "ada", Config::default().stall_timeout(2 * SECOND)).await;
        let bob = builder(&wires, "bob").handle("NOTE", Recorder::start(&taken, Duration::ZERO));
        let bob = bob.unwrap().start().await.unwrap();
        open(&ada, &bob).await;
        // The stall ends while ada closes the link: what waits in her buffer is still written.
        wires.stall(&"bob".parse().unwrap(), stall * SECOND / 100);
        let long = || Outgoing::from(Frame::new("NOTE", vec![0; 60_000])).over(Over::Link);
        // The first one fills the connection. The others wait in the buffer of the link together.
        ada.notify(bob.info(), long()).await.unwrap();
        pass(SECOND / 100).await;
        let asked = async { ada.request(bob.info(), note("last")).await?.collect().await };
        let (second, result) = join(ada.notify(bob.info(), long()), asked).await;
        second.unwrap();
        pass(SECOND).await;
        let handled = taken.all().iter().any(|text| text == "last");
        match result {
            Ok(_) => assert!(handled),
            Err(error) => {
                assert!(!handled || error.may_have_been_handled(), "{stall}: {error:?}");
                written_late += usize::from(error.may_have_been_handled());
            }
        }
        ada.abort().await;
        bob.abort().await;
    }
    // The link ends after 2 s of the stall, and has half a second to write its buffer.
    assert!(written_late >= 12, "{written_late}");
}

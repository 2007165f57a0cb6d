//! Errors, results and events are true about a message: sent once, handler called or not, too long,
//! refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Builder, Config, Incoming, Outgoing, Over, Peer, PeerEvent, Reply, RequestError, SendError,
    frame::{Frame, FrameError, TypeCode, Wire},
    handler,
    link::{AckLevel, Reason},
    reliable::ReliableError,
    transport::memory::{MemoryNetwork, StreamDirection},
};
use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};

use crate::common::{
    SECOND,
    handlers::measure,
    nodes::{cut_all_links, on_host, replies, zeros},
};

const BOTH: [Over; 2] = [Over::Classic, Over::Link];

/// How often a handler was called.
#[derive(Clone, Default)]
struct Calls(Arc<AtomicUsize>);

impl Calls {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// `SINK` is called with a stream and reads it to its end. `DROP` refuses a stream without reading
/// it. `NOTE` is called with whole messages.
fn builder(wires: &MemoryNetwork, name: &str, calls: &Calls) -> Builder {
    let (sink, drop_, note) = (calls.clone(), calls.clone(), calls.clone());
    let sink = handler::from_fn(async move |msg: Incoming| {
        sink.0.fetch_add(1, Ordering::SeqCst);
        measure(msg).await
    });
    let drops = handler::from_fn(async move |msg: Incoming| {
        drop_.0.fetch_add(1, Ordering::SeqCst);
        drop(msg);
        Reply::error("no")
    });
    let note = handler::from_fn(async move |msg: Incoming| {
        note.0.fetch_add(1, Ordering::SeqCst);
        Reply::one(msg.frame)
    });
    on_host(wires, name)
        .handle_stream("SINK", sink.start())
        .unwrap()
        .handle_stream("DROP", drops.start())
        .unwrap()
        .handle("NOTE", note.start())
        .unwrap()
}

async fn two(wires: &MemoryNetwork) -> (Peer, Peer, Calls) {
    let calls = Calls::default();
    let bob = builder(wires, "bob", &calls).start().await.unwrap();
    (builder(wires, "ada", &Calls::default()).start().await.unwrap(), bob, calls)
}

fn frame(code: &'static str, len: usize) -> Outgoing {
    Frame::new(code, vec![0; len]).into()
}

fn body(code: &'static str, len: u32) -> Outgoing {
    Outgoing::body(code, len, zeros(len))
}

/// Sends one message by a verb. Returns its result, without the replies.
async fn send(from: &Peer, to: &Peer, asks: bool, message: Outgoing) -> Result<(), RequestError> {
    if asks {
        replies(from, to, message).await.map(drop)
    } else {
        from.notify(to.info(), message).await
    }
}

/// Opens the link between two nodes.
async fn open(from: &Peer, to: &Peer) {
    replies(from, to, frame("NOTE", 0).over(Over::Link)).await.unwrap();
}

/// Cuts all links three times, each time in the middle of a long message.
async fn cut_three_times(wires: &MemoryNetwork) {
    for _ in 0..3 {
        tokio::time::sleep(SECOND).await;
        cut_all_links(wires);
    }
}

#[actix::test]
async fn a_message_of_which_one_byte_was_sent_is_never_sent_again() {
    tokio::time::pause();
    let messages: [fn() -> Outgoing; 2] = [|| frame("SINK", 8 << 20), || body("SINK", 8 << 20)];
    for (over, asks, message) in
        [Over::Any, Over::Link, Over::Classic].into_iter().flat_map(|over| {
            let verbs = [true, false].into_iter().map(move |asks| (over, asks));
            verbs.flat_map(|(over, asks)| messages.map(|message| (over, asks, message)))
        })
    {
        let wires = MemoryNetwork::new(1);
        let (ada, bob, calls) = two(&wires).await;
        // Eight seconds for a message.
        wires.bandwidth(std::num::NonZeroU64::new(1 << 20));
        let sent = send(&ada, &bob, asks, message().over(over));
        let (sent, ()) = futures::future::join(sent, cut_three_times(&wires)).await;
        tokio::time::sleep(100 * SECOND).await;
        let error = sent.expect_err("it was cut");
        assert_eq!(calls.get(), 1, "{over:?} {asks}: {error:?}");
        assert!(error.may_have_been_handled(), "{over:?} {asks}: {error:?}");
    }
}

#[actix::test]
async fn wherever_a_long_message_is_cut_its_error_says_whether_it_may_have_been_handled() {
    tokio::time::pause();
    let long = 200 << 10;
    for (over, asks) in BOTH.into_iter().flat_map(|over| [(over, true), (over, false)]) {
        let mut outcomes = std::collections::BTreeSet::new();
        // In the hello, in each header, and in the middle of the parts.
        let places = (0..40).chain((40..1_000).step_by(53)).chain((1_000..210_000).step_by(16_411));
        for bytes in places {
            let wires = MemoryNetwork::new(1);
            let (ada, bob, calls) = two(&wires).await;
            wires.break_after(StreamDirection::ToListener, bytes);
            let sent = send(&ada, &bob, asks, frame("SINK", long).over(over)).await;
            tokio::time::sleep(100 * SECOND).await;
            assert!(calls.get() <= 1, "{over:?} {asks} {bytes}: called {} times", calls.get());
            if let Err(error) = sent {
                let possible = error.may_have_been_handled();
                assert!(possible || calls.get() == 0, "{over:?} {asks} {bytes}: {error:?}");
                outcomes.insert((possible, calls.get()));
            }
        }
        // A one-way message of this length fits into the output buffer of a link.
        let told = outcomes.contains(&(true, 1));
        assert!(told || (over, asks) == (Over::Link, false), "{over:?} {asks}: {outcomes:?}");
        // At least one error excludes that the message was handled.
        let sure = outcomes.contains(&(false, 0));
        assert!(sure || over == Over::Classic, "{over:?} {asks}: {outcomes:?}");
    }
}

#[actix::test]
async fn a_message_refused_after_its_streaming_handler_was_called_may_have_been_handled() {
    tokio::time::pause();
    for asks in [true, false] {
        let wires = MemoryNetwork::new(1);
        wires.latency(Duration::from_millis(5)..Duration::from_millis(6));
        let (ada, bob, calls) = two(&wires).await;
        open(&ada, &bob).await;
        assert_eq!(calls.get(), 1);
        let mut events = ada.events();
        // The sender learns the new limit after it has begun.
        bob.set_max_len("SINK", 70_000).unwrap();
        let sent = send(&ada, &bob, asks, frame("SINK", 2 << 20).over(Over::Link)).await;
        let error = sent.expect_err("too long");
        tokio::time::sleep(SECOND).await;
        assert_eq!(calls.get(), 2);
        assert!(error.may_have_been_handled(), "{error:?}");
        assert!(matches!(error, RequestError::Reset { .. }), "{error:?}");
        // The link stays open, and the same message is not counted twice.
        while let Some(Some(event)) = events.next().now_or_never() {
            let told =
                matches!(event, PeerEvent::NotifyRefused { .. } | PeerEvent::LinkClosed { .. });
            assert!(!told, "{event:?}");
        }
    }
}

#[actix::test]
async fn a_body_refused_by_its_handler_while_it_is_sent_may_have_been_handled() {
    tokio::time::pause();
    for over in BOTH {
        let wires = MemoryNetwork::new(1);
        let (ada, bob, calls) = two(&wires).await;
        // It answers at once. The rest of the body cannot be written.
        let error = match replies(&ada, &bob, body("DROP", 64 << 20).over(over)).await {
            Ok(replies) => {
                assert_eq!(replies, [Frame::text("ERRO", "no")], "{over:?}");
                continue;
            }
            Err(error) => error,
        };
        assert_eq!(calls.get(), 1);
        assert!(error.may_have_been_handled(), "{over:?}: {error:?}");
    }
}

#[actix::test]
async fn a_message_whose_body_source_ends_after_the_handler_was_called_may_have_been_handled() {
    tokio::time::pause();
    for (over, asks) in BOTH.into_iter().flat_map(|over| [(over, true), (over, false)]) {
        let wires = MemoryNetwork::new(1);
        let (ada, bob, calls) = two(&wires).await;
        let short = Outgoing::body("SINK", 1 << 20, zeros(1 << 17)).over(over);
        let error = send(&ada, &bob, asks, short).await.unwrap_err();
        tokio::time::sleep(SECOND).await;
        assert_eq!(calls.get(), 1, "{over:?} {asks}");
        assert!(error.may_have_been_handled(), "{over:?} {asks}: {error:?}");
        // No byte was sent, because the source gave none.
        let none = Outgoing::body("SINK", 1 << 20, zeros(0)).over(Over::Link);
        let error = send(&ada, &bob, asks, none).await.unwrap_err();
        assert!(!error.may_have_been_handled(), "{asks}: {error:?}");
        assert_eq!(calls.get(), 1, "{over:?} {asks}");
    }
}

#[actix::test]
async fn a_request_that_runs_out_of_credit_midway_may_have_been_handled() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let calls = Calls::default();
    let count = calls.clone();
    let never = handler::from_fn(async move |msg: Incoming| {
        count.0.fetch_add(1, Ordering::SeqCst);
        let _kept = msg;
        std::future::pending().await
    });
    let config = Config::default().handler_timeout(1_000 * SECOND).exchange_timeout(2_000 * SECOND);
    let bob = builder(&wires, "bob", &Calls::default()).config(config);
    let bob = bob.handle_stream("KEEP", never.start()).unwrap().start().await.unwrap();
    let limit = 5 * SECOND;
    let config = Config::default().reply_timeout(limit);
    let ada = builder(&wires, "ada", &calls).config(config).start().await.unwrap();
    let message = frame("KEEP", 8 << 20).over(Over::Link);
    let begun = tokio::time::Instant::now();
    let error = replies(&ada, &bob, message).await.unwrap_err();
    assert_eq!((calls.get(), begun.elapsed().as_secs()), (1, limit.as_secs()));
    assert!(error.may_have_been_handled(), "{error:?}");
}

#[actix::test]
async fn a_classic_message_that_a_stop_aborts_midway_may_have_been_handled() {
    tokio::time::pause();
    for asks in [true, false] {
        let wires = MemoryNetwork::new(1);
        let (ada, bob, calls) = two(&wires).await;
        wires.bandwidth(std::num::NonZeroU64::new(1 << 20));
        let sending = send(&ada, &bob, asks, body("SINK", 8 << 20).over(Over::Classic));
        let stop = async {
            tokio::time::sleep(SECOND).await;
            ada.abort().await
        };
        let (sent, _) = futures::future::join(sending, stop).await;
        let error = sent.unwrap_err();
        assert_eq!(calls.get(), 1, "{asks}");
        assert!(error.may_have_been_handled(), "{asks}: {error:?}");
    }
}

/// The results of many one-way messages: how many were sent, handled and reported as refused, and
/// why the link ended, if it did.
struct Sum {
    sent: u64,
    handled: u64,
    refused: u64,
    ended: Option<Reason>,
}

/// Sends 1,000 messages. Every `each`th of them has a code that the other node refuses.
async fn notify_all(wires: &MemoryNetwork, each: u64, code: &'static str) -> Sum {
    let (ada, bob, calls) = two(wires).await;
    let mut events = ada.events();
    let all = (0..1_000).map(|n| match n % each {
        0 => Frame::text(code, n.to_string()),
        _ => Frame::text("NOTE", ""),
    });
    let sent = match ada.notify_all(bob.info(), all).await {
        Ok(sent) => sent,
        Err(error) => error.sent,
    };
    tokio::time::sleep(10 * SECOND).await;
    let (mut refused, mut ended) = (0, None);
    while let Some(Some(event)) = events.next().now_or_never() {
        match event {
            PeerEvent::NotifyRefused { messages, .. } => refused += u64::from(messages),
            PeerEvent::LinkClosed { reason, .. } => ended = Some(reason),
            _ => {}
        }
    }
    Sum { sent, handled: calls.get() as u64, refused, ended }
}

#[actix::test]
async fn the_result_of_notify_all_and_the_refusals_add_up() {
    tokio::time::pause();
    for each in [1, 2, 5, 100] {
        // In most cases so many refusals that the sender is banned.
        for rate in [0, 10 << 10] {
            let wires = MemoryNetwork::new(1);
            wires.bandwidth(std::num::NonZeroU64::new(rate));
            let Sum { sent, handled, refused, ended } = notify_all(&wires, each, "NOPE").await;
            // Messages in flight when the link ends reach no handler, and are reported as well.
            assert_eq!((sent, handled + refused), (1_000, 1_000), "{each} {rate}");
            assert!(refused >= 1_000 / each, "{each} {rate}: {refused}");
            let banned = Some(Reason::GOING_AWAY).filter(|_| each < 10);
            assert_eq!(ended, banned, "{each} {rate}");
        }
    }
}

#[actix::test]
async fn refusals_of_messages_before_a_goodbye_are_reported() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, bob, calls) = two(&wires).await;
    let events = ada.events();
    let all = (0..10).map(|n| Frame::text(if n % 2 == 0 { "NOPE" } else { "NOTE" }, ""));
    open(&ada, &bob).await;
    assert_eq!(ada.notify_all(bob.info(), all).await.unwrap(), 10);
    ada.stop().await;
    let told = events.filter_map(async |event| match event {
        PeerEvent::NotifyRefused { messages, .. } => Some(messages),
        _ => None,
    });
    assert_eq!((calls.get() - 1, told.collect::<Vec<_>>().await), (5, vec![5]));
}

/// Checks that an error says that a message is too long, with its code, its length and the limit.
fn assert_too_long(error: &RequestError, code: &str, len: u64, most: u64) {
    let RequestError::NotSendable(FrameError::TooLong { code: of, length, limit }) = error else {
        panic!("{error:?}")
    };
    assert_eq!((of.to_string().as_str(), *length, *limit), (code, len, most));
    assert!(!error.may_have_been_handled());
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
struct Text(String);

impl Wire for Text {
    const CODE: TypeCode = TypeCode::new(b"TEXT");
}

#[actix::test]
async fn a_too_long_message_is_an_error_at_once_with_every_verb() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let calls = Calls::default();
    let never = handler::from_fn(async |_| std::future::pending().await);
    let config = Config::default().link_window(64 << 10).max_frame_len(16 << 10);
    let bob = builder(&wires, "bob", &calls).config(config).handle("KEEP", never.start()).unwrap();
    let bob = bob.max_len("SINK", 70_000).unwrap().max_len("NOTE", 100).unwrap();
    let text = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame));
    let bob = bob.handle("TEXT", text.start()).unwrap().max_len("TEXT", 10).unwrap();
    let bob = bob.start().await.unwrap();
    let ada = builder(&wires, "ada", &calls).start().await.unwrap();
    open(&ada, &bob).await;
    // No credit is left.
    let keep = || Frame::new("KEEP", vec![0; 10 << 10]);
    while ada.notify(bob.info(), keep()).now_or_never().is_some() {}
    let begun = tokio::time::Instant::now();
    // `HUGE` has no handler, so the limit of the hello holds.
    for (code, len, most) in
        [("NOTE", 101, 100), ("SINK", 70_001, 70_000), ("HUGE", 16_385, 16_384)]
    {
        let size = usize::try_from(len).unwrap();
        let whole = || Frame::new(code, vec![0; size]);
        for asks in [true, false] {
            for message in [frame(code, size), body(code, u32::try_from(len).unwrap())] {
                let error = send(&ada, &bob, asks, message).await.unwrap_err();
                assert_too_long(&error, code, len, most);
            }
        }
        let error = ada.notify_all(bob.info(), [whole()]).await.unwrap_err();
        assert_eq!(error.sent, 0);
        assert_too_long(&error.source, code, len, most);
        // Messages that are to be acknowledged are sent whole.
        let most = most.min(16 << 10);
        let acked = ada.notify_acked(bob.info(), whole(), AckLevel::Handled).await;
        assert_too_long(&acked.unwrap_err(), code, len, most);
        let reliable = ada.send_reliable(bob.info(), whole(), AckLevel::Handled).await;
        let ReliableError::NotSent(error) = reliable.unwrap_err() else { panic!() };
        assert_too_long(&error, code, len, most);
        let tried = ada.try_send_reliable(bob.info(), whole(), AckLevel::Handled).await;
        let ReliableError::NotSent(error) = tried.unwrap_err() else { panic!() };
        assert_too_long(&error, code, len, most);
    }
    let SendError::Request(error) = ada.send(bob.info(), Text("x".repeat(20))).await.unwrap_err()
    else {
        panic!()
    };
    assert_too_long(&error, "TEXT", 21, 10);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // No message arrived, no source is charged, and the link stays open.
    tokio::time::sleep(SECOND).await;
    assert_eq!((calls.get(), bob.status().await.counts.errors_too_long), (1, 0));
    assert_eq!(ada.status().await.links.len(), 1);
}

#[actix::test]
async fn a_changed_length_limit_holds_on_open_links() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, bob, calls) = two(&wires).await;
    let sent = async |code: &'static str, len| {
        tokio::time::sleep(SECOND).await;
        let before = calls.get();
        let sent = replies(&ada, &bob, frame(code, len).over(Over::Link)).await;
        assert_eq!(calls.get() - before, usize::from(sent.is_ok()), "{sent:?}");
        sent.map(drop)
    };
    sent("NOTE", 200).await.unwrap();
    bob.set_max_len("NOTE", 100).unwrap();
    assert_too_long(&sent("NOTE", 200).await.unwrap_err(), "NOTE", 200, 100);
    // A handler is also found by the upper-case form of the code.
    assert_too_long(&sent("note", 200).await.unwrap_err(), "note", 200, 100);
    bob.set_max_len("NOTE", 300).unwrap();
    sent("NOTE", 200).await.unwrap();
    // A handler of streams that is added, removed, and added again.
    let long = 2 << 20;
    sent("SINK", long).await.unwrap();
    let sink = bob.unregister("SINK".parse().unwrap()).unwrap();
    assert_too_long(&sent("SINK", long).await.unwrap_err(), "SINK", 2 << 20, 1 << 20);
    bob.restore("SINK".parse().unwrap(), sink).unwrap();
    sent("SINK", long).await.unwrap();
    assert_eq!((wires.dials(), wires.connections()), (1, 1));
}

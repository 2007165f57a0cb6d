//! Acknowledged messages over broken links, full windows and restarts.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use actix::Actor;
use actix_peer::{
    Builder, Config, Incoming, Outgoing, Over, Peer, Reply, RequestError,
    frame::{Frame, TypeCode},
    handler,
    link::{AckLevel, Reason},
    reliable::{Kept, KeptId, Outbox, Receipt, Reliability, ReliableError, Unsure},
    transport::memory::MemoryNetwork,
};
use futures::{
    FutureExt,
    future::{BoxFuture, join, join_all, ready},
};
use tokio::time::Instant;

use crate::{Recorder, SECOND, Taken, builder, cut_all_links, node, node_with, pass, zeros};

const LEVELS: [AckLevel; 2] = [AckLevel::Delivered, AckLevel::Handled];

fn note(text: impl Into<String>) -> Frame {
    Frame::text("NOTE", text)
}

/// A node that records the messages of `NOTE`.
fn notes(wires: &MemoryNetwork, name: &str, taken: &Taken) -> Builder {
    builder(wires, name).handle("NOTE", Recorder::start(taken, Duration::ZERO)).unwrap()
}

/// Handles each message for a second, several at once, and panics at "boom".
fn slow(builder: Builder, taken: &Taken) -> Builder {
    let taken = taken.clone();
    let slow = handler::from_fn(async move |msg: Incoming| {
        let text = msg.frame.as_str().unwrap().to_owned();
        taken.add(text.as_str());
        pass(SECOND).await;
        assert_ne!(text, "boom");
        Reply::none()
    });
    builder.handle("SLOW", slow.start()).unwrap()
}

/// Sends `count` messages, as many at once as the window takes, and cuts all links `cuts` times.
/// Returns the number of cut links.
async fn flood(
    wires: &MemoryNetwork,
    (from, to): (&Peer, &Peer),
    count: usize,
    cuts: usize,
) -> usize {
    let mut waiting: VecDeque<Receipt> = VecDeque::new();
    let mut cut = 0;
    for n in 0..count {
        let level = LEVELS[n % 2];
        loop {
            match from.try_send_reliable(to.info(), note(n.to_string()), level).await {
                Ok(receipt) => break waiting.push_back(receipt),
                Err(ReliableError::Full { message }) => {
                    assert_eq!(message, note(n.to_string()));
                    waiting.pop_front().unwrap().await.unwrap();
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        if n % (count / cuts).max(1) == 0 {
            // In the middle of the exchanges.
            pass(Duration::from_millis(1 + (n % 13) as u64)).await;
            // No dial follows while no message waits.
            for _ in 0..20 {
                let some = cut_all_links(wires) > 0;
                cut += usize::from(some);
                if some {
                    break;
                }
                pass(Duration::from_millis(10)).await;
            }
        }
    }
    for receipt in waiting {
        receipt.await.unwrap();
    }
    cut
}

async fn cuts(count: usize, cuts: usize) {
    let wires = MemoryNetwork::new(7);
    wires.latency(Duration::from_millis(1)..Duration::from_millis(5));
    let (at_ada, at_bob) = (Taken::default(), Taken::default());
    let ada = notes(&wires, "ada", &at_ada).start().await.unwrap();
    let bob = notes(&wires, "bob", &at_bob).start().await.unwrap();
    // Both nodes must know that the other one supports links.
    ada.send_reliable(bob.info(), note("hello"), AckLevel::Handled).await.unwrap();
    bob.send_reliable(ada.info(), note("hello"), AckLevel::Handled).await.unwrap();
    let cut =
        join(flood(&wires, (&ada, &bob), count, cuts), flood(&wires, (&bob, &ada), count, cuts));
    let (there, back) = cut.await;
    assert!(there + back >= cuts, "{there} and {back} cuts");
    pass(SECOND).await;
    for taken in [at_ada, at_bob] {
        let all = taken.all();
        assert_eq!((all.len(), all[0].as_str()), (count + 1, "hello"));
        let wrong = (0..count).find(|n| all[n + 1] != n.to_string());
        assert_eq!(wrong, None, "a message is lost, duplicated or out of order");
    }
    let counts = ada.status().await.counts;
    assert!(counts.reliable_resent > 0 && counts.reliable_repeated > 0, "{counts:?}");
}

#[actix::test]
async fn two_hundred_cut_links_lose_duplicate_and_reorder_no_message() {
    tokio::time::pause();
    cuts(10_000, 200).await;
}

/// The target of the design: none of a million messages.
#[actix::test]
#[ignore = "takes many minutes"]
async fn two_hundred_cut_links_lose_duplicate_and_reorder_none_of_a_million_messages() {
    tokio::time::pause();
    cuts(500_000, 200).await;
}

#[actix::test]
async fn delivered_is_acknowledged_before_the_handler_finishes_and_handled_afterwards() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let bob = slow(builder(&wires, "bob"), &taken).start().await.unwrap();
    let ada = node(&wires, "ada").await;
    for (level, seconds) in [(AckLevel::Delivered, 0), (AckLevel::Handled, 1)] {
        let begun = Instant::now();
        let message = Frame::text("SLOW", format!("{level:?}"));
        ada.send_reliable(bob.info(), message, level).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), seconds, "{level:?}");
    }
    assert_eq!(taken.all(), ["Delivered", "Handled"]);
}

#[actix::test]
async fn a_panicking_handler_gets_a_message_once_and_its_error_arrives_over_any_link() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let bob = slow(builder(&wires, "bob"), &taken).start().await.unwrap();
    let ada = node(&wires, "ada").await;
    let message = || Frame::text("SLOW", "boom");
    let boom = ada.send_reliable(bob.info(), message(), AckLevel::Handled);
    let cut = async {
        pass(SECOND / 2).await;
        cut_all_links(&wires);
    };
    let error = join(boom, cut).await.0.unwrap_err();
    let failed = matches!(error, ReliableError::Failed { reason: Reason::HANDLER_FAILED });
    assert!(failed && error.may_have_been_handled(), "{error:?}");
    // A message that is only delivered is acknowledged before its result is known.
    ada.send_reliable(bob.info(), message(), AckLevel::Delivered).await.unwrap();
    pass(5 * SECOND).await;
    cut_all_links(&wires);
    pass(5 * SECOND).await;
    assert_eq!(taken.all(), ["boom", "boom"]);
}

#[actix::test]
async fn when_the_receiver_restarts_sent_messages_are_unknown_and_unsent_ones_are_delivered() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let never = handler::from_fn(async |_: Incoming| std::future::pending().await);
    let bob = builder(&wires, "bob").handle("NOTE", never.start()).unwrap().start().await.unwrap();
    let ada = node(&wires, "ada").await;
    let to = bob.info().clone();
    let send = |text: &str, how: Reliability| {
        let (ada, to, message) = (ada.clone(), to.clone(), note(text));
        actix_rt::spawn(async move { ada.send_reliable(to, message, how).await })
    };
    let handled = Reliability::from(AckLevel::Handled);
    let known = send("asked about", handled);
    let again = send("again", handled.across_restarts());
    pass(SECOND).await;
    bob.abort().await;
    let new = send("new", handled);
    pass(SECOND).await;
    let bob = notes(&wires, "bob", &taken).start().await.unwrap();
    let error = known.await.unwrap().unwrap_err();
    let Some((message, why)) = (match error {
        ReliableError::Unknown { message, why } => Some((message, why)),
        _ => None,
    }) else {
        panic!("the result of every sent message must be unknown")
    };
    assert_eq!((message, why), (note("asked about"), Unsure::Restarted));
    again.await.unwrap().unwrap();
    new.await.unwrap().unwrap();
    assert_eq!(taken.all(), ["again", "new"]);
    bob.stop().await;
}

#[actix::test]
async fn a_refusal_after_a_restart_does_not_say_that_the_message_was_not_handled() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let never = handler::from_fn(async |_: Incoming| std::future::pending().await);
    let bob = builder(&wires, "bob").handle("NOTE", never.start()).unwrap().start().await.unwrap();
    let ada = node(&wires, "ada").await;
    let to = bob.info().clone();
    let send = |text: &str| {
        let how = Reliability::from(AckLevel::Handled).across_restarts();
        let (ada, to, message) = (ada.clone(), to.clone(), note(text));
        actix_rt::spawn(async move { ada.send_reliable(to, message, how).await })
    };
    let known = send("handled by the first");
    pass(SECOND).await;
    bob.abort().await;
    let new = send("for the second alone");
    pass(SECOND).await;
    // It has no handler.
    let bob = node(&wires, "bob").await;
    let error = known.await.unwrap().unwrap_err();
    assert!(matches!(error, ReliableError::Unknown { why: Unsure::Restarted, .. }), "{error}");
    let refused = new.await.unwrap().unwrap_err();
    assert!(matches!(refused, ReliableError::Refused { .. }), "{refused}");
    bob.stop().await;
}

/// A store that survives the node.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<BTreeMap<KeptId, Vec<u8>>>>);

impl Shelf {
    pub(crate) fn texts(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap();
        let kept = kept.values().map(|bytes| Kept::from_bytes(bytes).unwrap());
        kept.map(|kept| kept.message().as_str().unwrap().to_owned()).collect()
    }
}

impl Outbox for Shelf {
    fn store<'a>(&'a self, kept: &'a Kept) -> BoxFuture<'a, io::Result<()>> {
        if kept.message().as_str() == Ok("the disk is full") {
            return ready(Err(io::ErrorKind::StorageFull.into())).boxed();
        }
        self.0.lock().unwrap().insert(kept.id(), kept.to_bytes().unwrap());
        ready(Ok(())).boxed()
    }

    fn delete(&self, id: KeptId) -> BoxFuture<'_, io::Result<()>> {
        self.0.lock().unwrap().remove(&id);
        ready(Ok(())).boxed()
    }

    fn load(&self) -> BoxFuture<'_, io::Result<Vec<Kept>>> {
        let kept = self.0.lock().unwrap();
        ready(Ok(kept.values().map(|bytes| Kept::from_bytes(bytes).unwrap()).collect())).boxed()
    }
}

#[actix::test]
async fn stored_unacknowledged_messages_are_sent_after_the_sender_restarts() {
    tokio::time::pause();
    let (wires, taken, shelf) = (MemoryNetwork::new(1), Taken::default(), Shelf::default());
    let bob = notes(&wires, "bob", &taken).start().await.unwrap();
    let ada = builder(&wires, "ada").outbox(shelf.clone()).start().await.unwrap();
    let to = bob.info().clone();
    let send = async |text: &str| ada.send_reliable(&to, note(text), AckLevel::Handled).await;
    send("first").await.unwrap();
    assert!(shelf.texts().is_empty());
    let error = send("the disk is full").await.unwrap_err();
    assert!(matches!(error, ReliableError::NotStored(_)) && !error.may_have_been_handled());
    bob.abort().await;
    // In sequence, so that they are stored in this order. The receiver is not running.
    let mut waiting = Vec::new();
    for text in ["second", "third", "fourth"] {
        let message = note(text);
        waiting.push(ada.try_send_reliable(&to, message, AckLevel::Handled).await.unwrap());
    }
    assert_eq!(shelf.texts(), ["second", "third", "fourth"]);
    ada.abort().await;
    for receipt in waiting {
        receipt.await.unwrap_err();
    }
    assert_eq!(shelf.texts(), ["second", "third", "fourth"]);
    // The restarted sender sends it when it reaches the receiver.
    let ada = builder(&wires, "ada").outbox(shelf.clone()).start().await.unwrap();
    pass(SECOND).await;
    let bob = notes(&wires, "bob", &taken).start().await.unwrap();
    pass(10 * SECOND).await;
    assert_eq!(taken.all(), ["first", "second", "third", "fourth"]);
    assert!(shelf.texts().is_empty());
    // A refusal settles a message as well.
    let nobodys = Frame::text("NOPE", "fifth");
    ada.send_reliable(bob.info(), nobodys, AckLevel::Handled).await.unwrap_err();
    assert!(shelf.texts().is_empty());
    bob.stop().await;
}

/// The date `seconds` after 1970.
fn date(seconds: u64) -> impl Fn() -> SystemTime {
    move || SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A day.
const DAY: u64 = 86_400; // seconds

#[actix::test]
async fn a_sender_that_restarts_with_its_clock_set_back_is_not_refused() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let bob = notes(&wires, "bob", &taken).start().await.unwrap();
    for (life, day) in [20_000, 19_998, 19_999, 0].into_iter().enumerate() {
        let ada = builder(&wires, "ada").wall_clock(date(day * DAY)).start().await.unwrap();
        for level in LEVELS {
            for n in 0..3 {
                let message = note(format!("{life} {level:?} {n}"));
                ada.send_reliable(bob.info(), message, level).await.unwrap();
            }
        }
        ada.notify_acked(bob.info(), note(format!("{life} acked")), AckLevel::Handled)
            .await
            .unwrap();
        ada.abort().await;
        pass(SECOND).await;
    }
    let of_life = |life: usize| {
        let all = taken.all();
        let start = format!("{life} ");
        all.iter().filter(|text| text.starts_with(&start)).count()
    };
    assert_eq!([0, 1, 2, 3].map(of_life), [7; 4], "{:?}", taken.all());
    bob.stop().await;
}

#[actix::test]
async fn stored_messages_are_sent_in_order_even_if_the_clock_was_set_back() {
    tokio::time::pause();
    let (wires, taken, shelf) = (MemoryNetwork::new(1), Taken::default(), Shelf::default());
    let bob = node(&wires, "bob").await;
    let to = bob.info().clone();
    bob.abort().await;
    for (day, text) in [(20_000, "first"), (19_999, "second"), (20_000, "third")] {
        let ada = builder(&wires, "ada").outbox(shelf.clone()).wall_clock(date(day * DAY));
        let ada = ada.start().await.unwrap();
        let waits = ada.try_send_reliable(&to, note(text), AckLevel::Handled).await.unwrap();
        ada.abort().await;
        waits.await.unwrap_err();
    }
    assert_eq!(shelf.texts(), ["first", "second", "third"]);
    let ada = builder(&wires, "ada").outbox(shelf.clone()).start().await.unwrap();
    let bob = notes(&wires, "bob", &taken).start().await.unwrap();
    pass(10 * SECOND).await;
    assert_eq!(taken.all(), ["first", "second", "third"]);
    ada.stop().await;
    bob.stop().await;
}

#[actix::test]
async fn a_full_window_returns_the_message_or_makes_its_sender_wait_in_turn() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let bob = notes(&wires, "bob", &taken).start().await.unwrap();
    let config = Config::default().reliable_messages(3).reliable_bytes(1_000);
    let ada = node_with(&wires, "ada", config).await;
    let to = bob.info().clone();
    bob.abort().await;
    let try_send =
        async |text: &str| ada.try_send_reliable(&to, note(text), AckLevel::Handled).await;
    let mut waiting = Vec::new();
    for text in ["a", "b", "c"] {
        waiting.push(try_send(text).await.unwrap());
    }
    match try_send("d").await.unwrap_err() {
        ReliableError::Full { message } => assert_eq!(message, note("d")),
        error => panic!("{error:?}"),
    }
    // A message that was cancelled makes room. Bytes are counted as well.
    drop(waiting.pop());
    let long = "x".repeat(999);
    assert!(matches!(try_send(&long).await.unwrap_err(), ReliableError::Full { .. }));
    let late = ["d", "e", "f", "g"].map(|text| {
        let (ada, to, message) = (ada.clone(), to.clone(), note(text));
        actix_rt::spawn(async move { ada.send_reliable(to, message, AckLevel::Handled).await })
    });
    pass(SECOND).await;
    // No message overtakes the waiting ones.
    assert!(matches!(try_send("h").await.unwrap_err(), ReliableError::Full { .. }));
    let bob = notes(&wires, "bob", &taken).start().await.unwrap();
    for receipt in waiting {
        receipt.await.unwrap();
    }
    for late in late {
        late.await.unwrap().unwrap();
    }
    assert_eq!(taken.all(), ["a", "b", "d", "e", "f", "g"]);
    // A single message may have any length.
    ada.send_reliable(bob.info(), note("y".repeat(100_000)), AckLevel::Handled).await.unwrap();
}

#[actix::test]
async fn a_classic_only_peer_gets_no_reliable_message_and_the_error_says_so() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let ada = node(&wires, "ada").await;
    for explains in [true, false] {
        let config = Config::default().links(false).explain_refusals(explains);
        let bob = notes(&wires, "bob", &taken).config(config).start().await.unwrap();
        for (to, whom) in
            [(bob.info().address().clone(), false), (bob.info().address().clone(), true)]
        {
            let message = note("x");
            let sent = if whom {
                ada.send_reliable(bob.info(), message, AckLevel::Handled).await
            } else {
                ada.send_reliable(to, message, AckLevel::Handled).await
            };
            let error = sent.unwrap_err();
            let none = matches!(error, ReliableError::NotSent(RequestError::NoLink(_)));
            assert!(none && !error.may_have_been_handled(), "{error:?}");
        }
        bob.abort().await;
        pass(1_000 * SECOND).await;
    }
    // A body that cannot be kept, a classic exchange and the own node are refused as well.
    let body = Outgoing::body("NOTE", 1, zeros(1));
    let error = ada.send_reliable("bob:9000", body, AckLevel::Handled).await.unwrap_err();
    assert!(matches!(error, ReliableError::NotSent(RequestError::BodyNotKept)));
    let classic = Outgoing::from(note("x")).over(Over::Classic);
    let error = ada.send_reliable("bob:9000", classic, AckLevel::Handled).await.unwrap_err();
    assert!(matches!(error, ReliableError::NotSent(RequestError::NoLink(_))));
    let error = ada.send_reliable(ada.info(), note("x"), AckLevel::Handled).await.unwrap_err();
    assert!(matches!(error, ReliableError::NotSent(RequestError::NoLink(_))));
    assert!(taken.all().is_empty());
}

#[actix::test]
async fn a_message_to_an_unreachable_peer_waits_and_expires_in_time() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let config = Config::default().reliable_timeout(100 * SECOND);
    let ada = node_with(&wires, "ada", config).await;
    let bob = notes(&wires, "bob", &taken).start().await.unwrap();
    let to = bob.info().clone();
    bob.abort().await;
    let send = async |text: &str| ada.send_reliable(&to, note(text), AckLevel::Handled).await;
    let begun = Instant::now();
    let error = send("nobody").await.unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), 100);
    let connect = matches!(error, ReliableError::NotSent(RequestError::Connect { .. }));
    assert!(connect && !error.may_have_been_handled(), "{error:?}");
    let back = async {
        pass(50 * SECOND).await;
        notes(&wires, "bob", &taken).start().await.unwrap()
    };
    let (sent, bob) = join(send("somebody"), back).await;
    sent.unwrap();
    assert!(begun.elapsed().as_secs() < 160);
    assert_eq!(taken.all(), ["somebody"]);
    bob.stop().await;
}

#[actix::test]
async fn messages_keep_their_order_when_the_first_waits_for_a_permit_and_the_link_is_cut() {
    tokio::time::pause();
    for level in LEVELS {
        let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
        let config = Config::default().max_requests_per_code(1);
        let bob = slow(builder(&wires, "bob"), &taken).config(config).start().await.unwrap();
        let ada = node(&wires, "ada").await;
        let sent = |text: &str, level| {
            let (ada, to, message) = (ada.clone(), bob.info().clone(), Frame::text("SLOW", text));
            actix_rt::spawn(async move { ada.send_reliable(to, message, level).await })
        };
        // The only permit is taken. The next messages wait for it.
        let mut all = vec![sent("0", AckLevel::Handled), sent("1", AckLevel::Handled)];
        pass(SECOND / 8).await;
        all.push(sent("2", level));
        pass(SECOND / 8).await;
        cut_all_links(&wires);
        all.push(sent("3", level));
        pass(SECOND / 8).await;
        cut_all_links(&wires);
        all.push(sent("4", level));
        for sent in all {
            sent.await.unwrap().unwrap();
        }
        assert_eq!(taken.all(), ["0", "1", "2", "3", "4"], "{level:?}");
    }
}

#[actix::test]
async fn a_delivered_message_is_acknowledged_even_if_its_handler_was_removed_since() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let bob = slow(builder(&wires, "bob"), &taken).start().await.unwrap();
    let ada = node(&wires, "ada").await;
    let message = Frame::text("SLOW", "once");
    let sent = ada.send_reliable(bob.info(), message, AckLevel::Handled);
    let meanwhile = async {
        pass(SECOND / 2).await;
        drop(bob.unregister(TypeCode::new(b"SLOW")).unwrap());
        cut_all_links(&wires);
    };
    join(sent, meanwhile).await.0.unwrap();
    assert_eq!(taken.all(), ["once"]);
}

#[actix::test]
async fn a_cancelled_message_is_not_sent_again_and_the_messages_behind_it_are() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let bob = notes(&wires, "bob", &taken).start().await.unwrap();
    let ada = node(&wires, "ada").await;
    let to = bob.info().clone();
    bob.abort().await;
    let mut waiting = Vec::new();
    for text in ["kept", "given up", "kept, too"] {
        let message = note(text);
        waiting.push(ada.try_send_reliable(&to, message, AckLevel::Delivered).await.unwrap());
    }
    drop(waiting.remove(1));
    let _bob = notes(&wires, "bob", &taken).start().await.unwrap();
    for receipt in join_all(waiting).await {
        receipt.unwrap();
    }
    assert_eq!(taken.all(), ["kept", "kept, too"]);
}

#[actix::test]
async fn a_stopping_sender_reports_which_messages_were_sent() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let never = handler::from_fn(async |_: Incoming| std::future::pending().await);
    let bob = builder(&wires, "bob").handle("NOTE", never.start()).unwrap().start().await.unwrap();
    let ada = node(&wires, "ada").await;
    let sent = ada.try_send_reliable(bob.info(), note("sent"), AckLevel::Handled).await.unwrap();
    let nobody = actix_peer::PeerInfo::new("zoe".parse().unwrap(), "zoe:9000".parse().unwrap());
    let nobody = nobody.unwrap();
    let unsent = ada.try_send_reliable(nobody, note("unsent"), AckLevel::Handled).await.unwrap();
    pass(SECOND).await;
    let begun = Instant::now();
    let (stopped, (sent, unsent)) = join(ada.stop(), join(sent, unsent)).await;
    assert!(begun.elapsed() < 12 * SECOND, "{stopped:?}");
    let (sent, unsent) = (sent.unwrap_err(), unsent.unwrap_err());
    assert!(matches!(sent, ReliableError::Unknown { why: Unsure::Stopped, .. }), "{sent:?}");
    let stopped = matches!(unsent, ReliableError::NotSent(RequestError::Stopped { sent: false }));
    assert!(stopped, "{unsent:?}");
    let error = ada.send_reliable(bob.info(), note("late"), AckLevel::Handled).await.unwrap_err();
    assert!(!error.may_have_been_handled());
}

/// Runs `work` in a runtime of its own, on a thread of its own, and ends that runtime.
async fn elsewhere<F>(work: impl FnOnce() -> F + Send + 'static) -> F::Output
where
    F: Future<Output: Send + 'static>,
{
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[actix::test]
async fn acknowledged_messages_continue_after_the_runtime_of_the_first_caller_has_ended() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let (ada, bob) =
        (node(&wires, "ada").await, notes(&wires, "bob", &taken).start().await.unwrap());
    let to = bob.info().clone();
    bob.abort().await;
    let (peer, whom) = (ada.clone(), to.clone());
    let first = elsewhere(async move || {
        // The receipt is awaited in the calling runtime.
        [peer.try_send_reliable(whom, note("first"), AckLevel::Handled).await.unwrap()]
    });
    let [first] = first.await;
    let bob = slow(notes(&wires, "bob", &taken), &taken).start().await.unwrap();
    ada.send_reliable(&to, note("second"), AckLevel::Handled).await.unwrap();
    first.await.unwrap();
    assert_eq!(taken.all(), ["first", "second"]);
    // The same for `notify_acked`, whose caller ends during the call.
    let (peer, whom, seen) = (ada.clone(), to.clone(), taken.clone());
    elsewhere(async move || {
        let sent = peer.notify_acked(whom, Frame::text("SLOW", "third"), AckLevel::Handled);
        let begun = async {
            while seen.len() < 3 {
                tokio::task::yield_now().await;
            }
        };
        futures::future::select(Box::pin(sent), Box::pin(begun)).await;
    })
    .await;
    ada.notify_acked(&to, note("fourth"), AckLevel::Handled).await.unwrap();
    assert_eq!(taken.all(), ["first", "second", "third", "fourth"]);
    bob.stop().await;
}

#[actix::test]
async fn a_long_request_is_sent_in_full_after_the_runtime_of_its_caller_has_ended() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, bob) = (node(&wires, "ada").await, node(&wires, "bob").await);
    for over in [Over::Link, Over::Classic] {
        let (peer, to) = (ada.clone(), bob.info().clone());
        let asked = elsewhere(async move || {
            let message = Outgoing::body("SINK", 4 << 20, zeros(4 << 20)).over(over);
            peer.request(to, message).await.unwrap()
        });
        let replies = tokio::time::timeout(100 * SECOND, asked.await.collect());
        let replies = replies.await.expect("the request ends in time").unwrap();
        assert_eq!(replies, [Frame::text("REPL", "4194304")], "{over:?}");
    }
}

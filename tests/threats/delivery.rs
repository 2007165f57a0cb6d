//! The delivery guarantees, rule by rule (`src/delivery.md`), and two links between the same nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Builder, Config, Incoming, Outgoing, Over, Peer, PeerEvent, Reply, RequestError,
    frame::Frame,
    handler,
    link::{AckLevel, Reason},
    node::Direction,
    overlay::Host,
    reliable::Receipt,
    transport::memory::{MemoryNetwork, StreamDirection},
};
use futures::{
    FutureExt, StreamExt,
    future::{join, join_all},
};
use tokio::time::Instant;

use crate::common::{
    SECOND,
    handlers::{Recorder, Taken},
    nodes::{cut_all_links, on_host, replies},
    sources::{code_of, root},
};

fn host(name: &str) -> Host {
    name.parse().unwrap()
}

/// `NOTE` records a text and repeats it. `SLOW` takes a second for that. Both are sequential.
fn builder(wires: &MemoryNetwork, name: &str, taken: &Taken) -> Builder {
    let (notes, slow) = (Recorder::start(taken, Duration::ZERO), Recorder::start(taken, SECOND));
    let builder = on_host(wires, name).well_known();
    builder.handle("NOTE", notes).unwrap().handle("SLOW", slow).unwrap()
}

async fn node(wires: &MemoryNetwork, name: &str, taken: &Taken) -> Peer {
    builder(wires, name, taken).start().await.unwrap()
}

fn note(text: impl Into<String>, over: Over) -> Outgoing {
    Outgoing::from(Frame::text("NOTE", text)).over(over)
}

/// Sends a classic request whose connection breaks after this many bytes of a direction. Returns
/// its result, how often it was handled, and how often this node dialled.
async fn cut_at(
    direction: StreamDirection,
    bytes: u64,
) -> (Result<Vec<Frame>, RequestError>, usize, u64) {
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let (ada, bob) = (node(&wires, "ada", &taken).await, node(&wires, "bob", &taken).await);
    wires.break_after(direction, bytes);
    let asked = replies(&ada, &bob, note("hello", Over::Classic)).await;
    tokio::time::sleep(100 * SECOND).await;
    let handled = taken.len();
    (asked, handled, wires.dials())
}

/// Header and text, in each direction.
const BYTES: u64 = 8 + 5;

const DIRECTIONS: [StreamDirection; 2] = [StreamDirection::ToListener, StreamDirection::ToDialler];

#[actix::test]
async fn rule_02_a_request_is_never_repeated_and_handled_at_most_once_wherever_it_is_cut() {
    tokio::time::pause();
    for direction in DIRECTIONS {
        for bytes in 0..=BYTES {
            let (asked, handled, dials) = cut_at(direction, bytes).await;
            assert!(handled <= 1, "{direction:?} {bytes}: handled {handled} times");
            assert_eq!(dials, 1, "{direction:?} {bytes}: {asked:?}");
        }
    }
}

#[actix::test]
async fn rule_03_every_request_ends_in_one_outcome_and_the_outcome_is_true() {
    tokio::time::pause();
    let mut told = BTreeSet::new();
    for direction in DIRECTIONS {
        for bytes in 0..=BYTES + 1 {
            let (asked, handled, _) = cut_at(direction, bytes).await;
            match asked {
                Ok(replies) => assert_eq!((replies.len(), handled), (1, 1)),
                Err(error) => {
                    let possible = error.may_have_been_handled();
                    assert!(possible || handled == 0, "{direction:?} {bytes}: {error:?}");
                    told.insert((possible, handled));
                }
            }
        }
    }
    let truths = BTreeSet::from([(false, 0), (true, 0), (true, 1)]);
    assert!(told.is_subset(&truths) && told.contains(&(true, 1)), "{told:?}");
}

#[actix::test]
async fn rule_04_requests_on_different_connections_may_overtake_each_other() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(3), Taken::default());
    wires.latency(Duration::from_millis(1)..Duration::from_millis(50));
    let (ada, bob) = (node(&wires, "ada", &taken).await, node(&wires, "bob", &taken).await);
    let each = (0..20).map(|n| replies(&ada, &bob, note(n.to_string(), Over::Classic)));
    for asked in join_all(each).await {
        asked.unwrap();
    }
    let taken: Vec<u32> = taken.all().iter().map(|text| text.parse().unwrap()).collect();
    assert!(taken.len() == 20 && !taken.is_sorted(), "{taken:?}");
}

/// Sends `count` one-way messages over each of several links and cuts each link in the middle.
/// Returns the received messages, link by link.
async fn tell_over_links_that_are_cut(links: usize, count: usize) -> Vec<Vec<String>> {
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    wires.latency(Duration::from_millis(1)..Duration::from_millis(3));
    let (ada, bob) = (node(&wires, "ada", &taken).await, node(&wires, "bob", &taken).await);
    let mut came = Vec::new();
    for link in 0..links {
        // Over any link, which is open afterwards.
        while replies(&ada, &bob, note("open", Over::Link)).await.is_err() {
            tokio::time::sleep(SECOND).await;
        }
        taken.clear();
        for n in 0..count {
            let text = format!("{n} {}", "x".repeat(100 * (link + 1)));
            let told = ada.notify(bob.info(), note(text, Over::Link)).await;
            if told.is_err() {
                break;
            }
            if n == count / 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if n == count * 3 / 4 {
                cut_all_links(&wires);
                break;
            }
        }
        tokio::time::sleep(SECOND).await;
        came.push(taken.all());
    }
    came
}

#[actix::test]
async fn rule_06_a_one_way_message_is_never_sent_again_and_never_arrives_twice() {
    tokio::time::pause();
    let mut lost = 0;
    for came in tell_over_links_that_are_cut(10, 200).await {
        let different: BTreeSet<_> = came.iter().collect();
        assert_eq!(different.len(), came.len());
        lost += 150 - came.len().min(150);
    }
    assert!(lost > 0, "nothing was lost, so nothing could have been sent again");
}

#[actix::test]
async fn rule_07_a_link_delivers_the_beginning_of_what_was_sent_without_a_gap() {
    tokio::time::pause();
    for came in tell_over_links_that_are_cut(10, 200).await {
        assert!(!came.is_empty());
        for (n, text) in came.iter().enumerate() {
            assert!(text.starts_with(&format!("{n} ")), "{n}: {}", &text[..10]);
        }
    }
}

#[actix::test]
async fn rule_08_a_slow_receiver_causes_no_loss() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let config = Config::default().max_frame_len(1 << 10).link_window(2 << 10);
    let bob = builder(&wires, "bob", &taken).config(config).start().await.unwrap();
    let ada = node(&wires, "ada", &taken).await;
    replies(&ada, &bob, note("open", Over::Link)).await.unwrap();
    let begun = Instant::now();
    for n in 0..50 {
        let text = format!("{n} {}", "x".repeat(500));
        let message = Outgoing::from(Frame::text("SLOW", text)).over(Over::Link);
        ada.notify(bob.info(), message).await.unwrap();
    }
    // The sender waited for the handler.
    assert!(begun.elapsed() > 40 * SECOND);
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(taken.len(), 51);
}

#[actix::test]
async fn rule_08_a_refusal_is_counted_and_reported() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let (ada, bob) = (node(&wires, "ada", &taken).await, node(&wires, "bob", &taken).await);
    replies(&ada, &bob, note("open", Over::Link)).await.unwrap();
    let mut events = ada.events();
    let refused = |code: &'static str, text: String| {
        let message = Outgoing::from(Frame::text(code, text)).over(Over::Link);
        ada.notify(bob.info(), message)
    };
    for _ in 0..3 {
        refused("NOPE", String::new()).await.unwrap();
    }
    tokio::time::sleep(SECOND).await;
    // Longer than its handler accepts from now on.
    bob.set_max_len("SLOW", 10).unwrap();
    refused("SLOW", "x".repeat(11)).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(taken.all(), ["open"]);
    let counts = bob.status().await.counts;
    assert_eq!((counts.unknown_codes, counts.errors_too_long), (3, 1));
    // The sender is told, and counts the refusals as well.
    assert_eq!(ada.status().await.counts.notify_refused, 4);
    let mut told = BTreeMap::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let PeerEvent::NotifyRefused { peer, code, reason, messages } = event {
            assert_eq!(&peer, bob.info());
            *told.entry((code.to_string(), reason)).or_insert(0) += messages;
        }
    }
    let expected = [("NOPE", Reason::UNKNOWN_CODE, 3), ("SLOW", Reason::TOO_LONG, 1)];
    let expected = expected.map(|(code, reason, messages)| ((code.to_owned(), reason), messages));
    assert_eq!(told, BTreeMap::from(expected));
}

#[actix::test]
async fn rule_09_a_one_way_message_counts_as_sent_when_it_is_in_the_buffer() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    wires.latency(SECOND / 4..SECOND / 4);
    let (ada, bob) = (node(&wires, "ada", &taken).await, node(&wires, "bob", &taken).await);
    replies(&ada, &bob, note("open", Over::Link)).await.unwrap();
    let begun = Instant::now();
    ada.notify(bob.info(), note("on its way", Over::Link)).await.unwrap();
    assert_eq!((begun.elapsed(), taken.len()), (Duration::ZERO, 1));
    cut_all_links(&wires);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(taken.all(), ["open"]);
}

#[actix::test]
async fn rule_11_a_cancelled_request_is_skipped_if_it_waits_and_completes_if_it_runs() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let done = Taken::default();
    let finished = done.clone();
    let work = handler::from_fn(async move |msg: Incoming| {
        tokio::time::sleep(SECOND).await;
        finished.add(msg.frame.as_str().unwrap());
        Reply::none()
    });
    let bob = builder(&wires, "bob", &taken).handle("WORK", work.start()).unwrap();
    let (ada, bob) = (node(&wires, "ada", &taken).await, bob.start().await.unwrap());
    let send = async |code: &str, text: &str| {
        let frame =
            Frame::new(actix_peer::frame::TypeCode::try_from(code).unwrap(), text.to_owned());
        ada.request(bob.info(), Outgoing::from(frame).over(Over::Link)).await.unwrap()
    };
    // In the mailbox of a busy actor.
    let first = send("SLOW", "first").await;
    let second = send("SLOW", "second").await;
    let third = send("SLOW", "third").await;
    let runs = send("WORK", "runs").await;
    tokio::time::sleep(SECOND / 4).await;
    let begun = Instant::now();
    drop((second, runs));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    join(first.collect(), third.collect()).await.1.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(taken.all(), ["first", "third"]);
    assert_eq!(done.all(), ["runs"]);
    assert_eq!(bob.status().await.links[0].open, 0);
}

#[actix::test]
async fn rule_18_the_close_of_a_link_is_reported_after_its_messages_and_before_later_ones() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    wires.latency(Duration::from_millis(1)..Duration::from_millis(2));
    let (ada, bob) = (node(&wires, "ada", &taken).await, node(&wires, "bob", &taken).await);
    let mut events = bob.events();
    let (seen, at) = (Taken::default(), taken.clone());
    let told = seen.clone();
    actix_rt::spawn(async move {
        while let Some(event) = events.next().await {
            let say = |text: &str| told.add(format!("{text} {}", at.len()));
            match event {
                PeerEvent::LinkClosed { .. } => {
                    // Messages in the mailbox count as delivered. The actor receives them now.
                    tokio::task::yield_now().await;
                    say("closed");
                }
                PeerEvent::LinkOpened { .. } => say("opened"),
                _ => {}
            }
        }
    });
    replies(&ada, &bob, note("first", Over::Link)).await.unwrap();
    for n in 0..100 {
        ada.notify(bob.info(), note(n.to_string(), Over::Link)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let slow = || Outgoing::from(Frame::text("SLOW", "s")).over(Over::Link);
    replies(&ada, &bob, slow()).await.unwrap();
    let waiting = ada.request(bob.info(), slow()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    cut_all_links(&wires);
    // A caller that waits for this peer gets the error at once.
    waiting.collect().await.unwrap_err();
    assert!(begun.elapsed() < SECOND);
    replies(&ada, &bob, note("again", Over::Link)).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(seen.all(), ["opened 0", "closed 102", "opened 102"]);
}

#[actix::test]
async fn rule_19_both_sides_of_a_partition_keep_serving_and_reconnect() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let (ada, bob) = (node(&wires, "ada", &taken).await, node(&wires, "bob", &taken).await);
    let (cyd, dan) = (node(&wires, "cyd", &taken).await, node(&wires, "dan", &taken).await);
    let x = |text: &str| note(text, Over::Any);
    replies(&ada, &cyd, x("before")).await.unwrap();
    wires.partition(&[host("ada"), host("bob")], &[host("cyd"), host("dan")]);
    replies(&ada, &bob, x("here")).await.unwrap();
    replies(&cyd, &dan, x("there")).await.unwrap();
    let across = ada.send_reliable(cyd.info(), Frame::text("NOTE", "across"), AckLevel::Handled);
    let heal = async {
        tokio::time::sleep(60 * SECOND).await;
        wires.heal();
        Instant::now()
    };
    let (sent, healed) = join(across, heal).await;
    sent.unwrap();
    assert!(healed.elapsed() < 20 * SECOND);
    assert_eq!(taken.all(), ["before", "here", "there", "across"]);
}

/// Runs this many rounds.
async fn open_at_once_again_and_again(rounds: u64) {
    let (mut failed, mut both) = (0, 0);
    for seed in 0..rounds {
        let (failures, dials) = open_at_once(seed).await;
        failed += failures;
        both += u64::from(dials >= 2);
    }
    // The exchanges on the link that ended were completed on it.
    assert_eq!(failed, 0);
    assert!(both > rounds / 3 * 2, "only {both} of {rounds} rounds had two links");
}

/// Both nodes open a link to the other at once, and send over it in every way while one of the two
/// links ends.
async fn open_at_once(seed: u64) -> (usize, usize) {
    let (wires, taken) = (MemoryNetwork::new(seed), Taken::default());
    let most = Duration::from_millis(1 + seed % 40);
    wires.latency(Duration::from_millis(seed % 3)..most);
    let (ada, bob) = (node(&wires, "ada", &taken).await, node(&wires, "bob", &taken).await);
    let side = async |name: &str, from: &Peer, to: &Peer| {
        let (mut told, mut asked, mut kept) = (0, Vec::new(), Vec::<Receipt>::new());
        for n in 0..4 {
            let name = format!("{name} {n}");
            let message = note(format!("tell {name}"), Over::Link);
            from.notify(to.info(), message).await.unwrap();
            told += 1;
            let request = note(format!("ask {name}"), Over::Link);
            asked.push(from.request(to.info(), request).await.unwrap());
            let message = Frame::text("NOTE", format!("keep {name}"));
            kept.push(from.try_send_reliable(to.info(), message, AckLevel::Handled).await.unwrap());
            tokio::time::sleep(Duration::from_millis(seed % 7)).await;
        }
        let mut failed = 0;
        for asked in asked {
            failed += usize::from(asked.collect().await.is_err());
        }
        for kept in kept {
            kept.await.unwrap();
        }
        (told, failed)
    };
    let (here, there) = join(side("ada", &ada, &bob), side("bob", &bob, &ada)).await;
    tokio::time::sleep(SECOND).await;
    let links = (ada.status().await.links, bob.status().await.links);
    let ways = (links.0[0].direction, links.1[0].direction);
    assert_eq!(
        (links.0.len(), links.1.len(), ways),
        (1, 1, (Direction::Out, Direction::In)),
        "{seed}"
    );
    let all = taken.all();
    let of = |what: &str| all.iter().filter(|text| text.starts_with(what)).count();
    assert_eq!(
        all.iter().collect::<BTreeSet<_>>().len(),
        all.len(),
        "{seed}: a message was handled twice"
    );
    assert_eq!(of("keep"), 8, "{seed}");
    // A failed request was reported, and a successful one was handled.
    let failed = here.1 + there.1;
    assert!(of("ask") + failed >= 8, "{seed}: {all:?}");
    // A one-way message is lost only when its link breaks, and no link breaks here.
    assert_eq!(of("tell"), here.0 + there.0, "{seed}: {all:?}");
    (failed, usize::try_from(wires.dials()).unwrap())
}

#[actix::test]
async fn links_that_are_opened_at_once_become_one_and_nothing_on_the_other_is_lost() {
    tokio::time::pause();
    open_at_once_again_and_again(300).await;
}

#[actix::test]
#[ignore = "takes many minutes"]
async fn links_that_are_opened_at_once_become_one_in_a_thousand_rounds() {
    tokio::time::pause();
    open_at_once_again_and_again(1_000).await;
}

#[actix::test]
async fn rule_24_a_stopping_node_acknowledges_no_message_that_it_has_not_handled() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let config = Config::default().drain_timeout(SECOND / 2);
    let bob = builder(&wires, "bob", &taken).config(config).start().await.unwrap();
    let never = handler::from_fn(async |_: Incoming| std::future::pending().await);
    bob.handle("NEVR", never.start()).unwrap();
    let ada = node(&wires, "ada", &taken).await;
    let stuck = Frame::text("NEVR", "stuck");
    let sent = ada.notify_acked(bob.info(), stuck, AckLevel::Handled);
    let stop = async {
        tokio::time::sleep(SECOND).await;
        bob.stop().await
    };
    let (sent, _) = join(sent, stop).await;
    let error = sent.unwrap_err();
    assert!(error.may_have_been_handled(), "{error:?}");
    assert!(!matches!(error, RequestError::Reset { reason: Reason::UNKNOWN_CODE, .. }));
}

#[test]
fn every_rule_of_the_page_on_delivery_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("src/delivery.md")).unwrap();
    let code = code_of(&["src", "tests"]);
    let mut rules = page.split("\n### ").skip(1);
    for number in 1..=27 {
        let rule = rules.next().unwrap_or_else(|| panic!("rule {number} is missing"));
        assert!(rule.starts_with(&format!("{number}. ")), "{number}: {rule}");
        let tests = rule.split("Held by ").nth(1).unwrap_or_else(|| panic!("{number}: no test"));
        let tests = tests.split("\n\n").next().unwrap();
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "rule {number} names no test");
        for name in names {
            let missing = !code.contains(&format!("fn {name}("));
            assert!(!missing, "rule {number}: no test is called {name}");
        }
    }
    assert_eq!(rules.next(), None);
}

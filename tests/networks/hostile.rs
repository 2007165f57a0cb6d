//! Networks whose wires are hostile and whose nodes take unusual ways, drawn from a seed.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use actix::prelude::*;
use actix_peer::{
    Builder, Config, Incoming, Reply,
    frame::Frame,
    handler,
    link::AckLevel,
    peer::RegisterError,
    sim::{FaultLevel, FaultPoint, SimError, SimNetwork, Sometimes},
    transport::memory::{Chaos, ChaosCounts, ClockOffset},
};
use futures::future::join_all;

use crate::common::SECOND;

/// Acknowledged messages of each sender.
const MESSAGES: usize = 30;

/// The messages that a node has handled, by sender and number.
type Handled = Rc<RefCell<BTreeMap<String, Vec<usize>>>>;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A node that records the messages `WORK`, whose data is the sender and a number, and answers
/// `ECHO`.
fn worker(builder: Builder, handled: &Handled) -> Result<Builder, RegisterError> {
    let handled = Rc::clone(handled);
    let work = handler::from_fn(async move |msg: Incoming| {
        let text = msg.frame.as_str().unwrap_or_default().to_owned();
        let (from, number) = text.split_once(' ').unwrap_or_default();
        let number = number.parse().unwrap_or(usize::MAX);
        handled.borrow_mut().entry(from.to_owned()).or_default().push(number);
        Reply::none()
    });
    let echo = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame));
    let config = Config::default().keep_alive(SECOND * 2);
    builder.config(config).handle("WORK", work.start())?.handle("ECHO", echo.start())
}

/// The result of a run: the acknowledged messages, its digest and history, the faults, and what was
/// reached.
struct Run {
    acknowledged: usize,
    digest: u64,
    history: Vec<String>,
    faults: ChaosCounts,
    fired: BTreeMap<FaultPoint, u64>,
    reached: BTreeMap<Sometimes, u64>,
}

/// Three nodes send each other acknowledged messages, one-way messages and requests. Checks that
/// acknowledged messages are handled once, and in order.
fn run(seed: u64, chaos: Chaos, level: FaultLevel) -> Run {
    const NAMES: [&str; 3] = ["ada", "bob", "cyd"];
    let net = SimNetwork::new(seed);
    net.fault_points(level);
    let outcome = net.run(async |net| {
        net.wires().latency(ms(1)..ms(40));
        let handled = Handled::default();
        for name in NAMES {
            let handled = Rc::clone(&handled);
            drop(net.start_with(name, move |builder| worker(builder, &handled)).await?);
        }
        net.wires().chaos(chaos);
        let talk = async |from: &'static str, to: &'static str| {
            let (ada, bob) = (net.peer(from).unwrap(), net.peer(to).unwrap());
            let mut done = Vec::new();
            for number in 0..MESSAGES {
                let message = Frame::text("WORK", format!("{from}-{to} {number}"));
                let sent = ada.send_reliable(bob.info(), message, AckLevel::Handled).await;
                done.extend(sent.is_ok().then_some(number));
                ada.notify(bob.info(), Frame::text("ECHO", "one way")).await.ok();
                if let Ok(replies) = ada.request(bob.info(), Frame::text("ECHO", "hi")).await {
                    replies.collect().await.ok();
                }
            }
            (format!("{from}-{to}"), done)
        };
        let pairs = NAMES.iter().flat_map(|from| NAMES.map(|to| (*from, to)));
        let talks = pairs.filter(|(from, to)| from != to).map(|(from, to)| talk(from, to));
        let mut acknowledged = 0;
        for (pair, done) in join_all(talks).await {
            let handled = handled.borrow().get(&pair).cloned().unwrap_or_default();
            assert!(handled.is_sorted_by(|one, next| one < next), "{seed} {pair}: {handled:?}");
            assert!(done.iter().all(|number| handled.contains(number)), "{seed} {pair}: {done:?}");
            acknowledged += done.len();
        }
        Ok::<_, SimError>(Run {
            acknowledged,
            digest: net.digest(),
            history: net.history(),
            faults: net.wires().chaos_counts(),
            fired: net.fired(),
            reached: net.reached(),
        })
    });
    outcome.unwrap()
}

#[test]
fn on_hostile_wires_every_acknowledged_message_is_handled_once_and_in_order() {
    let (mut reached, mut fired) = (BTreeMap::new(), BTreeMap::new());
    let (mut faults, mut acknowledged) = (BTreeMap::new(), 0);
    for seed in 0..8 {
        let run = run(seed, Chaos::heavy(), FaultLevel::Heavy);
        acknowledged += run.acknowledged;
        for (what, times) in run.reached {
            *reached.entry(what).or_insert(0) += times;
        }
        for (point, times) in run.fired {
            *fired.entry(point).or_insert(0) += times;
        }
        for (kind, times) in run.faults.by_kind() {
            *faults.entry(kind).or_insert(0) += times;
        }
    }
    assert!(acknowledged > 4 * MESSAGES, "{acknowledged}");
    assert!(faults.values().all(|times| *times > 0), "{faults:?}");
    for what in [
        Sometimes::AckedResent,
        Sometimes::DialRetried,
        Sometimes::DialledLinkStays,
        Sometimes::LinkLostInExchange,
    ] {
        assert!(reached[&what] > 0, "{what:?} {reached:?}");
    }
    let used = [FaultPoint::AckLate, FaultPoint::NoRoomAtOnce, FaultPoint::GrantSmall];
    assert!(used.iter().all(|point| fired[point] > 0), "{fired:?}");
}

#[test]
fn hostile_wires_and_unusual_ways_are_the_same_for_the_same_seed() {
    let [one, again, other] = [1, 1, 2].map(|seed| run(seed, Chaos::light(), FaultLevel::Heavy));
    let differs = one.history.iter().zip(&again.history).find(|(one, again)| one != again);
    assert_eq!(differs, None);
    assert_eq!((one.digest, one.faults, one.fired), (again.digest, again.faults, again.fired));
    assert_eq!(one.reached, again.reached);
    assert_ne!(one.digest, other.digest);
}

#[test]
fn without_chaos_and_fault_points_no_fault_happens() {
    let run = run(1, Chaos::none(), FaultLevel::None);
    assert_eq!(run.faults, ChaosCounts::default());
    assert!(run.fired.values().all(|times| *times == 0));
    assert_eq!(run.reached[&Sometimes::KeepaliveTimedOut], 0);
    assert!(run.reached.contains_key(&Sometimes::Banned), "all of them are listed");
}

#[test]
fn a_node_that_restarts_with_its_clock_behind_has_a_smaller_incarnation() -> Result<(), SimError> {
    SimNetwork::new(3).run(async |net| {
        net.wires().latency(ms(100));
        let handled = Handled::default();
        for name in ["ada", "bob"] {
            let handled = Rc::clone(&handled);
            drop(net.start_with(name, move |builder| worker(builder, &handled)).await?);
        }
        let (ada, bob) = (net.peer("ada")?, net.peer("bob")?);
        let message = |number: usize| Frame::text("WORK", format!("bob {number}"));
        let send = bob.send_reliable(ada.info(), message(1), AckLevel::Handled);
        let restart = async {
            // Two round trips until the link is open. The acknowledgement is lost.
            net.advance(ms(550)).await;
            let behind = ClockOffset::Behind(SECOND * 3_600);
            net.wires().set_clock_offset(&"ada".parse().unwrap(), behind);
            net.restart("ada").await.map(drop)
        };
        let (sent, restarted) = tokio::join!(send, restart);
        restarted?;
        assert!(sent.unwrap_err().may_have_been_handled());
        bob.send_reliable(ada.info(), message(2), AckLevel::Handled).await.unwrap();
        assert_eq!(handled.borrow()["bob"], [1, 2]);
        let reached = net.reached();
        assert_eq!(reached[&Sometimes::SmallerIncarnation], 1);
        assert_eq!(reached[&Sometimes::ReceiverRestarted], 1);
        Ok(())
    })
}

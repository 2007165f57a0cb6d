//! Models of acknowledged messages that several threads send ([`crate::sync::model`]).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    link::{AckLevel, AckSenderLimits, Reason},
    node::Config,
    reliable::{
        Reliability, ReliableError, ReliableSender,
        send_queues::{AckError, SendQueues},
        send_task,
        sender::accept,
    },
    session::{
        Endpoint,
        models::network::{Echo, Network, message},
        reach,
    },
    sync::model::{JoinHandle, block_on, explore, explore_for, join, run, thread},
};

/// The outcome of a message.
type Outcome = Result<(), ReliableError>;

/// Sends a message and waits for its outcome.
fn send(
    from: &Arc<ReliableSender>,
    to: &Endpoint,
    text: &'static str,
    how: Reliability,
) -> JoinHandle<(&'static str, Outcome)> {
    let (from, to) = (Arc::clone(from), to.me.address().clone());
    run(async move {
        let outcome = match accept(&from, (&to, None), message(text), how, true).await {
            Ok(receipt) => receipt.await,
            Err(error) => Err(error),
        };
        (text, outcome)
    })
}

/// Joins the senders, and checks that the outcome of each message is true.
fn check(
    sent: Vec<JoinHandle<(&'static str, Outcome)>>,
    heard: impl Fn() -> BTreeMap<String, usize>,
) {
    let outcomes = join(sent);
    let heard = heard();
    for (text, outcome) in outcomes {
        let times = heard.get(text).copied().unwrap_or(0);
        let possible = match &outcome {
            Ok(()) => times == 1,
            Err(ReliableError::NotSent(_)) => times == 0,
            Err(ReliableError::Unknown { .. }) => times <= 1,
            Err(_) => false,
        };
        assert!(possible, "{text} was heard {times} times: {outcome:?}");
    }
}

fn pair(config: Config) -> (Arc<ReliableSender>, Arc<Endpoint>, Arc<Echo>) {
    let network = Network::default();
    let (ada, _) = network.start("ada", config.clone());
    let (bob, of_bob) = network.start("bob", config);
    (Arc::new(ReliableSender::new(ada)), bob, of_bob)
}

#[test]
fn each_message_ends_once_while_links_end_and_others_are_sent() {
    explore_for(Duration::from_millis(2_000), 40, || {
        let (ada, bob, of_bob) = pair(Config::default());
        let sent = vec![
            send(&ada, &bob, "handled", AckLevel::Handled.into()),
            send(&ada, &bob, "delivered", AckLevel::Delivered.into()),
        ];
        let (from, to) = (Arc::clone(&ada.endpoint), bob.me.address().clone());
        let breaks = run(async move {
            if let Ok(link) = reach(&from, &to, None).await {
                link.abort(true);
            }
        });
        join([breaks]);
        check(sent, || of_bob.heard());
        assert_eq!(of_bob.heard().len(), 2);
    });
}

#[test]
fn each_message_ends_once_while_its_time_runs_out() {
    explore_for(Duration::from_millis(400), 40, || {
        let time = Duration::from_millis(200);
        let (ada, bob, of_bob) = pair(Config::default().reliable_timeout(time));
        let sent = vec![
            send(&ada, &bob, "one", AckLevel::Handled.into()),
            send(&ada, &bob, "two", AckLevel::Handled.into()),
        ];
        check(sent, || of_bob.heard());
        // Its queue is usable after that.
        check(vec![send(&ada, &bob, "three", AckLevel::Handled.into())], || of_bob.heard());
    });
}

#[test]
fn each_message_ends_once_while_its_node_aborts() {
    explore_for(Duration::from_millis(200), 60, || {
        let (ada, bob, of_bob) = pair(Config::default());
        let sent = vec![
            send(&ada, &bob, "one", AckLevel::Handled.into()),
            send(&ada, &bob, "two", AckLevel::Handled.into()),
        ];
        let node = Arc::clone(&ada.endpoint);
        let aborts = thread(move || {
            node.drain.cancel();
            node.abort_all(false);
        });
        join([aborts]);
        check(sent, || of_bob.heard());
    });
}

#[test]
fn each_message_ends_once_while_its_node_drains_and_its_link_ends() {
    explore_for(Duration::from_millis(1_000), 60, || {
        let (ada, bob, of_bob) = pair(Config::default());
        let sent = vec![
            send(&ada, &bob, "one", AckLevel::Handled.into()),
            send(&ada, &bob, "two", AckLevel::Handled.into()),
        ];
        let node = Arc::clone(&ada.endpoint);
        let drains = thread(move || {
            node.drain.cancel();
            node.links.bye();
        });
        let node = Arc::clone(&bob);
        let breaks = thread(move || node.links.all().iter().for_each(|link| link.abort(true)));
        join([drains, breaks]);
        check(sent, || of_bob.heard());
    });
}

#[test]
fn a_message_across_restarts_reaches_the_next_incarnation_of_a_node_that_aborts() {
    explore_for(Duration::from_millis(20_000), 60, || {
        let network = Network::default();
        let (ada, _) = network.start("ada", Config::default());
        let (bob, of_bob) = network.start("bob", Config::default());
        let ada = Arc::new(ReliableSender::new(ada));
        // A node that closes its first connection during the hello seems to speak no links.
        block_on(reach(&ada.endpoint, bob.me.address(), None)).unwrap();
        let how = Reliability::from(AckLevel::Handled).across_restarts();
        let sent = send(&ada, &bob, "one", how);
        let aborts = thread(move || {
            bob.drain.cancel();
            bob.abort_all(false);
        });
        join([aborts]);
        let (_bob, of_next) = network.start("bob", Config::default());
        let (_, outcome) = sent.join().unwrap();
        assert!(outcome.is_ok(), "{outcome:?}");
        let heard = [of_bob, of_next].map(|echo| echo.heard().get("one").copied().unwrap_or(0));
        assert!(heard[0] + heard[1] >= 1 && heard.iter().all(|times| *times <= 1), "{heard:?}");
    });
}

#[test]
fn a_message_that_a_leaving_node_has_refused_is_sent_over_the_next_link() {
    explore_for(Duration::from_secs(2), 60, || {
        let (ada, bob, of_bob) = pair(Config::default());
        let link = block_on(reach(&ada.endpoint, bob.me.address(), None)).unwrap();
        let how = Reliability::from(AckLevel::Handled).across_restarts();
        let sent = vec![send(&ada, &bob, "one", how)];
        let leaves = thread(move || {
            let open: Vec<_> = link.lock().exchanges.keys().copied().collect();
            for exchange in open {
                link.on_exchange_end(exchange, None, Err(Reason::GOING_AWAY));
            }
            link.abort(true);
        });
        join([leaves]);
        check(sent, || of_bob.heard());
        assert_eq!(of_bob.heard(), [("one".to_owned(), 1)].into());
    });
}

#[test]
fn a_message_that_is_added_while_the_task_that_sends_is_aborted_ends() {
    explore(200, || {
        let (ada, _of_ada) = Network::default().start("ada", Config::default());
        let (bob, to) = ("bob".parse().unwrap(), "bob:9000".parse().unwrap());
        let limits = AckSenderLimits::default();
        let queue = SendQueues::new([7, 7]).get_or_insert(&bob, &to, true, 1, limits);
        let sent = ["one", "two"].map(|text| {
            let (ada, queue) = (Arc::clone(&ada), Arc::clone(&queue));
            run(async move {
                let mut queued = queue.push(&message(text), AckLevel::Handled.into()).unwrap();
                send_task::start(&ada, &queue, &queued);
                queued.acknowledged().await
            })
        });
        ada.abort.cancel();
        for outcome in join(sent) {
            assert!(matches!(outcome, Err(AckError::Stopped { sent: false })), "{outcome:?}");
        }
    });
}

//! Models of what a node shares between threads ([`crate::sync::model`]).

use std::{future::poll_fn, sync::Arc, task::Poll};

use futures::FutureExt;
use shuttle::thread::yield_now;

use crate::{
    node::{
        Ambient, Config, EventBus, Joins, Node, Threads, revocable::Revocable,
        verification::VerificationQueue, watch,
    },
    overlay::{Address, JoinConfig, PeerId, PeerInfo},
    sync::model::{block_on, explore, join, run, thread},
    transport::tcp::Tcp,
};

fn at(n: usize) -> Address {
    format!("n{n}:9000").parse().unwrap()
}

fn node() -> Arc<Node> {
    let me = PeerInfo::new("ada".parse().unwrap(), at(0)).unwrap();
    let threads = Threads::start(0).now_or_never().unwrap();
    let events = EventBus::new(Vec::new());
    let transport = Arc::new(Tcp::default());
    Arc::new(Node::new(Config::default(), me, transport, events, threads, Ambient::default()))
}

#[test]
fn what_is_held_when_the_node_aborts_is_dropped_although_it_is_not_polled() {
    explore(200, || {
        let (node, dialled) = (node(), Arc::new(()));
        let holds = [1, 2].map(|polls| {
            let (node, open) = (Arc::clone(&node), Arc::clone(&dialled));
            thread(move || {
                let dial = async move {
                    std::future::pending::<()>().await;
                    drop(open);
                };
                let mut held = Revocable::new(&node, Box::pin(dial), Some(node.tasks.token()));
                for _ in 0..polls {
                    block_on(poll_fn(|cx| Poll::Ready(held.poll_unpin(cx).is_ready())));
                    yield_now();
                }
                held
            })
        });
        let aborted = Arc::clone(&node);
        let aborts = thread(move || aborted.revocables.abort().len());
        assert_eq!(join([aborts]), [0]);
        let held = join(holds);
        node.tasks.close();
        block_on(node.tasks.wait());
        assert_eq!(Arc::strong_count(&dialled), 1);
        drop(held);
        assert!(format!("{:?}", node.revocables).contains("held: 0"));
    });
}

#[test]
fn every_receiver_of_a_value_gets_the_last_one_and_then_the_end() {
    explore(300, || {
        let (sender, receiver) = watch::channel(0);
        let receivers = [(); 2].map(|()| {
            let mut receiver = receiver.clone();
            run(async move {
                receiver.wait_for(|value| *value == 2).await.unwrap();
                while receiver.changed().await.is_ok() {}
                receiver.get()
            })
        });
        let sends = thread(move || [1, 2].map(|value| sender.send_replace(value)));
        assert_eq!(join([sends]), [[0, 1]]);
        assert_eq!(join(receivers), [2, 2]);
    });
}

#[test]
fn the_task_that_retries_joins_gets_every_contact() {
    explore(300, || {
        let joins = Arc::new(Joins::default());
        let from = Arc::clone(&joins);
        let retries = run(async move {
            let mut contacts = Vec::new();
            while contacts.len() < 3 {
                let again = from.next().await;
                from.over(&again);
                contacts.push(again.contact);
            }
            contacts.sort();
            contacts
        });
        let adds = [0, 1, 2].map(|n| {
            let joins = Arc::clone(&joins);
            thread(move || assert!(joins.begin(&at(n), JoinConfig::new())))
        });
        join(adds);
        assert_eq!(retries.join().unwrap(), [0, 1, 2].map(at));
    });
}

#[test]
fn the_task_that_verifies_gets_every_peer_that_was_not_found() {
    explore(300, || {
        let queue = Arc::new(VerificationQueue::default());
        let from = Arc::clone(&queue);
        let verifies = run(async move {
            let mut found = Vec::new();
            while found.len() < 3 {
                found.push(from.next_elsewhere().await.1);
            }
            found.sort();
            found
        });
        let adds = [0, 1, 2].map(|n| {
            let queue = Arc::clone(&queue);
            let expected: PeerId = "ada".parse().unwrap();
            thread(move || queue.push(&expected, &at(n)))
        });
        join(adds);
        assert_eq!(verifies.join().unwrap(), [0, 1, 2].map(at));
    });
}

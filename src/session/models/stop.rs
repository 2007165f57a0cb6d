//! The abort of a node, against what it opens.

use std::{future::poll_fn, sync::Arc, task::Poll};

use futures::future::maybe_done;
use shuttle::thread::yield_now;

use crate::{
    message::{Outgoing, Over},
    node::Config,
    session::{
        messages::request,
        models::network::{Network, message},
        reach,
    },
    sync::model::{block_on, explore, join, quiet, thread},
};

#[test]
fn a_dial_that_completes_while_the_node_aborts_leaves_nothing_open_or_registered() {
    for over in [Over::Link, Over::Classic] {
        explore(60, move || {
            let network = Network::default();
            let (ada, _of_ada) = network.start("ada", Config::default());
            let (bob, _of_bob) = network.start("bob", Config::default());
            let callers = [("one", 1), ("two", 2), ("three", 3)].map(|(text, polls)| {
                let (from, to) = (Arc::clone(&ada), bob.me.address().clone());
                thread(move || {
                    let message = Outgoing::from(message(text)).over(over);
                    let asks = async move { request(&from, &to, message).await };
                    // The application polls it a few times, and then holds it.
                    let mut held = Box::pin(maybe_done(asks));
                    for _ in 0..polls {
                        block_on(poll_fn(|cx| Poll::Ready(held.as_mut().poll(cx).is_ready())));
                        yield_now();
                    }
                    held
                })
            });
            let node = Arc::clone(&ada);
            let aborts = thread(move || {
                node.drain.cancel();
                node.tasks.close();
                node.abort_all(false);
            });
            join([aborts]);
            let held = join(callers);
            block_on(ada.tasks.wait());
            assert!(block_on(reach(&ada, bob.me.address(), None)).is_err());
            quiet();
            assert_eq!(network.open_ends(), 0);
            drop(held);
            assert!(ada.links.all().is_empty());
            assert!(ada.links.lock().dials.is_empty());
            assert!(format!("{:?}", ada.revocables).contains("held: 0"));
            assert_eq!(ada.dialling(), 0);
        });
    }
}

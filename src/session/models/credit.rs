//! The credit of a link, for which senders wait.

use std::sync::Arc;

use futures::future::{Either, select};

use crate::{
    message::outgoing::OutgoingKind,
    node::Config,
    session::{
        Endpoint,
        credit_pool::CreditPool,
        models::network::{Network, message},
        reach,
        state::Session,
    },
    sync::model::{block_on, explore, join, quiet, run, thread},
};

/// A node whose messages have at most 1 KiB, so that the window of its links is small.
fn small() -> Config {
    Config::default().max_frame_len(1 << 10).link_window(1)
}

/// A link of `ada` to `bob`, and the credit of its window.
fn link(ada: &Arc<Endpoint>, bob: &Endpoint) -> (Arc<Session>, u32) {
    let link = block_on(reach(ada, bob.me.address(), None)).unwrap();
    let window = link.limits.window;
    (link, window)
}

/// What senders may use of the credit that the other side has granted.
fn usable(link: &Session) -> u32 {
    let prepaid = link.lock().prepaid;
    prepaid + u32::try_from(link.credit.available_permits()).unwrap()
}

#[test]
fn credit_that_a_sender_gives_back_wakes_the_sender_of_a_part() {
    // The sender gives up with a part of the credit, or with all of it.
    for grants in [1, 2] {
        explore(60, move || {
            let network = Network::default();
            let (ada, _of_ada) = network.start("ada", small());
            let (bob, _of_bob) = network.start("bob", small());
            let (link, window) = link(&ada, &bob);
            link.try_pay(window).unwrap().spend();
            let [one, other] = [(); 2].map(|()| Arc::clone(&link));
            let gives_up = run(async move {
                let pay = std::pin::pin!(one.pay(window));
                let gives_up = std::pin::pin!(shuttle::future::yield_now());
                if let Either::Left((paid, _)) = select(pay, gives_up).await {
                    drop(paid.unwrap());
                }
            });
            let part = run(async move { other.pay_part(window / 4).await.is_ok() });
            (0..grants).for_each(|_| link.granted(window / 2));
            gives_up.join().unwrap();
            assert!(part.join().unwrap());
            assert_eq!(usable(&link), window / 2 * grants);
        });
    }
}

#[test]
fn every_sender_that_waits_for_credit_ends_when_the_link_ends_or_credit_is_granted() {
    explore(60, || {
        let network = Network::default();
        let (ada, _of_ada) = network.start("ada", small().max_link_requests(1));
        let (bob, _of_bob) = network.start("bob", small().max_link_requests(1));
        let (link, window) = link(&ada, &bob);
        link.try_pay(window).unwrap().spend();
        let waits: [fn(&Session, u32) -> bool; 3] = [
            |link, cost| block_on(link.pay(cost)).is_ok(),
            |link, cost| block_on(link.pay_part(cost)).is_ok(),
            |link, _| {
                let held = block_on(link.request_permit());
                held.is_ok() && block_on(link.request_permit()).is_ok()
            },
        ];
        let waits = waits.map(|wait| {
            let link = Arc::clone(&link);
            thread(move || wait(&link, window / 4))
        });
        let granted = Arc::clone(&link);
        let grants = thread(move || granted.granted(window));
        link.abort(true);
        join([grants]);
        join(waits);
        quiet();
        assert!(ada.links.all().is_empty());
    });
}

#[test]
fn no_credit_is_lost_or_made_by_senders_that_wait_or_are_cancelled() {
    explore(40, || {
        let network = Network::default();
        let (ada, _of_ada) = network.start("ada", small());
        let (bob, of_bob) = network.start("bob", small());
        let (link, _) = link(&ada, &bob);
        let send = |name: usize, patience: usize| {
            let link = Arc::clone(&link);
            run(async move {
                for part in 0..2 {
                    let text = format!("{name} {part} {:800}", "");
                    let send = std::pin::pin!(link.notify(OutgoingKind::Frame(message(&text))));
                    let gives_up = std::pin::pin!(async {
                        for _ in 0..patience {
                            shuttle::future::yield_now().await;
                        }
                    });
                    select(send, gives_up).await;
                    link.try_notify(&message(&format!("{name} {part} short")));
                }
            })
        };
        let senders = [send(0, 1), send(1, 3), send(2, usize::MAX)];
        join(senders);
        // A request of a link is served after the one-way messages before it.
        let kind = OutgoingKind::Frame(message("last"));
        let replies = block_on(link.request(kind, ada.config.reply_timeout)).unwrap();
        assert_eq!(block_on(replies.collect()).unwrap(), [message("last")]);
        quiet();
        assert_eq!(usable(&link), link.lock().link.credit());
        let [theirs] = bob.links.all().try_into().unwrap();
        assert_eq!(theirs.lock().link.held(), 0);
        let heard = of_bob.heard();
        assert!(heard.contains_key("last") && heard.values().all(|times| *times == 1));
    });
}

#[test]
fn a_pool_larger_than_its_semaphore_loses_and_makes_no_credit() {
    explore(400, || {
        let pool = Arc::new(CreditPool::with(6, 4));
        let take = |cost: u32| {
            let pool = Arc::clone(&pool);
            run(async move {
                pool.acquire_many(cost).await.unwrap().forget();
                cost
            })
        };
        let takes = [take(4), take(3), take(4)];
        let granted = Arc::clone(&pool);
        let grants = thread(move || [5, 3].map(|credit| granted.add_permits(credit)));
        let taken: u32 = join(takes).iter().sum();
        join([grants]);
        let left = block_on(pool.acquire_many(6 + 8 - taken));
        assert!(left.is_ok() && pool.available_permits() == 0);
    });
}

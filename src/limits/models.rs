//! Models of limits that several threads share ([`crate::sync::model`]).

use std::{future::poll_fn, pin::pin, sync::Arc};

use futures::future::select;

use crate::{
    limits::{
        ConnectionAdmission,
        budget::{Budget, STEP},
        connection_limiter::ConnectionLimits,
    },
    overlay::Address,
    sync::model::{explore, join, run, thread},
};

#[test]
fn memory_that_is_waited_for_is_returned_however_the_wait_ends() {
    explore(300, || {
        let budget = Arc::new(Budget::new(2 * STEP));
        let shares = [(1, false), (2, true), (1, false)].map(|(steps, gives_up)| {
            let mut share = budget.share();
            run(async move {
                let covers = pin!(poll_fn(|cx| share.poll_cover(steps * STEP, cx)));
                let patience = pin!(async {
                    shuttle::future::yield_now().await;
                    if !gives_up {
                        std::future::pending::<()>().await;
                    }
                });
                select(covers, patience).await;
                shuttle::future::yield_now().await;
            })
        });
        join(shares);
        assert_eq!(budget.used(), 0);
    });
}

#[test]
fn the_permit_of_each_connection_is_returned_and_the_half_open_ones_stay_within_their_limit() {
    explore(200, || {
        let limits =
            ConnectionLimits { per_source: 8, half_open: 1, per_second: 100, loopback: true };
        let admission = ConnectionAdmission::new(limits);
        let from: Address = "192.0.2.7:9000".parse().unwrap();
        let connections = [true, false, true].map(|completes| {
            let (admission, from) = (Arc::clone(&admission), from.clone());
            run(async move {
                let (mut permit, other) = admission.admit(&from).unwrap();
                assert!(admission.half_open() <= 1);
                if completes {
                    permit.header_complete();
                } else if !other {
                    let patience = pin!(shuttle::future::yield_now());
                    select(pin!(permit.displaced()), patience).await;
                }
            })
        });
        join(connections);
        assert_eq!(admission.half_open(), 0);
        // All permits of the source are free again.
        let all: Vec<_> = (0..8).map(|_| admission.admit(&from)).collect();
        assert!(all.iter().all(Result::is_ok) && admission.admit(&from).is_err());
        drop(thread(move || drop(all)));
    });
}

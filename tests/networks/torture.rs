//! Lives of networks under faults: seeds that once broke a promise, and an application's invariant.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use actix::Actor;
use actix_peer::{
    Incoming, Reply,
    frame::Frame,
    handler,
    sim::{Explore, FaultLevel, Life, Plan, PlanSize, Violation},
};

/// Seeds of the default size, in which promises were once broken. What they broke also has a test of
/// its own, because a change of the traffic or of a timer makes another life of a seed.
const FOUND: [u64; 4] = [1, 15, 24, 45];

async fn whole(life: Life) -> Result<(), Violation> {
    life.whole(|_, builder| Ok(builder)).await
}

#[test]
fn the_seeds_that_once_broke_a_promise_keep_all_promises() {
    for seed in FOUND {
        let report = Explore::seeds(seed..seed + 1).threads(1).run(whole);
        assert!(report.is_clean(), "{report}");
    }
}

#[test]
fn a_network_without_faults_loses_no_message() {
    let size = PlanSize::nodes(4).time(Duration::from_secs(20)).level(FaultLevel::None);
    let report = Explore::seeds(1..3).size(size).run(whole);
    assert!(report.is_clean() && report.handled > 100, "{report}");
}

/// An application that is wrong: it sends again whatever the error says.
async fn pays_twice(life: Life) -> Result<(), Violation> {
    let paid: Rc<RefCell<BTreeMap<String, u32>>> = Rc::default();
    let till = Rc::clone(&paid);
    life.start(move |_, builder| {
        let till = Rc::clone(&till);
        let pay = handler::from_fn(async move |message: Incoming| {
            let bill = message.frame.as_str().unwrap_or_default().to_owned();
            *till.borrow_mut().entry(bill).or_default() += 1;
            Reply::one(Frame::empty("REPL"))
        });
        builder.handle("PAY_", pay.start())
    })
    .await?;
    let (net, bill) = (life.net().clone(), Cell::new(0));
    actix_rt::spawn(async move {
        loop {
            net.advance(Duration::from_millis(100)).await;
            let (Ok(ada), Ok(bob)) = (net.peer("n0"), net.peer("n1")) else { continue };
            bill.set(bill.get() + 1);
            for _ in 0..3 {
                let pay = Frame::text("PAY_", bill.get().to_string());
                let paid = async { ada.request(bob.info(), pay).await?.collect().await };
                if paid.await.is_ok() {
                    break;
                }
            }
        }
    });
    life.always("no bill is paid twice", move |_| {
        let twice: Vec<_> = paid
            .borrow()
            .iter()
            .filter(|(_, times)| **times > 1)
            .map(|(bill, _)| bill.clone())
            .collect();
        async move { if twice.is_empty() { Ok(()) } else { Err(format!("bills {twice:?}")) } }
    });
    life.live().await
}

#[test]
fn an_invariant_that_an_application_breaks_is_found_shrunk_and_replayed() {
    let size = PlanSize::nodes(4).time(Duration::from_secs(30));
    let explore = Explore::seeds(1..9).size(size);
    let report = explore.run(pays_twice);
    let (seed, found) = report.found.iter().next().expect("the fault was not found");
    assert_eq!(found.violation.invariant(), "no bill is paid twice");
    let plan = Plan::new(*seed, size);
    assert!(found.plan.faults.len() < plan.faults.len(), "{}", found.plan);
    let cut = plan.cut(&found.plan.cut_text()).unwrap();
    assert_eq!(cut, found.plan);
    let again = [(); 2].map(|()| explore.replay(&cut, pays_twice));
    assert_eq!(again[0].violation.as_ref(), Some(&found.violation));
    assert_eq!(again[0].digest, again[1].digest);
    assert!(again[0].history.iter().any(|line| line.contains("PAY_")));
}

//! The behaviour of actix that this crate relies on. An actix update that changes it must fail
//! here.
#![allow(clippy::disallowed_methods, reason = "the traps themselves are measured")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use tokio::time::sleep;

/// Counts the messages that it handles. Panics, waits or stops on request.
#[derive(Default)]
struct Worker {
    done: Arc<AtomicUsize>,
    stopped: Arc<AtomicUsize>,
    ticks: Arc<AtomicUsize>,
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.stopped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Supervised for Worker {}

#[derive(Message)]
#[rtype(result = "usize")]
struct Count;

impl Handler<Count> for Worker {
    type Result = usize;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> usize {
        self.done.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[derive(Message)]
#[rtype(result = "()")]
enum Do {
    Panic,
    Stop,
    Wait(Duration),
    Tick(Duration),
}

impl Handler<Do> for Worker {
    type Result = ();

    fn handle(&mut self, msg: Do, ctx: &mut Self::Context) {
        match msg {
            Do::Panic => panic!("requested by the test"),
            Do::Stop => ctx.stop(),
            Do::Wait(time) => ctx.wait(sleep(time).into_actor(self)),
            Do::Tick(every) => {
                ctx.run_interval(every, |worker, _| {
                    worker.ticks.fetch_add(1, Ordering::Relaxed);
                });
            }
        }
    }
}

/// Answered after a short time, by a future with or without the state of the actor.
#[derive(Message)]
#[rtype(result = "usize")]
struct Later {
    with_state: bool,
}

impl Handler<Later> for Worker {
    type Result = Response<usize>;

    fn handle(&mut self, msg: Later, ctx: &mut Self::Context) -> Response<usize> {
        let later = sleep(Duration::from_millis(10));
        if msg.with_state {
            // The future with the state ends with the actor and drops its sender.
            let (tell, told) = tokio::sync::oneshot::channel();
            let work = later.into_actor(self).map(move |(), worker, _| {
                tell.send(worker.done.load(Ordering::Relaxed)).ok();
            });
            ctx.spawn(work);
            return Response::fut(async move { told.await.unwrap_or(usize::MAX) });
        }
        Response::fut(async move {
            later.await;
            7
        })
    }
}

#[actix::test]
async fn a_panic_ends_only_the_actor_that_panicked() {
    let (worker, sibling) = (Worker::default(), Worker::default().start());
    let stopped = Arc::clone(&worker.stopped);
    let worker = worker.start();
    assert_eq!(worker.send(Do::Panic).await, Err(MailboxError::Closed));
    assert_eq!(worker.send(Count).await, Err(MailboxError::Closed));
    assert_eq!(stopped.load(Ordering::Relaxed), 1, "`stopped` is called");
    assert_eq!(sibling.send(Count).await, Ok(1));
}

#[actix::test]
async fn the_supervisor_restarts_after_a_stop_and_not_after_a_panic() {
    let worker = Supervisor::start(|_| Worker::default());
    assert_eq!(worker.send(Count).await, Ok(1));
    worker.send(Do::Stop).await.unwrap();
    assert_eq!(worker.send(Count).await, Ok(2), "the same value");
    assert_eq!(worker.send(Do::Panic).await, Err(MailboxError::Closed));
    assert_eq!(worker.send(Count).await, Err(MailboxError::Closed));
}

#[actix::test]
async fn do_send_ignores_the_mailbox_bound_and_each_address_clone_has_its_own_slot() {
    let worker = Worker::create(|ctx| {
        ctx.set_mailbox_capacity(1);
        Worker::default()
    });
    assert!(worker.try_send(Count).is_ok());
    assert!(matches!(worker.try_send(Count), Err(SendError::Full(_))));
    assert!((0..1_000).all(|_| worker.clone().try_send(Count).is_ok()));
    for _ in 0..1_000 {
        worker.do_send(Count);
    }
    assert_eq!(worker.send(Count).await, Ok(2_002));
}

#[actix::test]
async fn a_waiting_actor_runs_no_timer_and_takes_no_message() {
    tokio::time::pause();
    let worker = Worker::default();
    let ticks = Arc::clone(&worker.ticks);
    let worker = worker.start();
    worker.send(Do::Tick(Duration::from_millis(5))).await.unwrap();
    worker.send(Do::Wait(Duration::from_millis(200))).await.unwrap();
    let begun = tokio::time::Instant::now();
    let question = actix_rt::spawn(worker.send(Count));
    sleep(Duration::from_millis(199)).await;
    assert_eq!(ticks.load(Ordering::Relaxed), 0);
    assert_eq!(question.await.unwrap(), Ok(1));
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[actix::test]
async fn messages_queued_behind_a_stop_are_dropped_and_requests_get_an_error() {
    let worker = Worker::default();
    let done = Arc::clone(&worker.done);
    let worker = worker.start();
    worker.do_send(Do::Stop);
    (0..5).for_each(|_| worker.do_send(Count));
    assert_eq!(worker.send(Count).await, Err(MailboxError::Closed));
    assert_eq!(done.load(Ordering::Relaxed), 0);
}

#[actix::test]
async fn a_request_cancelled_while_it_is_queued_is_never_handled() {
    tokio::time::pause();
    let worker = Worker::default();
    let done = Arc::clone(&worker.done);
    let worker = worker.start();
    worker.send(Do::Wait(Duration::from_millis(200))).await.unwrap();
    let question = tokio::time::timeout(Duration::from_millis(100), worker.send(Count)).await;
    assert!(question.is_err());
    assert_eq!(worker.send(Count).await, Ok(1));
    assert_eq!(done.load(Ordering::Relaxed), 1);
}

#[actix::test]
async fn a_stop_drops_futures_with_the_actor_state_and_completes_those_without_it() {
    let worker = Worker::default().start();
    let with = worker.send(Later { with_state: true });
    let without = worker.send(Later { with_state: false });
    worker.do_send(Do::Stop);
    let (with, without) = tokio::join!(with, without);
    assert_eq!((with, without), (Ok(usize::MAX), Ok(7)));
}

#[actix::test]
async fn an_actor_stops_with_its_last_address_unless_it_holds_its_own() {
    struct Keeper {
        keeps_itself: bool,
        own: Option<Addr<Self>>,
        stopped: Arc<AtomicUsize>,
    }
    impl Actor for Keeper {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Self::Context) {
            self.own = self.keeps_itself.then(|| ctx.address());
        }

        fn stopped(&mut self, _: &mut Self::Context) {
            self.stopped.fetch_add(1, Ordering::Relaxed);
        }
    }
    for (keeps_itself, stops) in [(true, 0), (false, 1)] {
        let stopped = Arc::new(AtomicUsize::new(0));
        drop(Keeper { keeps_itself, own: None, stopped: Arc::clone(&stopped) }.start());
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(stopped.load(Ordering::Relaxed), stops);
    }
}

#[actix::test]
async fn timers_of_actors_run_in_virtual_time() {
    tokio::time::pause();
    let worker = Worker::default();
    let ticks = Arc::clone(&worker.ticks);
    let worker = worker.start();
    worker.send(Do::Tick(Duration::from_secs(30))).await.unwrap();
    sleep(Duration::from_secs(3_601)).await;
    assert_eq!(ticks.load(Ordering::Relaxed), 120);
}

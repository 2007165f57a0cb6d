//! Handlers: registration, and what happens to a request when a handler panics, is gone, slow or
//! busy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Config, HandlerActor, Incoming, IncomingBatch, Peer, Received, Refusal, Reply, RequestError,
    SendError, StartError,
    frame::{Frame, TypeCode, Wire},
    handler,
    link::{AckLevel, Reason},
    peer::RegisterError,
    transport::memory::MemoryNetwork,
};
use futures::{StreamExt, future::join_all};
use serde::{Deserialize, Serialize};

use crate::common::{handlers::echo, nodes::on_host};

/// A handler that does what the request says, for tests of the code around a handler.
struct Moody {
    handled: usize,
}

impl Actor for Moody {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        assert!(self.handled < 100, "panics while stopping as well");
    }
}

impl Supervised for Moody {}

impl Handler<Incoming> for Moody {
    type Result = ResponseActFuture<Self, Reply>;

    fn handle(&mut self, msg: Incoming, ctx: &mut Self::Context) -> Self::Result {
        self.handled += 1;
        let mood = msg.frame.as_str().unwrap().to_owned();
        assert_ne!(mood, "panic");
        if mood == "stop" {
            ctx.stop();
        }
        if mood == "panic twice" {
            self.handled = 1_000;
            panic!("and again in stopped");
        }
        let handled = self.handled;
        let answer = async move {
            assert_ne!(mood, "panic later");
            Reply::one(Frame::text("REPL", handled.to_string()))
        };
        Box::pin(answer.into_actor(self))
    }
}

async fn node(handler: impl Into<Recipient<Incoming>>) -> Peer {
    let peer = Peer::builder().handle("MOOD", handler).unwrap();
    peer.handle("ECHO", echo()).unwrap().start().await.unwrap()
}

/// The replies, or the fact that the handler failed.
type Answer = Result<Vec<Frame>, ()>;

async fn ask(node: &Peer, code: &'static str, text: &str) -> Answer {
    let replies = node.request(node.info(), Frame::text(code, text)).await.unwrap();
    replies.collect().await.map_err(|error| assert_failed(&error))
}

fn refused(refusal: Refusal) -> Answer {
    if refusal == Refusal::HandlerFailed { Err(()) } else { Ok(vec![refusal.to_frame()]) }
}

fn repl(text: &str) -> Answer {
    Ok(vec![Frame::text("REPL", text)])
}

#[actix::test]
async fn a_panicking_handler_fails_its_caller_and_the_node_keeps_serving() {
    let node = node(Moody { handled: 0 }.start()).await;
    assert_eq!(ask(&node, "MOOD", "").await, repl("1"));
    assert_eq!(ask(&node, "MOOD", "panic").await, refused(Refusal::HandlerFailed));
    assert_eq!(
        ask(&node, "ECHO", "still there").await.unwrap(),
        [Frame::text("ECHO", "still there")]
    );
    // The actor was started by actix's own `start`, so it is gone.
    assert_eq!(ask(&node, "MOOD", "").await, refused(Refusal::HandlerGone));
    let counts = node.status().await.counts;
    assert_eq!((counts.errors_handler_failed, counts.errors_handler_gone), (1, 1));
}

#[actix::test]
async fn a_supervised_handler_survives_its_panics_with_its_state() {
    let node = node(Moody { handled: 0 }.start_supervised()).await;
    for (mood, reply) in [
        ("", repl("1")),
        ("panic", refused(Refusal::HandlerFailed)),
        ("", repl("3")),
        ("panic later", refused(Refusal::HandlerFailed)),
        ("panic later", refused(Refusal::HandlerFailed)),
        ("", repl("6")),
        ("panic twice", refused(Refusal::HandlerFailed)),
        ("", repl("1001")),
    ] {
        assert_eq!(ask(&node, "MOOD", mood).await, reply, "{mood}");
    }
}

/// Panics in its handlers of typed messages and batches, in the call or in its future.
struct Fragile;

impl Actor for Fragile {
    type Context = Context<Self>;
}

impl Supervised for Fragile {}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
enum Job {
    Panic,
    PanicLater,
    Square(u64),
}

impl Wire for Job {
    const CODE: TypeCode = TypeCode::new(b"JOB_");
}

impl Handler<Received<Job>> for Fragile {
    type Result = ResponseActFuture<Self, u64>;

    fn handle(&mut self, msg: Received<Job>, _: &mut Self::Context) -> Self::Result {
        assert!(!matches!(msg.message, Job::Panic));
        let answer = async move {
            match msg.message {
                Job::Square(n) => n * n,
                _ => panic!("later"),
            }
        };
        Box::pin(answer.into_actor(self))
    }
}

impl Handler<IncomingBatch> for Fragile {
    type Result = ();

    fn handle(&mut self, batch: IncomingBatch, _: &mut Self::Context) {
        assert!(batch.iter().all(<[u8]>::is_empty));
    }
}

#[actix::test]
async fn a_supervised_handler_of_typed_messages_or_batches_survives_its_panics() {
    let fragile = Fragile.start_supervised();
    let builder = Peer::builder().on::<Job>(fragile.clone()).unwrap();
    let node = builder.handle_batch("BTCH", fragile).unwrap().start().await.unwrap();
    let asker = Peer::builder().start().await.unwrap();
    for job in [Job::Panic, Job::PanicLater, Job::Panic] {
        asker.send(node.info(), job).await.unwrap_err();
        assert_eq!(asker.send(node.info(), Job::Square(3)).await.unwrap(), 9);
        let batch = async |text| {
            asker.request(node.info(), Frame::text("BTCH", text)).await?.collect().await
        };
        assert_failed(&batch("x").await.unwrap_err());
        assert_eq!(batch("").await.unwrap(), []);
    }
}

fn assert_failed(error: &RequestError) {
    assert!(error.may_have_been_handled(), "{error}");
    let failed = RequestError::Reset { reason: Reason::HANDLER_FAILED, sent: true };
    assert_eq!(format!("{error:?}"), format!("{failed:?}"));
}

#[actix::test]
async fn a_panic_is_the_same_error_over_links_and_classic_exchanges_typed_and_untyped() {
    let fragile = Fragile.start_supervised();
    let builder = Peer::builder().on::<Job>(fragile).unwrap();
    let moody = Moody { handled: 0 }.start_supervised();
    let node = builder.handle("MOOD", moody).unwrap().start().await.unwrap();
    for links in [true, false] {
        let config = Config::default().links(links);
        let asker = Peer::builder().config(config).start().await.unwrap();
        for mood in ["panic", "panic later"] {
            let asked = asker.request(node.info(), Frame::text("MOOD", mood)).await.unwrap();
            assert_failed(&asked.collect().await.unwrap_err());
        }
        for job in [Job::Panic, Job::PanicLater] {
            match asker.send(node.info(), job).await.unwrap_err() {
                SendError::Request(error) => assert_failed(&error),
                other => panic!("{other}"),
            }
        }
        let asked = Frame::text("MOOD", "panic");
        let acked = asker.notify_acked(node.info(), asked, AckLevel::Handled).await;
        assert_failed(&acked.unwrap_err());
    }
}

/// Panics in its hooks, and counts how often each hook is called.
struct Stubborn {
    in_stopping: bool,
    calls: Arc<[AtomicUsize; 2]>,
}

impl Actor for Stubborn {
    type Context = Context<Self>;

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.calls[0].fetch_add(1, Ordering::Relaxed);
        assert!(!self.in_stopping, "in stopping");
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.calls[1].fetch_add(1, Ordering::Relaxed);
        panic!("in stopped");
    }
}

impl Supervised for Stubborn {}

impl Handler<Incoming> for Stubborn {
    type Result = Reply;

    fn handle(&mut self, msg: Incoming, ctx: &mut Self::Context) -> Reply {
        ctx.stop();
        assert!(msg.frame.data().is_empty(), "requested by the test");
        Reply::none()
    }
}

#[actix::test]
async fn an_actor_that_panics_while_it_stops_is_dropped_and_its_hooks_are_not_repeated() {
    for (in_stopping, panics, calls) in
        [(false, "", [1, 1]), (false, "x", [1, 1]), (true, "", [3, 0]), (true, "x", [2, 0])]
    {
        let counts = Arc::new([0, 0].map(AtomicUsize::new));
        let stubborn = Stubborn { in_stopping, calls: Arc::clone(&counts) };
        let node = node(stubborn.start_supervised()).await;
        ask(&node, "MOOD", panics).await.ok();
        assert_eq!(ask(&node, "MOOD", "").await, refused(Refusal::HandlerGone));
        let counts = [&counts[0], &counts[1]].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, calls, "{in_stopping} {panics:?}");
        assert_eq!(
            ask(&node, "ECHO", "still there").await.unwrap(),
            [Frame::text("ECHO", "still there")]
        );
    }
}

#[actix::test]
async fn a_supervised_handler_keeps_its_queue_through_a_panic() {
    let node = node(Moody { handled: 0 }.start_supervised()).await;
    let moods = ["", "panic", "", "panic", "", "", "panic", ""];
    let replies = join_all(moods.map(|mood| ask(&node, "MOOD", mood))).await;
    let answered = replies.iter().filter(|reply| reply.is_ok()).count();
    assert_eq!(answered, 5, "{replies:?}");
}

#[actix::test]
async fn a_closure_handler_keeps_serving_after_a_panic() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let panicky = handler::from_fn(async move |msg: Incoming| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert!(msg.frame.data().is_empty());
        Reply::none()
    });
    let node = node(panicky.start()).await;
    for _ in 0..3 {
        assert_eq!(ask(&node, "MOOD", "x").await, refused(Refusal::HandlerFailed));
        assert_eq!(ask(&node, "MOOD", "").await.unwrap(), []);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 6);
}

#[actix::test]
async fn a_handler_that_stops_during_a_request_fails_its_caller() {
    let node = node(Moody { handled: 0 }.start()).await;
    assert_eq!(ask(&node, "MOOD", "stop").await, refused(Refusal::HandlerFailed));
    assert_eq!(ask(&node, "MOOD", "").await, refused(Refusal::HandlerGone));
}

#[actix::test]
async fn a_panic_in_a_reply_stream_ends_only_its_connection() {
    let stream = handler::from_fn(async |_: Incoming| {
        Reply::stream(futures::stream::iter(0..3).map(|n| {
            assert_ne!(n, 2);
            Frame::text("REPL", n.to_string())
        }))
    });
    let node = node(stream.start()).await;
    let seen = node.request(node.info(), Frame::empty("MOOD")).await.unwrap().collect().await;
    // Frames that were ready before the panic may have been sent. The request ends, and others are
    // served.
    assert!(seen.is_ok_and(|frames| frames.len() <= 2));
    assert_eq!(node.status().await.counts.errors_handler_failed, 1);
    assert_eq!(ask(&node, "ECHO", "").await.unwrap(), [Frame::empty("ECHO")]);
}

#[actix::test]
async fn handlers_are_registered_replaced_and_removed_while_the_node_runs() {
    let node = node(Moody { handled: 0 }.start()).await;
    let code = TypeCode::new(b"NEW_");
    assert_eq!(ask(&node, "NEW_", "").await, refused(Refusal::UnknownCode));
    let say = |text: &'static str| {
        handler::from_fn(async move |_: Incoming| Reply::one(Frame::text("REPL", text))).start()
    };
    assert!(node.handle("NEW_", say("first")).unwrap().is_none());
    assert_eq!(ask(&node, "NEW_", "").await, repl("first"));
    let first =
        node.handle(code, say("second")).unwrap().expect("the replaced handler is returned");
    assert_eq!(ask(&node, "NEW_", "").await, repl("second"));
    node.restore(code, first).unwrap().expect("the second handler is returned");
    assert_eq!(ask(&node, "NEW_", "").await, repl("first"));
    assert!(node.unregister(code).is_some());
    assert_eq!(ask(&node, "NEW_", "").await, refused(Refusal::UnknownCode));
    assert!(node.unregister(code).is_none());
}

#[actix::test]
async fn framework_codes_and_codes_of_another_length_are_refused_by_typed_errors() {
    let node = node(echo()).await;
    let reserved = node.handle("@FWD", echo()).unwrap_err();
    assert_eq!(reserved, RegisterError::Reserved(TypeCode::FWD));
    assert_eq!(reserved.to_string(), "the code @FWD is reserved for the framework");
    assert_eq!(
        node.handle("TOOLONG", echo()).unwrap_err().to_string(),
        "a type code has 4 bytes, not 7"
    );
    assert!(matches!(Peer::builder().handle("@LNK", echo()), Err(RegisterError::Reserved(_))));
    assert!(node.unregister(TypeCode::FWD).is_none());
    let twice = Peer::builder().handle("ECHO", echo()).unwrap().handle("ECHO", echo()).unwrap();
    let error = twice.start().await.unwrap_err();
    assert!(matches!(error, StartError::Register(RegisterError::Duplicate(_))), "{error}");
    let twice = Peer::builder().well_known().handle("NAME", echo()).unwrap();
    assert_eq!(
        twice.start().await.unwrap_err().to_string(),
        "there are two handlers for the code NAME"
    );
}

#[actix::test]
async fn a_code_can_be_served_by_an_actor_on_another_arbiter() {
    #[expect(clippy::disallowed_methods, reason = "the application's choice")]
    let arbiter = Arbiter::new();
    let elsewhere = Moody::start_in_arbiter(&arbiter.handle(), |_| Moody { handled: 40 });
    let node = node(elsewhere).await;
    for n in 41..50 {
        assert_eq!(ask(&node, "MOOD", "").await, repl(&n.to_string()));
    }
    arbiter.stop();
}

/// A node on its own memory network, under the paused clock.
async fn paused_node(config: Config, handler: impl Into<Recipient<Incoming>>) -> Peer {
    tokio::time::pause();
    let builder = on_host(&MemoryNetwork::new(1), "n1").config(config);
    let builder = builder.handle("MOOD", handler).unwrap().handle("ECHO", echo()).unwrap();
    builder.start().await.unwrap()
}

fn sleepy() -> Recipient<Incoming> {
    let sleepy = handler::from_fn(async |msg: Incoming| {
        let millis = msg.frame.as_str().unwrap().parse().unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Reply::one(Frame::text("REPL", "awake"))
    });
    sleepy.start().recipient()
}

#[actix::test]
async fn a_handler_that_does_not_answer_in_time_fails_its_caller() {
    let node = paused_node(Config::default(), sleepy()).await;
    assert_eq!(ask(&node, "MOOD", "29000").await, repl("awake"));
    assert_eq!(ask(&node, "MOOD", "31000").await, refused(Refusal::HandlerLate));
}

#[actix::test]
async fn a_slow_handler_without_free_permits_refuses_and_other_handlers_are_served() {
    let config = Config::default().max_requests_per_code(4);
    let node = paused_node(config, sleepy()).await;
    let begun = tokio::time::Instant::now();
    let slow = join_all((0..10).map(|_| async {
        let replies = ask(&node, "MOOD", "5000").await;
        (replies, begun.elapsed())
    }));
    let quick = async {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let replies = ask(&node, "ECHO", "quick").await;
        (replies, begun.elapsed())
    };
    let (slow, (quick, quick_after)) = tokio::join!(slow, quick);
    assert_eq!(quick.unwrap(), [Frame::text("ECHO", "quick")]);
    assert!(quick_after < Duration::from_millis(1_020), "{quick_after:?}");
    let busy: Vec<_> =
        slow.iter().filter(|(replies, _)| *replies == refused(Refusal::Busy)).collect();
    assert_eq!(busy.len(), 6);
    assert!(busy.iter().all(|(_, after)| *after < Duration::from_millis(60)), "{busy:?}");
    assert_eq!(slow.iter().filter(|(replies, _)| *replies == repl("awake")).count(), 4);
    // The permits are free again.
    assert_eq!(ask(&node, "MOOD", "1").await, repl("awake"));
}

#[actix::test]
async fn a_burst_of_requests_to_a_quick_handler_is_served_without_refusals() {
    let config = Config::default().max_requests_per_code(4);
    let node = paused_node(config, sleepy()).await;
    let replies = join_all((0..40).map(|_| ask(&node, "MOOD", "1"))).await;
    assert!(replies.iter().all(|replies| *replies == repl("awake")));
}

#[actix::test]
async fn a_handler_that_holds_a_request_holds_its_permit() {
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let keeper = handler::from_fn(async move |msg: Incoming| {
        keep.lock().unwrap().push(msg);
        Reply::none()
    });
    let node = paused_node(Config::default().max_requests_per_code(2), keeper.start()).await;
    assert_eq!(ask(&node, "MOOD", "").await.unwrap(), []);
    assert_eq!(ask(&node, "MOOD", "").await.unwrap(), []);
    assert_eq!(ask(&node, "MOOD", "").await, refused(Refusal::Busy));
    kept.lock().unwrap().clear();
    assert_eq!(ask(&node, "MOOD", "").await.unwrap(), []);
}

#[actix::test]
async fn a_handler_can_acknowledge_and_close_before_it_works() {
    struct Worker {
        done: Arc<AtomicUsize>,
    }
    impl Actor for Worker {
        type Context = Context<Self>;
    }
    impl Handler<Incoming> for Worker {
        type Result = Reply;
        fn handle(&mut self, _: Incoming, ctx: &mut Self::Context) -> Reply {
            ctx.run_later(Duration::from_secs(60), |this, _| {
                this.done.fetch_add(1, Ordering::Relaxed);
            });
            Reply::one(Frame::text("REPL", "ACK"))
        }
    }
    let done = Arc::new(AtomicUsize::new(0));
    let node = paused_node(Config::default(), Worker { done: Arc::clone(&done) }.start()).await;
    assert_eq!(ask(&node, "MOOD", "").await, repl("ACK"));
    assert_eq!(done.load(Ordering::Relaxed), 0);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(done.load(Ordering::Relaxed), 1);
}

#[actix::test]
async fn a_handler_cannot_answer_with_a_framework_code() {
    let rogue = handler::from_fn(async |_: Incoming| Reply::one(Frame::empty("@FWE")));
    let node = node(rogue.start()).await;
    assert_eq!(ask(&node, "MOOD", "").await, refused(Refusal::HandlerFailed));
}

//! Exchanges of every kind between two nodes: collected, streamed, one-way, bodies of any size,
//! typed, routed.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Config, Incoming, Outgoing, Peer, PeerInfo, Received, Reply, RequestError, SendError, Target,
    frame::{Frame, FrameError, TypeCode, Wire},
    handler,
    message::ReadError,
    message::{Cause, Identity, Via},
    overlay::RouteReason,
    router,
    transport::memory::MemoryNetwork,
};
use futures::{Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::common::{
    handlers,
    nodes::{on_host, replies},
};

fn builder(wires: &MemoryNetwork, name: &str) -> actix_peer::Builder {
    let builder = on_host(wires, name).config(Config::default().links(false));
    builder.well_known().handle("ECHO", handlers::echo()).unwrap()
}

async fn node(wires: &MemoryNetwork, name: &str) -> Peer {
    builder(wires, name).start().await.unwrap()
}

/// A body of this many bytes that is not kept in memory: each byte follows from its position.
struct Pattern {
    at: u64,
    len: u64,
}

fn byte_at(at: u64) -> u8 {
    (at % 251) as u8
}

impl AsyncRead for Pattern {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let n = (self.len - self.at).min(buf.remaining() as u64).min(50_000);
        let bytes: Vec<u8> = (self.at..self.at + n).map(byte_at).collect();
        buf.put_slice(&bytes);
        self.at += n;
        Poll::Ready(Ok(()))
    }
}

async fn check(
    mut body: impl Stream<Item = Result<bytes::Bytes, ReadError>> + Unpin,
) -> Result<u64, ReadError> {
    let mut at = 0;
    while let Some(piece) = body.try_next().await? {
        assert!(piece.len() <= 1 << 20, "a piece of {} bytes", piece.len());
        assert!(piece.iter().zip(at..).all(|(byte, at)| *byte == byte_at(at)));
        at += piece.len() as u64;
    }
    Ok(at)
}

// ---- requests ----

#[actix::test]
async fn replies_are_collected_or_read_one_by_one() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let counting = handler::from_fn(async |_: Incoming| {
        Reply::stream(futures::stream::iter(0..3).then(async |n| {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Frame::text("REPL", n.to_string())
        }))
    });
    let a = builder(&wires, "a").handle("TICK", counting.start()).unwrap().start().await.unwrap();
    let b = node(&wires, "b").await;
    let begun = tokio::time::Instant::now();
    let mut replies = b.request("a:9000", Frame::empty("TICK")).await.unwrap();
    for n in 0..3 {
        assert_eq!(replies.next().await.unwrap().unwrap(), Frame::text("REPL", n.to_string()));
        assert_eq!(
            begun.elapsed().as_secs(),
            20 * (n + 1),
            "each reply within its own timeout, however long all of them take"
        );
    }
    assert!(replies.next().await.is_none());
    assert_eq!(crate::common::nodes::replies(&b, &a, Frame::empty("TICK")).await.unwrap().len(), 3);
}

#[actix::test]
async fn every_kind_of_reply_arrives_in_order() {
    let wires = MemoryNetwork::new(1);
    let frames = |n: usize| (0..n).map(|n| Frame::text("REPL", n.to_string()));
    let kinds = handler::from_fn(async move |msg: Incoming| match msg.frame.as_str().unwrap() {
        "none" => Reply::none(),
        "one" => Reply::one(Frame::text("REPL", "0")),
        "many" => Reply::many(frames(1_000)),
        "stream" => Reply::stream(futures::stream::iter(frames(1_000))),
        "body" => Reply::body("REPL", 100_000, Pattern { at: 0, len: 100_000 }),
        "empty body" => Reply::body("REPL", 0, tokio::io::empty()),
        other => Reply::error(other),
    });
    let a = builder(&wires, "a").handle("KIND", kinds.start()).unwrap().start().await.unwrap();
    let ask = async |kind: &str| replies(&a, &a, Frame::text("KIND", kind)).await.unwrap();
    assert_eq!(ask("none").await, []);
    assert_eq!(ask("one").await, [Frame::text("REPL", "0")]);
    assert!(ask("many").await.into_iter().eq(frames(1_000)));
    assert!(ask("stream").await.into_iter().eq(frames(1_000)));
    let body: Vec<u8> = (0..100_000).map(byte_at).collect();
    assert_eq!(ask("body").await, [Frame::new("REPL", body)]);
    assert_eq!(ask("empty body").await, [Frame::empty("REPL")]);
    assert_eq!(ask("?").await, [Frame::text("ERRO", "?")]);
}

#[actix::test]
async fn a_one_way_message_is_handled_although_no_reply_is_awaited() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&heard);
    let listening = handler::from_fn(async move |msg: Incoming| {
        hear.lock().unwrap().push(msg.frame);
        Reply::one(Frame::text("REPL", "nobody reads this"))
    });
    let _a = builder(&wires, "a").handle("TELL", listening.start()).unwrap().start().await.unwrap();
    let b = node(&wires, "b").await;
    b.notify("a:9000", Frame::text("TELL", "1")).await.unwrap();
    b.notify("a:9000", Outgoing::body("TELL", 3, &b"abc"[..])).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*heard.lock().unwrap(), [Frame::text("TELL", "1"), Frame::text("TELL", "abc")]);
}

#[actix::test]
async fn the_sender_of_a_classic_message_is_an_address_with_an_unknown_id() {
    let wires = MemoryNetwork::new(1);
    let seen = handler::from_fn(async |msg: Incoming| {
        assert_eq!(msg.sender().identity(), &Identity::Unknown);
        assert_eq!(msg.sender().via(), &Via::Classic);
        Reply::one(Frame::text("REPL", msg.sender().address().host().to_string()))
    });
    let a = builder(&wires, "a").handle("WHO_", seen.start()).unwrap().start().await.unwrap();
    let b = node(&wires, "b").await;
    assert_eq!(replies(&b, &a, Frame::empty("WHO_")).await.unwrap(), [Frame::text("REPL", "b")]);
}

// ---- targets ----

#[actix::test]
async fn a_target_is_an_address_a_known_id_or_a_peer() {
    let wires = MemoryNetwork::new(1);
    let (a, b) = (node(&wires, "a").await, node(&wires, "b").await);
    let name = || Frame::empty("NAME");
    let expected = [Frame::text("REPL", "a")];
    let info: PeerInfo = a.info().clone();
    assert_eq!(b.request("a:9000", name()).await.unwrap().collect().await.unwrap(), expected);
    assert_eq!(b.request(info.address(), name()).await.unwrap().collect().await.unwrap(), expected);
    let unknown = b.request("a", name()).await.unwrap_err();
    assert!(matches!(&unknown, RequestError::UnknownPeer(id) if id.as_str() == "a"), "{unknown}");
    b.peers().add(info).await.unwrap();
    assert_eq!(b.request("a", name()).await.unwrap().collect().await.unwrap(), expected);
    assert_eq!(b.request(a.id(), name()).await.unwrap().collect().await.unwrap(), expected);
    let neither = b.request("two words", name()).await.unwrap_err();
    assert_eq!((neither.cause(), neither.may_have_been_handled()), (Cause::Caller, false));
}

#[actix::test]
async fn errors_name_the_peer_and_say_whether_the_message_may_have_been_handled() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let a = builder(&wires, "a")
        .config(Config::default().links(false).max_collected(100))
        .start()
        .await
        .unwrap();
    let refused = replies(&a, &a, Frame::empty("@LNK")).await.unwrap_err();
    assert!(matches!(refused, RequestError::NotSendable(FrameError::Reserved { .. })), "{refused}");
    let refused = a.request("a:1", Frame::empty("NAME")).await.unwrap_err();
    assert_eq!((refused.cause(), refused.may_have_been_handled()), (Cause::Transport, false));
    let _crashed = wires.crash(&"dead".parse().unwrap());
    let begun = tokio::time::Instant::now();
    let late = a.request("dead:9000", Frame::empty("NAME")).await.unwrap_err();
    assert!(
        matches!(&late, RequestError::Connect { source, .. } if source.kind() == std::io::ErrorKind::TimedOut)
    );
    assert_eq!(begun.elapsed().as_secs(), 5);
    let too_much = replies(&a, &a, Frame::new("ECHO", vec![0; 100])).await.unwrap_err();
    assert!(matches!(too_much, RequestError::TooMuch { limit: 100 }), "{too_much}");
    assert!(too_much.may_have_been_handled());
}

#[actix::test]
async fn own_exchanges_over_the_limit_wait_and_then_fail() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let a = builder(&wires, "a")
        .config(Config::default().links(false).max_outgoing(2))
        .start()
        .await
        .unwrap();
    let first = a.request("a:9000", Frame::empty("NAME")).await.unwrap();
    let second = a.request("a:9000", Frame::empty("NAME")).await.unwrap();
    let busy = a.request("a:9000", Frame::empty("NAME")).await.unwrap_err();
    assert!(matches!(busy, RequestError::Busy), "{busy}");
    drop(first);
    assert!(a.request("a:9000", Frame::empty("NAME")).await.is_ok());
    drop(second);
}

// ---- bodies ----

async fn streaming(wires: &MemoryNetwork) -> Peer {
    let sum = handler::from_fn(async |msg: Incoming| {
        assert!(msg.frame.data().is_empty());
        let body = msg.into_body();
        let (code, len) = (body.code(), body.len().unwrap());
        match check(body).await {
            Ok(got) => Reply::one(Frame::text("REPL", format!("{code} {len} {got}"))),
            Err(error) => Reply::error(error.to_string()),
        }
    });
    let copy = handler::from_fn(async |msg: Incoming| {
        let body = msg.into_body();
        Reply::body("COPY", body.len().unwrap(), body.into_async_read())
    });
    let pour = handler::from_fn(async |msg: Incoming| {
        let len = msg.frame.as_str().unwrap().parse().unwrap();
        Reply::body("POUR", len, Pattern { at: 0, len })
    });
    let builder = builder(wires, "a").handle_stream("SUM_", sum.start()).unwrap();
    let builder = builder.handle_stream("COPY", copy.start()).unwrap();
    builder.handle("POUR", pour.start()).unwrap().start().await.unwrap()
}

#[actix::test]
async fn a_body_of_any_size_is_streamed_to_a_streaming_handler() {
    let wires = MemoryNetwork::new(1);
    let a = streaming(&wires).await;
    let b = node(&wires, "b").await;
    for len in [0, 1, 65_536, 65_537, 20_000_000] {
        let body = Outgoing::body("SUM_", len, Pattern { at: 0, len: len.into() });
        let expected = Frame::text("REPL", format!("SUM_ {len} {len}"));
        assert_eq!(replies(&b, &a, body).await.unwrap(), [expected]);
    }
    let whole: Vec<u8> = (0..300_000).map(byte_at).collect();
    let replies = replies(&b, &a, Frame::new("SUM_", whole)).await.unwrap();
    assert_eq!(replies, [Frame::text("REPL", "SUM_ 300000 300000")]);
}

#[actix::test]
async fn a_body_of_any_size_is_streamed_back() {
    let wires = MemoryNetwork::new(1);
    let a = streaming(&wires).await;
    for len in [0_u64, 1, 65_536, 65_537, 20_000_000] {
        let mut replies = a.request(a.info(), Frame::text("POUR", len.to_string())).await.unwrap();
        let body = replies.next_body().await.unwrap().unwrap();
        assert_eq!((body.code(), body.len()), (TypeCode::new(b"POUR"), Some(len)));
        assert_eq!(check(body).await.unwrap(), len);
        assert!(replies.next_body().await.unwrap().is_none());
    }
    let too_long = replies(&a, &a, Frame::text("POUR", "1048577")).await.unwrap_err();
    let limit = 1 << 20;
    assert!(
        matches!(too_long, RequestError::Reply(ReadError::Frame(FrameError::TooLong { limit: l, .. })) if l == limit),
        "{too_long}"
    );
}

#[actix::test]
async fn a_cancelled_body_does_not_block_the_next_one() {
    let wires = MemoryNetwork::new(1);
    let two = handler::from_fn(async |_: Incoming| {
        Reply::many([Frame::new("ONE_", vec![1; 500_000]), Frame::new("TWO_", vec![2; 500_000])])
    });
    let a = builder(&wires, "a").handle("BOTH", two.start()).unwrap().start().await.unwrap();
    let mut replies = a.request(a.info(), Frame::empty("BOTH")).await.unwrap();
    let mut first = replies.next_body().await.unwrap().unwrap();
    assert!(first.next().await.unwrap().unwrap().len() < 500_000);
    drop(first);
    let second = replies.next_body().await.unwrap().unwrap();
    assert_eq!(second.code(), TypeCode::new(b"TWO_"));
    let mut data = Vec::new();
    second.into_async_read().read_to_end(&mut data).await.unwrap();
    assert_eq!(data, vec![2; 500_000]);
    assert!(replies.next_body().await.unwrap().is_none());
}

#[actix::test]
async fn a_handler_can_answer_while_the_request_still_arrives() {
    let wires = MemoryNetwork::new(1);
    let a = streaming(&wires).await;
    let len = 5_000_000;
    let body = Outgoing::body("COPY", len, Pattern { at: 0, len: len.into() });
    let mut replies = a.request(a.info(), body).await.unwrap();
    assert_eq!(check(replies.next_body().await.unwrap().unwrap()).await.unwrap(), u64::from(len));
}

#[actix::test]
async fn a_body_source_that_ends_early_is_an_error_and_never_a_shorter_body() {
    let wires = MemoryNetwork::new(1);
    let a = streaming(&wires).await;
    let b = node(&wires, "b").await;
    let short = Outgoing::body("SUM_", 1_000_000, Pattern { at: 0, len: 400_000 });
    let error = replies(&b, &a, short).await;
    let told = error
        .as_ref()
        .is_ok_and(|replies| replies[0].as_str().unwrap().contains("400000 of 1000000"));
    assert!(told || error.is_err(), "{error:?}");
    let failing = handler::from_fn(async |_: Incoming| {
        Reply::body("REPL", 1_000_000, Pattern { at: 0, len: 400_000 })
    });
    b.handle("FAIL", failing.start()).unwrap();
    let mut replies = a.request(b.info(), Frame::empty("FAIL")).await.unwrap();
    let error = check(replies.next_body().await.unwrap().unwrap()).await.unwrap_err();
    assert!(
        matches!(
            error,
            ReadError::Frame(FrameError::TruncatedBody { got: 400_000, expected: 1_000_000, .. })
        ),
        "{error}"
    );
    assert_eq!(b.status().await.counts.errors_handler_failed, 1);
}

#[actix::test]
async fn a_refused_body_is_refused_before_it_is_sent_in_full() {
    let wires = MemoryNetwork::new(1);
    let a = node(&wires, "a").await;
    let len = 500_000_000;
    let mut replies = a
        .request(a.info(), Outgoing::body("ECHO", len, Pattern { at: 0, len: len.into() }))
        .await
        .unwrap();
    assert_eq!(replies.next().await.unwrap().unwrap(), Frame::text("ERRO", "Message too long"));
    let end = replies.next().await.unwrap().unwrap_err();
    // The caller does not know whether the handler takes streams and was called.
    assert!(matches!(end, RequestError::Write { sent: true, .. }), "{end}");
    assert!(a.status().await.counts.bytes_in < 1_000_000);
}

#[actix::test]
async fn a_reader_that_stalls_is_aborted_and_a_slow_reader_is_served() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let a = streaming(&wires).await;
    let mut slow = a.request(a.info(), Frame::text("POUR", "2000000")).await.unwrap();
    let mut body = slow.next_body().await.unwrap().unwrap();
    let (begun, mut got) = (tokio::time::Instant::now(), 0);
    while let Some(piece) = body.try_next().await.unwrap() {
        got += piece.len();
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    assert_eq!(got, 2_000_000);
    assert!(begun.elapsed() > Duration::from_secs(300), "{:?}", begun.elapsed());
    let mut still = a.request(a.info(), Frame::text("POUR", "2000000")).await.unwrap();
    let mut body = still.next_body().await.unwrap().unwrap();
    body.try_next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    let cut = loop {
        match body.try_next().await {
            Ok(piece) => assert!(piece.is_some(), "the body ended early"),
            Err(error) => break error,
        }
    };
    assert!(matches!(cut, ReadError::Frame(FrameError::TruncatedBody { .. })), "{cut}");
    assert_eq!(a.status().await.counts.errors_stalled, 1);
}

// ---- typed messages ----

#[derive(Message, Serialize, Deserialize, Debug)]
#[rtype(result = "Result<f64, String>")]
struct Divide(f64, f64);

impl Wire for Divide {
    const CODE: TypeCode = TypeCode::new(b"DIVI");
}

#[derive(Message, Serialize, Deserialize, Debug)]
#[rtype(result = "()")]
struct Touch;

impl Wire for Touch {
    const CODE: TypeCode = TypeCode::new(b"TUCH");
}

struct Calculator;

impl Actor for Calculator {
    type Context = actix::Context<Self>;
}

impl Handler<Received<Divide>> for Calculator {
    type Result = ResponseFuture<Result<f64, String>>;
    fn handle(&mut self, msg: Received<Divide>, _: &mut Self::Context) -> Self::Result {
        let Divide(a, b) = msg.message;
        Box::pin(async move { if b == 0.0 { Err(format!("{a} by zero")) } else { Ok(a / b) } })
    }
}

impl Handler<Received<Touch>> for Calculator {
    type Result = ();
    fn handle(&mut self, _: Received<Touch>, _: &mut Self::Context) {}
}

#[actix::test]
async fn a_typed_message_returns_its_typed_result() {
    let wires = MemoryNetwork::new(1);
    let calculator = Calculator.start();
    let a = builder(&wires, "a")
        .on::<Divide>(calculator.clone())
        .unwrap()
        .on::<Touch>(calculator)
        .unwrap();
    let a = a.start().await.unwrap();
    let b = node(&wires, "b").await;
    assert_eq!(b.send("a:9000", Divide(1.0, 4.0)).await.unwrap(), Ok(0.25));
    assert_eq!(b.send(a.info(), Divide(1.0, 0.0)).await.unwrap(), Err("1 by zero".to_owned()));
    b.send(a.info(), Touch).await.unwrap();
    let refused = a.send(b.info(), Touch).await.unwrap_err();
    assert!(
        matches!(&refused, SendError::Refused { text } if text == "Unknown message type"),
        "{refused}"
    );
    let malformed = replies(&b, &a, Frame::text("DIVI", "short")).await.unwrap();
    assert_eq!(malformed, [Frame::text("ERRO", "Malformed message")]);
    assert_eq!(a.status().await.counts.errors_bad_message, 1);
    let silent = handler::from_fn(async |_: Incoming| Reply::none()).start();
    b.handle("TUCH", silent).unwrap();
    assert!(matches!(a.send(b.info(), Touch).await.unwrap_err(), SendError::NoReply));
    let wrong = handler::from_fn(async |_: Incoming| Reply::one(Frame::text("REPL", "x"))).start();
    b.handle("TUCH", wrong).unwrap();
    assert!(matches!(a.send(b.info(), Touch).await.unwrap_err(), SendError::Decode(_)));
}

// ---- routed messages ----

/// Nodes in a line: each knows its neighbours, and routes towards the end or the beginning by the
/// numbers in the names.
async fn line(wires: &MemoryNetwork, nodes: usize) -> Vec<Peer> {
    let mut line: Vec<Peer> = Vec::new();
    for n in 0..nodes {
        let number = |id: &str| id[1..].parse::<usize>().unwrap();
        let by_number = router::from_fn(move |to, peers| {
            let next = if number(to.as_str()) > n { n + 1 } else { n - 1 };
            peers.get(&format!("n{next}").parse().ok()?).map(|entry| entry.info().clone())
        });
        let way = handler::from_fn(async |msg: Incoming| {
            let Via::Routed { origin, path } = msg.sender().via() else {
                return Reply::error("not routed");
            };
            let path: Vec<_> = path.iter().map(ToString::to_string).collect();
            let identity = msg.sender().identity().clone();
            assert_eq!(identity, Identity::Claimed(origin.clone()));
            Reply::many([
                Frame::text("REPL", origin.to_string()),
                Frame::text("REPL", path.join(" ")),
            ])
        });
        let builder = builder(wires, &format!("n{n}"))
            .router(by_number)
            .on::<Divide>(Calculator.start())
            .unwrap();
        let peer = builder.handle("WAY_", way.start()).unwrap().start().await.unwrap();
        if let Some(before) = line.last() {
            before.peers().add(peer.info().clone()).await.unwrap();
            peer.peers().add(before.info().clone()).await.unwrap();
        }
        line.push(peer);
    }
    line
}

#[actix::test]
async fn a_routed_request_is_forwarded_from_node_to_node_and_its_replies_return() {
    let wires = MemoryNetwork::new(1);
    let line = line(&wires, 6).await;
    let replies =
        line[0].route(line[5].id(), Frame::empty("WAY_")).await.unwrap().collect().await.unwrap();
    assert_eq!(replies, [Frame::text("REPL", "n0"), Frame::text("REPL", "n0 n1 n2 n3 n4")]);
    let result =
        line[5].send(Target::routed(line[1].id().clone()), Divide(9.0, 3.0)).await.unwrap();
    assert_eq!(result, Ok(3.0));
    assert_eq!(line[3].status().await.counts.forwarded, 2);
    // A neighbour receives the plain message, and the node itself can be the target as well.
    let plain =
        line[0].route(line[1].id(), Frame::empty("WAY_")).await.unwrap().collect().await.unwrap();
    assert_eq!(plain, [Frame::text("ERRO", "not routed")]);
    let own =
        line[0].route(line[0].id(), Frame::empty("NAME")).await.unwrap().collect().await.unwrap();
    assert_eq!(own, [Frame::text("REPL", "n0")]);
}

async fn fault(from: &Peer, to: &str) -> (RouteReason, String) {
    let to = to.parse().unwrap();
    let error = match from.route(&to, Frame::empty("WAY_")).await {
        Ok(replies) => replies.collect().await.unwrap_err(),
        Err(error) => error,
    };
    match error {
        RequestError::Route(fault) => (fault.reason(), fault.at().to_string()),
        other => panic!("{other}"),
    }
}

#[actix::test]
async fn a_routed_request_that_gets_stuck_says_why_and_where() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let line = line(&wires, 12).await;
    assert_eq!(fault(&line[0], "n99").await, (RouteReason::HopLimit, "n8".to_owned()));
    assert_eq!(fault(&line[6], "n99").await, (RouteReason::NoRoute, "n11".to_owned()));
    wires.crash(&"n4".parse().unwrap()).refuse();
    assert_eq!(fault(&line[2], "n7").await, (RouteReason::Unreachable, "n3".to_owned()));
    let back: PeerInfo = line[0].info().clone();
    line[2].peers().remove(line[3].id()).await.unwrap();
    let mut in_circles = back.to_string().replacen("n0", "n3", 1);
    in_circles = in_circles.replace("n0:", "n3:");
    line[2].peers().add(in_circles.parse().unwrap()).await.unwrap();
    assert_eq!(fault(&line[1], "n7").await, (RouteReason::Loop, "n1".to_owned()));
}

#[actix::test]
async fn a_panicking_router_fails_only_the_caller() {
    let wires = MemoryNetwork::new(1);
    let panicky = router::from_fn(|_, _| panic!("no idea"));
    let a = builder(&wires, "a").router(panicky).start().await.unwrap();
    assert_eq!(fault(&a, "b").await, (RouteReason::RouterFailed, "a".to_owned()));
    assert_eq!(a.status().await.restarts, [].into());
    assert_eq!(replies(&a, &a, Frame::empty("NAME")).await.unwrap().len(), 1);
}

#[actix::test]
async fn a_streamed_body_cannot_be_routed() {
    let wires = MemoryNetwork::new(1);
    let line = line(&wires, 3).await;
    let body = Outgoing::body("ECHO", 3, &b"abc"[..]);
    let error = line[0].route(line[2].id(), body).await.unwrap_err();
    assert!(matches!(error, RequestError::BodyNotRouted), "{error}");
}

//! The API behaves the same over links and in classic exchanges.

use std::time::Duration;

use actix::prelude::*;
use actix_peer::{
    Config, IncomingBatch, Outgoing, Over, Peer, PeerEvent, PeerId, PeerInfo, Received, Reply,
    RequestError, SendError, Target,
    frame::{Frame, FrameError, TypeCode, Wire},
    handler,
    link::{AckLevel, Reason},
    message::Via,
    node::Removed,
    peer::IntoTarget,
    reliable::ReliableError,
    transport::{IdentityFault, memory::MemoryNetwork},
};
use futures::{StreamExt, TryStreamExt, future::ready, stream};
use serde::{Deserialize, Serialize};

use crate::{
    Recorder, SECOND, Taken, ask, builder, echo, event, node, node_with, pass, via, zeros,
};

const BOTH: [Over; 2] = [Over::Classic, Over::Link];

/// Asks for twice a number.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
struct Double(u64);

impl Wire for Double {
    const CODE: TypeCode = TypeCode::new(b"DOUB");
}

struct Doubler;

impl Actor for Doubler {
    type Context = Context<Self>;
}

impl Handler<Received<Double>> for Doubler {
    type Result = u64;

    fn handle(&mut self, msg: Received<Double>, _: &mut Self::Context) -> u64 {
        2 * msg.message.0
    }
}

fn frames(count: usize) -> impl Iterator<Item = Frame> {
    (0..count).map(|n| Frame::text("PART", n.to_string()))
}

#[actix::test]
async fn every_kind_of_reply_arrives_over_links_and_in_classic_exchanges() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let kinds = handler::from_fn(async |msg| match msg.frame.as_str().unwrap() {
        "none" => Reply::none(),
        "one" => frames(1).next().map_or_else(Reply::none, Reply::one),
        "many" => Reply::many(frames(3)),
        "stream" => Reply::stream(stream::iter(frames(1_000))),
        "body" => Reply::body("BODY", 1 << 20, zeros(1 << 20)),
        "short" => Reply::body("BODY", 1 << 20, zeros(1 << 19)),
        text => Reply::error(text),
    });
    let builder = builder(&wires, "bob").handle("KIND", kinds.start()).unwrap();
    let (ada, bob) = (node(&wires, "ada").await, builder.start().await.unwrap());
    for over in BOTH {
        let asked = async |kind: &str| {
            let message = Outgoing::from(Frame::text("KIND", kind)).over(over);
            ada.request(bob.info(), message).await.unwrap().collect().await
        };
        assert_eq!(asked("none").await.unwrap(), []);
        assert_eq!(asked("one").await.unwrap(), frames(1).collect::<Vec<_>>());
        assert_eq!(asked("many").await.unwrap(), frames(3).collect::<Vec<_>>());
        assert_eq!(asked("stream").await.unwrap(), frames(1_000).collect::<Vec<_>>());
        assert_eq!(asked("body").await.unwrap(), [Frame::new("BODY", vec![0; 1 << 20])]);
        assert_eq!(asked("what?").await.unwrap(), [Frame::text("ERRO", "what?")]);
        let short = asked("short").await.unwrap_err();
        assert!(short.may_have_been_handled(), "{over:?}: {short:?}");
    }
}

#[actix::test]
async fn bodies_stream_in_both_directions_over_links_and_in_classic_exchanges() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let back = handler::from_fn(async |msg: actix_peer::Incoming| {
        let pieces = msg.into_body().map_ok(|piece| Frame::new("PART", piece));
        Reply::stream(
            pieces.take_while(|piece| ready(piece.is_ok())).filter_map(async |piece| piece.ok()),
        )
    });
    let builder = builder(&wires, "bob").handle_stream("BACK", back.start()).unwrap();
    let (ada, bob) = (node(&wires, "ada").await, builder.start().await.unwrap());
    for over in BOTH {
        for len in [0, 1, 1 << 16, 1 << 20, 4 << 20] {
            let body = Outgoing::body("SINK", len, zeros(len)).over(over);
            assert_eq!(ask(&ada, &bob, body).await.unwrap(), len.to_string());
        }
        // More than all windows hold. The answer comes while the body is sent.
        let body = Outgoing::body("BACK", 8 << 20, zeros(8 << 20)).over(over);
        let mut replies = ada.request(bob.info(), body).await.unwrap();
        let mut got = 0;
        while let Some(reply) = replies.next().await {
            got += reply.unwrap().data().len();
        }
        assert_eq!(got, 8 << 20, "{over:?}");
    }
}

#[actix::test]
async fn a_body_source_that_ends_too_early_is_an_error_of_the_caller() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, bob) = (node(&wires, "ada").await, node(&wires, "bob").await);
    for over in BOTH {
        for (len, there) in [(10, 5), (1 << 20, 1 << 17), (4 << 20, 3 << 20)] {
            let body = Outgoing::body("SINK", len, zeros(there)).over(over);
            let asked = async { ada.request(bob.info(), body).await?.collect().await };
            let error = asked.await.unwrap_err();
            // The handler was called with the data that was there.
            assert!(matches!(error, RequestError::Write { sent: true, .. }), "{error:?}");
        }
    }
}

#[actix::test]
async fn typed_messages_are_answered_and_refused_alike_over_links_and_in_classic_exchanges() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = builder(&wires, "bob").on::<Double>(Doubler.start()).unwrap().start().await.unwrap();
    let ada = node(&wires, "ada").await;
    for (over, open) in [(Over::Classic, 0), (Over::Link, 1), (Over::Any, 1)] {
        assert_eq!(ada.send_over(over, bob.info(), Double(21)).await.unwrap(), 42);
        assert_eq!(ada.status().await.links.len(), open);
        let malformed = Outgoing::from(Frame::new(Double::CODE, vec![0xff])).over(over);
        match ask(&ada, &bob, malformed).await {
            Ok(text) => assert_eq!((text.as_str(), over), ("Malformed message", Over::Classic)),
            Err(RequestError::Reset { reason, sent: true }) => {
                assert_eq!(reason, Reason::MALFORMED);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(ada.send(bob.info(), Double(4)).await.unwrap(), 8);
}

#[actix::test]
async fn the_handler_sees_whether_a_message_came_over_a_link_or_a_classic_exchange() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, bob) = (node(&wires, "ada").await, node(&wires, "bob").await);
    let by = async |over| {
        let message = Outgoing::from(Frame::empty("VIA_")).over(over);
        ask(&ada, &bob, message).await.unwrap()
    };
    assert_eq!(by(Over::Classic).await, "Classic");
    assert_eq!(by(Over::Link).await, "Link");
    assert_eq!(
        by(Over::Classic).await,
        "Classic",
        "a classic exchange is used even if a link is open"
    );
    // By default a link is used.
    assert_eq!(via(&ada, &bob).await.unwrap(), Via::Link);
}

#[actix::test]
async fn unknown_codes_and_too_long_messages_are_refused_over_links_and_classic_exchanges() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = node_with(&wires, "ada", Config::default().max_frame_len(1 << 20)).await;
    let bob = node_with(&wires, "bob", Config::default().max_frame_len(1 << 10)).await;
    for over in BOTH {
        let refused = async |message: Outgoing, text: &str, expected: fn(RequestError) -> bool| {
            let asked = ask(&ada, &bob, message.over(over)).await;
            match (over, asked) {
                (Over::Link, Err(error)) => assert!(expected(error), "{text}"),
                (_, asked) => assert_eq!(asked.unwrap(), text),
            }
        };
        let unknown = |error| {
            matches!(error, RequestError::Reset { reason: Reason::UNKNOWN_CODE, sent: true })
        };
        refused(Frame::empty("NOPE").into(), "Unknown message type", unknown).await;
        let too_long = |error| {
            matches!(error, RequestError::NotSendable(FrameError::TooLong { limit: 1_024, .. }))
        };
        let long = Frame::new("ECHO", vec![0; 2 << 10]).into();
        refused(long, "Message too long", too_long).await;
        assert_eq!(ask(&ada, &bob, echo("and on").over(over)).await.unwrap(), "and on");
    }
}

#[actix::test]
async fn one_way_messages_and_requests_reach_a_handler_in_the_order_sent() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let taken = Taken::default();
    let recorder = Recorder::start(&taken, Duration::ZERO);
    let builder = builder(&wires, "bob").handle("NOTE", recorder).unwrap();
    // Few permits, so that some messages have to wait.
    let config = Config::default().max_requests_per_code(2);
    let (ada, bob) = (node(&wires, "ada").await, builder.config(config).start().await.unwrap());
    let mut asked = Vec::new();
    let mut sent = Vec::new();
    for n in 0..60 {
        let long = n % 7 == 0;
        let text = if long { format!("{n} {}", "x".repeat(100_000)) } else { n.to_string() };
        sent.push(text.clone());
        let note = Frame::text("NOTE", text);
        if n % 3 == 0 {
            asked.push(ada.request(bob.info(), note).await.unwrap());
        } else {
            ada.notify(bob.info(), note).await.unwrap();
        }
    }
    for replies in asked {
        let replies = replies.collect().await.unwrap();
        assert_eq!(replies[0].code(), TypeCode::new(b"NOTE"));
    }
    pass(SECOND).await;
    assert_eq!(taken.all(), sent);
}

/// Records how many messages came together.
struct Batches(Taken);

impl Actor for Batches {
    type Context = Context<Self>;
}

impl Handler<IncomingBatch> for Batches {
    type Result = ();

    fn handle(&mut self, batch: IncomingBatch, _: &mut Self::Context) {
        let texts: Vec<_> = batch.iter().map(|data| std::str::from_utf8(data).unwrap()).collect();
        assert_eq!(batch.frames().count(), batch.count());
        self.0.add(texts.join(" "));
    }
}

#[actix::test]
async fn a_batch_handler_receives_the_messages_of_one_read_in_order() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let taken = Taken::default();
    let batches = Batches(taken.clone()).start();
    let builder = builder(&wires, "bob").handle_batch("BATC", batches).unwrap();
    let (ada, bob) = (node(&wires, "ada").await, builder.start().await.unwrap());
    ask(&ada, &bob, echo("the link is open")).await.unwrap();
    for n in 0..100 {
        ada.notify(bob.info(), Frame::text("BATC", n.to_string())).await.unwrap();
    }
    pass(SECOND).await;
    let all = taken.all();
    assert!(all.len() < 10, "{} batches", all.len());
    let numbers: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(all.join(" "), numbers.join(" "));
    // A request of any kind comes alone, and the end of the exchange is its answer.
    for over in BOTH {
        let message = Outgoing::from(Frame::text("BATC", "asked")).over(over);
        let replies = ada.request(bob.info(), message).await.unwrap();
        assert_eq!(replies.collect().await.unwrap(), []);
        assert_eq!(taken.all().last().unwrap(), "asked");
    }
}

#[actix::test]
async fn notify_acked_returns_after_the_message_reached_its_acknowledgement_level() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let taken = Taken::default();
    let recorder = Recorder::start(&taken, Duration::ZERO);
    let builder = builder(&wires, "bob").handle("NOTE", recorder).unwrap();
    let (ada, bob) = (node(&wires, "ada").await, builder.start().await.unwrap());
    let mut sent = Vec::new();
    for over in BOTH {
        for level in [AckLevel::Delivered, AckLevel::Handled] {
            let text = format!("{over:?} {level:?}");
            let message = Outgoing::from(Frame::text("NOTE", text.as_str())).over(over);
            ada.notify_acked(bob.info(), message, level).await.unwrap();
            sent.push(text);
            if level == AckLevel::Handled {
                assert_eq!(taken.all(), sent);
            }
        }
        let unknown = Outgoing::from(Frame::empty("NOPE")).over(over);
        let error = ada.notify_acked(bob.info(), unknown, AckLevel::Handled).await.unwrap_err();
        assert!(matches!(
            error,
            RequestError::Refused { .. } | RequestError::Reset { .. } | RequestError::Reply(_)
        ));
    }
    pass(SECOND).await;
    assert_eq!(taken.all(), sent);
    let body = Outgoing::body("NOTE", 1, zeros(1));
    let error = ada.notify_acked(bob.info(), body, AckLevel::Handled).await.unwrap_err();
    assert!(matches!(error, RequestError::BodyNotKept));
}

#[actix::test]
async fn replies_are_read_one_by_one_and_dropping_them_ends_only_their_exchange() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let endless = handler::from_fn(async |_| {
        Reply::stream(stream::iter(0..).map(|n: u64| Frame::text("PART", n.to_string())))
    });
    let builder = builder(&wires, "bob").handle("MORE", endless.start()).unwrap();
    let (ada, bob) = (node(&wires, "ada").await, builder.start().await.unwrap());
    for over in BOTH {
        let message = Outgoing::from(Frame::empty("MORE")).over(over);
        let replies = ada.request(bob.info(), message).await.unwrap();
        let some: Vec<_> = replies.take(5_000).try_collect().await.unwrap();
        assert_eq!(some.last(), Some(&Frame::text("PART", "4999")));
    }
    pass(SECOND).await;
    let open: Vec<_> = ada.status().await.links.iter().map(|link| link.open).collect();
    assert_eq!(open, [0], "the link is open, and the exchange has ended");
    assert_eq!(ask(&ada, &bob, echo("go on")).await.unwrap(), "go on");
    assert!(holds_nothing(&bob).await);
}

/// Whether nothing of a link's window is held.
async fn holds_nothing(peer: &Peer) -> bool {
    peer.status().await.links.iter().all(|link| link.held == 0)
}

/// "w1" is known to the first node, and "w2" is at its address.
async fn replaced(wires: &MemoryNetwork, config: Config) -> (Peer, Peer, PeerInfo, Taken) {
    let patience = Config::default().reliable_timeout(5 * SECOND);
    let (ada, taken) = (node_with(wires, "ada", patience).await, Taken::default());
    let w2 = crate::known_as(Peer::builder(), wires, "w2").listen("w2:9000").well_known();
    let w2 = w2.config(config).handle("ECHO", Recorder::start(&taken, Duration::ZERO)).unwrap();
    let w2 = w2.on::<Double>(Doubler.start()).unwrap().start().await.unwrap();
    let w1 = PeerInfo::new(peer_id("w1"), w2.info().address().clone()).unwrap();
    ada.peers().add(w1.clone()).await.unwrap();
    (ada, w2, w1, taken)
}

fn peer_id(name: &str) -> PeerId {
    crate::id_of(name).to_string().parse().unwrap()
}

/// "w2" was found at the address of "w1", and nothing was sent to it.
fn is_another(error: &RequestError) -> bool {
    let RequestError::Identity(fault) = error else { return false };
    let (at, expected, found) = ("w2:9000".parse().unwrap(), peer_id("w1"), peer_id("w2"));
    let wrong = IdentityFault::WrongPeer { at, expected, found };
    *fault == wrong && !error.may_have_been_handled()
}

/// Asks a peer, or the node at an address, for its name.
async fn name(ada: &Peer, of: impl IntoTarget) -> Result<Vec<Frame>, RequestError> {
    ada.request(of, Frame::empty(TypeCode::NAME)).await?.collect().await
}

/// The results of a message by each verb.
async fn by_every_verb(ada: &Peer, known: &PeerInfo, to: impl IntoTarget + Clone) {
    let mut results = Vec::new();
    for verb in 0..7 {
        // The peer is removed when it is verified again.
        pass(SECOND).await;
        ada.peers().add(known.clone()).await.unwrap();
        let (to, message) = (to.clone(), echo("x"));
        results.push(match verb {
            0 => ada.request(to, message).await.map(drop),
            1 => ada.notify(to, message).await,
            2 => ada
                .notify_all(to, [Frame::text("ECHO", "x")])
                .await
                .map(drop)
                .map_err(|error| error.source),
            3 => ada.notify_acked(to, message, AckLevel::Handled).await,
            4 => match ada.send(to, Double(1)).await {
                Err(SendError::Request(error)) => Err(error),
                other => panic!("{other:?}"),
            },
            5 => match ada.send_reliable(to, message, AckLevel::Handled).await {
                Err(ReliableError::NotSent(error)) => Err(error),
                other => panic!("{other:?}"),
            },
            _ => match ada.request(to, Outgoing::body("ECHO", 1, zeros(1))).await {
                // Only a frame can be forwarded.
                Err(RequestError::BodyNotRouted) => continue,
                other => other.map(drop),
            },
        });
    }
    for (verb, result) in results.into_iter().enumerate() {
        assert!(result.as_ref().is_err_and(is_another), "{verb}: {result:?}");
    }
}

#[actix::test]
async fn a_message_for_an_id_never_reaches_another_node_by_any_verb() {
    tokio::time::pause();
    // Over the link that the first of these verbs opens, and over a link that was open before.
    for opened in [false, true] {
        let wires = MemoryNetwork::new(1);
        let (ada, w2, w1, taken) = replaced(&wires, Config::default()).await;
        let ask_address = async || {
            let replies = ada.request(w1.address(), echo("x")).await.unwrap();
            assert_eq!(replies.collect().await.unwrap(), [Frame::text("ECHO", "x")]);
        };
        if opened {
            ask_address().await;
        }
        by_every_verb(&ada, &w1, w1.clone()).await;
        by_every_verb(&ada, &w1, w1.id().clone()).await;
        by_every_verb(&ada, &w1, Target::routed(w1.id().clone())).await;
        assert_eq!(taken.len(), usize::from(opened));
        // The address alone means whichever node is there.
        ask_address().await;
        w2.stop().await;
    }
}

#[actix::test]
async fn a_message_to_the_earlier_node_of_an_address_does_not_cut_off_the_node_that_is_there_now() {
    tokio::time::pause();
    // Of two links of a pair, the one of the node with the smaller id stays: "w2" or the other.
    for name in ["bea", "zoe"] {
        let wires = MemoryNetwork::new(1);
        let peer = node_with(&wires, name, Config::default()).await;
        let (_, w2, w1, _) = replaced(&wires, Config::default()).await;
        let over_link = || echo("x").over(Over::Link);
        w2.notify(peer.info(), over_link()).await.unwrap();
        for _ in 0..3 {
            let error = peer.request(&w1, over_link()).await.map(drop).unwrap_err();
            assert!(is_another(&error), "{name}: {error:?}");
            let replies = peer.request(w2.info(), over_link()).await.unwrap();
            assert_eq!(replies.collect().await.unwrap(), [Frame::text("ECHO", "x")]);
            w2.notify(peer.info(), over_link()).await.unwrap();
            pass(SECOND).await;
            assert_eq!(peer.status().await.links.len(), 1, "{name}");
        }
        w2.stop().await;
    }
}

#[actix::test]
async fn a_classic_only_node_with_another_name_is_not_taken_for_the_target() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, w2, w1, _) = replaced(&wires, Config::default().links(false)).await;
    let error = name(&ada, &w1).await.unwrap_err();
    assert!(is_another(&error), "{error:?}");
    let replies = name(&ada, w1.address()).await.unwrap();
    assert_eq!(replies, [Frame::text("REPL", w2.id().to_string())]);
    w2.stop().await;
}

#[actix::test]
async fn a_peer_whose_address_answers_with_another_id_is_verified_again_and_removed() {
    tokio::time::pause();
    for links in [true, false] {
        let wires = MemoryNetwork::new(1);
        let (ada, w2, w1, _) = replaced(&wires, Config::default().links(links)).await;
        let mut events = ada.events();
        assert!(ada.peers().get(w1.id()).await.unwrap().is_some());
        let error = name(&ada, &w1).await.unwrap_err();
        assert!(is_another(&error), "{error:?}");
        let removed = |event: &PeerEvent| match event {
            PeerEvent::PeerRemoved { peer, why } => Some((peer.clone(), *why)),
            _ => None,
        };
        let (peer, why) = event(&mut events, removed).await;
        assert_eq!((peer, why), (w1.clone(), Removed::Replaced));
        assert!(ada.peers().get(w1.id()).await.unwrap().is_none());
        w2.stop().await;
    }
}

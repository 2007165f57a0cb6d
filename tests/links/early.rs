//! Exchanges that end before the message of the other side is complete leave no state.

use std::{io, time::Duration};

use actix::prelude::*;
use actix_peer::{
    Config, Incoming, Outgoing, Over, Peer, Reply,
    connection::LinkStatus,
    frame::Frame,
    handler,
    link::{AckLevel, ExchangeKind, Sequenced},
    transport::memory::MemoryNetwork,
};
use futures::{StreamExt, future::pending, stream};
use tokio::io::{AsyncRead, AsyncReadExt, empty, repeat};
use tokio_util::io::StreamReader;

use crate::{
    SECOND, Taken, builder,
    by_hand::{ByHand, MAX_OPEN},
    links, node, pass,
};

/// How an exchange ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By a message with this code.
    By(&'static str),
    /// By a message with this code, of which a second part arrives.
    SecondPart(&'static str),
    /// By its caller, after a message with this code.
    Cancelled(&'static str),
}

/// The ways in which a request can end.
const ENDS: [End; 15] = [
    // Answered before the data was read: with one frame, several frames, a stream, a body, or none.
    End::By("ONE_"),
    End::By("MANY"),
    End::By("FLOW"),
    End::By("BODY"),
    End::By("NONE"),
    // The handler answers with a reply that cannot be sent.
    End::By("FAIL"),
    End::By("BUSY"),
    End::By("GONE"),
    End::By("LATE"),
    End::By("NOPE"),
    End::By("LONG"),
    End::SecondPart("LIM2"),
    // The sender stalls.
    End::By("READ"),
    // While a handler has it, and while it waits for a permit.
    End::Cancelled("READ"),
    End::Cancelled("WAIT"),
];

/// The ways in which a one-way message can end without its sender.
const ONE_WAY_ENDS: [End; 6] = [
    End::By("GONE"),
    End::By("NOPE"),
    End::By("LONG"),
    End::SecondPart("LIM2"),
    End::By("READ"),
    End::Cancelled("READ"),
];

/// The ways in which a sequenced message can end.
const NUMBERED_ENDS: [End; 4] =
    [End::By("NOPE"), End::By("TAKE"), End::SecondPart("LIM3"), End::Cancelled("TAKE")];

/// An actor that has stopped.
struct Gone;

impl Actor for Gone {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Incoming> for Gone {
    type Result = Reply;

    fn handle(&mut self, _: Incoming, _: &mut Self::Context) -> Reply {
        Reply::none()
    }
}

const DAY: Duration = Duration::from_secs(86_000);

fn config() -> Config {
    Config::default()
        .busy_after(Duration::from_millis(1))
        .handler_timeout(SECOND)
        .stall_timeout(SECOND)
        .body_timeout(SECOND)
        .max_link_requests(MAX_OPEN)
        .link_idle_timeout(DAY)
        .ban_at(u32::MAX)
}

/// Handlers with a single permit, which is never returned.
fn full() -> Config {
    config().max_requests_per_code(1).handler_timeout(DAY)
}

/// A node with a handler for each way of ending early.
async fn receiver(wires: &MemoryNetwork, config: Config) -> Peer {
    let reply = || Frame::text("REPL", "enough");
    let one = handler::from_fn(async move |_: Incoming| Reply::one(reply()));
    let many = handler::from_fn(async move |_: Incoming| Reply::many(vec![reply(), reply()]));
    let flow = handler::from_fn(async move |_: Incoming| {
        Reply::stream(stream::iter(0..3).map(move |_| reply()))
    });
    let body = handler::from_fn(async |_: Incoming| Reply::body("REPL", 9, repeat(0).take(9)));
    let none = handler::from_fn(async |_: Incoming| Reply::none());
    let fail = handler::from_fn(async |_: Incoming| Reply::body("REPL", 9, empty()));
    let never = || handler::from_fn(async |_: Incoming| pending().await).start();
    let late = handler::from_fn(async |_: Incoming| {
        pass(3 * SECOND).await;
        Reply::none()
    });
    let read = || {
        let read = async |msg: Incoming| {
            let mut body = msg.into_body();
            while body.next().await.is_some_and(|piece| piece.is_ok()) {}
            Reply::none()
        };
        handler::from_fn(read).start()
    };
    let streamed = [
        ("ONE_", one.start().recipient()),
        ("MANY", many.start().recipient()),
        ("FLOW", flow.start().recipient()),
        ("BODY", body.start().recipient()),
        ("NONE", none.start().recipient()),
        ("FAIL", fail.start().recipient()),
        ("GONE", Gone.start().recipient()),
        ("BUSY", never().recipient()),
        ("LATE", late.start().recipient()),
        ("LONG", never().recipient()),
        ("LIM2", read().recipient()),
        ("READ", read().recipient()),
        ("WAIT", never().recipient()),
    ];
    let builder = streamed.into_iter().fold(builder(wires, "bob"), |builder, (code, handler)| {
        builder.handle_stream(code, handler).unwrap()
    });
    let builder = builder.handle("TAKE", never()).unwrap().handle("LIM3", never()).unwrap();
    let node = builder.config(config).start().await.unwrap();
    node.set_max_len("LONG", 0).unwrap();
    node.set_max_len("LIM2", 1).unwrap();
    node.set_max_len("LIM3", 1).unwrap();
    node
}

/// Sends `count` messages in parts, and has each end early. `count` should be a multiple of 32.
async fn end_early(eve: &mut ByHand, kind: impl Fn(usize) -> ExchangeKind, end: End, count: usize) {
    let (End::By(code) | End::SecondPart(code) | End::Cancelled(code)) = end;
    for n in 0..count / 32 {
        eve.ended.clear();
        let mut exchanges = Vec::new();
        for i in 0..32 {
            let exchange = eve.begin(code, b"x", kind(n * 32 + i), true).await;
            if matches!(end, End::SecondPart(_)) {
                eve.go_on(exchange, code, b"x", true).await;
            }
            exchanges.push(exchange);
        }
        eve.flush().await;
        if matches!(end, End::Cancelled(_)) {
            tokio::task::yield_now().await;
            exchanges.iter().for_each(|exchange| eve.reset(*exchange));
            eve.flush().await;
            eve.hear_now().await;
        } else {
            while eve.ended.len() < 32 {
                eve.hear().await;
            }
        }
    }
}

async fn only_link(peer: &Peer) -> LinkStatus {
    links(peer).await.into_iter().next().expect("a link")
}

/// The number of exchanges of the other side, and the bytes of its window.
async fn sizes(peer: &Peer) -> (usize, usize, usize, u32) {
    let link = only_link(peer).await;
    (link.open, link.incomplete, link.in_hand, link.held)
}

const fn numbered(sequence: usize) -> ExchangeKind {
    let sequence = sequence as u64 + 1;
    ExchangeKind::Sequenced(Sequenced {
        incarnation: 1,
        series: 0,
        sequence,
        level: AckLevel::Handled,
    })
}

/// The ways in which one kind of message ends.
type Ends = (&'static [End], fn(usize) -> ExchangeKind);

/// Sends `count` messages of each kind that end early, in each way, and checks that no state is
/// left.
async fn all_ends(count: usize, look: impl Fn(&str)) {
    let kinds: [Ends; 3] = [
        (&ENDS, |_| ExchangeKind::Request),
        (&ONE_WAY_ENDS, |_| ExchangeKind::OneWay),
        (&NUMBERED_ENDS, numbered),
    ];
    for (ends, kind) in kinds {
        for end in ends {
            let wires = MemoryNetwork::new(1);
            let (config, held) = match end {
                End::By("BUSY") => (full(), Some("BUSY")),
                End::Cancelled("WAIT") => (full().busy_after(DAY), Some("WAIT")),
                _ => (config(), None),
            };
            let bob = receiver(&wires, config).await;
            let mut eve = ByHand::dial(&wires, &bob).await;
            if let Some(code) = held {
                eve.begin(code, b"", ExchangeKind::Request, false).await;
                eve.flush().await;
            }
            pass(Duration::from_millis(10)).await;
            let before = sizes(&bob).await;
            let which = format!("{:?} {end:?}", kind(0));
            end_early(&mut eve, kind, *end, count / 10).await;
            look(&which);
            end_early(&mut eve, |n| kind(n + count), *end, count).await;
            pass(5 * SECOND).await;
            eve.hear_now().await;
            look(&which);
            assert_eq!(sizes(&bob).await, before, "{which}");
        }
    }
}

#[actix::test]
async fn an_exchange_that_ends_before_its_message_leaves_no_state() {
    tokio::time::pause();
    all_ends(1_280, |_| ()).await;
}

/// The resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// The target of the design: memory is flat over a million exchanges, in each way.
#[actix::test]
#[ignore = "takes many minutes"]
async fn memory_is_flat_over_a_million_exchanges_that_end_early_in_each_way() {
    tokio::time::pause();
    let before = std::cell::Cell::new(None);
    all_ends(1_000_000, |which| match before.take() {
        None => before.set(Some(resident_kib())),
        Some(before) => {
            let grown = resident_kib().saturating_sub(before);
            println!("{which}: {grown} KiB more after a million");
            assert!(grown < 2 << 10, "{which}: {grown} KiB");
        }
    })
    .await;
}

/// A source that gives one byte, and then nothing more.
fn stalls() -> impl AsyncRead + Send + Unpin + 'static {
    let byte = stream::iter([io::Result::Ok(&b"x"[..])]);
    StreamReader::new(byte.chain(stream::pending()))
}

#[actix::test]
async fn a_body_that_was_answered_before_its_end_leaves_no_state_on_either_side() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, bob) = (node(&wires, "ada").await, receiver(&wires, config()).await);
    for _ in 0..500 {
        let body = Outgoing::body("ONE_", 9, stalls()).over(Over::Link);
        let mut replies = ada.request(bob.info(), body).await.unwrap();
        assert_eq!(replies.next().await.unwrap().unwrap(), Frame::text("REPL", "enough"));
    }
    pass(SECOND).await;
    for peer in [&ada, &bob] {
        assert_eq!(sizes(peer).await, (0, 0, 0, 0));
    }
}

#[actix::test]
async fn a_stalled_streamed_one_way_message_is_aborted_and_its_link_becomes_idle() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let config = config().stall_timeout(10 * SECOND).link_idle_timeout(30 * SECOND);
    let bob = receiver(&wires, config).await;
    let mut eve = ByHand::dial(&wires, &bob).await;
    let stalls = eve.begin("READ", b"x", ExchangeKind::OneWay, true).await;
    eve.flush().await;
    // While it progresses it is not aborted, however long it takes.
    for _ in 0..10 {
        eve.pass(8).await;
        eve.go_on(stalls, "READ", b"x", true).await;
        eve.flush().await;
    }
    assert_eq!((eve.ended.len(), only_link(&bob).await.incomplete), (0, 1));
    eve.pass(15).await;
    assert_eq!(eve.ended, [stalls]);
    assert_eq!(sizes(&bob).await, (0, 0, 0, 0));
    assert_eq!(bob.status().await.counts.errors_late, 1);
    eve.pass(30).await;
    assert!(eve.left);
}

#[actix::test]
async fn a_handler_that_answers_before_its_body_is_complete_sees_the_body_end_at_once() {
    tokio::time::pause();
    let (wires, taken) = (MemoryNetwork::new(1), Taken::default());
    let heard = taken.clone();
    let reads_on = handler::from_fn(async move |msg: Incoming| {
        let (mut body, heard) = (msg.into_body(), heard.clone());
        actix_rt::spawn(async move {
            while let Some(piece) = body.next().await {
                heard.add(piece.map_or_else(|error| error.to_string(), |_| "piece".to_owned()));
            }
        });
        Reply::none()
    });
    let bob = builder(&wires, "bob").handle_stream("MORE", reads_on.start()).unwrap();
    let bob = bob.start().await.unwrap();
    let mut eve = ByHand::dial(&wires, &bob).await;
    eve.begin("MORE", b"x", ExchangeKind::Request, true).await;
    eve.flush().await;
    pass(SECOND / 10).await;
    assert_eq!(taken.all(), ["piece", "the exchange was ended: cancelled"]);
}

#[actix::test]
async fn a_stopped_node_keeps_no_state_of_incomplete_messages() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = receiver(&wires, full()).await;
    let mut eve = ByHand::dial(&wires, &bob).await;
    for code in ["WAIT", "READ", "TAKE"] {
        for n in 0..10 {
            eve.begin(code, b"x", ExchangeKind::Request, true).await;
            eve.begin(code, b"x", ExchangeKind::OneWay, true).await;
            if code == "TAKE" {
                eve.begin(code, b"x", numbered(n), true).await;
            }
        }
    }
    eve.flush().await;
    tokio::task::yield_now().await;
    assert!(only_link(&bob).await.incomplete > 0);
    let report = bob.stop().await;
    assert!(links(&bob).await.is_empty(), "{report:?}");
}

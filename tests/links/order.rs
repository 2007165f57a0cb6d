//! The order in which the messages of a link reach each handler actor.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Config, Incoming, IncomingBatch, Peer, Reply, handler,
    link::{AckLevel, ExchangeKind, Sequenced},
    transport::memory::MemoryNetwork,
};
use fastrand::Rng;
use futures::TryStreamExt;
use tokio::sync::Notify;

use crate::{SECOND, by_hand::ByHand, links, pass};

/// The numbers of the messages that an actor received, in the order of its calls.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Option<u32>>>>);

impl Calls {
    /// Records a call whose number has not been read yet.
    fn begun(&self) -> usize {
        let mut calls = self.0.lock().unwrap();
        calls.push(None);
        calls.len() - 1
    }

    fn read(&self, call: usize, data: &[u8]) -> u32 {
        let number = number_of(data);
        self.0.lock().unwrap()[call] = Some(number);
        number
    }

    fn all(&self) -> Vec<u32> {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(|call| call.expect("the call has read its message"))
            .collect()
    }
}

fn number_of(data: &[u8]) -> u32 {
    u32::from_be_bytes(*data.first_chunk().unwrap())
}

/// One actor for every code and kind. It handles several requests at once, each for a different
/// time.
struct Everything(Calls);

impl Actor for Everything {
    type Context = Context<Self>;
}

impl Handler<Incoming> for Everything {
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, msg: Incoming, _: &mut Self::Context) -> Self::Result {
        let calls = self.0.clone();
        let call = calls.begun();
        Box::pin(async move {
            let mut body = msg.into_body();
            let first = body.try_next().await.unwrap().unwrap();
            let number = calls.read(call, &first);
            while body.try_next().await.unwrap().is_some() {}
            pass(Duration::from_millis(u64::from(number * 7 % 5))).await;
            Reply::none()
        })
    }
}

impl Handler<IncomingBatch> for Everything {
    type Result = ();

    fn handle(&mut self, batch: IncomingBatch, _: &mut Self::Context) {
        for data in batch.iter() {
            let call = self.0.begun();
            self.0.read(call, data);
        }
    }
}

/// Long enough for all messages.
const LONG: Duration = Duration::from_secs(3_600);

fn patient() -> Config {
    let config = Config::default().busy_after(LONG).handler_timeout(LONG).stall_timeout(LONG);
    config.ban_at(u32::MAX)
}

/// A node with this many actors. Each actor has four codes: two for whole messages, one for
/// streams, one for batches. The handler of `HELD` answers when it is notified.
async fn node(
    wires: &MemoryNetwork,
    config: Config,
    actors: usize,
) -> (Peer, Vec<Calls>, Arc<Notify>) {
    let release = Arc::new(Notify::new());
    let released = Arc::clone(&release);
    let held = handler::from_fn(async move |_: Incoming| {
        released.notified().await;
        Reply::none()
    });
    let mut builder = crate::builder(wires, "bob").config(config);
    builder = builder.handle("HELD", held.start()).unwrap();
    let mut all = Vec::new();
    for n in 0..actors {
        let calls = Calls::default();
        let actor = Everything(calls.clone()).start();
        builder = builder
            .handle(&*format!("ONE{n}"), actor.clone())
            .and_then(|builder| builder.handle(&*format!("TWO{n}"), actor.clone()))
            .and_then(|builder| builder.handle_stream(&*format!("STR{n}"), actor.clone()))
            .and_then(|builder| builder.handle_batch(&*format!("BAT{n}"), actor.clone()))
            .unwrap();
        all.push(calls);
    }
    (builder.start().await.unwrap(), all, release)
}

const fn numbered(sequence: u64, level: AckLevel) -> ExchangeKind {
    ExchangeKind::Sequenced(Sequenced { incarnation: 1, series: 0, sequence, level })
}

#[actix::test]
async fn a_message_behind_one_that_waits_for_a_permit_of_its_code_reaches_the_actor_after_it() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (bob, calls, _) = node(&wires, patient().max_requests_per_code(1), 1).await;
    let mut eve = ByHand::dial(&wires, &bob).await;
    // The first request holds the only permit of its code. The second one waits for it.
    for number in [1_u32, 2] {
        eve.begin("ONE0", &number.to_be_bytes(), ExchangeKind::Request, false).await;
    }
    // Other codes of the same actor have permits.
    eve.one_way("TWO0", &3_u32.to_be_bytes()).await;
    eve.begin("TWO0", &4_u32.to_be_bytes(), ExchangeKind::Request, false).await;
    eve.one_way("BAT0", &5_u32.to_be_bytes()).await;
    eve.begin("STR0", &6_u32.to_be_bytes(), ExchangeKind::Request, true).await;
    eve.begin("TWO0", &7_u32.to_be_bytes(), numbered(1, AckLevel::Delivered), false).await;
    eve.flush().await;
    pass(SECOND).await;
    assert_eq!(calls[0].all(), [1, 2, 3, 4, 5, 6, 7]);
}

#[actix::test]
async fn a_one_way_message_behind_a_request_that_waits_for_a_permit_of_the_node_follows_it() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (bob, calls, release) = node(&wires, patient().max_requests(1), 1).await;
    let mut eve = ByHand::dial(&wires, &bob).await;
    eve.begin("HELD", b"", ExchangeKind::Request, false).await;
    eve.begin("ONE0", &1_u32.to_be_bytes(), ExchangeKind::Request, false).await;
    eve.one_way("ONE0", &2_u32.to_be_bytes()).await;
    eve.flush().await;
    pass(SECOND).await;
    assert!(calls[0].all().is_empty());
    release.notify_one();
    pass(SECOND).await;
    assert_eq!(calls[0].all(), [1, 2]);
}

#[actix::test]
async fn a_message_behind_a_sequenced_message_that_waits_reaches_the_actor_after_it() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (bob, calls, release) = node(&wires, patient().max_requests(1), 1).await;
    let mut eve = ByHand::dial(&wires, &bob).await;
    eve.begin("HELD", b"", ExchangeKind::Request, false).await;
    eve.begin("ONE0", &1_u32.to_be_bytes(), numbered(1, AckLevel::Handled), false).await;
    eve.one_way("ONE0", &2_u32.to_be_bytes()).await;
    eve.one_way("BAT0", &3_u32.to_be_bytes()).await;
    eve.begin("ONE0", &4_u32.to_be_bytes(), numbered(2, AckLevel::Delivered), false).await;
    eve.begin("TWO0", &5_u32.to_be_bytes(), ExchangeKind::Request, false).await;
    eve.flush().await;
    pass(SECOND).await;
    assert!(calls[0].all().is_empty());
    release.notify_one();
    pass(SECOND).await;
    assert_eq!(calls[0].all(), [1, 2, 3, 4, 5]);
}

#[actix::test]
async fn a_request_that_is_refused_while_it_waits_releases_only_the_messages_behind_it() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (bob, calls, release) = node(&wires, patient().max_requests(1).busy_after(SECOND), 1).await;
    let mut eve = ByHand::dial(&wires, &bob).await;
    eve.begin("HELD", b"", ExchangeKind::Request, false).await;
    // It waits as long as a handler may take.
    eve.begin("ONE0", &1_u32.to_be_bytes(), numbered(1, AckLevel::Handled), false).await;
    let refused = eve.begin("ONE0", &2_u32.to_be_bytes(), ExchangeKind::Request, false).await;
    eve.one_way("ONE0", &3_u32.to_be_bytes()).await;
    eve.flush().await;
    pass(3 * SECOND).await;
    eve.hear_now().await;
    assert_eq!((&eve.ended[..], calls[0].all()), (&[refused][..], vec![]));
    release.notify_one();
    pass(SECOND).await;
    assert_eq!(calls[0].all(), [1, 3]);
}

const ACTORS: usize = 3;

/// Random messages of a peer that is driven by hand.
struct Mix {
    random: Rng,
    eve: ByHand,
    /// The numbers that were sent, by actor.
    sent: Vec<Vec<u32>>,
    /// The number of the last sequenced message.
    sequence: u64,
    /// Streamed messages whose last part is still to come.
    streams: Vec<(u32, String)>,
}

impl Mix {
    fn kind(&mut self) -> ExchangeKind {
        match self.random.u32(..10) {
            0..4 => ExchangeKind::OneWay,
            4..8 => ExchangeKind::Request,
            n => {
                self.sequence += 1;
                numbered(self.sequence, [AckLevel::Delivered, AckLevel::Handled][n as usize % 2])
            }
        }
    }

    /// Sends the message `number` to a random handler.
    async fn send(&mut self, number: u32) {
        let actor = self.random.usize(..ACTORS);
        let code = format!("{}{actor}", self.random.choice(["ONE", "TWO", "STR", "BAT"]).unwrap());
        let kind = self.kind();
        let data = number.to_be_bytes();
        let streamed = code.starts_with("STR") && !matches!(kind, ExchangeKind::Sequenced(_));
        self.sent[actor].push(number);
        if streamed && self.random.bool() && self.streams.len() < 2 {
            self.streams.push((self.eve.begin(&code, &data, kind, true).await, code));
        } else if self.random.u8(..5) == 0 {
            let exchange = self.eve.begin(&code, &data, kind, true).await;
            let more = vec![0; self.random.usize(1..2_000)];
            self.eve.go_on(exchange, &code, &more, true).await;
            self.eve.go_on(exchange, &code, b"end", false).await;
        } else if kind == ExchangeKind::OneWay {
            self.eve.one_way(&code, &data).await;
        } else {
            self.eve.begin(&code, &data, kind, false).await;
        }
    }

    /// Ends a stream, writes, waits and reads, each now and then.
    async fn pause(&mut self) {
        if self.random.u8(..4) == 0 && !self.streams.is_empty() {
            let at = self.random.usize(..self.streams.len());
            let (exchange, code) = self.streams.swap_remove(at);
            self.eve.go_on(exchange, &code, b"end", false).await;
        }
        if self.random.u8(..4) == 0 {
            self.eve.flush().await;
            pass(Duration::from_millis(self.random.u64(..4))).await;
        }
        if self.random.u8(..8) == 0 {
            self.eve.hear_now().await;
        }
    }
}

/// Sends `count` messages with random handlers, codes, kinds and pauses. Returns what each actor
/// was sent and what it received, in order.
async fn mixed(seed: u64, config: Config, count: u32) -> Vec<(Vec<u32>, Vec<u32>)> {
    let mut random = Rng::with_seed(seed);
    let wires = MemoryNetwork::new(seed);
    let config = config
        .max_requests_per_code(random.usize(1..4))
        .max_requests(random.usize(2..6))
        .max_link_requests(random.u32(4..40));
    if seed % 2 == 1 {
        wires.latency(Duration::ZERO..Duration::from_millis(3));
    }
    let (bob, calls, _) = node(&wires, config, ACTORS).await;
    let eve = ByHand::dial(&wires, &bob).await;
    let (sent, streams) = (vec![Vec::new(); ACTORS], Vec::new());
    let mut mix = Mix { random, eve, sent, sequence: 0, streams };
    for number in 0..count {
        mix.send(number).await;
        mix.pause().await;
    }
    for (exchange, code) in mix.streams {
        mix.eve.go_on(exchange, &code, b"end", false).await;
    }
    mix.eve.flush().await;
    mix.eve.pass(20).await;
    let link = &links(&bob).await[0];
    assert_eq!((link.open, link.incomplete, link.in_hand, link.held), (0, 0, 0, 0), "{seed}");
    mix.sent.into_iter().zip(calls.iter().map(Calls::all)).collect()
}

#[actix::test]
async fn every_mix_of_codes_and_kinds_reaches_each_actor_in_the_order_sent() {
    tokio::time::pause();
    for seed in 0..30 {
        for (actor, (sent, got)) in mixed(seed, patient(), 300).await.into_iter().enumerate() {
            assert_eq!(got, sent, "seed {seed}, actor {actor}");
        }
    }
}

#[actix::test]
async fn messages_refused_as_busy_leave_the_rest_in_the_order_sent() {
    tokio::time::pause();
    let mut refused = 0;
    for seed in 0..30 {
        let config = patient().busy_after(Duration::from_millis(3));
        for (actor, (sent, got)) in mixed(seed, config, 300).await.into_iter().enumerate() {
            let mut rest = sent.iter();
            let in_order = got.iter().all(|number| rest.any(|other| other == number));
            assert!(in_order, "seed {seed}, actor {actor}: {got:?}");
            refused += sent.len() - got.len();
        }
    }
    assert!(refused > 100, "{refused}");
}

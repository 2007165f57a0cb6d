//! The servers: a node, and the bare server.

use std::{io, net::SocketAddr, time::Duration};

use actix::prelude::*;
use actix_peer::{Config, Incoming, IncomingBatch, Peer, Reply, StartError, frame::Frame, handler};
use futures::TryStreamExt;
use tokio::net::TcpListener;

use crate::{bare, memory::resident, work::HandlerKind};

/// The number of messages between two sleeps of the slow handler.
const SLEEP_AFTER: u64 = 1_000;
const SLEEP: Duration = Duration::from_millis(10);

/// Counts its messages. Answers `STAT` with the count, and resets it.
#[derive(Default)]
struct Counter {
    count: u64,
    sleepy: bool,
}

impl Counter {
    fn stat(&mut self) -> Reply {
        Reply::one(Frame::new("REPL", std::mem::take(&mut self.count).to_be_bytes().to_vec()))
    }
}

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Incoming> for Counter {
    type Result = Reply;

    fn handle(&mut self, msg: Incoming, ctx: &mut Self::Context) -> Reply {
        if msg.frame.code().as_bytes().starts_with(b"STA") {
            return self.stat();
        }
        self.count += 1;
        if self.sleepy && self.count.is_multiple_of(SLEEP_AFTER) {
            ctx.wait(tokio::time::sleep(SLEEP).into_actor(self));
        }
        Reply::none()
    }
}

impl Handler<IncomingBatch> for Counter {
    type Result = ();

    fn handle(&mut self, batch: IncomingBatch, _: &mut Self::Context) {
        self.count += batch.iter().filter(|data| !data.is_empty()).count() as u64;
    }
}

struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Incoming> for Echo {
    type Result = Reply;

    fn handle(&mut self, msg: Incoming, _: &mut Self::Context) -> Reply {
        Reply::one(msg.frame)
    }
}

/// Starts a node with handlers for every mode. Call it on an arbiter.
pub(crate) async fn node(listen: &str, workers: usize) -> Result<Peer, StartError> {
    let sink = handler::from_fn(async |msg: Incoming| {
        let mut body = msg.into_body();
        loop {
            match body.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => break Reply::one(Frame::text("REPL", body.received().to_string())),
                Err(error) => break Reply::error(error.to_string()),
            }
        }
    });
    let memory = handler::from_fn(async |_: Incoming| {
        Reply::one(Frame::text("REPL", resident().unwrap_or(0).to_string()))
    });
    let (each, batch) = (Counter::default().start(), Counter::default().start());
    let sleepy = Counter { sleepy: true, ..Counter::default() }.start();
    let codes =
        [HandlerKind::Each, HandlerKind::Batch, HandlerKind::Sleepy].map(HandlerKind::codes);
    let [(one, one_stat), (many, many_stat), (slow, slow_stat)] = codes;
    Peer::builder()
        .handle(one, each.clone())?
        .handle(one_stat, each)?
        .handle_batch(many, batch.clone())?
        .handle(many_stat, batch)?
        .handle(slow, sleepy.clone())?
        .handle(slow_stat, sleepy)?
        .listen(listen)
        .workers(workers)
        .config(Config::default().max_connections(10_000).max_connections_per_source(10_000))
        .handle("ECHO", Echo.start())?
        .handle_stream("SINK", sink.start())?
        .handle("MEMO", memory.start())?
        .start()
        .await
}

/// Starts the bare server. Call it on an arbiter.
pub(crate) async fn bare(listen: &str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    actix_rt::spawn(bare::serve(listener));
    Ok(address)
}

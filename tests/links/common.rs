//! Helpers of the tests of links: nodes with handlers, over the transport of the test binary.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Builder, Config, Events, Incoming, Outgoing, Peer, PeerEvent, Reply, RequestError,
    frame::Frame, handler, message::Via, session::LinkStatus, transport::memory::MemoryNetwork,
};
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, repeat};

#[path = "../drink/mod.rs"]
mod drink;

use self::drink::drink;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A node with the handlers that most tests need.
pub(crate) fn builder(wires: &MemoryNetwork, name: &str) -> Builder {
    let echo = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame));
    let via = handler::from_fn(async |msg: Incoming| {
        Reply::one(Frame::text("REPL", format!("{:?}", msg.sender().via())))
    });
    crate::known_as(Peer::builder(), wires, name)
        .listen(format!("{name}:9000"))
        .well_known()
        .handle("ECHO", echo.start())
        .unwrap()
        .handle("VIA_", via.start())
        .unwrap()
        .handle_stream("SINK", handler::from_fn(drink).start())
        .unwrap()
}

pub(crate) async fn node(wires: &MemoryNetwork, name: &str) -> Peer {
    builder(wires, name).start().await.unwrap()
}

pub(crate) async fn node_with(wires: &MemoryNetwork, name: &str, config: Config) -> Peer {
    builder(wires, name).config(config).start().await.unwrap()
}

/// The text of the only reply.
pub(crate) async fn ask(from: &Peer, to: &Peer, message: Outgoing) -> Result<String, RequestError> {
    let replies = from.request(to.info(), message).await?.collect().await?;
    assert_eq!(replies.len(), 1, "{replies:?}");
    Ok(replies[0].as_str().unwrap().to_owned())
}

pub(crate) fn echo(text: &str) -> Outgoing {
    Frame::text("ECHO", text).into()
}

/// How a message with the default options reaches `to`.
pub(crate) async fn via(from: &Peer, to: &Peer) -> Result<Via, RequestError> {
    let text = ask(from, to, Frame::empty("VIA_").into()).await?;
    Ok(if text == "Link" { Via::Link } else { Via::Classic })
}

pub(crate) fn zeros(len: u32) -> impl AsyncRead + Send + Unpin + 'static {
    repeat(0).take(len.into())
}

pub(crate) async fn links(peer: &Peer) -> Vec<LinkStatus> {
    peer.status().await.links
}

/// Lets `time` pass for all nodes.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The next event for which `which` returns a value.
pub(crate) async fn event<T>(events: &mut Events, which: impl Fn(&PeerEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = events.next().await.expect("the stream of events is open");
            if let Some(found) = which(&event) {
                return found;
            }
        }
    };
    tokio::time::timeout(100 * SECOND, found).await.expect("the event occurs in time")
}

/// The texts that a handler has received, in order.
#[derive(Clone, Default)]
pub(crate) struct Taken(Arc<Mutex<Vec<String>>>);

impl Taken {
    pub(crate) fn add(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Records each message and answers with it, after the time `each`.
pub(crate) struct Recorder {
    taken: Taken,
    each: Duration,
}

impl Recorder {
    pub(crate) fn start(taken: &Taken, each: Duration) -> Addr<Self> {
        Actor::start(Self { taken: taken.clone(), each })
    }
}

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<Incoming> for Recorder {
    type Result = Reply;

    fn handle(&mut self, msg: Incoming, ctx: &mut Self::Context) -> Reply {
        self.taken.add(msg.frame.as_str().unwrap());
        if !self.each.is_zero() {
            ctx.wait(tokio::time::sleep(self.each).into_actor(self));
        }
        Reply::one(msg.frame)
    }
}

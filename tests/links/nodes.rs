//! Nodes with handlers, over the transport of the test binary.

use std::time::Duration;

use actix::prelude::*;
use actix_peer::{
    Builder, Config, Events, Incoming, Outgoing, Peer, PeerEvent, Reply, RequestError,
    connection::LinkStatus, frame::Frame, handler, message::Via, transport::memory::MemoryNetwork,
};

use crate::{
    SECOND,
    common::{
        handlers,
        nodes::{event_within, replies},
    },
};

/// A node with the handlers that most tests need.
pub(crate) fn builder(wires: &MemoryNetwork, name: &str) -> Builder {
    let via = handler::from_fn(async |msg: Incoming| {
        Reply::one(Frame::text("REPL", format!("{:?}", msg.sender().via())))
    });
    crate::known_as(Peer::builder(), wires, name)
        .listen(format!("{name}:9000"))
        .well_known()
        .handle("ECHO", handlers::echo())
        .unwrap()
        .handle("VIA_", via.start())
        .unwrap()
        .handle_stream("SINK", handler::from_fn(handlers::measure).start())
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
    let replies = replies(from, to, message).await?;
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

pub(crate) async fn links(peer: &Peer) -> Vec<LinkStatus> {
    peer.status().await.links
}

/// Lets `time` pass for all nodes.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The next event for which `which` returns a value.
pub(crate) async fn event<T>(events: &mut Events, which: impl Fn(&PeerEvent) -> Option<T>) -> T {
    event_within(100 * SECOND, events, |event| which(&event)).await
}

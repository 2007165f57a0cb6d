//! Nodes that speak links to each other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use actix::prelude::*;
use actix_peer::{
    Builder, Incoming, Outgoing, Over, Peer, Reply, RequestError, frame::Frame, handler,
    overlay::Host, transport::memory::MemoryNetwork,
};
use futures::TryStreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, repeat};

fn builder(wires: &MemoryNetwork, name: &str) -> Builder {
    let host: Host = name.parse().unwrap();
    let echo = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame));
    let drink = handler::from_fn(async |msg: Incoming| {
        let (mut body, mut len) = (msg.into_body(), 0);
        loop {
            match body.try_next().await {
                Ok(Some(piece)) => len += piece.len(),
                Ok(None) => break Reply::one(Frame::text("REPL", len.to_string())),
                Err(error) => break Reply::error(error.to_string()),
            }
        }
    });
    Peer::builder()
        .transport(wires.transport(host))
        .listen(format!("{name}:9000"))
        .id(name)
        .well_known()
        .handle("ECHO", echo.start())
        .unwrap()
        .handle_stream("SINK", drink.start())
        .unwrap()
}

async fn node(wires: &MemoryNetwork, name: &str) -> Peer {
    builder(wires, name).start().await.unwrap()
}

fn zeros(len: u32) -> impl AsyncRead + Send + Unpin + 'static {
    repeat(0).take(len.into())
}

#[actix::test]
async fn a_body_of_any_length_is_sent_in_parts() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, bob) = (node(&wires, "ada").await, node(&wires, "bob").await);
    for len in [0, 1, 1 << 16, 1 << 20, 4 << 20] {
        let body = Outgoing::body("SINK", len, zeros(len)).over(Over::Link);
        let replies = ada.request(bob.info(), body).await.unwrap().collect().await.unwrap();
        assert_eq!(replies, [Frame::text("REPL", len.to_string())]);
    }
}

#[actix::test]
async fn a_source_that_ends_too_early_is_the_callers_error() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (ada, bob) = (node(&wires, "ada").await, node(&wires, "bob").await);
    for (len, there) in [(10, 5), (1 << 20, 1 << 17), (4 << 20, 3 << 20)] {
        let body = Outgoing::body("SINK", len, zeros(there)).over(Over::Link);
        let asked = async { ada.request(bob.info(), body).await?.collect().await };
        let error = asked.await.unwrap_err();
        assert!(matches!(error, RequestError::Write { sent: false, .. }), "{error:?}");
    }
}

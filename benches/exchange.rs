//! Compares classic exchanges with the same work in bare tokio: `cargo bench --bench exchange`.
//!
//! Client and server run on one thread, so that a rate includes the work of both. Each round
//! measures both versions; the ratio is the median over the rounds. The bare version reads header
//! and data, answers with one write, and closes, without limits, time-outs and routes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark may panic, and measures real time"
)]

mod support;

use std::time::Instant;

use actix::prelude::*;
use actix_peer::{Config, Incoming, Outgoing, Over, Peer, Reply, frame::Frame};
use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const ROUNDS: usize = 9;
const DATA: [u8; 64] = [7; 64];

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

async fn bare_server(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        stream.set_nodelay(true).ok();
        actix_rt::spawn(async move {
            let mut header = [0; 8];
            stream.read_exact(&mut header).await?;
            let [code @ .., _, _, _, _] = header;
            let len = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            let mut answer = Vec::with_capacity(8 + len as usize);
            answer.extend_from_slice(&code);
            answer.extend_from_slice(&len.to_be_bytes());
            answer.resize(8 + len as usize, 0);
            stream.read_exact(answer.get_mut(8..).unwrap_or_default()).await?;
            stream.write_all(&answer).await?;
            stream.shutdown().await?;
            stream.read(&mut [0; 1]).await
        });
    }
}

async fn bare_exchange(to: std::net::SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut frame = b"ECHO\0\0\0\x40".to_vec();
    frame.extend_from_slice(&DATA);
    stream.write_all(&frame).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    assert_eq!(answer, frame);
    Ok(())
}

/// The rate of `count` exchanges, of which `at_once` are open.
async fn measure<F: Future<Output = ()>>(count: usize, at_once: usize, one: impl Fn() -> F) -> f64 {
    let begun = Instant::now();
    stream::iter(0..count).for_each_concurrent(at_once, |_| one()).await;
    support::rate(count as f64, begun.elapsed())
}

#[actix::main]
async fn main() {
    let run = async {
        let config = Config::default().max_connections_per_source(1_024);
        let node = Peer::builder().config(config).handle("ECHO", Echo.start())?.start().await?;
        let peer = Peer::builder().start().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let bare = listener.local_addr()?;
        let serving = actix_rt::spawn(bare_server(listener));
        let expected = [Frame::new("ECHO", DATA.to_vec())];
        let ours = async || {
            let frame = Outgoing::from(Frame::new("ECHO", DATA.to_vec()));
            let replies = peer.request(node.info(), frame.over(Over::Classic)).await;
            let replies = replies.expect("a connection").collect().await.expect("a reply");
            assert_eq!(replies, expected);
        };
        let theirs = async || bare_exchange(bare).await.expect("a reply");
        let count = std::env::var("COUNT").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
        for at_once in [1, 8, 64] {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let bare_first = measure(count / 2, at_once, theirs).await;
                let rate = measure(count, at_once, ours).await;
                let bare_then = measure(count / 2, at_once, theirs).await;
                rounds.push((rate, f64::midpoint(bare_first, bare_then)));
            }
            support::compare(&format!("exchanges, {at_once} at once"), "per s", 0.75, &rounds);
        }
        serving.abort();
        peer.stop().await;
        node.stop().await;
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    run.await.expect("two nodes on loopback");
}

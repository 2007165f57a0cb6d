//! Compares a body of 1 GiB with a bare socket copy: `cargo bench --bench stream`.
//!
//! Both sides run on one thread. The bare copy writes and reads 256 KiB at a time. Memory is
//! sampled every 50 ms while the body streams.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark may panic, and measures real time"
)]

mod support;

use std::{
    io,
    pin::Pin,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use actix::prelude::*;
use actix_peer::{Incoming, Outgoing, Over, Peer, Reply, frame::Frame, handler};
use futures::TryStreamExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
};

const LEN: u32 = 1 << 30;
const ROUNDS: usize = 5;
const PIECE: usize = 256 << 10;
const GROWTH: u64 = 32 << 20;

/// A reader of this many zero bytes.
struct Zeroes(u64);

impl AsyncRead for Zeroes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = space.remaining().min(usize::try_from(self.0).unwrap_or(usize::MAX));
        space.initialize_unfilled_to(len).fill(0);
        space.advance(len);
        self.0 -= len as u64;
        Poll::Ready(Ok(()))
    }
}

async fn bare() -> io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut to = TcpStream::connect(listener.local_addr()?).await?;
    let (mut from, _) = listener.accept().await?;
    let begun = Instant::now();
    let write = async {
        let mut piece = vec![0; PIECE];
        let mut left = LEN as usize;
        while left > 0 {
            // Filled again, because the source of the body does the same.
            piece.fill(0);
            to.write_all(&piece).await?;
            left -= PIECE;
        }
        to.shutdown().await
    };
    let read = async {
        let (mut piece, mut got) = (vec![0; PIECE], 0);
        loop {
            match from.read(&mut piece).await? {
                0 => break Ok::<_, io::Error>(got),
                n => got += n,
            }
        }
    };
    let (written, got) = futures::future::join(write, read).await;
    written?;
    assert_eq!(got?, LEN as usize);
    Ok(support::rate(f64::from(LEN >> 20), begun.elapsed()))
}

async fn ours(peer: &Peer, node: &Peer) -> f64 {
    let begun = Instant::now();
    let request = Outgoing::body("BODY", LEN, Zeroes(LEN.into())).over(Over::Classic);
    let replies = peer.request(node.info(), request).await.expect("a connection");
    let replies = replies.collect().await.expect("a reply");
    assert_eq!(replies, [Frame::text("REPL", LEN.to_string())]);
    support::rate(f64::from(LEN >> 20), begun.elapsed())
}

#[actix::main]
async fn main() {
    let count = handler::from_fn(async |msg: Incoming| {
        let sum = msg.into_body().try_fold(0, async |sum, piece| Ok(sum + piece.len() as u64));
        Reply::one(Frame::text("REPL", sum.await.expect("the whole body").to_string()))
    });
    let builder = Peer::builder().handle_stream("BODY", count.start()).expect("a code");
    let node = builder.start().await.expect("a node");
    let peer = Peer::builder().start().await.expect("a node");
    let before = support::resident("self");
    let watch = actix_rt::spawn(async move {
        let mut max = before;
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = support::resident("self");
            if now > max {
                max = now;
                MAX_RESIDENT.store(max, std::sync::atomic::Ordering::Relaxed);
            }
        }
    });
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let rate = ours(&peer, &node).await;
        rounds.push((rate, bare().await.expect("a copy")));
    }
    watch.abort();
    support::compare("a body of 1 GiB", "MiB/s", 0.75, &rounds);
    let grown = MAX_RESIDENT.load(std::sync::atomic::Ordering::Relaxed).saturating_sub(before);
    let verdict = support::verdict(grown <= GROWTH);
    println!(
        "memory while it streams: +{}, aim +{}: {verdict}",
        support::bytes(grown),
        support::bytes(GROWTH)
    );
    peer.stop().await;
    node.stop().await;
}

static MAX_RESIDENT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

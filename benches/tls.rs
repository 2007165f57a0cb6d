//! Compares TLS with plain connections: `cargo bench --features tls --bench tls`.
//!
//! It measures dials with a handshake, one after the other and 8 at once, with both ends on one
//! thread; then the resident memory of idle connections, of both ends; then a body over a link.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark may panic, and measures real time"
)]

mod support;

use std::time::Instant;

use actix::Actor;
use actix_peer::{
    Config, Incoming, Outgoing, Over, Peer, Reply,
    frame::Frame,
    handler,
    overlay::Address,
    transport::{
        Io, Transport,
        tcp::Tcp,
        tls::{NodeIdentity, TlsTransport},
    },
};
use futures::{StreamExt, TryStreamExt, stream};

const DIALS: usize = 2_000;
const HELD: usize = 1_000;
const BODY: u32 = 512 << 20; // bytes

/// Opens connections. Returns both ends of each.
async fn open(over: &dyn Transport, count: usize, at_once: usize) -> Vec<(Io, Io)> {
    let here: Address = "127.0.0.1:0".parse().expect("an address");
    let mut listener = over.listen(&here).await.expect("a listener");
    let to = listener.local_address();
    let accepted = stream::poll_fn(move |cx| listener.poll_accept(cx).map(Some));
    let accepted = accepted
        .map(|io| async { over.secure(io.expect("a connection")).await })
        .buffered(at_once)
        .take(count);
    let dialled = stream::iter(0..count).map(|_| over.dial(&to)).buffered(at_once);
    let (dialled, accepted): (std::io::Result<Vec<_>>, std::io::Result<Vec<_>>) =
        futures::future::join(dialled.try_collect(), accepted.try_collect()).await;
    dialled.expect("dials").into_iter().zip(accepted.expect("connections")).collect()
}

async fn dials(what: &str, over: &dyn Transport) {
    for at_once in [1, 8] {
        let begun = Instant::now();
        for _ in 0..DIALS / 100 {
            drop(open(over, 100, at_once).await);
        }
        let each = begun.elapsed() / u32::try_from(DIALS).expect("few");
        let rate = 1.0 / each.as_secs_f64();
        println!("{what:<5} dials, {at_once} at once  {rate:>9.0} per s, {each:>10.1?} each");
    }
}

async fn memory(what: &str, over: &dyn Transport) {
    let before = support::resident("self");
    let held = open(over, HELD, 16).await;
    let each = support::resident("self").saturating_sub(before) / HELD as u64;
    println!("{what:<5} idle connections  {:>9} each, both ends", support::bytes(each));
    drop(held);
}

async fn node(transport: impl Transport) -> Peer {
    let sink = handler::from_fn(async |msg: Incoming| {
        let mut body = msg.into_body();
        let mut len = 0;
        while let Ok(Some(piece)) = body.try_next().await {
            len += piece.len();
        }
        Reply::one(Frame::text("REPL", len.to_string()))
    });
    let config = Config::default().link_window(8 << 20);
    let builder = Peer::builder().transport(transport).config(config);
    builder.handle_stream("SINK", sink.start()).expect("a code").start().await.expect("a node")
}

/// Silent connections to a node; the other ends are bare sockets.
async fn silent(what: &str, transport: impl Transport) {
    let long = std::time::Duration::from_secs(600);
    let config = Config::default().max_connections(2 * HELD).header_timeout(long);
    let node = Peer::builder().transport(transport).config(config).start().await.expect("a node");
    let before = support::resident("self");
    let to = node.info().address().to_string();
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push(tokio::net::TcpStream::connect(&to).await.expect("a connection"));
    }
    while node.status().await.connections < HELD {
        tokio::task::yield_now().await;
    }
    let each = support::resident("self").saturating_sub(before) / HELD as u64;
    println!("{what:<5} silent connections  {:>9} each", support::bytes(each));
    drop(held);
    node.abort().await;
}

async fn body(what: &str, from: Peer, to: Peer) {
    for over in [Over::Link, Over::Classic] {
        let begun = Instant::now();
        let zeros = tokio::io::AsyncReadExt::take(tokio::io::repeat(0), BODY.into());
        let message = Outgoing::body("SINK", BODY, zeros).over(over);
        let replies = from.request(to.info(), message).await.expect("a request");
        let replies = replies.collect().await.expect("replies");
        assert_eq!(replies, [Frame::text("REPL", BODY.to_string())]);
        let rate = f64::from(BODY >> 20) / begun.elapsed().as_secs_f64();
        println!("{what:<5} body, {over:?}  {rate:>9.0} MiB/s");
    }
    from.stop().await;
    to.stop().await;
}

fn identity() -> NodeIdentity {
    NodeIdentity::generate().expect("random numbers")
}

fn tls() -> TlsTransport {
    TlsTransport::new(identity()).max_handshakes(1_024)
}

#[actix::main]
async fn one(part: &str) {
    match part {
        "silent plain" => silent("plain", Tcp::default()).await,
        "silent TLS" => silent("TLS", tls()).await,
        "idle plain" => memory("plain", &Tcp::default()).await,
        "idle TLS" => memory("TLS", &tls()).await,
        _ => {
            dials("plain", &Tcp::default()).await;
            dials("TLS", &tls()).await;
            body("plain", node(Tcp::default()).await, node(Tcp::default()).await).await;
            body("TLS", node(tls()).await, node(tls()).await).await;
        }
    }
}

fn main() {
    if let Some(part) = std::env::args().skip(1).find(|argument| argument != "--bench") {
        return one(&part);
    }
    // Each part has a process of its own, because memory is reused within a process.
    let program = std::env::current_exe().expect("the path of this program");
    for part in ["silent plain", "silent TLS", "idle plain", "idle TLS", "speed"] {
        let status = std::process::Command::new(&program).arg(part).status();
        assert!(status.expect("another process").success(), "{part}");
    }
}

//! Nodes that prove who they are, over the memory network in virtual time and over TCP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod admission;
mod bans;
mod claims;
mod files;
mod foreign;
mod handshakes;
mod outcomes;
#[cfg(all(feature = "kademlia", feature = "swim"))]
mod overlay;
mod plain;

#[path = "../links/both.rs"]
mod both;
#[path = "../links/broken.rs"]
mod broken;
#[path = "../links/common.rs"]
mod common;
#[path = "../links/credit.rs"]
mod credit;
#[path = "../links/many.rs"]
mod many;
#[path = "../links/pool.rs"]
mod pool;
#[path = "../links/reliable.rs"]
mod reliable;
#[path = "../links/stopping.rs"]
mod stopping;
#[path = "../links/workers.rs"]
mod workers;

use actix::Actor;
use actix_peer::{
    Builder, Incoming, Peer, PeerId, PeerInfo, Reply,
    frame::Frame,
    handler,
    node::Counts,
    overlay::Host,
    transport::{
        Io, Transport,
        memory::{MemoryNetwork, MemoryTransport},
        tls::{NodeIdentity, TlsTransport},
    },
};
use tokio::io::AsyncReadExt;

use self::common::{
    Recorder, SECOND, Taken, ask, builder, echo, event, links, node, node_with, pass, via, zeros,
};

fn host(wires: &MemoryNetwork, name: &str) -> MemoryTransport {
    wires.transport(name.parse::<Host>().unwrap())
}

/// The host `name`, whose node is always the same.
fn transport(wires: &MemoryNetwork, name: &str) -> TlsTransport {
    TlsTransport::over(host(wires, name), NodeIdentity::for_tests(name))
}

/// The id of the node on the host `name`.
fn id_of(name: &str) -> PeerId {
    NodeIdentity::for_tests(name).id().clone()
}

/// The host `name` with the id of the node on the host `id`.
fn info(id: &str, name: &str) -> PeerInfo {
    format!("{} {name} 9000", id_of(id)).parse().unwrap()
}

/// A node on the host `name` over this transport, that tells at `WHO_` who asked.
async fn start(name: &str, transport: impl Transport) -> Peer {
    let who = handler::from_fn(async |msg: Incoming| {
        Reply::one(Frame::text("REPL", format!("{:?}", msg.sender().identity())))
    });
    let echo = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame));
    let builder = Peer::builder().transport(transport).listen(format!("{name}:9000")).well_known();
    let builder = builder.handle("WHO_", who.start()).unwrap();
    builder.handle("ECHO", echo.start()).unwrap().start().await.unwrap()
}

/// Lets everybody who is ready have their turn, and no time pass.
async fn turns() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn counts(peer: &Peer) -> Counts {
    peer.status().await.counts
}

/// All that comes, until the other side ends it or breaks it.
async fn all(io: &mut Io) -> Vec<u8> {
    let mut all = Vec::new();
    io.reader.read_to_end(&mut all).await.ok();
    all
}

/// What may be said of a message on a link that was cut, and how often it was handled then: of half
/// of a record it is known that nobody can read it.
const TRUTHS: [(bool, usize); 2] = [(false, 0), (true, 1)];

/// Bytes that a handshake takes in either direction, at most.
const HANDSHAKE: u64 = 900;

/// What encryption adds to what the links of both sides send in one of the tests, at least.
const RECORDS: u64 = 300;

/// Where a connection is cut: here and there in what goes over the wire, from the handshake on or,
/// as links begin to speak, behind it. At all places it would take minutes.
fn cuts(from: u64, to: u64) -> impl Iterator<Item = u64> {
    let from = if from == 0 { 0 } else { from + HANDSHAKE };
    (from..=to + HANDSHAKE + RECORDS).step_by(11)
}

/// A node on the host `name` that proves its id.
fn known_as(builder: Builder, wires: &MemoryNetwork, name: &str) -> Builder {
    builder.transport(transport(wires, name))
}

//! Nodes that prove their ids, over the memory network on a paused clock and over TCP.
//!
//! - `admission`: changes of the admission take effect at once.
//! - `bans`: bans of proven ids.
//! - `claims`: claims of another id or address are refused.
//! - `files`: the file with the private key.
//! - `foreign`: other programs at a TLS port.
//! - `handshakes`: late, numerous and truncated handshakes.
//! - `outcomes`: the result of a message, by the ids and admissions of both sides.
//! - `overlay`: look-ups and membership with proven ids.
//! - `plain`: TLS and plain connections on one port.
//!
//! Several files of `tests/links` run here as well, so that their promises hold over TLS.
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
#[path = "../common/mod.rs"]
mod common;
#[path = "../links/credit.rs"]
mod credit;
#[path = "../links/many.rs"]
mod many;
#[path = "../links/nodes.rs"]
mod nodes;
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
    transport::{
        Io, Transport,
        memory::MemoryNetwork,
        tls::{NodeIdentity, TlsTransport},
    },
};
use tokio::io::AsyncReadExt;

use self::{
    common::{
        SECOND,
        handlers::{self, Recorder, Taken},
        nodes::{counts, cut_all_links, host, zeros},
    },
    nodes::{ask, builder, echo, event, links, node, node_with, pass, via},
};

/// The transport of the host `name`, which always has the same identity.
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

/// A node on the host `name` over this transport. `WHO_` answers with the identity of its caller.
async fn start(name: &str, transport: impl Transport) -> Peer {
    let who = handler::from_fn(async |msg: Incoming| {
        Reply::one(Frame::text("REPL", format!("{:?}", msg.sender().identity())))
    });
    let builder = Peer::builder().transport(transport).listen(format!("{name}:9000")).well_known();
    let builder = builder.handle("WHO_", who.start()).unwrap();
    builder.handle("ECHO", handlers::echo()).unwrap().start().await.unwrap()
}

/// Lets all ready tasks run without passing time.
async fn turns() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Everything that arrives until the other side ends or breaks the connection.
async fn all(io: &mut Io) -> Vec<u8> {
    let mut all = Vec::new();
    io.reader.read_to_end(&mut all).await.ok();
    all
}

/// What an error may say of a message on a cut link, with the number of times that it was handled.
/// A truncated record cannot be decrypted, so its messages are known not to be handled.
const TRUTHS: [(bool, usize); 2] = [(false, 0), (true, 1)];

/// The maximum of bytes that a handshake takes in either direction.
const HANDSHAKE: u64 = 900;

/// The minimum of bytes that encryption adds to the links of both sides in one of the tests.
const RECORDS: u64 = 300;

/// Where a connection is cut: at some positions of the encrypted bytes, from the handshake on or,
/// if `from` is not zero, after it. All positions would take minutes.
fn cuts(from: u64, to: u64) -> impl Iterator<Item = u64> {
    let from = if from == 0 { 0 } else { from + HANDSHAKE };
    (from..=to + HANDSHAKE + RECORDS).step_by(11)
}

/// A node on the host `name` that proves its id.
fn known_as(builder: Builder, wires: &MemoryNetwork, name: &str) -> Builder {
    builder.transport(transport(wires, name))
}

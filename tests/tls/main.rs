//! Nodes that prove who they are, over the memory network in virtual time and over TCP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

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
#[path = "../links/stopping.rs"]
mod stopping;
#[path = "../links/workers.rs"]
mod workers;

use actix_peer::{
    Builder,
    overlay::Host,
    transport::{
        memory::MemoryNetwork,
        tls::{NodeIdentity, TlsTransport},
    },
};

use self::common::{
    Recorder, SECOND, Taken, ask, builder, echo, event, links, node, node_with, pass, via, zeros,
};

/// The host `name`, whose node is always the same.
fn transport(wires: &MemoryNetwork, name: &str) -> TlsTransport {
    let host = wires.transport(name.parse::<Host>().unwrap());
    TlsTransport::over(host, NodeIdentity::for_tests(name))
}

/// The id of the node on the host `name`.
fn id_of(name: &str) -> String {
    NodeIdentity::for_tests(name).id().to_string()
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

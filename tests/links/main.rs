//! Nodes that speak links to each other, over the memory network and in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod both;
mod broken;
mod common;
mod credit;
mod impostors;
mod many;
mod pool;
mod reliable;
mod stopping;
mod workers;

use actix_peer::{
    Builder,
    overlay::Host,
    transport::memory::{MemoryNetwork, MemoryTransport},
};

use self::common::{
    Recorder, SECOND, Taken, ask, builder, echo, event, links, node, node_with, pass, via, zeros,
};

fn transport(wires: &MemoryNetwork, name: &str) -> MemoryTransport {
    wires.transport(name.parse::<Host>().unwrap())
}

/// The id of the node on the host `name`.
fn id_of(name: &str) -> &str {
    name
}

/// What may be said of a message on a link that was cut, and how often it was handled then.
const TRUTHS: [(bool, usize); 3] = [(false, 0), (true, 0), (true, 1)];

/// Where a connection is cut: behind each byte that the links of both sides send, from one to
/// another.
fn cuts(from: u64, to: u64) -> impl Iterator<Item = u64> {
    from..=to
}

/// A node on the host `name` that calls itself so.
fn known_as(builder: Builder, wires: &MemoryNetwork, name: &str) -> Builder {
    builder.transport(transport(wires, name)).id(name)
}

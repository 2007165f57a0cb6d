//! Links between nodes, over the memory network on a paused clock.
//!
//! - `both`: the API behaves the same over links and in classic exchanges.
//! - `broken`: errors and repetitions after a link breaks.
//! - `credit`: back-pressure of slow handlers and readers.
//! - `dialling`: failed dials and their backoff.
//! - `early`: exchanges that end before their message is complete.
//! - `ending`: nothing of a node remains after its end.
//! - `impostors`: nodes that claim the id of another node.
//! - `leaving`: links that close, and their time limits.
//! - `many`: a network of two hundred nodes.
//! - `order`: the order in which messages reach a handler actor.
//! - `pool`: when links are opened, shared and closed.
//! - `reliable`: acknowledged messages over broken links and restarts.
//! - `stopping`: `stop` completes the open exchanges.
//! - `workers`: links on several threads.
//!
//! `nodes` has the nodes of these tests; `by_hand` and `fake` are peers that a test drives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod both;
mod broken;
mod by_hand;
#[path = "../common/mod.rs"]
mod common;
mod credit;
mod dialling;
mod early;
mod ending;
mod fake;
mod impostors;
mod leaving;
mod many;
mod nodes;
mod order;
mod pool;
mod reliable;
mod stopping;
mod workers;

use actix_peer::{
    Builder,
    transport::memory::{MemoryNetwork, MemoryTransport},
};

use self::{
    common::{
        SECOND,
        handlers::{Recorder, Taken},
        nodes::{cut_all_links, host, zeros},
    },
    nodes::{ask, builder, echo, event, links, node, node_with, pass, via},
};

fn transport(wires: &MemoryNetwork, name: &str) -> MemoryTransport {
    host(wires, name)
}

/// The id of the node on the host `name`.
fn id_of(name: &str) -> &str {
    name
}

/// What an error may say of a message on a cut link, with the number of times that it was handled.
const TRUTHS: [(bool, usize); 3] = [(false, 0), (true, 0), (true, 1)];

/// Where a connection is cut: after each byte of the links of both sides, from one position to
/// another.
fn cuts(from: u64, to: u64) -> impl Iterator<Item = u64> {
    from..=to
}

/// A node on the host `name` whose id is that name.
fn known_as(builder: Builder, wires: &MemoryNetwork, name: &str) -> Builder {
    builder.transport(transport(wires, name)).id(name)
}

//! A network on loopback that checks its own promises.
//!
//! ```text
//! cargo run --release --example network
//! cargo run --release --example network -- --nodes 200 --max-peers 8 --seed 7
//! cargo run --release --example network -- --json
//! ```
//!
//! Each node listens on a TCP port of its own and knows one contact at first. The nodes join, learn
//! routes, forward a typed request from node to node, and spread news. One node crashes and comes
//! back, one leaves, and one sends a large body to another. The exit code is 1 if a promise is
//! broken, 2 for wrong options, 130 after ctrl-C.

#[macro_use]
#[path = "../support/print.rs"]
mod print;

#[path = "../support/ends.rs"]
mod ends;
#[path = "../support/memory.rs"]
mod memory;

mod body;
mod member;
mod story;
// Shared with `overlay`, which also draws a picture.
#[allow(dead_code)]
#[path = "../support/story.rs"]
mod support;

use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

/// Runs a network of nodes on loopback and checks its promises.
#[derive(Parser, Serialize, Clone, Debug)]
pub(crate) struct Options {
    /// The number of nodes.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(3..=1000))]
    nodes: u32,
    /// The maximum number of peers that a node knows.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..=1000))]
    max_peers: u32,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The size of the streamed body, in MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..4096))]
    #[serde(skip)]
    body_mib: u32,
    /// Prints only the summary, as JSON, to standard output.
    #[arg(long)]
    #[serde(skip)]
    json: bool,
}

#[actix::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    support::run(story::Network::new(options)).await
}

//! The main job: a whole network on loopback that keeps its promises, or says which one it broke.
//!
//! ```text
//! cargo run --release --example network
//! cargo run --release --example network -- --nodes 200 --max-peers 8 --seed 7
//! cargo run --release --example network -- --json
//! ```
//!
//! Each node is a real one, on a TCP port of its own. They know one contact each, join, learn
//! routes, pass a typed request on from node to node, spread news, lose a member without goodbye,
//! see one off and one return, and stream a large body. The exit code is 1 when a promise was
//! broken, 2 for wrong options.

#[macro_use]
#[path = "../support/print.rs"]
mod print;

#[path = "../support/ends.rs"]
mod ends;

mod body;
mod member;
mod story;
// Shared with `overlay`, which draws a picture, too.
#[allow(dead_code)]
#[path = "../support/story.rs"]
mod support;

use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

/// Runs a network of nodes on loopback and checks what it promises.
#[derive(Parser, Serialize, Clone, Debug)]
pub(crate) struct Options {
    /// How many nodes.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(3..=1000))]
    nodes: u32,
    /// How many peers a node knows at most.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..=1000))]
    max_peers: u32,
    /// The seed of everything that is chosen at random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The size of the body that is streamed, in MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..4096))]
    #[serde(skip)]
    body_mib: u32,
    /// Prints the summary as JSON, and nothing else, on standard output.
    #[arg(long)]
    #[serde(skip)]
    json: bool,
}

#[actix::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    support::run(story::Network::new(options)).await
}

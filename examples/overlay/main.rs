//! A Kademlia network on loopback, in which each node knows only a part of the others: look-ups,
//! services by name, records and routed messages, before and after a third of the nodes is killed.
//!
//! ```text
//! cargo run --release --example overlay
//! cargo run --release --example overlay -- --nodes 200 --lookups 300 --seed 7
//! cargo run --release --example overlay -- --json
//! ```
//!
//! Each node listens on a TCP port of its own. On a terminal, it draws a map: one bar for each
//! node, in the order of their keys, whose height shows how full the table of the node is. The exit
//! code is 1 if a promise is broken, 2 for wrong options, 130 after ctrl-C.

#[macro_use]
#[path = "../support/print.rs"]
mod print;

#[path = "../support/ends.rs"]
mod ends;

mod map;
mod story;
#[path = "../support/story.rs"]
mod support;

use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

/// Runs a Kademlia network on loopback, kills a third of it, and checks its promises.
#[derive(Parser, Serialize, Clone, Debug)]
pub(crate) struct Options {
    /// The number of nodes.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(4..=256))]
    nodes: u32,
    /// The number of look-ups in each step.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    lookups: u32,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints only the summary, as JSON, to standard output.
    #[arg(long)]
    #[serde(skip)]
    json: bool,
}

#[actix::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    raise_descriptors();
    support::run(story::Overlay::new(options)).await
}

/// Raises the limit of file descriptors: each link takes two in this process.
fn raise_descriptors() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).ok();
    }
}

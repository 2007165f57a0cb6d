//! A network that nobody knows whole: look-ups, services by name, records and routed messages, on loopback, while it runs
//! and after a third of it was killed.
//!
//! ```text
//! cargo run --release --example overlay
//! cargo run --release --example overlay -- --nodes 200 --lookups 300 --seed 7
//! cargo run --release --example overlay -- --json
//! ```
//!
//! Each node is a real one, on a TCP port of its own. On a terminal a map is drawn while it works: a cell for each node, in
//! the order of their keys, as high as its table is full. The exit code is 1 when a promise was broken, 2 for wrong options.

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

/// Runs a Kademlia network of nodes on loopback, kills a third of it, and checks what it promises.
#[derive(Parser, Serialize, Clone, Debug)]
pub(crate) struct Options {
    /// How many nodes.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(4..=256))]
    nodes: u32,
    /// How many look-ups each time.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    lookups: u32,
    /// The seed of everything that is chosen at random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints the summary as JSON, and nothing else, on standard output.
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

/// A link takes two descriptors of this one process: as many as it may have are allowed.
fn raise_descriptors() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).ok();
    }
}

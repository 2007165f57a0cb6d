//! Simulates the broadcast over views and trees in networks of any size, and what remains of it
//! when many nodes fail at once.
//!
//! ```text
//! $ cargo run --release --example gossip -- --nodes 1000 --kill 0.8 --seed 7
//! $ cargo run --release --example gossip -- --nodes 10,100,1000,10000
//! $ cargo run --release --example gossip -- --senders many --hostile 2000 --partition 60 --topic 10
//! $ cargo run --release --example gossip -- --nodes 1000 --plot diagrams/gossip.svg
//! $ cargo run --release --features test-utils --example gossip -- --rest --nodes 10,100,1000
//! ```
//!
//! It uses `overlay::views` and `overlay::trees`, without sockets and in virtual time. A message
//! takes 25 ms ± 10 % to the next node. Nodes join one after the other by one contact, messages are
//! published, and then some nodes are killed at once. The same options give the same table.
//!
//! With `--rest` it runs whole nodes in the simulated network, and measures what they send while
//! no node publishes.

#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "nodes are known by their index, and no number comes from outside"
)]

#[macro_use]
#[path = "../support/print.rs"]
mod print;

mod measure;
mod network;
mod plot;
#[cfg(feature = "test-utils")]
mod rest;
mod table;
mod traffic;

use std::{
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use measure::{Measurement, Plan, Senders};

/// Simulates the broadcast over views and trees and prints its figures beside their aims.
#[derive(Parser)]
struct Options {
    /// The number of nodes; several numbers are measured one after the other.
    #[arg(long, default_value = "1000", value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(2..=100_000))]
    nodes: Vec<u32>,
    /// The share of the nodes that is killed at once, 0 or more and less than 1.
    #[arg(long, default_value_t = 0.8, value_parser = share)]
    kill: f64,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How many nodes publish.
    #[arg(long, value_enum, default_value_t = Senders::One)]
    senders: Senders,
    /// The number of silent nodes that join while up to 100 nodes publish.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    hostile: u32,
    /// How long the network is partitioned, in seconds.
    #[arg(long, default_value_t = 0, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(..=3_600))]
    partition: u64,
    /// The number of subscribers of a topic.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    topic: u32,
    /// The limit of the active view.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=64))]
    active: u8,
    /// Measures what whole nodes send while no node publishes, in place of all else. Needs the feature
    /// `test-utils`.
    #[arg(long)]
    rest: bool,
    /// Prints a JSON object in place of the table.
    #[arg(long)]
    json: bool,
    /// The file for a plot of the reliability over the share of killed nodes, as SVG. Its data goes
    /// into a file beside it that ends in `.json`. It is measured with the first number of nodes.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| "must be a number from 0 to less than 1".to_owned())
}

fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        write!(std::io::stderr(), "\r\x1b[K{text}").ok();
    }
}

#[cfg(feature = "test-utils")]
fn at_rest(options: &Options) -> Result<(), String> {
    let mut rests = Vec::new();
    for nodes in &options.nodes {
        progress(&format!("{nodes} nodes"));
        rests.push(rest::measure(*nodes, options.seed)?);
        progress("");
    }
    if options.json {
        println!("{:#}", serde_json::json!({ "rest": rests }));
    } else {
        rest::lines(&rests).iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}

#[cfg(not(feature = "test-utils"))]
fn at_rest(_: &Options) -> Result<(), String> {
    Err("--rest needs the simulated network: add --features test-utils".to_owned())
}

fn run(options: &Options) -> Result<(), String> {
    if options.rest {
        return at_rest(options);
    }
    let plan = Plan {
        seed: options.seed,
        kill: options.kill,
        senders: options.senders,
        hostile: options.hostile,
        partition: options.partition,
        topic: options.topic,
        active: usize::from(options.active),
    };
    if let Some(nodes) = options.nodes.iter().find(|nodes| options.topic > **nodes) {
        return Err(format!("--topic: {} of {nodes} nodes cannot subscribe", options.topic));
    }
    let mut measured = Vec::new();
    for nodes in &options.nodes {
        let mut show = |what: &str| progress(&format!("{nodes} nodes: {what}"));
        measured.push(Measurement::all(*nodes, plan, &mut show));
        progress("");
    }
    let mut curve = None;
    if let (Some(path), Some(nodes)) = (&options.plot, options.nodes.first()) {
        let mut show = |what: &str| progress(&format!("{nodes} nodes, plot: {what}"));
        let measured = measure::curve(*nodes, plan, &mut show);
        progress("");
        let write = |path: &Path, text: String| {
            fs::write(path, text)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))
        };
        write(path, plot::svg(&measured))?;
        let data = serde_json::to_string_pretty(&measured).map_err(|error| error.to_string())?;
        write(&path.with_extension("json"), data + "\n")?;
        curve = Some(measured);
    }
    if options.json {
        let json = serde_json::json!({ "plan": plan, "networks": measured, "curve": curve });
        println!("{json:#}");
    } else {
        table::lines(plan, &measured).iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

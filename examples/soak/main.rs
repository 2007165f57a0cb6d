//! A soak test: nodes on loopback among two hundred hostile peers, for minutes or days, while
//! honest nodes exchange messages. Every message is accounted for.
//!
//! ```text
//! $ cargo run --release --example soak -- --minutes 3
//! $ cargo run --release --example soak -- --minutes 1440 --peers 400 --rate 100 --seed 7 --json
//! ```
//!
//! Three nodes with the default limits run in this process: `ada`, `bob` and `carol`. The hostile
//! peers run in a child process, so that the measurements are of the nodes alone. Each peer acts
//! again and again, at random by `--seed`. It joins as a node and leaves, joins and crashes,
//! floods, sends invalid frames, requests and never reads, connects and stays silent, fills the
//! table of peers, or sends more than the window allows. `--rate` bounds the actions of all peers
//! per second.
//!
//! In the meantime, `ada` sends messages to `bob` directly, and to `carol` through a proxy in the
//! child process that breaks connections every few seconds. The run checks these promises:
//!
//! - No message is lost or handled twice, and the order is kept.
//! - An error is right about whether the message may have been handled.
//! - There is no panic.
//! - After the first third of the run, the warm-up, memory grows by at most a tenth and 1 MiB, and
//!   file descriptors grow by at most a tenth and 16. This is checked in runs of two minutes or
//!   more, whose warm-up contains most of the longest time-outs of a node (one minute).
//! - Soon after the peers have ended, no more file descriptors are open than before.
//!
//! Limits for each source do not apply to loopback, so a flood is as fast as the machine allows.
//! Each peer has an address of its own in 127.0.0.0/8. At most 48 peers run a node at once, at
//! 127.0.0.1.
//!
//! Ctrl-C ends the run with the results so far and exit code 130. The exit code is 1 if a promise
//! is broken or the run cannot start, 2 for wrong options.

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[macro_use]
#[path = "../support/print.rs"]
mod print;

#[path = "../support/ends.rs"]
mod ends;
#[path = "../support/memory.rs"]
mod memory;

mod gauge;
mod honest;
mod hostile;
mod ledger;
mod nodes;
mod proxy;
mod report;
mod run;

use std::process::ExitCode;

use clap::Parser;

/// Runs nodes among hostile peers and checks their promises.
#[derive(Parser, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(flatten)]
    soak: Soak,
    #[command(subcommand)]
    part: Option<Part>,
}

/// The options of the run.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Soak {
    /// The length of the run, in minutes, for example 0.5.
    #[arg(long, default_value = "3", value_parser = minutes)]
    minutes: f64,
    /// The number of hostile peers.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2_000))]
    peers: u16,
    /// The maximum number of hostile actions per second, of all peers together.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// The average time until a connection between two honest nodes breaks, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=3_600))]
    break_every: u32,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints only the result, as JSON, to standard output.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Part {
    /// The hostile peers. The run starts this command in a child process.
    #[command(hide = true)]
    Hostile(hostile::Options),
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.01..=100_000.0).contains(minutes));
    minutes.ok_or_else(|| "must be 0.01 to 100000 minutes".to_owned())
}

#[actix::main]
async fn main() -> ExitCode {
    let Options { soak, part } = Options::parse();
    if let Some(Part::Hostile(options)) = part {
        return hostile::run(options).await;
    }
    // As a task, like the work of an actix application.
    let run = actix_rt::spawn(run::run(soak.clone())).await;
    match run.unwrap_or_else(|error| Err(error.into())) {
        Ok(report) => {
            if let Err(error) = report.print(soak.json) {
                eprintln!("{error}");
            }
            report.exit_code()
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

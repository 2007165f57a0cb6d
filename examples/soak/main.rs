//! A soak: nodes on real loopback sockets among two hundred peers that mean no good, for as long as
//! one likes, while two well-behaved nodes talk and everything is counted.
//!
//! ```text
//! $ cargo run --release --example soak -- --minutes 3
//! $ cargo run --release --example soak -- --minutes 1440 --peers 400 --rate 100 --seed 7 --json
//! ```
//!
//! Three nodes with the default limits run in this process: `ada`, `bob` and `carol`. The peers run in a
//! child process, so that what is measured here is the nodes' own. Each peer chooses again and again,
//! by `--seed`: to join as a node and leave, to join and be killed, to flood, to send broken frames, to
//! ask and never read, to connect and say nothing, to fill the table of peers, to send more than is
//! taken. `--rate` is how many such things all of them begin in a second at most.
//!
//! Meanwhile `ada` talks to `bob` directly, and to `carol` through a wire in the child process that is
//! cut every few seconds. What is checked: nothing is lost or doubled, the order is kept, an error
//! tells the truth about whether the message may have been handled, a panic escapes nowhere, memory
//! grows by no more than a tenth (and 1 MiB) after the first third of the run, which is its warm-up,
//! descriptors neither, and these are back where they were soon after the peers are gone. Memory and
//! descriptors over time are judged when the run has two minutes or more: the longest time limits of
//! a node, a minute, fit in its warm-up then as good as whole.
//!
//! Loopback has no pace (`max_accepts_per_source`), so a flood is as fast as it can be. The other
//! limits of a source do apply: each peer has an address of its own in 127.0.0.0/8 for what it does
//! raw; those that run a node come from 127.0.0.1, like `ada`, and there are at most 48 of them at a
//! time.
//!
//! Ctrl-C ends it with the figures so far, and exit code 130. Exit code 1 when a promise was broken
//! or the run cannot start, 2 for wrong options.

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[macro_use]
#[path = "../support/print.rs"]
mod print;

#[path = "../support/ends.rs"]
mod ends;

mod gauge;
mod honest;
mod hostile;
mod ledger;
mod nodes;
mod report;
mod run;
mod wire;

use std::process::ExitCode;

use clap::Parser;

/// Runs nodes among hostile peers and checks what they promise.
#[derive(Parser, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(flatten)]
    soak: Soak,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the run is like.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Soak {
    /// How long, in minutes; a fraction is a short run, which judges no memory.
    #[arg(long, default_value = "3", value_parser = minutes)]
    minutes: f64,
    /// How many peers misbehave at once.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2_000))]
    peers: u16,
    /// How many misdeeds all of them begin in a second, at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds between two cuts of the wire between two honest nodes, on average.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=3_600))]
    cut_every: u32,
    /// The seed of everything that is chosen at random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints the result as JSON, and nothing else, on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Part {
    /// The peers. The run starts it.
    #[command(hide = true)]
    Hostile(hostile::Options),
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.01..=100_000.0).contains(minutes));
    minutes.ok_or_else(|| "between 0.01 and 100000 minutes, please".to_owned())
}

#[actix::main]
async fn main() -> ExitCode {
    let Options { soak, part } = Options::parse();
    if let Some(Part::Hostile(options)) = part {
        return hostile::run(options).await;
    }
    // As a task, like whatever runs in an actix application.
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

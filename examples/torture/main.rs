//! Many lives of small networks under faults, in virtual time, one life for each seed.
//!
//! ```text
//! $ cargo run --release --features test-utils --example torture -- --seeds 1..200
//! $ cargo run --release --features test-utils --example torture -- --seeds 1..2000 --nodes 8 --minutes 2 --faults light --json
//! $ cargo run --release --features test-utils --example torture -- --replay 17
//! ```
//!
//! In each life some nodes join and send each other messages of all kinds. The seed decides what
//! happens to them: broken connections, partitions, latency, stalls, crashes, moves to another
//! address, clocks that jump, a node that claims the id of another, handlers that panic or never
//! answer. Meanwhile a model checks the delivery rules, the bounds of each node, and that every
//! call ends. After the last fault every node has to reach every other, all calls end, nothing is
//! held, and after the end of the nodes nothing is left.
//!
//! The last line says how many seeds and messages there were, in how much virtual time, which
//! faults happened, and how many invariants were violated. A violation is printed with its seed and
//! the smallest life that shows it: fewer nodes, fewer faults, shorter. `--replay SEED` shows such a
//! life frame by frame; with `--cut TEXT` it is the smallest one.
//!
//! Exit code 1: an invariant was violated, or a rare situation never happened in a run that asks
//! for it (`--sometimes`). Exit code 2: wrong options.

#[macro_use]
#[path = "../support/print.rs"]
mod print;

mod progress;

use std::{ops::Range, process::ExitCode, time::Duration};

use actix_peer::sim::{Explore, FaultLevel, Life, Plan, PlanSize, Violation};
use clap::Parser;

/// Runs small networks under faults, and checks what the crate promises.
#[derive(Parser, Clone, Debug)]
pub(crate) struct Options {
    /// The seeds, as FIRST..END (the end excluded) or one number.
    #[arg(long, default_value = "1..200", value_parser = seeds)]
    seeds: Range<u64>,
    /// The number of nodes of each life.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..=200))]
    nodes: u64,
    /// For how long faults begin in each life, in minutes of virtual time.
    #[arg(long, default_value = "1", value_parser = minutes)]
    minutes: f64,
    /// Which faults: none, light or heavy.
    #[arg(long, default_value_t = FaultLevel::Heavy)]
    faults: FaultLevel,
    /// The number of threads. Default: the number of cores.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_024))]
    threads: Option<u64>,
    /// Prints the first violation as it was found, without looking for a smaller life.
    #[arg(long)]
    no_shrink: bool,
    /// Fails if one of the rare situations happened in no life.
    #[arg(long)]
    sometimes: bool,
    /// Prints the seed and the digest of each life.
    #[arg(long)]
    digests: bool,
    /// Prints only the result, as JSON.
    #[arg(long)]
    json: bool,
    /// Shows the life of this seed: its faults and its history.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "json", "digests"])]
    replay: Option<u64>,
    /// With --replay: the part of the life that a violation names after "cut:".
    #[arg(long, requires = "replay")]
    cut: Option<String>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text:?} is neither FIRST..END nor a number");
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let range = match text.split_once("..") {
        Some((first, end)) => number(first)?..number(end)?,
        None => number(text)?..number(text)?.checked_add(1).ok_or_else(wrong)?,
    };
    if range.is_empty() { Err(format!("{text:?} has no seeds")) } else { Ok(range) }
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.01..=10_000.0).contains(minutes));
    minutes.ok_or_else(|| "must be 0.01 to 10000 minutes".to_owned())
}

/// The scenario: what happens in each life.
async fn scenario(life: Life) -> Result<(), Violation> {
    life.whole(|_, builder| Ok(builder)).await
}

impl Options {
    fn size(&self) -> PlanSize {
        let nodes = usize::try_from(self.nodes).unwrap_or(usize::MAX);
        let time = Duration::from_secs_f64(self.minutes * 60.0);
        PlanSize::nodes(nodes).time(time).level(self.faults)
    }

    fn explore(&self) -> Explore {
        let explore = Explore::seeds(self.seeds.clone()).size(self.size()).shrink(!self.no_shrink);
        match self.threads {
            Some(threads) => explore.threads(usize::try_from(threads).unwrap_or(1)),
            None => explore,
        }
    }

    fn replay(&self, seed: u64) -> ExitCode {
        let whole = Plan::new(seed, self.size());
        let plan = match &self.cut {
            None => whole,
            Some(text) => match whole.cut(text) {
                Some(plan) => plan,
                None => {
                    eprintln!("{text:?} is not what a violation names after \"cut:\"");
                    return ExitCode::from(2);
                }
            },
        };
        println!("{plan}");
        let life = self.explore().replay(&plan, scenario);
        for line in &life.history {
            println!("{line}");
        }
        println!(
            "{} messages sent, {} handled, digest {:016x}",
            life.sent, life.handled, life.digest
        );
        match life.violation {
            None => {
                println!("no violation");
                ExitCode::SUCCESS
            }
            Some(violation) => {
                println!("{violation}");
                ExitCode::FAILURE
            }
        }
    }

    fn run(&self) -> ExitCode {
        let progress = progress::Progress::new(self);
        let report = self.explore().on_life(progress.on_life()).run(scenario);
        progress.end();
        if self.json {
            println!("{}", progress::json(&report));
        } else {
            println!("{report}");
        }
        let never = report.never_reached();
        if !never.is_empty() && !self.json {
            let names: Vec<_> = never.iter().map(|what| what.name()).collect();
            println!("never happened: {}", names.join(", "));
        }
        if report.is_clean() && (never.is_empty() || !self.sometimes) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match options.replay {
        Some(seed) => options.replay(seed),
        None => options.run(),
    }
}

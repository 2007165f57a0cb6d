//! Simulates Kademlia in networks of any size: results, rounds and costs of look-ups.
//!
//! ```text
//! $ cargo run --release --example simulate -- --nodes 2000 --seed 7
//! $ cargo run --release --example simulate -- --nodes 50,200,500,1000,2000,5000,10000 \
//!       --json diagrams/kademlia.json --plot diagrams/kademlia.svg
//! $ cargo run --release --example simulate -- --from diagrams/kademlia.json --plot plot.svg
//! ```
//!
//! It uses the tables and look-ups of `overlay::kademlia`, without sockets and time. Nodes join one
//! after the other through one contact, look each other up, and refresh their tables. Then some are
//! killed at once; the others refresh once more and look each other up again. The same seed gives
//! the same table. The exit code is 1 if a promise is broken or a file cannot be read or written, 2
//! for wrong options.

#[macro_use]
#[path = "../support/print.rs"]
mod print;

mod measure;
mod network;
mod plot;
mod table;
mod wire;

use std::{
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;

use measure::{Data, Plan, Size};

/// Simulates Kademlia in networks of any size and prints results and costs of look-ups.
#[derive(Parser)]
struct Options {
    /// The number of nodes; several numbers are measured one after the other.
    #[arg(long, default_value = "50,500,2000", value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: Vec<u32>,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The number of look-ups, before and again after the loss.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    lookups: u32,
    /// The share of the nodes that is killed, 0 to 0.9.
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    kill: f64,
    /// The file for the data as JSON; `-` prints only the JSON to standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The file for a plot of the data as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Reads the data of an earlier run from its JSON instead of measuring.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "seed", "lookups", "kill"])]
    from: Option<PathBuf>,
}

type Broken = Box<dyn std::error::Error>;

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=0.9).contains(share));
    share.ok_or_else(|| "must be a number from 0 to 0.9".to_owned())
}

/// Measures one size. Shows progress on a terminal.
fn measure(nodes: usize, plan: Plan) -> Size {
    let is_terminal = std::io::stderr().is_terminal();
    let mut progress = |what: &str, done: usize| {
        if is_terminal && (done.is_multiple_of(50) || done == nodes) {
            eprint!("\r\x1b[K{nodes} nodes: {what}, {done}");
        }
    };
    let now = tokio::time::Instant::now().into_std();
    let size = Size::measure(nodes, plan, now, &mut progress);
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    size
}

fn write(path: &Path, text: &str) -> Result<(), Broken> {
    fs::write(path, text)
        .map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

fn run(options: &Options) -> Result<bool, Broken> {
    let to_stdout = options.json.as_deref().is_some_and(|path| path == Path::new("-"));
    let mut out = std::io::stdout();
    let mut say = |line: &str| if to_stdout { Ok(()) } else { writeln!(out, "{line}") };
    say(&table::head())?;
    let data = if let Some(path) = &options.from {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let data: Data = serde_json::from_str(&text)
            .map_err(|error| format!("{} is not the data of a run: {error}", path.display()))?;
        data.sizes.iter().try_for_each(|size| say(&table::row(size)))?;
        data
    } else {
        let plan =
            Plan { seed: options.seed, lookups: options.lookups as usize, kill: options.kill };
        let mut data = Data { plan, sizes: Vec::new() };
        for nodes in &options.nodes {
            let size = measure(*nodes as usize, plan);
            say(&table::row(&size))?;
            data.sizes.push(size);
        }
        data
    };
    say(table::LEGEND)?;
    let json = serde_json::to_string_pretty(&data)? + "\n";
    if to_stdout {
        out.write_all(json.as_bytes())?;
    } else if let Some(path) = &options.json {
        write(path, &json)?;
    }
    if let Some(path) = &options.plot {
        write(path, &plot::svg(&data)?)?;
    }
    let broken: Vec<_> = data.sizes.iter().flat_map(Size::broken).collect();
    broken.iter().for_each(|promise| eprintln!("broken: {promise}"));
    Ok(broken.is_empty())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

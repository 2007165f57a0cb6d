//! Kademlia in networks of any size: what is found, in how many rounds, and what it costs each node.
//!
//! ```text
//! $ cargo run --release --example simulate -- --nodes 2000 --seed 7
//! $ cargo run --release --example simulate -- --nodes 50,200,500,1000,2000,5000,10000 \
//!       --json diagrams/kademlia.json --plot diagrams/kademlia.svg
//! $ cargo run --release --example simulate -- --from diagrams/kademlia.json --plot plot.svg
//! ```
//!
//! The tables and look-ups are those of `overlay::kademlia`; sockets and time are left out. Nodes join one after the other
//! by one contact, look for each other, refresh their tables, lose some of them at once, refresh once more, and look again.
//! The same seed makes the same table. The exit code is 1 when a promise was broken or a file cannot be written, 2 for
//! wrong options.

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

/// Simulates Kademlia in networks of any size, and says what it finds and costs.
#[derive(Parser)]
struct Options {
    /// How many nodes; several are measured one after the other.
    #[arg(long, default_value = "50,500,2000", value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: Vec<u32>,
    /// The seed of everything that is chosen at random.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How many look-ups are made, and made again after the loss.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    lookups: u32,
    /// Which part of the nodes is killed, 0 to 0.9.
    #[arg(long, default_value_t = 0.2, value_parser = part)]
    kill: f64,
    /// Where the data is written as JSON; `-` is standard output, which has nothing else then.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where a plot of the data is written, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Takes the data of an earlier run from its JSON instead of measuring.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "seed", "lookups", "kill"])]
    from: Option<PathBuf>,
}

type Broken = Box<dyn std::error::Error>;

fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=0.9).contains(part));
    part.ok_or_else(|| "not a number from 0 to 0.9".to_owned())
}

/// Measures one size, with a line of progress for who watches.
fn measured(nodes: usize, plan: Plan) -> Size {
    let watched = std::io::stderr().is_terminal();
    let mut told = |what: &str, done: usize| {
        if watched && (done.is_multiple_of(50) || done == nodes) {
            eprint!("\r\x1b[K{nodes} nodes: {what}, {done}");
        }
    };
    let now = tokio::time::Instant::now().into_std();
    let size = Size::measure(nodes, plan, now, &mut told);
    if watched {
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
            .map_err(|error| format!("{} is no data of a run: {error}", path.display()))?;
        data.sizes.iter().try_for_each(|size| say(&table::row(size)))?;
        data
    } else {
        let plan =
            Plan { seed: options.seed, lookups: options.lookups as usize, kill: options.kill };
        let mut data = Data { plan, sizes: Vec::new() };
        for nodes in &options.nodes {
            let size = measured(*nodes as usize, plan);
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

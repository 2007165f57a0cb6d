//! Measures links between two processes on loopback, compared with the same work on bare tokio.
//!
//! ```text
//! $ cargo run --release --example load -- serve --listen 127.0.0.1:9100 --bare 127.0.0.1:9101
//! $ cargo run --release --example load -- drive --mode notify --size 64
//! $ cargo run --release --example load -- drive --mode notify --handler batch
//! $ cargo run --release --example load -- drive --mode request
//! $ cargo run --release --example load -- drive --mode pipeline --outstanding 64
//! $ cargo run --release --example load -- drive --mode pipeline --bare-flush batch
//! $ cargo run --release --example load -- drive --mode stream
//! $ cargo run --release --example load -- drive --mode notify --handler sleepy --rounds 1
//! $ cargo run --release --example load -- drive --mode classic --outstanding 8 --json
//! ```
//!
//! Each round measures this crate, and then `Framed` of tokio-util with the same messages (for a
//! stream: a plain socket copy). The ratio is the median of the ratios of all rounds, so that other
//! load on the machine matters little. The exit code is 1 if a message is not handled or a server
//! cannot be reached, 2 for wrong options.

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[macro_use]
#[path = "../support/print.rs"]
mod print;

#[path = "../support/ends.rs"]
mod ends;
#[path = "../support/memory.rs"]
mod memory;

mod bare;
mod drive;
mod report;
mod serve;
mod work;

use std::{net::SocketAddr, process::ExitCode};

use actix_peer::{Peer, overlay::Address};
use clap::Parser;

use report::Report;
use work::{Flush, HandlerKind, Job, Mode};

/// Measures links between two processes, compared with bare tokio.
#[derive(Parser)]
enum Options {
    /// Runs the servers: a node, and a bare server on another port.
    Serve {
        /// The address of the node; port 0 picks a free port.
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9100")]
        listen: String,
        /// The address of the bare server.
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9101")]
        bare: String,
        /// Additional threads of the node.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
        workers: u16,
    },
    /// Sends the load and measures.
    Drive(Drive),
}

#[derive(clap::Args)]
struct Drive {
    /// The kind of work.
    #[arg(long, value_enum)]
    mode: Mode,
    /// The handler of one-way messages.
    #[arg(long, value_enum, default_value_t = HandlerKind::Each)]
    handler: HandlerKind,
    /// Bytes of data in each message.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    size: u32,
    /// Messages in each round; for a stream, bytes [default: enough for a second or so].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)))]
    count: Option<u64>,
    /// Open requests at once, in the modes pipeline and classic.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    outstanding: u16,
    /// When the bare side flushes, in the mode pipeline.
    #[arg(long, value_enum, default_value_t = Flush::Each)]
    bare_flush: Flush,
    /// The number of rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Prints only the result, as JSON, to standard output.
    #[arg(long)]
    json: bool,
    /// The node of `load serve`.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9100")]
    to: Address,
    /// The bare server of `load serve`.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9101")]
    bare: SocketAddr,
}

type Broken = Box<dyn std::error::Error>;

async fn serve(listen: &str, bare: &str, workers: u16) -> Result<(), Broken> {
    let mut ends = ends::Ends::new()?;
    let node = serve::node(listen, workers.into()).await?;
    let bare =
        serve::bare(bare).await.map_err(|error| format!("cannot listen on {bare}: {error}"))?;
    println!("listening on {}", node.info().address());
    println!("bare server on {bare}");
    ends.next().await;
    node.stop().await;
    Ok(())
}

async fn measure(options: Drive) -> Result<(), Broken> {
    let size = options.size as usize;
    let job = Job {
        mode: options.mode,
        handler: options.handler,
        size,
        count: options.count.unwrap_or_else(|| options.mode.count(size)),
        outstanding: options.outstanding.into(),
        flush: options.bare_flush,
    };
    let peer = Peer::builder().start().await?;
    let report = Report::measure(&peer, (&options.to, options.bare), job, options.rounds).await?;
    report.print(options.json)?;
    peer.stop().await;
    Ok(())
}

#[actix::main]
async fn main() -> ExitCode {
    let done = match Options::parse() {
        Options::Serve { listen, bare, workers } => serve(&listen, &bare, workers).await,
        // As a task: the future of `main` itself is polled by another, slower loop.
        Options::Drive(options) => {
            actix_rt::spawn(measure(options)).await.unwrap_or_else(|error| Err(error.into()))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

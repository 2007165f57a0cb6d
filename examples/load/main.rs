//! How fast a link is, beside the same work on bare tokio, between two processes on loopback.
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
//! Rounds are interleaved: each measures this crate, then tokio-util's `Framed` with the same
//! messages (for a stream: a plain socket copy). The ratio is the median of the rounds' ratios, so
//! that what else the machine does cancels out. A message that is not handled ends it with exit
//! code 1; so does a server that cannot be reached. 2 for wrong options.

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[macro_use]
#[path = "../support/print.rs"]
mod print;

#[path = "../support/ends.rs"]
mod ends;

mod bare;
mod drive;
mod report;
mod serve;
mod work;

use std::{net::SocketAddr, process::ExitCode};

use actix_peer::{Peer, overlay::Address};
use clap::Parser;

use report::Report;
use work::{Flush, Job, Mode, Taker};

/// Measures links between two processes beside bare tokio.
#[derive(Parser)]
enum Options {
    /// The side under load: a node, and a bare server on another port.
    Serve {
        /// Where the node listens; port 0 picks a free one.
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9100")]
        listen: String,
        /// Where the bare server listens.
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9101")]
        bare: String,
        /// Threads of the node besides the first.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
        workers: u16,
    },
    /// The side that makes the load, and measures.
    Drive(Drive),
}

#[derive(clap::Args)]
struct Drive {
    /// What to measure.
    #[arg(long, value_enum)]
    mode: Mode,
    /// Who takes one-way messages.
    #[arg(long, value_enum, default_value_t = Taker::Each)]
    handler: Taker,
    /// Bytes of data in each message.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    size: u32,
    /// Messages in each round; for a stream, bytes [default: enough for a second or so].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)))]
    count: Option<u64>,
    /// Requests under way at once, in the modes pipeline and classic.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    outstanding: u16,
    /// When the bare side flushes, in the mode pipeline.
    #[arg(long, value_enum, default_value_t = Flush::Each)]
    bare_flush: Flush,
    /// How often both are measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Prints the result as JSON, and nothing else, on standard output.
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
        // As a task, like whatever runs in an actix application: the future of `main` itself is
        // polled by another, slower loop.
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

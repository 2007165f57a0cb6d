//! A node for the command line: the well-known handlers, an `ECHO`, and what happens, line by line.
//!
//! ```text
//! $ cargo run --example node -- --listen 127.0.0.1:9000
//! listening on 127.0.0.1:9000
//! $ cargo run --example node -- --listen 127.0.0.1:9001 --join 127.0.0.1:9000
//! $ cargo run --example ask -- 127.0.0.1:9000 LIST
//! ```
//!
//! Ctrl-C leaves politely, as do `kill` and a terminal that is closed: what runs is finished, every
//! known peer hears `QUIT`. A second one ends at once. With `--test-handlers` it has handlers that are slow, panic or answer nothing, to see
//! from outside what becomes of a node then. Exit code 1 when the node cannot start or no contact lets it in, 2 for wrong options.

#[macro_use]
#[path = "support/print.rs"]
mod print;

#[path = "support/ends.rs"]
mod ends;
#[path = "support/named.rs"]
mod named;

#[path = "support/test_handlers.rs"]
mod test_handlers;

use std::{future::ready, process::ExitCode, time::Duration};

use actix::prelude::*;
use actix_peer::{Config, Incoming, Peer, PeerEvent, PingSweep, Reply, handler, overlay::Address};
use clap::Parser;
use futures::StreamExt;

use crate::{ends::Ends, named::named};

/// Runs one node until ctrl-C.
#[derive(Parser)]
struct Options {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// The node's id [default: its host:port].
    #[arg(long)]
    id: Option<String>,
    /// How many peers it knows at most; 0 = no limit.
    #[arg(long, default_value_t = 128)]
    max_peers: usize,
    /// A node to join the network of; may be given more than once.
    #[arg(long, value_name = "HOST:PORT")]
    join: Vec<Address>,
    /// Seconds between two ping sweeps.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    ping_every: Duration,
    /// Serves SLOW, BOOM, BOO2 and SINK as well, for tests and demonstrations.
    #[arg(long)]
    test_handlers: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|time| !time.is_zero()).ok_or_else(|| "more than 0 seconds, please".to_owned())
}

/// One line for a person.
fn line(event: &PeerEvent) -> String {
    match event {
        PeerEvent::Started { me } => format!("started as {}", me.id()),
        PeerEvent::PeerAdded { peer } => format!("peer added: {}", named(peer)),
        PeerEvent::PeerRemoved { peer, why } => format!("peer removed: {} ({why:?})", named(peer)),
        PeerEvent::Refused { from, code, refusal } => {
            let code = code.map_or_else(|| "no header".to_owned(), |code| code.to_string());
            format!("refused: {code} from {from} ({refusal:?})")
        }
        PeerEvent::AcceptFailed { error } => format!("cannot accept: {error}"),
        PeerEvent::Restarted { child, times } => format!("restarted: {child} (time {times})"),
        PeerEvent::GaveUp { child } => format!("given up: {child}"),
        PeerEvent::Joined { contact, added } => {
            format!("joined by {contact}, peers added: {added}")
        }
        PeerEvent::NotJoined { contact, why, again } => {
            format!("not joined by {contact}: {why}{}", if *again { "; trying again" } else { "" })
        }
        PeerEvent::Left { told } => format!("left, peers told: {told}"),
        PeerEvent::UnknownThere { peer, refused: None } => format!("introduced again to {peer}"),
        PeerEvent::UnknownThere { peer, refused: Some(words) } => {
            format!("not listed by {peer}: {words:?}")
        }
        PeerEvent::TwoAddresses { id, listed, other, .. } => {
            format!("one id at two addresses: {id} at {listed} and {other}")
        }
        PeerEvent::Missed { events } => format!("missed {events} events"),
        other => format!("{other:?}").to_lowercase(),
    }
}

async fn start(options: &Options) -> Result<Peer, Box<dyn std::error::Error>> {
    let mut builder = Peer::builder()
        .listen(&options.listen)
        .config(Config::default().max_peers(options.max_peers))
        .well_known()
        .stabilizer(PingSweep::new().every(options.ping_every));
    builder = if options.test_handlers {
        test_handlers::register(builder)?
    } else {
        let echo = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame));
        builder.handle("ECHO", echo.start())?
    };
    if let Some(id) = &options.id {
        builder = builder.id(id);
    }
    Ok(builder.start().await?)
}

/// Joins by every contact. A contact that is away is said, and no reason to give up as long as
/// another one answers, or one is busy and tried again.
async fn join(peer: &Peer, contacts: &[Address]) -> bool {
    let mut joined = contacts.is_empty();
    for contact in contacts {
        match peer.join(&contact.to_string()).await {
            Ok(_) => joined = true,
            Err(error) if error.is_tried_again() => {
                eprintln!("cannot join {contact} yet, trying again: {error}");
                joined = true;
            }
            Err(error) => eprintln!("cannot join {contact}: {error}"),
        }
    }
    joined
}

#[actix::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let mut ends = match Ends::new() {
        Ok(ends) => ends,
        Err(error) => {
            eprintln!("cannot hear signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let peer = match start(&options).await {
        Ok(peer) => peer,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("listening on {}", peer.info().address());
    let events = peer.events();
    // Ends with the last event, or when nobody reads them any more.
    let mut printing = actix_rt::spawn(async move {
        let printed = events.map(|event| print::try_line(format_args!("{}", line(&event))));
        printed.take_while(|printed| ready(printed.is_ok())).for_each(|_| ready(())).await;
    });
    let work = async {
        if join(&peer, &options.join).await {
            std::future::pending::<()>().await;
        }
    };
    let asked_to_end = tokio::select! {
        () = work => false,
        _ = &mut printing => true,
        () = ends.next() => true,
    };
    let report = tokio::select! {
        report = peer.stop() => report,
        () = ends.next() => peer.abort().await,
    };
    if !printing.is_finished() {
        printing.await.ok();
    }
    println!(
        "peers told: {}, exchanges cut: {}",
        report.told,
        report.aborted.len() + report.aborted_more
    );
    if asked_to_end { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

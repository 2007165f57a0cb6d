//! A node for the command line, with the well-known handlers and an `ECHO`. Prints its events.
//!
//! ```text
//! $ cargo run --example node -- --listen 127.0.0.1:9000
//! listening on 127.0.0.1:9000
//! $ cargo run --example node -- --listen 127.0.0.1:9001 --join 127.0.0.1:9000
//! $ cargo run --example ask -- 127.0.0.1:9000 LIST
//! ```
//!
//! Ctrl-C stops the node, and so do `kill` and the end of the terminal: running exchanges finish,
//! and every known peer gets a `QUIT`. A second ctrl-C aborts. `--test-handlers` adds handlers that
//! are slow, panic or do not answer. The exit code is 1 if the node cannot start or no contact
//! accepts it, 2 for wrong options.

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
    /// The address to listen on; port 0 picks a free port.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// The id of the node [default: its host:port].
    #[arg(long)]
    id: Option<String>,
    /// The maximum number of known peers; 0 = no limit.
    #[arg(long, default_value_t = 128)]
    max_peers: usize,
    /// A node of the network to join; may be given more than once.
    #[arg(long, value_name = "HOST:PORT")]
    join: Vec<Address>,
    /// Seconds between two ping sweeps.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    ping_every: Duration,
    /// Adds the handlers SLOW, BOOM, BOO2 and SINK, for tests and demonstrations.
    #[arg(long)]
    test_handlers: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|time| !time.is_zero()).ok_or_else(|| "must be more than 0 seconds".to_owned())
}

/// The line that is printed for an event.
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
        PeerEvent::Restarted { child, times } => format!("restarted: {child} ({times} times)"),
        PeerEvent::GaveUp { child } => format!("not restarted after too many failures: {child}"),
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

/// Joins through every contact. Returns whether a contact accepted the node, or the node goes on
/// trying.
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
            eprintln!("cannot handle signals: {error}");
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
    // Ends with the last event, or when standard output is closed.
    let mut printing = actix_rt::spawn(async move {
        let printed = events.map(|event| print::try_line(format_args!("{}", line(&event))));
        printed.take_while(|printed| ready(printed.is_ok())).for_each(|_| ready(())).await;
    });
    let work = async {
        if join(&peer, &options.join).await {
            std::future::pending::<()>().await;
        }
    };
    let is_asked_to_end = tokio::select! {
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
        "peers told: {}, exchanges aborted: {}",
        report.told,
        report.aborted.len() + report.aborted_more
    );
    if is_asked_to_end { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

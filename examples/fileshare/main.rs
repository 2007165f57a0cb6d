//! File sharing among peers, with a web page: the application of the original tutorial, in one
//! network with the original Python and Java programs.
//!
//! ```text
//! $ cargo run --release --example fileshare
//! listening on 127.0.0.1:40017
//! page at http://127.0.0.1:40019/
//! $ cargo run --release --example fileshare -- --join 127.0.0.1:40017
//! ```
//!
//! Ctrl-C ends a node politely, as do `kill` and a terminal that is closed: its peers hear `QUIT`. A
//! second one ends it at once. Exit code 1 when it cannot start, 2 for wrong options. With a subcommand
//! it asks a running node.

#[path = "../support/ends.rs"]
mod ends;
#[macro_use]
#[path = "../support/print.rs"]
mod print;

mod app;
mod buffers;
mod command;
mod digest;
mod instances;
mod limits;
mod model;
mod name;
mod options;
#[cfg(feature = "metrics")]
#[path = "../support/prometheus.rs"]
mod prometheus;
mod protocol;
mod remote;
mod search;
mod serve;
mod share;
mod state;
mod talk;
#[path = "../support/test_handlers.rs"]
mod test_handlers;
mod transfer;
mod web;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    app::App,
    command::Command,
    ends::Ends,
    model::{Event, Level},
    options::Options,
};

/// Shares files with other peers, and shows what goes on in a web page.
#[derive(Parser)]
#[command(name = "fileshare", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// Subcommands print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// A line on standard output. Who does not read it any more is no reason to stop.
fn say(line: impl std::fmt::Display) {
    writeln!(io::stdout(), "{line}").ok();
}

/// Says what happens, until the program ends.
async fn say_notices(mut events: Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(Event::Notice { level: Level::Info, text }) => say(text),
            Ok(Event::Notice { level: Level::Error, text }) => {
                writeln!(io::stderr(), "{text}").ok();
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn run(options: Options) -> Result<(), (String, ExitCode)> {
    let temporary = options.share.is_none();
    let (listen, token) = (options.web.clone(), options.token.clone());
    let mut ends = Ends::new().map_err(|error| (error.to_string(), ExitCode::FAILURE))?;
    let app = App::start(options).await.map_err(|error| (error.to_string(), error.exit_code()))?;
    let events = app.events();
    let served = match web::serve(app.clone(), &listen, token) {
        Ok(served) => served,
        Err(error) => {
            app.abort().await;
            let wrong = error.kind() == io::ErrorKind::InvalidInput;
            let code = if wrong { 2.into() } else { ExitCode::FAILURE };
            return Err((format!("no page at {listen}: {error}"), code));
        }
    };
    let status = app.status().await;
    say(format_args!("listening on {}", status.address));
    say(format_args!("page at {}", served.url));
    // From here on: the first line is the address, for whoever starts this and reads on.
    actix_rt::spawn(say_notices(events));
    if temporary {
        let share = status.share.display();
        say(format_args!("sharing a temporary folder, removed at the end: {share}"));
    }
    say(format_args!("fetched files go to {}", status.downloads.display()));
    ends.next().await;
    let report = tokio::select! {
        report = async {
            served.stop().await;
            app.stop().await
        } => report,
        () = ends.next() => app.abort().await,
    };
    let cut = report.cut.len() + report.cut_more;
    say(format_args!("peers told: {}, exchanges cut: {cut}", report.told));
    Ok(())
}

#[actix::main]
async fn main() -> ExitCode {
    let Cli { options, json, command } = Cli::parse();
    if let Some(command) = command {
        return command::run(command, json);
    }
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err((why, code)) => {
            writeln!(io::stderr(), "cannot start: {why}").ok();
            code
        }
    }
}

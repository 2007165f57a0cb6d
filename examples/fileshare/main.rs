//! File sharing among peers, with a web page: the application of the original tutorial. It works in
//! one network with the original Python and Java programs.
//!
//! ```text
//! $ cargo run --release --example fileshare
//! listening on 127.0.0.1:40017
//! page at http://127.0.0.1:40019/
//! $ cargo run --release --example fileshare -- --join 127.0.0.1:40017
//! ```
//!
//! Ctrl-C stops the node, and so do `kill` and the end of the terminal: its peers get a `QUIT`. A
//! second ctrl-C aborts. The exit code is 1 if the node cannot start, 2 for wrong options. A
//! subcommand talks to a running node.

#[macro_use]
#[path = "../support/print.rs"]
mod print;

#[path = "../support/ends.rs"]
mod ends;
#[path = "../support/named.rs"]
mod named;

mod app;
mod buffers;
mod command;
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

use clap::{CommandFactory, Parser, error::ErrorKind};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    app::App,
    command::Command,
    ends::Ends,
    model::{Event, Level},
    options::Options,
};

/// The beginning of the help.
const ABOUT: &str = "\
Shares files with other peers, and has a web page.

Without a command it starts a node, which runs until ctrl-C. A command talks to a running node.";

#[derive(Parser)]
#[command(name = "fileshare", version, about = ABOUT, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// Without a command it is an error with a hint.
    #[arg(long, hide = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Prints a line. The node continues to run if standard output is closed.
fn print_line(line: impl std::fmt::Display) {
    writeln!(io::stdout(), "{line}").ok();
}

/// Prints notices until the program ends.
async fn print_notices(mut events: Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(Event::Notice { level: Level::Info, text }) => print_line(text),
            Ok(Event::Notice { level: Level::Error, text }) => {
                writeln!(io::stderr(), "{text}").ok();
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Why it does not start, and its exit code.
type Failed = (String, ExitCode);

/// Checks that peers and the page have different ports.
fn check(options: &Options) -> Result<(), Failed> {
    let (listen, web) = (&options.listen, &options.web);
    if listen == web && listen.port() != 0 {
        let why = format!("--listen and --web are both {web}: give one of them another port");
        return Err((why, 2.into()));
    }
    Ok(())
}

/// The error of a page that cannot be served.
fn no_page(options: &Options, error: &io::Error) -> Failed {
    let (code, why) = match error.kind() {
        io::ErrorKind::InvalidInput => (2.into(), error.to_string()),
        io::ErrorKind::AddrInUse => {
            (ExitCode::FAILURE, "the address is in use, give another one with --web".to_owned())
        }
        _ => (ExitCode::FAILURE, error.to_string()),
    };
    (format!("cannot serve the page at {}: {why}", options.web), code)
}

async fn run(options: Options) -> Result<(), Failed> {
    check(&options)?;
    let temporary = options.share.is_none();
    let mut ends = Ends::new().map_err(|error| (error.to_string(), ExitCode::FAILURE))?;
    let app = App::start(options.clone()).await;
    let app = app.map_err(|error| (error.to_string(), error.exit_code()))?;
    let events = app.events();
    let served = match web::serve(app.clone(), &options.web, options.token.clone()) {
        Ok(served) => served,
        Err(error) => {
            app.abort().await;
            return Err(no_page(&options, &error));
        }
    };
    let status = app.status().await;
    print_line(format_args!("listening on {}", status.address));
    print_line(format_args!("page at {}", served.url));
    // After the first line: programs that start this one read the address from it.
    actix_rt::spawn(print_notices(events));
    if temporary {
        let share = status.share.display();
        print_line(format_args!("sharing a temporary folder, removed at the end: {share}"));
    }
    print_line(format_args!("fetched files go to {}", status.downloads.display()));
    ends.next().await;
    let report = tokio::select! {
        report = async {
            served.stop().await;
            app.stop().await
        } => report,
        () = ends.next() => app.abort().await,
    };
    let aborted = report.aborted.len() + report.aborted_more;
    print_line(format_args!("peers told: {}, exchanges aborted: {aborted}", report.told));
    Ok(())
}

#[actix::main]
async fn main() -> ExitCode {
    let Cli { options, json, command } = Cli::parse();
    if let Some(command) = command {
        return command::run(command);
    }
    if json {
        let why = "--json belongs to a command: fileshare status --json";
        Cli::command().error(ErrorKind::MissingSubcommand, why).exit();
    }
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err((why, code)) => {
            writeln!(io::stderr(), "cannot start: {why}").ok();
            code
        }
    }
}

//! The subcommands: each asks a running instance over its API, and prints for people or as JSON.

mod cancel;
mod client;
mod fetch;
mod find;
mod print;
mod search;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::model::{FileRow, Join, Joined, Network, Status};

use client::{Client, Trouble};
use print::Output;

/// Which instance; needed only when several run.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The address of the instance's page; not needed when only one runs
    #[arg(long, value_name = "HOST:PORT")]
    web: Option<String>,
    /// The token of that instance, if it wants one and was not started by this user
    #[arg(long, requires = "web")]
    token: Option<String>,
}

/// What a running instance is asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what a running instance is and how it does
    Status {
        #[command(flatten)]
        target: Target,
    },
    /// List the peers that it knows
    Peers {
        #[command(flatten)]
        target: Target,
    },
    /// List the files that it knows, its own and those of others
    Files {
        #[command(flatten)]
        target: Target,
    },
    /// Ask the network for files whose name contains KEY
    Search {
        key: String,
        /// How long to wait for answers, in seconds
        #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
        wait: Duration,
        /// Hops that the question may go on
        #[arg(long, value_name = "HOPS")]
        ttl: Option<u32>,
        #[command(flatten)]
        target: Target,
    },
    /// Fetch a file and wait until it is there
    Fetch {
        name: String,
        /// Take it from this peer only
        #[arg(long, value_name = "ID")]
        from: Option<String>,
        /// Replace a file of that name in the downloads
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Cancel a transfer that is on its way, and remove what has come of it
    Cancel {
        /// Its number, or the name of its file
        #[arg(value_name = "TRANSFER")]
        which: String,
        #[command(flatten)]
        target: Target,
    },
    /// Join the network of a first contact
    Join {
        #[arg(value_name = "HOST:PORT")]
        address: String,
        #[command(flatten)]
        target: Target,
    },
    /// Leave a peer: forget it, and tell it so
    Leave {
        id: String,
        #[command(flatten)]
        target: Target,
    },
}

/// The longest wait that is taken, so that it cannot be mistaken for a hang.
const MAX_WAIT_SECONDS: f64 = 3_600.0;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if !(0.0..=MAX_WAIT_SECONDS).contains(&seconds) {
        return Err(format!("between 0 and {MAX_WAIT_SECONDS} seconds"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Runs one subcommand to its end. It blocks, and needs no runtime.
///
/// Exit code 0: it was done. 1: it was not, and standard error says why.
pub(crate) fn run(command: Command, json: bool) -> ExitCode {
    let output = Output { json };
    match answer(command, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            output.trouble(&trouble);
            ExitCode::FAILURE
        }
    }
}

fn answer(command: Command, output: Output) -> Result<(), Trouble> {
    match command {
        Command::Status { target } => {
            let status: Status = client(target)?.get("api/status")?;
            output.show(&status, print::status)
        }
        Command::Peers { target } => {
            let network: Network = client(target)?.get("api/peers")?;
            output.show(&network, |network| print::peers(&network.peers))
        }
        Command::Files { target } => {
            let client = client(target)?;
            let files: Vec<FileRow> = client.get("api/files")?;
            output.show(&files, |files| print::files(files))?;
            let status: Status = client.get("api/status")?;
            status.left_out.iter().try_for_each(|some| output.line(&print::left_out(some)))
        }
        Command::Search { key, wait, ttl, target } => {
            search::run(&client(target)?, key, ttl, wait, output)
        }
        Command::Fetch { name, from, replace, target } => {
            fetch::run(&client(target)?, name, from, replace, output)
        }
        Command::Cancel { which, target } => cancel::run(&client(target)?, &which, output),
        Command::Join { address, target } => {
            let joined: Joined = client(target)?.post("api/join", &Join { address })?;
            output.show(&joined, print::joined)
        }
        Command::Leave { id, target } => {
            let _: Value = client(target)?.delete("api/peers", &id)?;
            output.show(&json!({ "left": id }), |_| format!("left {id}\n"))
        }
    }
}

fn client(target: Target) -> Result<Client, Trouble> {
    let instance = find::instance(target)?;
    Ok(Client::new(&instance))
}

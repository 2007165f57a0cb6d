//! The subcommands: each calls the API of a running instance, and prints text or JSON.

mod cancel;
mod client;
mod fetch;
mod find;
mod print;
mod search;

use std::{process::ExitCode, time::Duration};

use actix_peer::overlay::Address;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    model::{FileRow, Join, Joined, Network, Status},
    options::{host_port, seconds},
};

use client::{Client, CommandError};
use print::Output;

/// The options of all commands.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// The node, by the address that it prints after `page at`; required only if several are
    /// running
    #[arg(long, value_name = "HOST:PORT", value_parser = find::page)]
    web: Option<Address>,
    /// The token of that node, if it has one and was started by another user
    #[arg(long, value_name = "TEXT", requires = "web")]
    token: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The commands for a running node.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the status of a running node
    Status(Target),
    /// List its peers
    Peers(Target),
    /// List the known files, its own and those of others
    Files(Target),
    /// Search the network for files whose name contains KEY
    Search {
        /// A part of the name of a file; case is ignored
        key: String,
        /// How long to wait for answers, in seconds
        #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = wait)]
        wait: Duration,
        /// How many times the search is forwarded, from peer to peer
        #[arg(long, value_name = "HOPS")]
        ttl: Option<u32>,
        #[command(flatten)]
        target: Target,
    },
    /// Fetch a file and wait until it is complete
    Fetch {
        /// The full name of a file, as `files` and `search` print it
        name: String,
        /// Fetch it only from this peer
        #[arg(long, value_name = "ID")]
        from: Option<String>,
        /// Replace a file of the same name in the downloads
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Cancel an open transfer and remove its data
    Cancel {
        /// Its number, or the name of its file
        #[arg(value_name = "TRANSFER")]
        which: String,
        #[command(flatten)]
        target: Target,
    },
    /// Join the network of a first contact
    Join {
        /// The address of a node of that network
        #[arg(value_name = "HOST:PORT", value_parser = host_port)]
        address: Address,
        #[command(flatten)]
        target: Target,
    },
    /// Remove a peer, and tell it
    Leave {
        /// The id of the peer, as `peers` prints it
        id: String,
        #[command(flatten)]
        target: Target,
    },
}

impl Command {
    const fn target(&self) -> &Target {
        match self {
            Self::Status(target)
            | Self::Peers(target)
            | Self::Files(target)
            | Self::Search { target, .. }
            | Self::Fetch { target, .. }
            | Self::Cancel { target, .. }
            | Self::Join { target, .. }
            | Self::Leave { target, .. } => target,
        }
    }
}

/// The maximum wait, so that a command does not seem to hang.
const MAX_WAIT: f64 = 3_600.0;

fn wait(text: &str) -> Result<Duration, String> {
    seconds(text, 0.0, MAX_WAIT)
}

/// Runs one subcommand. It blocks, and needs no runtime.
///
/// The exit code is 1 if it fails; standard error says why.
pub(crate) fn run(command: Command) -> ExitCode {
    let output = Output { json: command.target().json };
    match answer(command, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn answer(command: Command, output: Output) -> Result<(), CommandError> {
    let client = Client::new(&find::instance(command.target())?);
    match command {
        Command::Status(_) => {
            let status: Status = client.get("api/status")?;
            output.show(&status, print::status)
        }
        Command::Peers(_) => {
            let network: Network = client.get("api/peers")?;
            output.show(&network, |network| print::peers(&network.peers))
        }
        Command::Files(_) => {
            let files: Vec<FileRow> = client.get("api/files")?;
            output.show(&files, |files| print::files(files))?;
            let status: Status = client.get("api/status")?;
            status.left_out.iter().try_for_each(|some| output.line(&print::left_out(some)))
        }
        Command::Search { key, wait, ttl, .. } => search::run(&client, key, ttl, wait, output),
        Command::Fetch { name, from, replace, .. } => {
            fetch::run(&client, name, from, replace, output)
        }
        Command::Cancel { which, .. } => cancel::run(&client, &which, output),
        Command::Join { address, .. } => {
            let joined: Joined = client.post("api/join", &Join { address: address.to_string() })?;
            output.show(&joined, print::joined)
        }
        Command::Leave { id, .. } => {
            let _: Value = client.delete("api/peers", &id)?;
            output.show(&json!({ "left": id }), |_| format!("left {id}\n"))
        }
    }
}

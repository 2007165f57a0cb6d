//! The subcommands: each asks a running instance over its API, and prints for people or as JSON.

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

use client::{Client, Trouble};
use print::Output;

/// What all commands take.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// The node to ask, by the address that it prints after `page at`; needed only when several run
    #[arg(long, value_name = "HOST:PORT", value_parser = find::page)]
    web: Option<Address>,
    /// The token of that node, if it wants one and was not started by this user
    #[arg(long, value_name = "TEXT", requires = "web")]
    token: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// What a running node is asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what a running node is and how it does
    Status(Target),
    /// List the peers that it knows
    Peers(Target),
    /// List the files that it knows, its own and those of others
    Files(Target),
    /// Ask the network for files whose name contains KEY
    Search {
        /// A part of a file's name, in capital or small letters
        key: String,
        /// How long to wait for answers, in seconds
        #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = wait)]
        wait: Duration,
        /// How often the question is passed on, from peer to peer
        #[arg(long, value_name = "HOPS")]
        ttl: Option<u32>,
        #[command(flatten)]
        target: Target,
    },
    /// Fetch a file and wait until it is there
    Fetch {
        /// The whole name of a file, as `files` and `search` print it
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
        /// Where a node of that network listens
        #[arg(value_name = "HOST:PORT", value_parser = host_port)]
        address: Address,
        #[command(flatten)]
        target: Target,
    },
    /// Leave a peer: forget it, and tell it so
    Leave {
        /// The peer's id, as `peers` prints it
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

/// The longest wait that is taken, so that it cannot be mistaken for a hang.
const MAX_WAIT: f64 = 3_600.0;

fn wait(text: &str) -> Result<Duration, String> {
    seconds(text, 0.0, MAX_WAIT)
}

/// Runs one subcommand to its end. It blocks, and needs no runtime.
///
/// Exit code 0: it was done. 1: it was not, and standard error says why.
pub(crate) fn run(command: Command) -> ExitCode {
    let output = Output { json: command.target().json };
    match answer(command, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            output.trouble(&trouble);
            ExitCode::FAILURE
        }
    }
}

fn answer(command: Command, output: Output) -> Result<(), Trouble> {
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

//! A terminal chat without a server: rooms, private lines and files among the nodes alone.
//!
//! ```text
//! $ cargo run --example chat --features tls -- --nick ada --listen 127.0.0.1:9000
//! $ cargo run --example chat --features tls -- --nick bob --join 127.0.0.1:9000
//! ```
//!
//! Each room is a topic, and keeps its last 100 lines for newcomers. Each node has a key, kept in a
//! file with `--identity`, and signs what it says. A nick is only a claim, so it is shown with a
//! short form of the key: `ada~k3f9`.
//!
//! Without a terminal, or with `--plain`, the program prints one event a line and reads commands
//! from standard input to its end. Ctrl-C stops the node. The exit code is 1 if the node cannot
//! start, 2 for wrong options.

#[macro_use]
#[path = "../support/print.rs"]
mod print;

#[path = "../support/ends.rs"]
mod ends;

mod chat;
mod command;
mod files;
mod options;
mod people;
mod plain;
mod progress;
mod screen;
mod text;
mod view;
mod wire;

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use actix::Actor;
use actix_peer::{
    Peer, StartError,
    transport::tls::{IdentityError, NodeIdentity},
};
use clap::Parser;

use crate::{
    chat::{Chat, LeaveAll, Settings},
    ends::Ends,
    options::Options,
    view::{Event, Show},
};

/// The maximum time for telling others that this node leaves.
const FAREWELL: Duration = Duration::from_millis(200);

/// The maximum time for printing what is still to be printed.
const PRINT_TIME: Duration = Duration::from_secs(2);

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}: give another one with --listen")]
    InUse(StartError),
    #[error("{0}: give one with --host")]
    Host(StartError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("cannot use the terminal: {0}; --plain needs none")]
    Terminal(std::io::Error),
    #[error("the chat ended by an error of the program")]
    Broken,
}

impl Failed {
    fn start(error: StartError) -> Self {
        match error {
            StartError::AddressInUse { .. } => Self::InUse(error),
            StartError::UnreachableHost(_) => Self::Host(error),
            error => Self::Start(error),
        }
    }
}

async fn start(options: &Options) -> Result<Peer, Failed> {
    let identity = match &options.identity {
        Some(path) => NodeIdentity::load_or_generate(path)?,
        None => NodeIdentity::generate()?,
    };
    let builder = Peer::builder()
        .identity(identity)
        .listen(options.listen.to_string())
        .contacts(options.join.iter().map(ToString::to_string))
        .max_peers(options.max_peers.into())
        .well_known();
    let builder = match &options.host {
        Some(host) => builder.host(host.to_string()),
        None => builder,
    };
    builder.start().await.map_err(Failed::start)
}

async fn run(options: Options) -> Result<(), Failed> {
    let mut ends = Ends::new().map_err(Failed::Terminal)?;
    let peer = start(&options).await?;
    let (show, events) = Show::new();
    let address = peer.info().address();
    let has_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let is_plain = options.plain || !has_terminal;
    if is_plain {
        // First of all: programs that start this one read the address from it.
        println!("listening on {address}");
    } else {
        show.note(None, format!("listening on {address}"));
    }
    let nick = options.nick();
    show.note(None, format!("you are {}", nick.label(peer.id())));
    if options.join.is_empty() {
        show.note(None, format!("others join with --join {address}"));
    }
    let settings = Settings {
        nick,
        rooms: options.room.clone(),
        downloads: options.downloads.clone(),
        accept: options.accept,
    };
    let chat = Chat::new(peer.clone(), show.clone(), settings).start();
    let mut printing = None;
    let ran = if is_plain {
        printing = Some(plain::print(events));
        plain::run(&chat, &show, options.stay, &mut ends).await;
        Ok(())
    } else {
        let screen = screen::run(&chat, &show, events, options.has_colors(), &mut ends).await;
        screen.map_err(Failed::Terminal)
    };
    let is_broken = !chat.connected();
    chat.send(LeaveAll).await.ok();
    tokio::select! {
        () = tokio::time::sleep(FAREWELL) => {}
        () = ends.next() => {}
    }
    tokio::select! {
        _ = peer.stop() => {}
        // A second signal.
        () = ends.next() => drop(peer.abort().await),
    }
    show.event(Event::End);
    if let Some(printing) = printing {
        // Standard output may be a pipe without a reader.
        let printed = tokio::task::spawn_blocking(move || printing.join().ok());
        tokio::time::timeout(PRINT_TIME, printed).await.ok();
    }
    ran?;
    if is_broken { Err(Failed::Broken) } else { Ok(()) }
}

#[actix::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cannot chat: {why}");
            ExitCode::FAILURE
        }
    }
}

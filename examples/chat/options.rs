//! The options of the program.

use std::path::PathBuf;

use actix_peer::overlay::{Address, Host, InvalidAddress};
use clap::Parser;

use crate::text::{Nick, RoomName};

/// The room of a program that is started without one.
const LOBBY: &str = "lobby";

/// A terminal chat without a server.
///
/// Start one, and let the others join it: `chat --nick bob --join HOST:PORT`. Lines go to the
/// current room; /help lists the commands.
#[derive(Parser, Clone, Debug)]
#[command(name = "chat", version)]
pub(crate) struct Options {
    /// The name that others see [default: the name of the user].
    #[arg(long, value_parser = nick)]
    pub(crate) nick: Option<Nick>,
    /// The address for other nodes; port 0 picks a free port. To be reached from other machines,
    /// listen on 0.0.0.0:PORT.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", value_parser = host_port)]
    pub(crate) listen: Address,
    /// The host to announce, if others reach this node by another one than --listen says.
    #[arg(long, value_parser = host)]
    pub(crate) host: Option<Host>,
    /// A node of the chat to join; may be given more than once.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
    pub(crate) join: Vec<Address>,
    /// A room to enter; may be given more than once.
    #[arg(long, value_name = "ROOM", default_value = LOBBY, value_parser = room)]
    pub(crate) room: Vec<RoomName>,
    /// The file with the key of this node, made if there is none. Without it, each start has a new
    /// key.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// The folder for files of others.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) downloads: PathBuf,
    /// Accept every file that is offered.
    #[arg(long)]
    pub(crate) accept: bool,
    /// The maximum number of peers that this node knows.
    #[arg(long, value_name = "PEERS", default_value_t = 32)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_peers: u16,
    /// Print plain lines, also to a terminal.
    #[arg(long)]
    pub(crate) plain: bool,
    /// Use no colours [default: unless NO_COLOR is set].
    #[arg(long)]
    pub(crate) no_color: bool,
    /// With plain lines: continue after the end of standard input, until ctrl-C.
    #[arg(long)]
    pub(crate) stay: bool,
}

impl Options {
    /// The nick: the given one, or else the name of the user.
    pub(crate) fn nick(&self) -> Nick {
        let user = || std::env::var("USER").ok()?.parse().ok();
        self.nick.clone().or_else(user).unwrap_or_else(|| Nick::claimed("guest"))
    }

    pub(crate) fn has_colors(&self) -> bool {
        !self.no_color && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
    }
}

fn host_port(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error: InvalidAddress| match text.parse::<u16>() {
        Ok(port) => format!("the host is missing: write 127.0.0.1:{port} for this machine"),
        Err(_) => format!("{error}: write HOST:PORT, such as 127.0.0.1:9000"),
    })
}

fn host(text: &str) -> Result<Host, String> {
    text.parse::<Host>().map_err(|error| format!("{error}: write a host without a port"))
}

fn nick(text: &str) -> Result<Nick, String> {
    text.parse::<Nick>().map_err(|error| error.to_string())
}

fn room(text: &str) -> Result<RoomName, String> {
    text.parse::<RoomName>().map_err(|error| error.to_string())
}

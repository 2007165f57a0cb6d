//! The options of a node.

use std::{path::PathBuf, time::Duration};

use actix_peer::overlay::{Address, InvalidAddress};
use clap::Args;

use crate::protocol::MAX_TTL;

/// The options of a node, which all have defaults: without options, the program shares a temporary
/// folder with a sample file.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The address for other peers; port 0 picks a free port.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", value_parser = host_port)]
    pub(crate) listen: Address,
    /// The id of this peer [default: its host:port, which the original programs need].
    #[arg(long, value_name = "NAME")]
    pub(crate) id: Option<String>,
    /// The maximum number of known peers; 0 = no limit.
    #[arg(long, value_name = "PEERS", default_value_t = 32)]
    pub(crate) max_peers: usize,
    /// A peer of the network to join; may be given more than once.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
    pub(crate) join: Vec<Address>,
    /// How far to join: 1 is the contact alone, 2 includes the peers that it knows.
    #[arg(long, value_name = "HOPS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) hops: u32,
    /// Know only the peers that fit into the table, as the original programs do, and keep no other
    /// neighbours.
    #[arg(long)]
    pub(crate) table_only: bool,
    /// The folder to share [default: a temporary one with a sample file, removed at the end].
    #[arg(long, value_name = "DIR")]
    pub(crate) share: Option<PathBuf>,
    /// The folder for fetched files, which are shared, too [default: the folder of --share, or else
    /// `fileshare` in the user's folder for downloads, or in the current folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) downloads: Option<PathBuf>,
    /// The address of the page; port 0 picks a free port.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", value_parser = host_port)]
    pub(crate) web: Address,
    /// The password of the page; required if the page is not on loopback.
    #[arg(long, value_name = "TEXT")]
    pub(crate) token: Option<String>,
    /// How many times a search is forwarded, from peer to peer.
    #[arg(long, value_name = "HOPS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_TTL)))]
    pub(crate) ttl: u32,
    /// Seconds between two pings of all peers.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = ping_every)]
    pub(crate) ping_every: Duration,
    /// Adds the handlers ECHO, SLOW, BOOM, BOO2 and SINK, for tests and demonstrations.
    #[arg(long)]
    pub(crate) test_handlers: bool,
}

/// Parses an address. The error says what to write instead.
pub(crate) fn host_port(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error: InvalidAddress| match text.parse::<u16>() {
        Ok(port) => format!("the host is missing: write 127.0.0.1:{port} for this machine"),
        Err(_) => format!("{error}: write HOST:PORT, such as 127.0.0.1:9000"),
    })
}

/// Parses a number of seconds within bounds.
pub(crate) fn seconds(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (least..=most).contains(seconds));
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| format!("write a number of seconds from {least} to {most}"))
}

fn ping_every(text: &str) -> Result<Duration, String> {
    seconds(text, 0.1, 86_400.0)
}

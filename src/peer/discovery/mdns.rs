//! Discovery of nodes in the local network by multicast DNS (RFC 6762, RFC 6763), feature `mdns`.
//!
//! A node announces the service `_actixpeer._tcp.local.` with its id, its addresses and the name of
//! its application's network, and listens for other nodes of the same network. An announcement is
//! only a hint, and the weakest of all, because any machine in the local network can announce
//! anything. The node therefore asks an announced node for its `NAME`. The node enters the table of
//! peers ([`Learned::Nearby`]) only if it answers with the announced id, and within the
//! [`Shares`](crate::overlay::Shares) of newcomers. Only addresses of the local network are asked,
//! never those of this machine or of the internet.
//!
//! ```no_run
//! use actix_peer::{Peer, peer::mdns::MdnsConfig};
//!
//! # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let peer = Peer::builder()
//!     .listen("0.0.0.0:0")
//!     .well_known()
//!     .mdns(MdnsConfig::new("my-application")?)
//!     .start()
//!     .await?;
//! # peer.stop().await;
//! # Ok(()) }
//! ```

use std::{
    future::poll_fn,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use mdns_sd::{IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::time::{Instant, interval};

use crate::{
    node::log::{LogKind, warn_some},
    overlay::{Candidate, Host, Learned, Nearby, PeerId, PeerInfo},
    peer::{
        Peers,
        maintenance::{Maintenance, NodeContext},
        verification::{AskName, Outcome, Policy, verify_and_admit},
    },
    session::Endpoint,
};

/// The service type of all nodes; a label has at most 15 characters.
const SERVICE: &str = "_actixpeer._tcp.local.";

/// The version of the announcement.
const VERSION: &str = "1";

/// The maximum length of a network's name: a value of a TXT record has 255 bytes with its key.
pub const MAX_NETWORK: usize = 63;

/// The number of nodes that are asked for their name at the same time.
const AT_ONCE: usize = 4;

/// The number of announced nodes that are asked for their name per minute: enough for the nodes of
/// a local network, and few enough that false announcements cause few dials.
const PER_MINUTE: usize = 30;

/// The options of discovery in the local network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MdnsConfig {
    network: String,
    port: u16,
    loopback: bool,
}

/// The name of a network that cannot be announced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network name {0:?} must be 1 to {MAX_NETWORK} letters, digits, `.`, `_` or `-`")]
pub struct InvalidNetwork(String);

impl MdnsConfig {
    /// Discovers nodes that announce the same name. Use a name of the application, so that nodes of
    /// other applications are ignored.
    ///
    /// # Errors
    /// The name is empty, is longer than [`MAX_NETWORK`], or has characters other than ASCII
    /// letters and digits, `.`, `_` and `-`.
    pub fn new(network: impl Into<String>) -> Result<Self, InvalidNetwork> {
        let network = network.into();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if network.is_empty() || network.len() > MAX_NETWORK || !network.bytes().all(fits) {
            return Err(InvalidNetwork(network));
        }
        Ok(Self { network, port: 5_353, loopback: false })
    }

    /// The UDP port of multicast DNS. Default 5353, as in RFC 6762. Nodes with different ports do
    /// not discover each other.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Uses only the loopback interface and nodes of this machine, for tests and demonstrations.
    /// Default: all interfaces except loopback.
    #[must_use]
    pub const fn loopback(mut self, loopback: bool) -> Self {
        self.loopback = loopback;
        self
    }
}

/// The maintenance that the option of the builder adds.
#[derive(Debug)]
pub(crate) struct Mdns {
    pub(crate) config: MdnsConfig,
}

impl Maintenance for Mdns {
    fn name(&self) -> &'static str {
        "mdns"
    }

    fn run<'a>(&'a self, NodeContext { node, peers }: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            if let Err(error) = find(&self.config, node, peers).await {
                warn_some!(LogKind::Part, %error, "cannot find nodes by multicast DNS");
            }
        })
    }
}

/// The thread of the library. It ends when this is dropped, and says goodbye for the node.
struct Daemon(ServiceDaemon);

impl Drop for Daemon {
    fn drop(&mut self) {
        // Refused when its queue is full. The thread then ends with the process.
        self.0.shutdown().ok();
    }
}

fn start(config: &MdnsConfig, me: &PeerInfo) -> mdns_sd::Result<(Daemon, Receiver<ServiceEvent>)> {
    let daemon = Daemon(ServiceDaemon::new_with_port(config.port)?);
    if config.loopback {
        daemon.0.disable_interface(IfKind::All)?;
        daemon.0.enable_interface(IfKind::LoopbackV4)?;
        daemon.0.set_multicast_loop_v4(true)?;
    } else {
        daemon.0.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    }
    daemon.0.register(announcement(config, me)?)?;
    let found = daemon.0.browse(SERVICE)?;
    Ok((daemon, found))
}

/// A label that is unique to the node, for ids of any length.
fn label(me: &PeerInfo) -> String {
    let mut hasher = DefaultHasher::new();
    me.to_string().hash(&mut hasher);
    format!("peer-{:016x}", hasher.finish())
}

fn announcement(config: &MdnsConfig, me: &PeerInfo) -> mdns_sd::Result<ServiceInfo> {
    let (label, port) = (label(me), me.address().port());
    let host = format!("{label}.local.");
    let (id, net) = (me.id().to_string(), config.network.as_str());
    let properties = [("id", id.as_str()), ("v", VERSION), ("net", net)];
    let properties = &properties[..];
    match me.address().host() {
        Host::Ip(ip) => ServiceInfo::new(SERVICE, &label, &host, *ip, port, properties),
        // The library resolves a host name to the addresses of this machine.
        Host::Name(_) => ServiceInfo::new(SERVICE, &label, &host, (), port, properties)
            .map(ServiceInfo::enable_addr_auto),
    }
}

/// The id that a node announces; `None` if it is not of this network.
fn id_of(found: &ResolvedService, network: &str) -> Option<PeerId> {
    let text = |key| found.txt_properties.get_property_val_str(key);
    let ours = text("net") == Some(network) && text("v") == Some(VERSION);
    text("id").filter(|_| ours)?.parse().ok()
}

/// Announces and discovers until the node ends. The library closes a queue that is not emptied, so
/// this loop never waits for a peer.
async fn find(config: &MdnsConfig, node: &Arc<Endpoint>, peers: &Peers) -> mdns_sd::Result<()> {
    let (_daemon, found) = start(config, &node.me)?;
    let mut found = found.into_stream();
    let mut nearby = Nearby::new(node.me.id().clone(), config.loopback, PER_MINUTE);
    let mut under_way = FuturesUnordered::new();
    // Wakes the loop for nodes that waited for the next minute.
    let mut again = interval(Duration::from_secs(5));
    loop {
        let now = Instant::now().into_std();
        while under_way.len() < AT_ONCE
            && let Some(peer) = nearby.next(now)
        {
            under_way.push(ask(node, peers, peer));
        }
        let event = poll_fn(|cx| {
            if let Poll::Ready(Some(())) = under_way.poll_next_unpin(cx) {
                return Poll::Ready(None);
            }
            if again.poll_tick(cx).is_ready() {
                return Poll::Ready(None);
            }
            found.poll_next_unpin(cx).map(Some)
        });
        match event.await {
            Some(Some(ServiceEvent::ServiceResolved(found))) => {
                if let Some(id) = id_of(&found, &config.network) {
                    let addresses = found.addresses.iter().map(|scoped| scoped.to_ip_addr());
                    nearby.announced(id, addresses, found.port, Instant::now().into_std());
                }
            }
            Some(None) => {
                return Err(mdns_sd::Error::Msg(
                    "the thread of multicast DNS has ended".to_owned(),
                ));
            }
            None | Some(Some(_)) => {}
        }
    }
}

/// Asks a node for its name, and adds it if its id is the announced one.
async fn ask(node: &Arc<Endpoint>, peers: &Peers, peer: PeerInfo) {
    let candidate = Candidate::new(peer.clone(), Learned::Nearby);
    let policy = Policy { ask: AskName::First { named_by: None }, introduce: false };
    let outcome = verify_and_admit(node, peers, candidate, policy).await;
    if outcome != Ok(Outcome::Added) {
        tracing::debug!(%peer, ?outcome, "discovered nearby, but not added");
    }
}

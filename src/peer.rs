//! Layer 13: the node, with its handle, its options and the actors that it consists of.

// The parts import each other in one direction, which `tests/docs/parts.rs` checks. From the lowest
// to the highest: asking, route, supervision; table; maintenance; kept_links, verification, swim;
// gossip; joining; stabilizer; discovery; listener, status, stop; actor and handle, which import each other;
// kademlia, messages, metrics, sending, topics; builder; sim.
mod actor;
mod asking;
mod builder;
mod discovery;
mod error;
#[cfg(feature = "gossip")]
mod gossip;
mod handle;
mod joining;
#[cfg(feature = "kademlia")]
mod kademlia;
mod kept_links;
mod listener;
mod maintenance;
pub mod messages;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub mod metrics;
mod route;
mod sending;
#[cfg(feature = "test-utils")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
pub mod sim;
mod stabilizer;
mod status;
mod stop;
mod supervision;
#[cfg(feature = "swim")]
mod swim;
mod table;
#[cfg(feature = "gossip")]
#[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
pub mod topics;
mod verification;

#[cfg(feature = "mdns")]
#[cfg_attr(docsrs, doc(cfg(feature = "mdns")))]
pub use self::discovery::mdns;
#[cfg(feature = "kademlia")]
#[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
pub use self::kademlia::{KademliaConfig, KademliaError};
pub use self::{
    actor::PeerActor,
    builder::{Builder, MAX_WORKERS},
    discovery::address_book::AddressBookConfig,
    error::{RegisterError, StartError},
    handle::{Peer, WeakPeer, neighbors::Neighbor, registration::Registration},
    joining::JoinError,
    listener::ListenerActor,
    maintenance::StabilizerActor,
    sending::{IntoTarget, NotAllSent, Target},
    status::Status,
    stop::StopReport,
    table::{NodeDown, PeerListActor, Peers},
};
#[cfg(feature = "gossip")]
#[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
pub use self::{
    gossip::GossipConfig,
    sending::{BroadcastError, MAX_BROADCAST},
};

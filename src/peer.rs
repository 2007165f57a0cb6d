//! Layer 13: the node, with its handle, its options and the actors that it consists of.

mod actor;
mod address_book;
mod bans;
mod builder;
mod child;
mod contacts;
mod descriptors;
mod error;
mod forward;
mod given_up;
mod handle;
mod hosts;
mod introduce;
mod join;
#[cfg(feature = "kademlia")]
mod kademlia;
mod list;
mod listener;
mod maintenance;
#[cfg(feature = "mdns")]
#[cfg_attr(docsrs, doc(cfg(feature = "mdns")))]
pub mod mdns;
pub mod messages;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub mod metrics;
mod notify_all;
mod peer_exchange;
mod question;
mod registration;
mod reliable;
mod send;
#[cfg(feature = "test-utils")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
pub mod sim;
mod stabilizer;
mod status;
mod stop;
mod supervise;
#[cfg(feature = "swim")]
mod swim;
mod target;
mod verification;
mod way;
mod well_known;

#[cfg(feature = "kademlia")]
#[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
pub use self::kademlia::{KademliaConfig, KademliaError};
pub use self::{
    actor::PeerActor,
    address_book::AddressBookConfig,
    builder::{Builder, MAX_WORKERS},
    error::{JoinError, RegisterError, StartError},
    handle::{Peer, WeakPeer},
    list::{NodeDown, PeerListActor, Peers},
    listener::ListenerActor,
    maintenance::StabilizerActor,
    notify_all::NotAllSent,
    registration::Registration,
    status::Status,
    stop::StopReport,
    target::{IntoTarget, Target},
};

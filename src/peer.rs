//! Layer 6: the node. Its handle, its options, and the actors that it consists of.

mod actor;
mod bans;
mod builder;
mod child;
mod descriptors;
mod error;
mod forward;
mod given_up;
mod handle;
mod join;
mod list;
mod listener;
pub mod messages;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub mod metrics;
mod notify_all;
mod probation;
mod registration;
mod reliable;
mod service;
mod stabilizer;
mod status;
mod stop;
mod supervise;
#[cfg(feature = "swim")]
mod swim;
mod target;
mod watchdog;
mod way;
mod well_known;

pub use self::{
    actor::PeerActor,
    builder::{Builder, MAX_WORKERS},
    error::{JoinError, RegisterError, StartError},
    handle::{Peer, WeakPeer},
    list::{NodeDown, PeerListActor, Peers},
    listener::ListenerActor,
    notify_all::NotAllSent,
    registration::Registration,
    stabilizer::StabilizerActor,
    status::Status,
    stop::StopReport,
    target::{IntoTarget, Target},
};

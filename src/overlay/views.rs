//! HyParView membership (Leitão, Pereira, Rodrigues, "HyParView: a membership protocol for reliable
//! gossip-based broadcast", DSN 2007).
//!
//! Each node has a small *active view*, its neighbours, and a larger *passive view*, nodes that it
//! has heard of. The active view is symmetric: if a node has a neighbour, it is a neighbour of that
//! node. A lost neighbour is replaced from the passive view, and shuffles keep the passive view
//! fresh. A join is never refused for lack of room.
//!
//! [`Views`] is pure. Its driver passes in messages, failures and the time, and carries out what
//! [`Views::poll`] returns.
//!
//! Differences from the paper:
//!
//! - A node looks for neighbours until it has [`ViewsConfig::active_target`] of them, and accepts
//!   up to [`ViewsConfig::active_limit`]. Most requests find room, and few neighbours are evicted.
//! - Half of the active view is protected from eviction: the neighbours that were useful to the
//!   broadcast, then the oldest ones. A crowd of newcomers cannot replace it.
//! - A lost neighbour is asked again, with back-off, even if the view is full. The two halves of a
//!   partitioned network find each other this way.
//! - Accepting, refusing and disconnecting messages carry a few peers, so that their receiver knows
//!   at once where to ask next.

mod config;
mod events;
mod fill;
mod flaps;
mod machine;
mod message;
mod passive;
mod receive;
mod shuffle;
mod tick;
mod wire;

#[cfg(test)]
pub(in crate::overlay) mod tests;

use std::{fmt::Debug, hash::Hash};

pub use self::{
    config::ViewsConfig,
    events::{DownReason, ViewsEvent, ViewsOutput},
    machine::Views,
    message::{MAX_SAMPLE, MAX_SHUFFLE, MAX_WALK, Priority, ViewsMessage},
    wire::{MAX_MESSAGE, MAX_TOPIC, NBR},
};

/// The name of a node, as the machine needs it: any cheap value that can be compared.
pub trait PeerKey: Clone + Ord + Hash + Debug {}

impl<P: Clone + Ord + Hash + Debug> PeerKey for P {}

//! Layer 9: classic exchanges. One connection carries one request and its replies, as in PeerBase.

pub(crate) mod client;
mod phase;
pub(crate) mod reader;
pub(crate) mod server;
pub(crate) mod stall_timer;
pub(crate) mod writer;

pub use self::phase::{Phase, PhaseEvent};
pub(crate) use self::writer::explain;

//! Layer 9: Classic exchanges: one connection for one request and its replies, as the original programs
//! speak.

pub(crate) mod client;
mod phase;
pub(crate) mod reader;
pub(crate) mod server;
pub(crate) mod stall_timer;
pub(crate) mod writer;

pub use self::phase::{Phase, PhaseEvent};
pub(crate) use self::writer::explain;

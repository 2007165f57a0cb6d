//! Classic exchanges: one connection for one request and its replies, as the original programs
//! speak.

pub(crate) mod client;
mod phase;
pub(crate) mod reader;
pub(crate) mod server;
pub(crate) mod stall_timer;
pub(crate) mod writer;

pub(crate) use self::writer::explain;
pub use self::{
    client::{Outgoing, Over},
    phase::{Phase, PhaseEvent},
    reader::ReadError,
};

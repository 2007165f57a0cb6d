//! Layer 5: What others may take from this node: connections, rates, memory. And who is banned.

pub(crate) mod admission;
pub(crate) mod budget;
pub(crate) mod gate;
pub(crate) mod rates;
pub(crate) mod score;
mod source;
pub(crate) mod throttle;

pub(crate) use self::{admission::Door, gate::TurnedAway};
pub use self::{
    score::{Ban, Offence, Offender},
    source::Source,
};

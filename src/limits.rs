//! Layer 5: what others may take from this node (connections, rates, memory), and who is banned.

pub(crate) mod admission;
pub(crate) mod budget;
pub(crate) mod gate;
pub(crate) mod rates;
pub(crate) mod score;
mod source;
pub(crate) mod throttle;

pub(crate) use self::{admission::Admission, gate::TurnedAway};
pub use self::{
    score::{Ban, Misbehavior, Offender},
    source::Source,
};

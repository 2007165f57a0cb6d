//! Layer 5: the limits for other nodes (connections, rates, memory), and bans.

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

//! Layer 5: the limits for other nodes (connections, rates, memory), and bans.

pub(crate) mod admission;
pub(crate) mod budget;
mod dial_pace;
pub(crate) mod gate;
mod rate;
pub(crate) mod rates;
pub(crate) mod score;
mod source;
pub(crate) mod throttle;

pub(crate) use self::{admission::Admission, dial_pace::DialPace, gate::TurnedAway};
pub use self::{
    rate::{Rate, RateLimiter, Remembered},
    score::{Ban, Misbehavior, Offender},
    source::Source,
};

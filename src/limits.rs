//! Layer 5: the limits for other nodes (connections, rates, memory), and bans.

pub(crate) mod admission;
pub(crate) mod budget;
pub(crate) mod connection_limiter;
mod dial_pace;
mod expiring_map;
pub(crate) mod meter;
mod rate_limiter;
pub(crate) mod score;
mod source;
pub(crate) mod throttle;

pub(crate) use self::{
    admission::ConnectionAdmission, connection_limiter::AdmissionDenied, dial_pace::DialPace,
};
pub use self::{
    expiring_map::ExpiringMap,
    rate_limiter::{Rate, RateLimiter},
    score::{Ban, Misbehavior, Offender},
    source::Source,
};

#[cfg(test)]
mod models;

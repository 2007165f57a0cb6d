//! The times that a node measures for each request, with the feature `metrics`.
//!
//! One-way messages are not measured; the node only counts them.

#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::{HandlerTimer, Metrics, RequestTimer};
#[cfg(feature = "metrics")]
pub(crate) use on::{HANDLER, HandlerTimer, Metrics, REQUEST, ROUND_TRIP, RequestTimer};

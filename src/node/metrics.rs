//! What a node measures request by request, with the feature `metrics`; without it, nothing.
//!
//! One-way messages are not measured: on their way there is nothing but the node's counters.

#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::{HandlerTimer, Metrics, RequestTimer};
#[cfg(feature = "metrics")]
pub(crate) use on::{HANDLER, HandlerTimer, Metrics, REQUEST, ROUND_TRIP, RequestTimer};

//! Promises of a single node.
//!
//! - `actix_assumptions`: the behaviour of actix that the crate relies on.
//! - `callers`: a handle works from any thread and executor.
//! - `connections`: each open connection is an actor that closes on request.
//! - `handlers`: registration of handlers, and the results of failing, slow and busy ones.
//! - `life`: start, supervision, events, pause and stop.
//! - `metrics`: the recorded metrics match their table.
//! - `routing`: messages that the node forwards.
//! - `tracing`: spans and log lines, and what they never contain.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs
)]

mod actix_assumptions;
mod callers;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "test-utils")]
mod connections;
#[cfg(feature = "test-utils")]
mod handlers;
#[cfg(feature = "test-utils")]
mod life;
#[cfg(all(feature = "metrics", feature = "test-utils"))]
mod metrics;
#[cfg(feature = "test-utils")]
mod routing;
mod tracing;

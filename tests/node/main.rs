//! Promises of a single node.
//!
//! - `callers`: a handle works from any thread and executor.
//! - `handlers`: registration of handlers, and the results of failing, slow and busy ones.
//! - `life`: start, supervision, events, pause and stop.
//! - `routing`: messages that the node forwards.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs
)]

mod callers;
#[cfg(feature = "test-utils")]
mod handlers;
#[cfg(feature = "test-utils")]
mod life;
#[cfg(feature = "test-utils")]
mod routing;

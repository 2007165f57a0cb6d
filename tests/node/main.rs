//! What one node promises: its life, its connections, its handlers, its
//! callers, the messages that it passes on.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs
)]

mod callers;
#[cfg(feature = "test-utils")]
mod connections;
#[cfg(feature = "test-utils")]
mod handlers;
#[cfg(feature = "test-utils")]
mod life;
#[cfg(feature = "test-utils")]
mod routing;

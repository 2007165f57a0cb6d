//! What goes over the wire, byte for byte: what a node takes, what it sends, and what the protocol says.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs
)]

mod blocks;
mod document;
#[cfg(feature = "test-utils")]
mod exchange;
mod incoming;
mod originals;
mod outgoing;
mod support;

//! Faults of real networks: hosts with network stacks of their own, cables that are pulled, packets
//! that get lost. In real time, so they are ignored unless asked for:
//!
//! ```text
//! # cargo test --all-features --test namespaces -- --ignored --nocapture
//! ```
//!
//! Where namespaces cannot be made, for want of root or of `ip`, each says so and passes.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod host;
mod links;
mod net;
mod partitions;

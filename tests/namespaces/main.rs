//! Faults of real networks: hosts with separate network stacks, cut cables, lost packets. The tests
//! run in real time, so they are ignored by default:
//!
//! ```text
//! # cargo test --all-features --test namespaces -- --ignored --nocapture
//! ```
//!
//! Without root or `ip`, no namespaces can be made; each test says so and passes.
//!
//! - `links`: faults between two hosts.
//! - `partitions`: a switch that is split, and a flapping cable.
//!
//! `net` makes the hosts and the switch; `host` runs nodes on them.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "../common/mod.rs"]
mod common;
mod host;
mod links;
mod net;
mod partitions;

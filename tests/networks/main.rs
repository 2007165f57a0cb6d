//! Promises of whole networks of nodes.
//!
//! - `determinism`: the same seed is the same life, with every feature and in every process.
//! - `gossip`: no node is left alone.
//! - `heals`: peers that list each other stay in agreement through faults.
//! - `hostile`: networks on hostile wires, whose nodes take unusual ways.
//! - `hostile_neighbors`: neighbours that misbehave do no harm, or are dropped.
//! - `joining`: nodes that join are not isolated, and learn why they are refused.
//! - `kademlia`: look-ups, records and routes in networks with partial tables.
//! - `mdns`: nodes of one network find each other by multicast DNS.
//! - `network`: a network of a hundred nodes heals the same way for the same seed.
//! - `sim`: the simulated network for tests.
//! - `swim`: the membership detects nodes that are down.
//! - `topics`: every subscriber gets each message, and other nodes none.
//! - `torture`: lives under faults drawn from a seed break no promise.
#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs
)]

#[path = "../common/mod.rs"]
mod common;
#[cfg(all(feature = "kademlia", feature = "swim", feature = "test-utils"))]
mod determinism;
#[cfg(all(feature = "gossip", feature = "test-utils"))]
#[path = "../links/fake.rs"]
#[allow(dead_code)]
mod fake;
#[cfg(all(feature = "gossip", feature = "test-utils"))]
mod gossip;
#[cfg(feature = "test-utils")]
mod heals;
#[cfg(feature = "test-utils")]
mod hostile;
#[cfg(all(feature = "gossip", feature = "test-utils"))]
mod hostile_neighbors;
#[cfg(feature = "test-utils")]
mod joining;
#[cfg(all(feature = "kademlia", feature = "test-utils"))]
mod kademlia;
#[cfg(feature = "mdns")]
mod mdns;
#[cfg(feature = "test-utils")]
mod network;
#[cfg(feature = "test-utils")]
mod sim;
#[cfg(all(feature = "swim", feature = "test-utils"))]
mod swim;
#[cfg(all(feature = "gossip", feature = "test-utils"))]
mod topics;
#[cfg(feature = "test-utils")]
mod torture;

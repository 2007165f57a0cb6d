//! What networks of nodes promise: joining, healing, membership, look-ups, simulations.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs
)]

#[cfg(feature = "test-utils")]
mod heals;
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

//! Bytes on the wire, compared one by one.
//!
//! - `document`: `src/protocol.md` matches the code.
//! - `exchange`: exchanges of every kind between two nodes.
//! - `incoming`: what a node answers to a foreign program.
//! - `outgoing`: what a node sends to a foreign program, and how it reads the answers.
//!
//! `blocks` reads the examples of the page; `originals` has programs that behave like the
//! originals; `support` has the shared transport and helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs
)]

mod blocks;
#[path = "../common/mod.rs"]
mod common;
mod document;
#[cfg(feature = "test-utils")]
mod exchange;
mod incoming;
mod originals;
mod outgoing;
mod support;

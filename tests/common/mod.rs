//! Helpers that several test binaries share.
//!
//! - `frames`: frames as bytes.
//! - `handlers`: handlers that answer, record or measure what they receive.
//! - `log`: a log that a test reads.
//! - `nodes`: nodes on a memory network, and messages between nodes.
//! - `sources`: the Rust sources of the repository.
//! - `test_handlers`: the behaviour of a program with `--test-handlers`. Included by its path, because
//!   few binaries need it.
#![allow(dead_code, reason = "no test binary uses all of them")]

pub(crate) mod frames;
pub(crate) mod handlers;
pub(crate) mod log;
pub(crate) mod nodes;
pub(crate) mod sources;

pub(crate) const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

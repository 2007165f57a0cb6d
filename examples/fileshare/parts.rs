//! The tests inside the program's modules, which are those of `main.rs`.
//!
//! A target of its own: cargo builds an example either to be run, as the tests of whole processes
//! need it, or to be tested.
#![allow(dead_code, reason = "what `main.rs` uses of the modules is not used here")]

mod app;
mod buffers;
mod command;
mod instances;
mod limits;
mod model;
mod name;
#[path = "../support/named.rs"]
mod named;
mod options;
#[cfg(feature = "metrics")]
#[path = "../support/prometheus.rs"]
mod prometheus;
mod protocol;
mod remote;
mod search;
mod serve;
mod share;
mod state;
mod talk;
#[path = "../support/test_handlers.rs"]
mod test_handlers;
mod transfer;
mod web;

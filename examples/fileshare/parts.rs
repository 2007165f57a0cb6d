//! The tests inside the modules of the program.
//!
//! They have a target of their own, because cargo builds an example either to be run, as other
//! tests need it, or to be tested.
#![allow(dead_code, reason = "only `main.rs` uses all of the modules")]

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

//! The tests inside the modules of the program.
#![allow(dead_code, reason = "only `main.rs` uses all of the modules")]

mod gauge;
mod ledger;
#[path = "../support/memory.rs"]
mod memory;

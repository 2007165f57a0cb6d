//! The tests inside the modules of the program.
#![allow(dead_code, reason = "only `main.rs` uses all of the modules")]

mod measure;
mod network;
mod plot;
mod table;
mod wire;

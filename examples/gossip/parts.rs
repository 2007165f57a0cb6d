//! The tests inside the modules of the program.
#![allow(dead_code, reason = "only `main.rs` uses all of the modules")]
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "nodes are known by their index, and no number comes from outside"
)]

mod measure;
mod network;
mod plot;
mod table;
mod traffic;

//! The tests inside the program's modules, which are those of `main.rs`.
#![allow(dead_code, reason = "what `main.rs` uses of the modules is not used here")]

mod measure;
mod network;
mod plot;
mod table;
mod wire;

//! The tests inside the modules of the program.
//!
//! They have a target of their own, because cargo builds an example either to be run, as other
//! tests need it, or to be tested.
#![allow(dead_code, reason = "only `main.rs` uses all of the modules")]

mod chat;
mod command;
#[path = "../support/ends.rs"]
mod ends;
mod files;
mod options;
mod people;
mod plain;
mod progress;
mod screen;
mod text;
mod view;
mod wire;

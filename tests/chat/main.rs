//! The chat, run as several processes on loopback.
//!
//! - `files`: files that are offered, accepted and declined.
//! - `hostile`: texts, names and offers of a hostile node.
//! - `program`: options, exit codes, the end of the program.
//! - `rooms`: lines, history, presence, private lines and bans.
//! - `screen`: the full screen.
//!
//! `instance` runs the program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod files;
mod hostile;
mod instance;
mod program;
mod rooms;
mod screen;

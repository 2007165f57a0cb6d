//! What can hurt a node, and what happens instead. Each test is named after the harm, by its number in the list of
//! threats.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

mod bytes;
mod connections;
mod delivery;
mod house;
mod limits;
mod logs;
mod peers;

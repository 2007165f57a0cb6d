//! The README, the guide and the drawings say what the code does.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs
)]

mod diagrams;
mod guide;
mod parts;
mod readme;

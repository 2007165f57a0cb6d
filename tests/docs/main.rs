//! The README, the guide and the drawings match the code.
//!
//! - `readme`: the programs, options, examples and links of the README.
//! - `guide`: the chapters of the guide.
//! - `diagrams`: the drawings in `diagrams/`, the layers of the modules and the sizes of the files.
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

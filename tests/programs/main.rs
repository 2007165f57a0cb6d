//! The example programs, run as processes.
//!
//! - `examples`: the small examples print what their comments say, and tolerate a closed output.
//! - `tools`: the command-line tools and the larger examples, run as a user runs them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod examples;
#[path = "../common/test_handlers.rs"]
mod test_handlers;
mod tools;

use std::{
    path::PathBuf,
    process::{Child, Command, Output},
};

/// An example, as `cargo test` has built it.
fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let path: PathBuf = tests.parent().unwrap().with_file_name("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    Command::new(path)
}

/// Runs an example and collects its output.
fn run(name: &str, options: &[&str]) -> Output {
    example(name).args(options).output().unwrap()
}

/// A program that is killed when the test ends in any way. A surviving program would keep the
/// output of the tests open.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

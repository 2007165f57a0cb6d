//! Runs the fuzz targets without a fuzzer: on every input in `corpus`, and on mutations of these
//! inputs from a seed. `fuzz_targets` passes the same targets to libFuzzer; `README.md` explains
//! how.
//!
//! `SEED=42 cargo test --all-features --test fuzz` repeats a run.
//!
//! - `targets`: one function for each parser of data from the network.
//! - `mutate`: new inputs from old ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code
)]

#[path = "../../examples/fileshare/model.rs"]
mod model;
#[path = "../../examples/fileshare/name.rs"]
mod name;
#[path = "../../examples/fileshare/protocol.rs"]
mod protocol;

mod mutate;
mod targets;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use mutate::Mutator;
use targets::{ALL, Target};
use tokio::time::Instant;

/// Inputs for each target by default; about one second.
const INPUTS: u64 = 2_000;

/// Time for each target in the full check.
const LONGER: Duration = Duration::from_secs(3);

/// Time limit of one input. Inputs take microseconds; one that takes longer is a failure, like a
/// panic.
const TOO_LONG: Duration = Duration::from_secs(2);

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Runs one input. Stores an input that breaks a promise beside the other output of the tests.
fn survive(name: &str, target: Target, input: &[u8], whence: &str) {
    let began = Instant::now();
    let survived = catch_unwind(AssertUnwindSafe(|| target(input))).is_ok();
    let time = began.elapsed();
    if !survived || time > TOO_LONG {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
        fs::write(&path, input).unwrap();
        panic!("{name} ({whence}) took {time:?} or panicked; the input is in {}", path.display());
    }
}

fn seed() -> u64 {
    std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap())
}

/// Runs a target on mutations of its corpus while `go_on` returns true. Returns the number of
/// inputs.
fn fuzz(name: &str, target: Target, seed: u64, mut go_on: impl FnMut(u64) -> bool) -> u64 {
    let corpus: Vec<_> = corpus(name).into_iter().map(|(_, input)| input).collect();
    let mut mutator = Mutator::new(corpus, seed);
    let mut inputs = 0;
    while go_on(inputs) {
        survive(name, target, mutator.next(), &format!("SEED={seed}"));
        inputs += 1;
    }
    inputs
}

#[test]
fn every_input_of_the_corpus_keeps_the_promises() {
    for (name, target) in ALL {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no inputs");
        for (path, input) in corpus {
            survive(name, target, &input, &path.display().to_string());
        }
    }
}

#[test]
fn mutations_of_the_corpus_keep_the_promises() {
    let seed = seed();
    for (name, target) in ALL {
        fuzz(name, target, seed, |inputs| inputs < INPUTS);
    }
}

#[test]
#[ignore = "three seconds for each target"]
fn mutations_of_the_corpus_keep_the_promises_for_three_seconds_a_target() {
    let seed = seed();
    for (name, target) in ALL {
        let began = Instant::now();
        let inputs = fuzz(name, target, seed, |_| began.elapsed() < LONGER);
        println!("{name}: {inputs} inputs from SEED={seed}");
    }
}

#[test]
fn every_target_has_a_corpus_and_a_libfuzzer_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in ALL {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(folder.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
    }
}

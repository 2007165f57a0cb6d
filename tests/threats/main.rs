//! What can hurt a node, and what happens instead. Each test is named after the harm, by its number in the list of
//! threats.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs
)]

use std::path::Path;

mod common;

mod bytes;
mod connections;
mod delivery;
mod house;
mod limits;
mod logs;
mod peers;

/// Threats without a test that is named after them, and why.
const WITHOUT: &[(&str, &str)] = &[
    ("34 44", "answers to third parties, and updates about members"),
    ("61", "labels of metrics are fixed: `tests/metrics.rs`"),
    ("63", "advisories are checked by `.deny.toml`, not by a test"),
];

/// Every Rust source below a folder.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &std::fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn every_threat_has_a_test_that_is_named_after_it_or_a_reason_to_have_none() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for folder in ["tests", "examples", "src"] {
        sources(&root.join(folder), &mut text);
    }
    let without: Vec<&str> =
        WITHOUT.iter().flat_map(|(numbers, _)| numbers.split_ascii_whitespace()).collect();
    for number in (1..=63).map(|number| format!("{number:02}")) {
        let has = text.contains(&format!("fn f{number}_"));
        let excused = without.contains(&number.as_str());
        assert!(has || excused, "F{number} has no test");
        assert!(!(has && excused), "F{number} has a test: take it off the list");
    }
}

//! Threats to a node, and the tests that hold the countermeasures. `list.md` names them.
//!
//! - `book`: the address book over restarts.
//! - `bytes`: truncated, overlong, slow and invalid bytes.
//! - `connections`: the number and cost of connections.
//! - `crossing`: two nodes that dial each other, in every order of events.
//! - `delivery`: the delivery guarantees of `src/delivery.md`.
//! - `eclipse`: a simulated attacker that tries to isolate a node.
//! - `house`: faults inside the process.
//! - `limits`: lengths, rates, memory and bans.
//! - `logs`: the amount of log output.
//! - `peers`: admission to the peer table, and the dials that it causes.
//! - `truth`: the errors, results and events of a message are true.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs
)]

#[path = "../common/mod.rs"]
mod common;

mod book;
mod bytes;
mod connections;
mod crossing;
mod delivery;
mod eclipse;
mod house;
mod limits;
mod logs;
mod nodes;
mod peers;
mod truth;

use self::common::sources::{code_of, root};

#[test]
fn every_threat_in_the_list_names_tests_and_each_of_them_exists() {
    let code = code_of(&["tests", "examples", "src"]);
    let list = std::fs::read_to_string(root().join("tests/threats/list.md")).unwrap();
    let mut threats = 0;
    for (at, line) in list.lines().enumerate() {
        let is_threat = line.starts_with(|first: char| first.is_ascii_digit());
        threats += usize::from(is_threat);
        let Some(tests) = line.strip_prefix("   Held by ") else {
            let held = list.lines().nth(at + 1).is_some_and(|next| next.contains("Held by `"));
            assert!(!is_threat || held, "no test is named for: {line}");
            continue;
        };
        for name in tests.split('`').skip(1).step_by(2) {
            assert!(code.contains(&format!("fn {name}(")), "no test is called {name}");
        }
    }
    assert_eq!(threats, 66, "the number of threats has changed");
}

/// The lines of a section of `.deny.toml`, without comments.
fn gate(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(".deny.toml")).unwrap();
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let part = lines.skip_while(|line| *line != format!("[{name}]")).skip(1);
    let part = part.take_while(|line| !(line.starts_with('[') && line.ends_with(']')));
    part.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_deny_file_rejects_advisories_licences_crates_and_sources_by_default() {
    // In version 2 every advisory and every licence that is not allowed is an error. There are no
    // exceptions.
    let all = [r#"yanked = "deny""#, r#"unsound = "all""#, r#"unmaintained = "all""#];
    assert_eq!(gate("advisories"), ["version = 2", all[0], all[1], all[2]]);
    let licences = gate("licenses");
    assert_eq!(licences.len(), 3, "{licences:?}");
    assert_eq!(licences[2], "include-dev = true");
    let (version, allowed) = (&licences[0], licences[1].strip_prefix("allow = ").unwrap());
    let allowed: Vec<String> = serde_json::from_str(allowed).unwrap();
    assert_eq!(version, "version = 2");
    assert!(!allowed.is_empty());
    // No licence whose conditions would pass on to a program that uses this crate.
    let strong = |licence: &&String| licence.contains("GPL");
    assert_eq!(allowed.iter().find(strong), None);
    let bans = gate("bans").join("\n");
    for line in [r#"wildcards = "deny""#, r#"{ crate = "openssl","#, r#"{ crate = "native-tls","#] {
        assert!(bans.contains(line), "{line}");
    }
    assert_eq!(gate("sources"), [r#"unknown-registry = "deny""#, r#"unknown-git = "deny""#]);
}

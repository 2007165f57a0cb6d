//! The file-sharing program, run as several processes on loopback.
//!
//! - `hostile`: requests and replies of hostile peers.
//! - `network`: searches, fetches and departures in a network of instances.
//! - `originals`: interoperation with the original programs, byte for byte.
//! - `page`: the page in a real browser. These tests are ignored by default:
//!   `cargo test --test fileshare page:: -- --ignored`.
//! - `program`: start, options, exit codes and output of the program.
//! - `transfers`: transfers that wait, resume, are cancelled or cannot start.
//! - `web`: the HTTP API of the page, and the subcommands that use it.
//!
//! `instance` runs the program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod instance;
mod network;
mod originals;
mod page;
mod program;
#[path = "../common/test_handlers.rs"]
mod test_handlers;
mod transfers;
mod web;

use std::{
    fs::{self, File},
    path::Path,
};

use instance::Instance;
use serde_json::{Value, json};

/// The names in a folder, hidden ones included, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Creates a file of `mib` MiB. The content is the same everywhere, and each part differs from the
/// others. The file is sparse: only the first bytes of each part take space on the disk.
fn large_file(path: &Path, mib: u64) {
    use std::os::unix::fs::FileExt;
    // Hidden until it is complete: the program may read the folder at any time.
    let hidden = path.with_file_name(".large");
    let file = File::create(&hidden).unwrap();
    file.set_len(mib << 20).unwrap();
    for n in 0..mib {
        file.write_all_at(&n.to_be_bytes(), n << 20).unwrap();
    }
    fs::rename(hidden, path).unwrap();
}

fn same_content(a: &Path, b: &Path) -> bool {
    std::process::Command::new("cmp").arg("-s").arg(a).arg(b).status().unwrap().success()
}

impl Instance {
    /// Waits until the ids of the peers satisfy `so`.
    fn until_peers(&self, so: impl Fn(&[&str]) -> bool) {
        self.events().wait("peers", |network| so(&ids(network)));
    }

    /// Waits until a file of the list satisfies `so`.
    fn until_file(&self, so: impl Fn(&Value) -> bool) -> Value {
        let files = self.events().wait("files", |files| files.as_array().unwrap().iter().any(&so));
        files.as_array().unwrap().iter().find(|file| so(file)).unwrap().clone()
    }

    /// Searches until another peer has the file, with a digest if `digested` is set.
    fn find(&self, name: &str, digested: bool) -> Value {
        self.search(name);
        self.until_file(|file| {
            file["name"] == name
                && file["local"] == false
                && (!digested || file["digest"].is_string())
        })
    }

    fn search(&self, key: &str) {
        assert_eq!(self.post("/api/search", &json!({ "key": key })).status, 200);
    }

    /// Starts a fetch.
    fn fetch(&self, what: &Value) -> Value {
        let answer = self.post("/api/fetch", what);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Fetches a file and waits for the end of the transfer.
    fn fetched(&self, what: &Value) -> Value {
        let mut events = self.events();
        let begun = self.fetch(what);
        events.wait("transfer", |transfer| {
            transfer["number"] == begun["number"] && transfer["state"] != "running"
        })
    }

    /// Waits for a notice that contains `words`.
    fn until_notice(events: &mut instance::Events, words: &str) -> Value {
        events.wait("notice", |notice| notice["text"].as_str().unwrap().contains(words))
    }

    fn status(&self) -> Value {
        self.get("/api/status").json()
    }
}

fn ids(network: &Value) -> Vec<&str> {
    let peers = network["peers"].as_array().unwrap();
    peers.iter().map(|peer| peer["id"].as_str().unwrap()).collect()
}

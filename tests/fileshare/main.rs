//! The file-sharing program as several real processes on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs
)]

#[path = "../instance/mod.rs"]
mod instance;

mod hostile;
mod network;
mod originals;
mod program;
#[path = "../test_handlers/mod.rs"]
mod test_handlers;
mod transfers;

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

/// A file of `mib` MiB whose parts differ, of the same content everywhere, which takes little room:
/// all but the first bytes of each part are a hole.
fn large_file(path: &Path, mib: u64) {
    use std::os::unix::fs::FileExt;
    let file = File::create(path).unwrap();
    file.set_len(mib << 20).unwrap();
    for n in 0..mib {
        file.write_all_at(&n.to_be_bytes(), n << 20).unwrap();
    }
}

fn same_content(a: &Path, b: &Path) -> bool {
    std::process::Command::new("cmp").arg("-s").arg(a).arg(b).status().unwrap().success()
}

impl Instance {
    /// Waits until the peers are so.
    fn until_peers(&self, so: impl Fn(&[&str]) -> bool) {
        self.events().wait("peers", |network| so(&ids(network)));
    }

    /// Waits until there is a file like this.
    fn until_file(&self, so: impl Fn(&Value) -> bool) -> Value {
        let files = self.events().wait("files", |files| files.as_array().unwrap().iter().any(&so));
        files.as_array().unwrap().iter().find(|file| so(file)).unwrap().clone()
    }

    /// Searches, until somebody else is known to have the file, with its digest if it is `digested`.
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

    /// Begins to fetch a file.
    fn fetch(&self, what: &Value) -> Value {
        let answer = self.post("/api/fetch", what);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Fetches a file, to the end of the transfer.
    fn fetched(&self, what: &Value) -> Value {
        let mut events = self.events();
        let begun = self.fetch(what);
        events.wait("transfer", |transfer| {
            transfer["number"] == begun["number"] && transfer["state"] != "running"
        })
    }

    /// Waits for a notice with these words.
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

//! `search KEY`: searches the network and prints the matches as they arrive.

use std::{collections::HashSet, time::Duration};

use serde_json::Value;

use super::{
    client::{Client, CommandError},
    print::{self, Output},
};
use crate::model::{Event, FileRow, Search, Speaks};

pub(super) fn run(
    client: &Client,
    key: String,
    ttl: Option<u32>,
    wait: Duration,
    output: Output,
) -> Result<(), CommandError> {
    // Events are read from before the search, so that no match is missed.
    let mut events = client.events(Some(wait))?;
    let lower = key.to_lowercase();
    let _: Value = client.post("api/search", &Search { key: key.clone(), ttl })?;
    let (mut found, mut printed) = (Vec::new(), Printed::default());
    while let Some(event) = events.next(&["peers", "files"])? {
        match event {
            Event::Peers(network) => {
                let classic =
                    network.peers.into_iter().filter(|peer| peer.speaks == Speaks::Classic);
                printed.classic = classic.map(|peer| peer.id).collect();
            }
            Event::Files(files) => {
                found = files;
                found.retain(|file| file.name.to_lowercase().contains(&lower));
            }
            _ => continue,
        }
        for file in &found {
            if printed.is_known(file) && printed.is_new(file) {
                output.line(&print::file(file))?;
            }
        }
    }
    // Files whose owners did not send the size in time.
    for file in &found {
        if !printed.is_known(file) && printed.is_new(file) {
            output.line(&print::file(file))?;
        }
    }
    if output.json {
        return output.show(&found, |_| String::new());
    }
    if found.is_empty() {
        output.line(&format!("nothing found for {key:?} in {} s", wait.as_secs_f64()))?;
    }
    Ok(())
}

/// The printed files, and the peers that never send a size.
#[derive(Default)]
struct Printed {
    files: HashSet<(String, Option<String>)>,
    classic: HashSet<String>,
}

impl Printed {
    /// Whether the row is complete: a node sends the size soon after the name.
    fn is_known(&self, file: &FileRow) -> bool {
        file.size.is_some() || file.owners.iter().all(|owner| self.classic.contains(owner))
    }

    /// Marks a file as printed. Returns false if it already was.
    fn is_new(&mut self, file: &FileRow) -> bool {
        // The digest of an own file is computed later; it is still the same file.
        let digest = if file.local { Some(String::new()) } else { file.digest.clone() };
        self.files.insert((file.name.clone(), digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_printed_once_its_size_is_known_or_never_will_be() {
        let file = |owner: &str, size, digest: Option<&str>| FileRow {
            name: "song".into(),
            owners: vec![owner.into()],
            size,
            digest: digest.map(str::to_owned),
            ..FileRow::default()
        };
        let mut printed = Printed { classic: HashSet::from(["java".into()]), ..Printed::default() };
        assert!(!printed.is_known(&file("ada", None, None)), "it will be told");
        let told = file("ada", Some(9), Some("ab"));
        assert!(printed.is_known(&told) && printed.is_new(&told) && !printed.is_new(&told));
        let classic = file("java", None, None);
        assert!(printed.is_known(&classic) && printed.is_new(&classic));
        assert!(printed.is_new(&file("bob", Some(7), Some("cd"))), "another file of that name");
        let mut own = FileRow { local: true, ..file("me", Some(9), None) };
        assert!(printed.is_new(&own));
        own.digest = Some("ab".into());
        assert!(!printed.is_new(&own));
    }
}

//! `search KEY`: asks the network and shows the answers as they come.

use std::{collections::HashSet, time::Duration};

use serde_json::Value;

use super::{
    client::{Client, Trouble},
    print::{self, Output},
};
use crate::model::{Event, FileRow, Search, Speaks};

pub(super) fn run(
    client: &Client,
    key: String,
    ttl: Option<u32>,
    wait: Duration,
    output: Output,
) -> Result<(), Trouble> {
    // Listening begins before the question, so that no answer is missed.
    let mut events = client.events(Some(wait))?;
    let lower = key.to_lowercase();
    let _: Value = client.post("api/search", &Search { key: key.clone(), ttl })?;
    let (mut found, mut said) = (Vec::new(), Said::default());
    while let Some(event) = events.next(&["peers", "files"])? {
        match event {
            Event::Peers(network) => {
                let classic =
                    network.peers.into_iter().filter(|peer| peer.speaks == Speaks::Classic);
                said.classic = classic.map(|peer| peer.id).collect();
            }
            Event::Files(files) => {
                found = files;
                found.retain(|file| file.name.to_lowercase().contains(&lower));
            }
            _ => continue,
        }
        for file in &found {
            if said.is_known(file) && said.is_new(file) {
                output.line(&print::file(file))?;
            }
        }
    }
    // Their owners have not told the size in time.
    for file in &found {
        if !said.is_known(file) && said.is_new(file) {
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

/// What was printed, and who never tells a size.
#[derive(Default)]
struct Said {
    files: HashSet<(String, Option<String>)>,
    classic: HashSet<String>,
}

impl Said {
    /// Whether no more is to be learned: a node tells the size soon after the name.
    fn is_known(&self, file: &FileRow) -> bool {
        file.size.is_some() || file.owners.iter().all(|owner| self.classic.contains(owner))
    }

    /// Notes a file as printed. False if it was already.
    fn is_new(&mut self, file: &FileRow) -> bool {
        // The digest of an own file comes later, and makes no other file of it.
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
        let mut said = Said { classic: HashSet::from(["java".into()]), ..Said::default() };
        assert!(!said.is_known(&file("ada", None, None)), "it will be told");
        let told = file("ada", Some(9), Some("ab"));
        assert!(said.is_known(&told) && said.is_new(&told) && !said.is_new(&told));
        let classic = file("java", None, None);
        assert!(said.is_known(&classic) && said.is_new(&classic));
        assert!(said.is_new(&file("bob", Some(7), Some("cd"))), "another file of that name");
        let mut own = FileRow { local: true, ..file("me", Some(9), None) };
        assert!(said.is_new(&own));
        own.digest = Some("ab".into());
        assert!(!said.is_new(&own));
    }
}

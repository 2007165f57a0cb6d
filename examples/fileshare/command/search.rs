//! `search KEY`: asks the network and shows the answers as they come.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    client::{Client, Trouble},
    print::{self, Output},
};
use crate::model::{Event, FileRow, Search};

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
    let mut found: BTreeMap<(String, Option<String>), FileRow> = BTreeMap::new();
    while let Some(event) = events.next(&["files"])? {
        let Event::Files(files) = event else { continue };
        for file in files.into_iter().filter(|file| file.name.to_lowercase().contains(&lower)) {
            let known = (file.name.clone(), file.digest.clone());
            // A digest or another owner that comes later is in the final answer; the line is not repeated.
            let before = found.keys().any(|(name, _)| *name == file.name);
            if !before {
                output.line(&print::file(&file))?;
            }
            found.retain(|(name, digest), _| *name != file.name || digest.is_some());
            found.insert(known, file);
        }
    }
    let found: Vec<FileRow> = found.into_values().collect();
    if output.json {
        return output.show(&found, |_| String::new());
    }
    if found.is_empty() {
        output.line(&format!("nothing found for {key:?} in {} s", wait.as_secs_f64()))?;
    }
    Ok(())
}

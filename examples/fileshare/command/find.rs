//! Finds the instance for a subcommand.

use std::time::Duration;

use actix_peer::overlay::Address;

use super::{
    Target,
    client::{Client, CommandError},
};
use crate::{
    instances::{self, Instance},
    model::Status,
    options::host_port,
};

/// The time-out of the check whether an instance is running.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);

/// The instance that `--web` names, otherwise the only running one.
pub(super) fn instance(target: &Target) -> Result<Instance, CommandError> {
    let announced = instances::announced().map_err(CommandError::Listing);
    if let Some(web) = &target.web {
        let url = format!("http://{web}/");
        // If this user started it, its token is in its file.
        let token = target.token.clone().or_else(|| {
            let known = announced.ok()?.into_iter().map(|(_, instance)| instance);
            known.into_iter().find(|instance| instance.url == url)?.token
        });
        return Ok(Instance { url, token });
    }
    let mut running = Vec::new();
    for (path, instance) in announced? {
        match Client::with_time_limit(&instance, ALIVE_WITHIN).get::<Status>("api/status") {
            Ok(status) => running.push((instance, status)),
            Err(CommandError::Unreachable { .. }) => {
                // The instance was killed.
                instances::remove(&path).map_err(CommandError::Listing)?;
            }
            // Another program uses its port now.
            Err(_) => {}
        }
    }
    if running.len() > 1 {
        return Err(CommandError::Several(running.iter().map(described).collect()));
    }
    running.pop().map(|(instance, _)| instance).ok_or(CommandError::NoInstance)
}

fn described((instance, status): &(Instance, Status)) -> String {
    let web = instance.url.trim_start_matches("http://").trim_end_matches('/');
    format!("  --web {web}  (node {} at {})", status.id, status.address)
}

/// Parses the address of a page: `HOST:PORT`, or as the node prints it.
pub(super) fn page(text: &str) -> Result<Address, String> {
    let text = text.strip_prefix("http://").unwrap_or(text);
    host_port(text.split(['/', '?']).next().unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn a_node_is_named_by_its_address_or_as_it_was_printed() {
        for web in [
            "127.0.0.1:80",
            "http://127.0.0.1:80",
            "http://127.0.0.1:80/",
            "http://127.0.0.1:80/?token=x",
        ] {
            assert_eq!(page(web).unwrap().to_string(), "127.0.0.1:80");
        }
        assert!(page("8000").unwrap_err().contains("write 127.0.0.1:8000"));
        assert!(page("nowhere").unwrap_err().contains("write HOST:PORT"));
    }
}

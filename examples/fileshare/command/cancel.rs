//! `cancel TRANSFER`: cancels an open transfer, by its number or the name of its file.

use serde_json::json;

use super::{
    client::{Client, CommandError},
    print::Output,
};
use crate::model::{Transfer, TransferState};

pub(super) fn run(client: &Client, which: &str, output: Output) -> Result<(), CommandError> {
    let transfers: Vec<Transfer> = client.get("api/transfers")?;
    let open: Vec<_> = transfers.iter().filter(|one| one.state == TransferState::Running).collect();
    let is_it = |one: &&&Transfer| one.number.to_string() == which || one.name == which;
    let Some(Transfer { number, .. }) = open.iter().find(is_it) else {
        let names: Vec<_> = open.iter().map(|one| format!("{} {}", one.number, one.name)).collect();
        let those = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(CommandError::Failed(format!(
            "no open transfer is called {which}; open transfers: {those}"
        )));
    };
    let cancelled: Transfer = client.post(&format!("api/transfers/{number}/cancel"), &json!({}))?;
    output.show(&cancelled, |transfer| format!("cancelled {}\n", transfer.name))
}

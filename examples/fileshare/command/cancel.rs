//! `cancel TRANSFER`: ends a transfer that is on its way, by its number or the name of its file.

use serde_json::json;

use super::{
    client::{Client, Trouble},
    print::Output,
};
use crate::model::{Transfer, TransferState};

pub(super) fn run(client: &Client, which: &str, output: Output) -> Result<(), Trouble> {
    let transfers: Vec<Transfer> = client.get("api/transfers")?;
    let open: Vec<_> = transfers.iter().filter(|one| one.state == TransferState::Running).collect();
    let is_it = |one: &&&Transfer| one.number.to_string() == which || one.name == which;
    let Some(Transfer { number, .. }) = open.iter().find(is_it) else {
        let names: Vec<_> = open.iter().map(|one| format!("{} {}", one.number, one.name)).collect();
        let those = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(Trouble::Failed(format!("{which} is not on its way; these are: {those}")));
    };
    let cancelled: Transfer = client.post(&format!("api/transfers/{number}/cancel"), &json!({}))?;
    output.show(&cancelled, |transfer| format!("cancelled {}\n", transfer.name))
}

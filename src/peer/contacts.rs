//! Rejoining through the contacts of this node's joins. A seed node that was stopped and starts
//! again knows no node, and no node lists it.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    overlay::{Address, JoinConfig},
    peer::{NodeDown, Peers, join::rejoin},
    session::Endpoint,
    time::now,
};

/// The pause between two checks of the table.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Handles the end of a join through this contact. The contact is remembered if it is in the table,
/// and the node joins through it again when it no longer is.
pub(super) async fn joined(
    node: &Arc<Endpoint>,
    peers: &Peers,
    contact: &Address,
    config: JoinConfig,
) -> Result<(), NodeDown> {
    let at = contact.clone();
    let begins =
        peers.with(move |table, _| table.contacts.joined(&at, &config, &table.list, now()));
    if begins.await? {
        let (of, node, peers) = (Arc::clone(node), Arc::clone(node), peers.clone());
        let run = async move { tend(&node, &peers).await };
        of.spawn(of.until_drain(run));
    }
    Ok(())
}

/// Checks the table periodically while contacts are remembered.
async fn tend(node: &Arc<Endpoint>, peers: &Peers) -> Result<(), NodeDown> {
    loop {
        sleep(LOOK_EVERY).await;
        let look = peers.with(|table, _| table.contacts.due(&table.list, now()));
        let Some(due) = look.await? else { return Ok(()) };
        for (contact, config) in due {
            if node.bans.refuses(&contact) {
                continue;
            }
            rejoin(node, peers, contact, config).await?;
        }
    }
}

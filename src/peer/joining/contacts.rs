//! Rejoining through the contacts of this node's joins. A seed node that was stopped and starts
//! again knows no node, and no node lists it.

use std::{sync::Arc, time::Duration};

use futures::future::LocalBoxFuture;
use tokio::time::sleep;

use super::rejoin;
use crate::{
    overlay::{Address, JoinConfig},
    peer::{
        NodeDown, Peers,
        maintenance::{Maintenance, NodeContext},
    },
    session::Endpoint,
    time::now,
};

/// The pause between two checks of the table.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Handles the end of a join through this contact. The contact is remembered if it is in the table,
/// and the node joins through it again when it no longer is.
pub(super) async fn joined(
    peers: &Peers,
    contact: &Address,
    config: JoinConfig,
) -> Result<(), NodeDown> {
    let at = contact.clone();
    let joined = peers.with(move |table, _| {
        table.contacts.joined(&at, &config, &table.list, now());
    });
    joined.await
}

/// Checks the table periodically for the contacts that are remembered.
pub(crate) struct RejoinContacts;

impl Maintenance for RejoinContacts {
    fn name(&self) -> &'static str {
        "contacts"
    }

    fn run<'a>(&'a self, NodeContext { node, peers }: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        // The peer list has died if this fails.
        Box::pin(async { tend(node, peers).await.unwrap_or_default() })
    }
}

async fn tend(node: &Arc<Endpoint>, peers: &Peers) -> Result<(), NodeDown> {
    loop {
        sleep(LOOK_EVERY).await;
        let due = peers.with(|table, _| table.contacts.due(&table.list, now())).await?;
        for (contact, config) in due {
            if !node.bans.refuses(&contact) {
                rejoin(node, peers, contact, config).await?;
            }
        }
    }
}

//! The contacts that the builder was given: the node joins by them while it is alone.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::LocalBoxFuture;
use tokio::time::sleep;

use super::{Came, come_in, contacts};
use crate::{
    node::PeerEvent,
    overlay::{Address, JoinConfig},
    peer::{
        NodeDown, Peers,
        asking::hosts::OwnAddresses,
        maintenance::{Maintenance, NodeContext, back_off},
    },
    session::Endpoint,
};

/// The pause between two looks whether the node is alone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The first pause after all contacts have failed.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause, without the jitter.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The maximum number of addresses of one contact that are tried.
const ADDRESSES: usize = 16;

/// Joins by one contact after the other while the node is alone.
pub(crate) struct GivenContacts(pub(crate) Vec<Address>);

impl Maintenance for GivenContacts {
    fn name(&self) -> &'static str {
        "given-contacts"
    }

    fn run<'a>(&'a self, NodeContext { node, peers }: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        // The peer list has died if this fails.
        Box::pin(async { self.tend(node, peers).await.unwrap_or_default() })
    }
}

impl GivenContacts {
    async fn tend(&self, node: &Arc<Endpoint>, peers: &Peers) -> Result<(), NodeDown> {
        let mut tries: u32 = 0;
        loop {
            if !is_alone(node, peers).await? {
                tries = 0;
                sleep(LOOK_EVERY).await;
                continue;
            }
            let first = usize::try_from(tries).unwrap_or(0) % self.0.len().max(1);
            let (before, from) = self.0.split_at_checked(first).unwrap_or_default();
            for contact in from.iter().chain(before) {
                if is_alone(node, peers).await? {
                    by_one(node, peers, contact, tries).await?;
                }
            }
            if is_alone(node, peers).await? {
                sleep(back_off(node, tries, (FIRST_PAUSE, LONGEST_PAUSE))).await;
                tries = tries.saturating_add(1);
            }
        }
    }
}

/// Whether the node has no neighbour, or, if it keeps none, no peer. A node that has left wants
/// none.
async fn is_alone(node: &Arc<Endpoint>, peers: &Peers) -> Result<bool, NodeDown> {
    if node.left.load(Ordering::Relaxed) {
        return Ok(false);
    }
    #[cfg(feature = "gossip")]
    if let Some(alone) = crate::peer::gossip::is_alone(node) {
        return Ok(alone);
    }
    peers.with(|table, _| table.list.is_empty()).await
}

/// Joins by one contact. Its name is looked up again each time, and each of its addresses is tried.
async fn by_one(
    node: &Arc<Endpoint>,
    peers: &Peers,
    contact: &Address,
    tries: u32,
) -> Result<(), NodeDown> {
    let hosts = node.look_up(contact.host()).await.unwrap_or_default();
    let addresses = hosts.into_iter().map(|host| Address::new(host, contact.port()));
    let mut addresses: Vec<_> = addresses.take(ADDRESSES).collect();
    // A transport may reach a name that it does not look up, and the error says more.
    if addresses.len() < 2 {
        addresses = vec![contact.clone()];
    }
    let own = OwnAddresses::of(node).await;
    let mut failure = None;
    for address in addresses {
        if own.is_own(node, &address) || node.bans.refuses(&address) {
            continue;
        }
        let config = JoinConfig::default();
        match come_in(node, peers, &address, (config.clone(), tries)).await? {
            Came::In(report) => {
                contacts::joined(peers, &address, config).await?;
                let added = report.added().len();
                node.emit(&PeerEvent::Joined { contact: contact.clone(), added });
                return Ok(());
            }
            Came::Itself => {}
            Came::Not { cause, .. } => failure = Some(cause),
        }
    }
    // Once, and not with each of many tries.
    if let Some(why) = failure.filter(|_| tries == 0) {
        node.emit(&PeerEvent::NotJoined { contact: contact.clone(), why, again: true });
    }
    Ok(())
}

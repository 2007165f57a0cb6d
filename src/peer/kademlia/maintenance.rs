//! Periodic maintenance: refresh, look-up of this node, republishing, expiry.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{Dht, lock, lookup::Goal, publish::SOON};
use crate::{
    overlay::{
        Address,
        kademlia::{Key, message::Question},
    },
    peer::maintenance::NodeContext,
    session::Endpoint,
    time::{now, part},
};

/// The pause between two rounds is the shortest interval divided by this, and at least a second.
const ROUNDS: u32 = 12;

/// How often the peer table is checked while no Kademlia node is known.
const ALONE: Duration = Duration::from_secs(1);

/// The number of peers of the table that are asked at once while no Kademlia node is known.
const CONTACTS: usize = 8;

/// How often a contact is asked before a join through it fails. A slow machine or a link that is
/// just being closed costs one answer, and there is no other contact.
const CONTACT_TRIES: u32 = 3;

/// The number of records of other nodes that are sent on in one round.
const SENT_ON_AT_ONCE: usize = 64;

pub(super) async fn run(context: &NodeContext, dht: &Arc<Dht>) {
    let shortest = dht.config.refresh.min(dht.config.says_again());
    let pause = part(shortest, ROUNDS).max(Duration::from_secs(1));
    let mut looked = tokio::time::Instant::now();
    loop {
        if dht.known() == 0 {
            dht.begin(context).await;
        } else if looked.elapsed() >= dht.config.refresh {
            looked = tokio::time::Instant::now();
            dht.look_up(&context.node, Key::of(context.node.me.id()), Goal::Nodes).await;
        }
        dht.refresh(&context.node, dht.config.refresh).await;
        lock(&dht.store).expire(now());
        for key in dht.own_due() {
            dht.send_own(&context.node, key).await;
        }
        let due = lock(&dht.store).due(now(), dht.config.republish, SENT_ON_AT_ONCE);
        for record in due {
            dht.send(&context.node, &record).await;
        }
        let pause = if dht.known() == 0 {
            ALONE.min(pause)
        } else if dht.own_waits() {
            SOON.min(pause)
        } else {
            pause
        };
        if timeout(pause, dht.grown.notified()).await.is_ok() {
            // More nodes may appear at the same time.
            sleep(SOON).await;
        }
    }
}

impl Dht {
    /// How many nodes are in the table.
    pub(super) fn known(&self) -> usize {
        self.table.lock().map_or(0, |table| table.len())
    }

    /// Joins through a node of the peer table, if one speaks Kademlia.
    async fn begin(self: &Arc<Self>, context: &NodeContext) {
        let Ok(list) = context.peers.list().await else { return };
        let contacts: Vec<_> =
            list.iter().take(CONTACTS).map(|entry| entry.info().clone()).collect();
        for contact in contacts {
            if self.ask(&context.node, &contact, Question::Ping).await.is_some() {
                self.settle(&context.node).await;
                return;
            }
        }
    }

    /// Looks up a key in each bucket that had no look-up during `every`.
    pub(super) async fn refresh(self: &Arc<Self>, node: &Arc<Endpoint>, every: Duration) {
        let stale = self.table.lock().map(|table| table.stale(now(), every, || self.random(node)));
        for key in stale.unwrap_or_default() {
            self.look_up(node, key, Goal::Nodes).await;
        }
    }

    /// Joins the network of the known nodes: looks up this node, then a key in each bucket that is
    /// further away than the nearest neighbour (section 2.3).
    async fn settle(self: &Arc<Self>, node: &Arc<Endpoint>) {
        self.look_up(node, Key::of(node.me.id()), Goal::Nodes).await;
        self.refresh(node, Duration::ZERO).await;
    }

    /// Joins through the node at `contact`. Returns whether it answered.
    pub(super) async fn join(self: &Arc<Self>, node: &Arc<Endpoint>, contact: &Address) -> bool {
        let mut response = None;
        for _ in 0..CONTACT_TRIES {
            response = self.ask_at(node, (contact, None), Question::Ping).await;
            if response.is_some() {
                break;
            }
        }
        let Some(response) = response else { return false };
        let info = crate::overlay::PeerInfo::new(response.me, contact.clone());
        let Some(info) = info.ok().filter(|info| info.id() != node.me.id()) else { return false };
        // Asks again for the node with that id only, so that the transport proves the id if it can.
        if self.ask(node, &info, Question::Ping).await.is_none() {
            return false;
        }
        self.settle(node).await;
        true
    }
}

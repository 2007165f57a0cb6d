//! Periodic maintenance: refresh, look-up of this node, republishing, expiry.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{Dht, lock, lookup::Goal, publish::SOON};
use crate::{
    overlay::{
        Address, PeerEntry, PeerInfo,
        kademlia::{Key, message::Question},
    },
    peer::maintenance::NodeContext,
    session::Endpoint,
    time::{now, part},
};

/// The pause between two rounds is the shortest interval divided by this, and at least a second.
const ROUNDS: u32 = 12;

/// How often the peer table is checked while no known Kademlia node answers.
const ALONE: Duration = Duration::from_secs(1);

/// The number of peers of the table that are asked in a round while no known Kademlia node answers.
const CONTACTS: usize = 8;

/// How often nodes that did not answer are asked again.
const RETRY: Duration = Duration::from_secs(10);

/// The number of nodes that are asked again at a time.
const RETRIES: usize = 4;

/// How often a contact is asked before a join through it fails. A slow machine or a link that is
/// just being closed costs one answer, and there is no other contact.
const CONTACT_TRIES: u32 = 3;

/// The number of records of other nodes that are sent on in one round.
const SENT_ON_AT_ONCE: usize = 64;

pub(super) async fn run(context: &NodeContext, dht: &Arc<Dht>) {
    let shortest = dht.config.refresh.min(dht.config.says_again());
    let pause = part(shortest, ROUNDS).max(Duration::from_secs(1));
    let mut looked = tokio::time::Instant::now();
    let mut retried = looked;
    loop {
        if retried.elapsed() >= RETRY {
            retried = tokio::time::Instant::now();
            dht.ask_again(&context.node).await;
        }
        if dht.known() == 0 {
            dht.begin(context).await;
        } else if looked.elapsed() >= dht.config.refresh {
            looked = tokio::time::Instant::now();
            dht.look_up(&context.node, Key::of(context.node.me.id()), Goal::Nodes).await;
            // After a long partition, the nodes of the other side may be known to nobody else.
            dht.begin(context).await;
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
        } else if !dht.failing(1).is_empty() {
            RETRY.min(pause)
        } else {
            pause
        };
        if timeout(pause, dht.changed.notified()).await.is_ok() {
            // More may follow at the same time.
            sleep(SOON).await;
        }
    }
}

impl Dht {
    /// How many nodes of the table did not leave the last question unanswered.
    pub(super) fn known(&self) -> usize {
        self.table.lock().map_or(0, |table| table.good())
    }

    fn failing(&self, count: usize) -> Vec<PeerInfo> {
        self.table.lock().map(|table| table.failing(count)).unwrap_or_default()
    }

    /// Asks some of the nodes that did not answer. After a partition, the nodes of each side know
    /// those of the other side only as nodes that do not answer, and name them to nobody.
    async fn ask_again(self: &Arc<Self>, node: &Arc<Endpoint>) {
        let mut grown = false;
        for peer in self.failing(RETRIES) {
            let at = (peer.address(), Some(peer.id()));
            if self.ask_at(node, at, Question::Ping).await.is_some() {
                self.answered_at(node, peer);
                grown = true;
            } else if let Some(mut table) = self.table.lock() {
                table.failed_again(peer.id());
            }
        }
        if grown {
            self.look_up(node, Key::of(node.me.id()), Goal::Nodes).await;
        }
    }

    /// Joins through a peer that is not in the Kademlia table, if one speaks Kademlia.
    async fn begin(self: &Arc<Self>, context: &NodeContext) {
        let Ok(list) = context.peers.list().await else { return };
        let contacts = list.iter().map(PeerEntry::info).filter(|info| !self.knows(info));
        let contacts: Vec<_> = contacts.take(CONTACTS).cloned().collect();
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
        let info = PeerInfo::new(response.me, contact.clone());
        let Some(info) = info.ok().filter(|info| info.id() != node.me.id()) else { return false };
        // Asks again for the node with that id only, so that the transport proves the id if it can.
        if self.ask(node, &info, Question::Ping).await.is_none() {
            return false;
        }
        self.settle(node).await;
        true
    }
}

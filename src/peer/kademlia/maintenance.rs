//! Periodic maintenance: refresh, look-up of this node, republishing, expiry.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{Dht, lock, lookup::Goal, publish::SOON};
use crate::{
    limits::ExpiringMap,
    overlay::{
        Address, PeerEntry, PeerInfo,
        kademlia::{Key, message::Question},
    },
    peer::maintenance::NodeContext,
    session::Endpoint,
    time::{Later, now, part},
};

/// The pause between two rounds is the shortest interval divided by this, and at least a second.
const ROUNDS: u32 = 12;

/// How often the peer table is checked while no known Kademlia node answers.
const ALONE: Duration = Duration::from_secs(1);

/// The number of peers of the peer table that are asked at once whether they speak Kademlia.
const CONTACTS: usize = 8;

/// How often a peer is asked again while other nodes are known.
const CONTACT_AGAIN: Duration = Duration::from_secs(300);

/// How long a peer that has not answered is not asked again. It may be cut off for a while.
const SILENT_AGAIN: Duration = Duration::from_secs(30);

/// How often the peer table is checked for peers that are not in the Kademlia table, and nodes that
/// did not answer are asked again.
const RETRY: Duration = Duration::from_secs(10);

/// The number of nodes that are asked again at a time.
const RETRIES: usize = 4;

/// How often a contact is asked before a join through it fails. A slow machine or a link that is
/// just being closed costs one answer, and there is no other contact.
const CONTACT_TRIES: u32 = 3;

/// The number of records of other nodes that are sent on in one round.
const SENT_ON_AT_ONCE: usize = 64;

/// The number of peers that are remembered because they were asked.
const CONTACTS_REMEMBERED: usize = 1_024;

/// The peers of the peer table that were asked lately. Those that are still not in the Kademlia table
/// speak no Kademlia, or found no room.
type Asked = ExpiringMap<PeerInfo, ()>;

pub(super) async fn run(context: &NodeContext, dht: &Arc<Dht>) {
    let shortest = dht.config.refresh.min(dht.config.says_again());
    let pause = part(shortest, ROUNDS).max(Duration::from_secs(1));
    let mut looked = tokio::time::Instant::now();
    let mut retried = looked;
    let mut asked = Asked::new(CONTACTS_REMEMBERED);
    loop {
        if retried.elapsed() >= RETRY {
            retried = tokio::time::Instant::now();
            dht.ask_again(&context.node).await;
            dht.ask_contacts(context, &mut asked).await;
        } else if dht.known() == 0 {
            asked = Asked::new(CONTACTS_REMEMBERED);
            dht.ask_contacts(context, &mut asked).await;
        }
        if looked.elapsed() >= dht.config.refresh {
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
            RETRY.min(pause)
        };
        if timeout(pause, dht.grown.notified()).await.is_ok() {
            // More nodes may appear at the same time.
            sleep(SOON).await;
        }
    }
}

impl Dht {
    /// How many nodes of the table did not leave the last question unanswered.
    pub(super) fn known(&self) -> usize {
        self.table.lock().map_or(0, |table| table.good())
    }

    /// Asks some of the nodes that did not answer. After a partition, the nodes of each side know
    /// those of the other side only as nodes that do not answer, and tell no other node of them.
    async fn ask_again(self: &Arc<Self>, node: &Arc<Endpoint>) {
        let failing = self.table.lock().map(|table| table.failing(RETRIES)).unwrap_or_default();
        let mut grown = false;
        for peer in failing {
            if self.ask(node, &peer, Question::Ping).await.is_some() {
                grown = true;
            } else if let Some(mut table) = self.table.lock() {
                table.failed_again(peer.id());
            }
        }
        if grown {
            self.look_up(node, Key::of(node.me.id()), Goal::Nodes).await;
        }
    }

    /// Asks peers of the peer table that are not in the Kademlia table, and joins through those that
    /// speak Kademlia: all other nodes may be on the other side of a partition that has ended.
    async fn ask_contacts(self: &Arc<Self>, context: &NodeContext, asked: &mut Asked) {
        let Ok(list) = context.peers.list().await else { return };
        let is_new = |info: &&PeerInfo| !self.knows(info) && asked.get(info, now()).is_none();
        let contacts = list.iter().map(PeerEntry::info).filter(is_new);
        let contacts: Vec<_> = contacts.take(CONTACTS).cloned().collect();
        let (was_alone, mut joined) = (self.known() == 0, false);
        for contact in contacts {
            let answer = self.ask(&context.node, &contact, Question::Ping).await;
            // Its bucket may be full of others that answer.
            joined |= answer.is_some() && self.knows(&contact);
            if asked.has_room(&contact, now()) {
                let pause = if answer.is_some() { CONTACT_AGAIN } else { SILENT_AGAIN };
                asked.insert(contact, (), now().later(pause), now());
            }
            if was_alone && joined {
                break;
            }
        }
        if joined {
            self.settle(&context.node).await;
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

//! Publishing records at the nodes nearest to their key.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};

use super::{Dht, KademliaConfig, KademliaError, lock, lookup::Goal};
use crate::{
    overlay::{
        Address, PeerInfo,
        kademlia::{
            Key, Record, StoreRefusal,
            message::{Answer, Question},
        },
    },
    session::Endpoint,
    time::{LONGEST, Later, doubled, now},
};

/// The minimum pause between two sends of a record that new nodes cause, and the first pause after
/// no node has kept it. Estimated, not measured: nodes that join together receive the record in one
/// send.
pub(super) const SOON: Duration = Duration::from_secs(2);

/// How far above the node's own clock a sequence number may be that other nodes report for an
/// earlier run of this node: more than 2,000 years in microseconds. The bound prevents lying nodes
/// from driving the number to its maximum.
const FURTHEST: u64 = 1 << 56;

/// What this node publishes under a key.
#[derive(Debug)]
pub(super) struct Own {
    sequence: u64,
    value: Vec<u8>,
    /// When it expires; `None` if it lasts as long as the node, as for a provider.
    until: Option<Instant>,
    /// The last send; `None` before the first one.
    sent: Option<Sent>,
    /// Whether the nodes are first asked for the sequence number that they know: an earlier run of
    /// this node may have used higher numbers.
    ask_first: bool,
}

/// One send of a record.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    /// The number of nodes that keep it.
    kept: usize,
    /// The number of nodes that were known then.
    known: usize,
    /// The number of sends in a row after which no node kept it.
    in_vain: u32,
}

impl Own {
    /// Whether it is due, if `k` nodes keep a record and `known` nodes are known.
    fn is_due(&self, config: &KademliaConfig, known: usize, now: Instant) -> bool {
        let Some(sent) = self.sent else { return known > 0 };
        let pause = now.saturating_duration_since(sent.at);
        let again = if self.until.is_none() { config.says_again() } else { config.republish };
        let retry = doubled(SOON, sent.in_vain, LONGEST);
        pause >= again
            || (sent.misses_some(config.k, known) && pause >= SOON)
            || (sent.kept == 0 && known > 0 && pause >= retry)
    }
}

impl Sent {
    /// Whether nodes that could keep it have been added since.
    const fn misses_some(&self, k: usize, known: usize) -> bool {
        self.kept < k && self.known < known
    }
}

impl Dht {
    /// The record that this node publishes under a key. Its lifetime is the time that is left from
    /// now.
    pub(super) fn own_record(&self, node: &Endpoint, key: Key) -> Option<Record> {
        let (own, now) = (lock(&self.own), now());
        let published = own.get(&key)?;
        let left = match published.until {
            Some(until) => until.saturating_duration_since(now).min(self.config.ttl),
            None => self.config.provider_ttl,
        };
        // Fractions of a second are dropped.
        let seconds = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
        let value = published.value.clone();
        (seconds > 0).then(|| Record::new(key, node.me.clone(), published.sequence, seconds, value))
    }

    /// The records of this node under a key: the one that it publishes, and those that it keeps for
    /// other nodes.
    pub(super) fn here(&self, node: &Endpoint, key: Key) -> Vec<Record> {
        let own = self.own_record(node, key).into_iter();
        own.chain(lock(&self.store).get(key, now())).collect()
    }

    /// Stores what this node publishes, and sends it.
    pub(super) async fn publish(
        self: &Arc<Self>,
        node: &Arc<Endpoint>,
        key: Key,
        value: Vec<u8>,
        ttl: Option<Duration>,
    ) -> Result<usize, KademliaError> {
        let limit = self.config.max_record_bytes;
        if value.len() > limit {
            return Err(KademliaError::TooLong { len: value.len(), limit });
        }
        {
            let mut own = lock(&self.own);
            let count = own.len();
            if count >= self.config.max_published && !own.contains_key(&key) {
                return Err(KademliaError::TooManyPublished(count));
            }
            let until = ttl.map(|ttl| now().later(ttl.min(self.config.ttl)));
            let life = node.started.elapsed().as_micros();
            let begun = node.links.incarnation;
            let sequence = begun.saturating_add(u64::try_from(life).unwrap_or(u64::MAX));
            // The later of two values at the same moment needs the higher number.
            let old = own.get(&key);
            let sequence = old.map_or(sequence, |old| sequence.max(old.sequence.saturating_add(1)));
            let ask_first = old.is_none_or(|old| old.ask_first);
            own.insert(key, Own { sequence, value, until, sent: None, ask_first });
        }
        let others = self.table.lock().is_some_and(|table| !table.is_empty());
        match self.send_own(node, key).await {
            0 if others => Err(KademliaError::NobodyKeepsIt),
            kept => Ok(kept),
        }
    }

    /// Sends what this node publishes under a key. Returns how many nodes keep it.
    pub(super) async fn send_own(self: &Arc<Self>, node: &Arc<Endpoint>, key: Key) -> usize {
        let (mut kept, known) = (0, self.known());
        // Sent a second time if a node knew a higher number, with a number above that one.
        for _ in 0..2 {
            let ask_first = lock(&self.own).get(&key).is_some_and(|own| own.ask_first);
            let goal = if ask_first { Goal::Records } else { Goal::Nodes };
            let found = self.look_up(node, key, goal).await;
            self.go_above(node, key, &found.records);
            let Some(record) = self.own_record(node, key) else { return kept };
            let answers = self.have_kept(node, &record, found.closest).await;
            kept = answers.iter().filter(|answer| **answer == Answer::Kept).count();
            let outdated = answers.contains(&Answer::Refused(StoreRefusal::Outdated));
            if let Some(own) = lock(&self.own).get_mut(&key)
                && own.sequence == record.sequence()
            {
                let before = own.sent.map_or(0, |sent| sent.in_vain);
                let in_vain = if kept == 0 { before.saturating_add(1) } else { 0 };
                own.sent = Some(Sent { at: now(), kept, known, in_vain });
                // If no node could be asked, the question is repeated when nodes are known.
                own.ask_first = outdated || (ask_first && known == 0);
            }
            if !outdated {
                break;
            }
        }
        kept
    }

    /// Raises the sequence number above those of an earlier run of this node that other nodes know.
    fn go_above(&self, node: &Endpoint, key: Key, records: &[(Address, Record)]) {
        let furthest = node.links.incarnation.saturating_add(FURTHEST);
        let of_this = records.iter().map(|(_, record)| record).filter(|record| {
            record.publisher().id() == node.me.id() && record.sequence() <= furthest
        });
        let mut own = lock(&self.own);
        let Some(own) = own.get_mut(&key) else { return };
        for record in of_this {
            let is_it = record.sequence() == own.sequence && record.value() == own.value;
            if record.sequence() >= own.sequence && !is_it {
                own.sequence = record.sequence().saturating_add(1);
            }
        }
    }

    /// Stores a record of another node at the nodes nearest to its key.
    pub(super) async fn send(self: &Arc<Self>, node: &Arc<Endpoint>, record: &Record) {
        let found = self.look_up(node, record.key(), Goal::Nodes).await;
        self.have_kept(node, record, found.closest).await;
    }

    /// Sends a record to these nodes. Returns their answers.
    async fn have_kept(
        self: &Arc<Self>,
        node: &Arc<Endpoint>,
        record: &Record,
        by: Vec<PeerInfo>,
    ) -> Vec<Answer> {
        let keep = |peer| {
            let record = record.clone();
            async move { self.ask(node, &peer, Question::Store(record)).await }
        };
        let answers = stream::iter(by).map(keep).buffer_unordered(self.config.lookup().alpha);
        answers.filter_map(std::future::ready).collect().await
    }

    /// The keys of records that are due. Removes expired records.
    pub(super) fn own_due(&self) -> Vec<Key> {
        let (mut own, now, known) = (lock(&self.own), now(), self.known());
        own.retain(|_, published| published.until.is_none_or(|until| until > now));
        let due = own.iter().filter(|(_, own)| own.is_due(&self.config, known, now));
        due.map(|(key, _)| *key).collect()
    }

    /// Whether a record of this node is to be sent soon, before its regular republishing.
    pub(super) fn own_waits(&self) -> bool {
        let (own, known, k) = (lock(&self.own), self.known(), self.config.k);
        let waits = |sent: &Sent| sent.kept == 0 || sent.misses_some(k, known);
        known > 0 && own.values().any(|own| own.sent.as_ref().is_none_or(waits))
    }
}

//! Having records kept: at the nodes nearest to their key.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};

use super::{Dht, KademliaConfig, KademliaError, ask::Goal, lock};
use crate::{
    overlay::{
        Address, PeerInfo,
        kademlia::{
            Key, Record, StoreRefusal,
            message::{Answer, Question},
        },
    },
    session::Endpoint,
    time::{Later, now},
};

/// The shortest pause between two times that something is sent because nodes have come, and the
/// first one after no node has kept it. Found by thought: nodes that join together are told
/// together.
pub(super) const SOON: Duration = Duration::from_secs(2);

/// The furthest above its own date that this node follows a number that others say it has given:
/// more than 2,000 years in microseconds. So nodes that lie do not lead it to the end of all
/// numbers.
const FURTHEST: u64 = 1 << 56;

/// What this node publishes under a key.
#[derive(Debug)]
pub(super) struct Own {
    sequence: u64,
    value: Vec<u8>,
    /// When it is over; none as long as the node lives, which is so for a provider.
    until: Option<Instant>,
    /// How it was sent last; none before the first time.
    sent: Option<Sent>,
    /// The nodes are asked first which number they know: an earlier life of this node may have
    /// given higher ones.
    ask_first: bool,
}

/// How something was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    /// How many keep it.
    kept: usize,
    /// How many nodes were known then.
    known: usize,
    /// How often in a row it was not kept by any.
    in_vain: u32,
}

impl Own {
    /// Whether it is to be sent now, where `k` nodes keep a record and `known` nodes are known.
    fn is_due(&self, config: &KademliaConfig, known: usize, now: Instant) -> bool {
        let Some(sent) = self.sent else { return known > 0 };
        let pause = now.saturating_duration_since(sent.at);
        let again = if self.until.is_none() { config.says_again() } else { config.republish };
        let retry = SOON.saturating_mul(1_u32.checked_shl(sent.in_vain).unwrap_or(u32::MAX));
        pause >= again
            || (sent.misses_some(config.k, known) && pause >= SOON)
            || (sent.kept == 0 && known > 0 && pause >= retry)
    }
}

impl Sent {
    /// Whether nodes have come since that could keep it.
    const fn misses_some(&self, k: usize, known: usize) -> bool {
        self.kept < k && self.known < known
    }
}

impl Dht {
    /// The record that this node publishes under a key, good from now on for what is left of its time.
    pub(super) fn own_record(&self, node: &Endpoint, key: Key) -> Option<Record> {
        let (own, now) = (lock(&self.own), now());
        let published = own.get(&key)?;
        let left = match published.until {
            Some(until) => until.saturating_duration_since(now).min(self.config.ttl),
            None => self.config.provider_ttl,
        };
        // A part of a second is none.
        let seconds = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
        let value = published.value.clone();
        (seconds > 0).then(|| Record::new(key, node.me.clone(), published.sequence, seconds, value))
    }

    /// The records of this node under a key: what it publishes itself, and what it keeps for
    /// others.
    pub(super) fn here(&self, node: &Endpoint, key: Key) -> Vec<Record> {
        let own = self.own_record(node, key).into_iter();
        own.chain(lock(&self.store).get(key, now())).collect()
    }

    /// Takes note of what this node publishes, and sends it.
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
            let begun = node.links.incarnation();
            let sequence = begun.saturating_add(u64::try_from(life).unwrap_or(u64::MAX));
            // Of two at one moment, the later one is the newer one.
            let old = own.get(&key);
            let sequence = old.map_or(sequence, |old| sequence.max(old.sequence.saturating_add(1)));
            let ask_first = old.is_none_or(|old| old.ask_first);
            own.insert(key, Own { sequence, value, until, sent: None, ask_first });
        }
        let others = self.known() > 0;
        match self.send_own(node, key).await {
            0 if others => Err(KademliaError::NobodyKeepsIt),
            kept => Ok(kept),
        }
    }

    /// Sends what this node publishes under a key. How many keep it.
    pub(super) async fn send_own(self: &Arc<Self>, node: &Arc<Endpoint>, key: Key) -> usize {
        let (mut kept, known) = (0, self.known());
        // Again when some knew a higher number, above which the next one is.
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
                // What no node was there to be asked for is asked for when some are.
                own.ask_first = outdated || (ask_first && known == 0);
            }
            if !outdated {
                break;
            }
        }
        kept
    }

    /// What others have of an earlier life of this node is older than what it publishes now.
    fn go_above(&self, node: &Endpoint, key: Key, records: &[(Address, Record)]) {
        let furthest = node.links.incarnation().saturating_add(FURTHEST);
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

    /// Has a record of another node kept at the nodes nearest to its key.
    pub(super) async fn send(self: &Arc<Self>, node: &Arc<Endpoint>, record: &Record) {
        let found = self.look_up(node, record.key(), Goal::Nodes).await;
        self.have_kept(node, record, found.closest).await;
    }

    /// Has a record kept by these nodes. What they answered.
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
        let answers = stream::iter(by).map(keep).buffer_unordered(self.config.alpha);
        answers.filter_map(std::future::ready).collect().await
    }

    /// What this node publishes and is to send now; what is over is forgotten.
    pub(super) fn own_due(&self) -> Vec<Key> {
        let (mut own, now, known) = (lock(&self.own), now(), self.known());
        own.retain(|_, published| published.until.is_none_or(|until| until > now));
        let due = own.iter().filter(|(_, own)| own.is_due(&self.config, known, now));
        due.map(|(key, _)| *key).collect()
    }

    /// Whether something that this node publishes is to be sent soon, and not only when it is sent
    /// again anyway.
    pub(super) fn own_waits(&self) -> bool {
        let (own, known, k) = (lock(&self.own), self.known(), self.config.k);
        let waits = |sent: &Sent| sent.kept == 0 || sent.misses_some(k, known);
        known > 0 && own.values().any(|own| own.sent.as_ref().is_none_or(waits))
    }
}

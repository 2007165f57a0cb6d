//! Having records kept: at the nodes nearest to their key.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};

use super::{Dht, KademliaError, ask::Goal, lock, now};
use crate::{
    connection::Node,
    overlay::kademlia::{
        Key, Record,
        message::{Answer, Question},
    },
    overlay::later::Later,
};

/// What this node publishes under a key.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) sequence: u64,
    pub(super) value: Vec<u8>,
    /// When it is over; none as long as the node lives.
    pub(super) until: Option<Instant>,
    /// When it was sent.
    pub(super) sent: Option<Instant>,
}

impl Dht {
    /// The record that this node publishes under a key, good from now on for what is left of its time.
    fn own_record(&self, node: &Node, key: Key) -> Option<Record> {
        let (own, now) = (lock(&self.own), now());
        let published = own.get(&key)?;
        let left = published.until.map_or(self.config.ttl, |until| until.duration_since(now));
        // A part of a second is none.
        let seconds = u32::try_from(left.min(self.config.ttl).as_secs()).unwrap_or(u32::MAX);
        let value = published.value.clone();
        (seconds > 0).then(|| Record::new(key, node.me.clone(), published.sequence, seconds, value))
    }

    /// The records of this node under a key: what it keeps for others, and what it publishes itself.
    pub(super) fn here(&self, node: &Node, key: Key) -> Vec<Record> {
        let mut records = lock(&self.store).get(key, now());
        records.extend(self.own_record(node, key));
        records
    }

    /// Takes note of what this node publishes, and sends it.
    pub(super) async fn publish(
        self: &Arc<Self>,
        node: &Arc<Node>,
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
            let sequence =
                own.get(&key).map_or(sequence, |old| sequence.max(old.sequence.saturating_add(1)));
            own.insert(key, Own { sequence, value, until, sent: None });
        }
        match self.send_own(node, key).await {
            0 => Err(KademliaError::NobodyKeepsIt),
            kept => Ok(kept),
        }
    }

    /// Sends what this node publishes under a key. How many keep it.
    pub(super) async fn send_own(self: &Arc<Self>, node: &Arc<Node>, key: Key) -> usize {
        let Some(record) = self.own_record(node, key) else { return 0 };
        if let Some(published) = lock(&self.own).get_mut(&key) {
            published.sent = Some(now());
        }
        self.send(node, &record).await
    }

    /// Has a record kept at the nodes nearest to its key. How many do.
    pub(super) async fn send(self: &Arc<Self>, node: &Arc<Node>, record: &Record) -> usize {
        let found = self.look_up(node, record.key(), Goal::Nodes).await;
        let keep = |peer| {
            let record = record.clone();
            async move { self.ask(node, &peer, Question::Store(record)).await }
        };
        let answers = stream::iter(found.closest).map(keep).buffer_unordered(self.config.alpha);
        answers.filter(|answer| std::future::ready(*answer == Some(Answer::Kept))).count().await
    }

    /// What this node publishes and has not sent for a while; what is over is forgotten.
    pub(super) fn own_due(&self) -> Vec<Key> {
        let (mut own, now) = (lock(&self.own), now());
        own.retain(|_, published| published.until.is_none_or(|until| until > now));
        let every = self.config.republish;
        let due = |sent: Instant| now.saturating_duration_since(sent) >= every;
        own.iter().filter(|(_, own)| own.sent.is_none_or(due)).map(|(key, _)| *key).collect()
    }
}

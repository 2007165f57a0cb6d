//! The messages that are kept for neighbours that miss them.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use indexmap::IndexMap;

use crate::{
    overlay::{
        trees::{MessageId, TreesConfig, TreesMessage},
        views::PeerKey,
    },
    time::Later,
};

#[derive(Debug)]
pub(super) struct KeptMessage<P> {
    pub(super) payload: Bytes,
    pub(super) proof: Bytes,
    pub(super) hops: u8,
    /// The neighbour by which the tree brings it. `None` if it is this node's own.
    pub(super) from: Option<P>,
    /// The neighbour that sent it first.
    pub(super) first: Option<P>,
    /// Whether it was grafted, so that a second copy from the same neighbour is no offence.
    pub(super) grafted: bool,
    /// How long ago it was published when it came, in seconds.
    pub(super) age: u32,
    pub(super) came: Instant,
}

impl<P: PeerKey> KeptMessage<P> {
    pub(super) fn to_message(&self, id: &MessageId<P>, hops: u8, now: Instant) -> TreesMessage<P> {
        let (payload, proof) = (self.payload.clone(), self.proof.clone());
        let here = now.saturating_duration_since(self.came).as_secs();
        let age = self.age.saturating_add(u32::try_from(here).unwrap_or(u32::MAX));
        TreesMessage::Payload { id: id.clone(), hops, age, payload, proof }
    }

    fn size(&self) -> usize {
        self.payload.len().saturating_add(self.proof.len())
    }

    /// When it was published.
    fn published(&self) -> Instant {
        self.came.checked_sub(Duration::from_secs(self.age.into())).unwrap_or(self.came)
    }
}

/// Messages in the order in which they were published, bounded by count, bytes and time.
#[derive(Debug)]
pub(super) struct Kept<P> {
    messages: IndexMap<MessageId<P>, KeptMessage<P>>,
    order: BTreeSet<(Instant, MessageId<P>)>,
    bytes: usize,
    count_limit: usize,
    bytes_limit: usize,
    keep_for: Duration,
    /// The number and size of the messages that are kept for longer, and this time.
    history: (usize, usize, Duration),
}

impl<P: PeerKey> Kept<P> {
    pub(super) fn new(config: &TreesConfig) -> Self {
        let mut kept = Self {
            messages: IndexMap::new(),
            order: BTreeSet::new(),
            bytes: 0,
            count_limit: 0,
            bytes_limit: 0,
            keep_for: config.keep_for,
            history: Default::default(),
        };
        kept.set_history(config);
        kept
    }

    pub(super) fn set_history(&mut self, config: &TreesConfig) {
        self.count_limit = config.kept_count.max(config.history_count);
        self.bytes_limit = config.kept_bytes.max(config.history_bytes);
        self.history = (config.history_count, config.history_bytes, config.history_for);
    }

    pub(super) fn insert(&mut self, id: MessageId<P>, message: KeptMessage<P>) {
        if self.messages.contains_key(&id) {
            return;
        }
        self.bytes = self.bytes.saturating_add(message.size());
        self.order.insert((message.published(), id.clone()));
        self.messages.insert(id, message);
        while self.messages.len() > self.count_limit || self.bytes > self.bytes_limit {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        if let Some((_, id)) = self.order.pop_first()
            && let Some(message) = self.messages.swap_remove(&id)
        {
            self.bytes = self.bytes.saturating_sub(message.size());
        }
    }

    pub(super) fn get(&self, id: &MessageId<P>) -> Option<&KeptMessage<P>> {
        self.messages.get(id)
    }

    /// Notes that another path is used in place of that by which a message came.
    pub(super) fn replace_source(&mut self, id: &MessageId<P>, from: P, hops: u8) {
        if let Some(message) = self.messages.get_mut(id) {
            (message.from, message.hops, message.grafted) = (Some(from), hops, true);
        }
    }

    /// Removes what has been kept long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.next_expiry().is_some_and(|at| at <= now) {
            self.remove_first();
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let (count, bytes, time) = self.history;
        let is_history = self.messages.len() <= count && self.bytes <= bytes;
        let keep_for = if is_history { time.max(self.keep_for) } else { self.keep_for };
        self.order.first().map(|(at, _)| at.later(keep_for))
    }

    /// The latest ids with their hops, at most `limit`, the oldest first.
    pub(super) fn latest(&self, limit: usize) -> Vec<(MessageId<P>, u8)> {
        let skipped = self.order.len().saturating_sub(limit);
        let ids = self.order.iter().skip(skipped);
        ids.filter_map(|(_, id)| Some((id.clone(), self.messages.get(id)?.hops))).collect()
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }
}

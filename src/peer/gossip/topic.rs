//! One topic at this node: its options, its subscribers, and the messages that are kept for new
//! ones.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use actix::prelude::Recipient;
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Neighbors,
    overlay::Overlay,
    subscriber::{Event, Subscriber, TopicEvent},
};
use crate::{
    overlay::{
        PeerInfo,
        options::{ConfigError, Options, Setting, settings},
        topics::{Finder, TopicHash},
        trees::{Gap, MessageId, TreesConfig},
        views::ViewsConfig,
    },
    sync::Mutex,
    time::{Later, now},
};

/// The maximum number of neighbours of a node in one topic.
pub(super) const NEIGHBORS: usize = 6;

/// The number of further nodes of a topic that a node remembers.
const PASSIVE: usize = 32;

/// The payloads of a topic that are kept for neighbours that miss them, in bytes: more than waits for
/// a neighbour, so that it can fetch what had no room there.
const KEPT: usize = 8 << 20;

/// The number of messages that are fetched from one neighbour at once: 2 MiB at most, so that a
/// neighbour with a history of long messages can send them in time.
const GRAFTS: usize = 32;

/// How long a message is kept for new subscribers.
const HISTORY_FOR: Duration = Duration::from_secs(24 * 3_600);

/// How long the ids of a silent author are remembered: longer than any node hands out its messages.
const REMEMBER_FOR: Duration = Duration::from_secs(25 * 3_600);

/// The number of authors of a topic whose ids are remembered, and of the ranges of each.
const AUTHORS: (usize, usize) = (2_048, 8);

/// How long a node that has published to a topic and no longer has a handle of it still passes the
/// messages on.
pub(super) const LINGER: Duration = Duration::from_secs(30);

/// The options of a [topic](crate::Peer::topic_with). A value out of its bounds is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct TopicConfig {
    history: usize,
    history_bytes: usize,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self { history: 0, history_bytes: 1 << 20 }
    }
}

impl TopicConfig {
    /// The number of messages that this node keeps for new subscribers, the latest ones of all
    /// authors, each for up to 24 hours. Default 0; 0 to 4,096.
    ///
    /// A node that begins to take part gets what its neighbours in the topic keep, each message
    /// once, those of one author in their order. So does an actor that subscribes at a node that
    /// takes part already. [`Published::age`](super::Published::age) says how old a message is. A
    /// topic that all nodes have left has no history, and a node does not get what it has published
    /// itself in an earlier run.
    ///
    /// Whatever this number is, a new neighbour gets all messages of the last half minute, which are
    /// kept for those that missed them.
    pub const fn history(mut self, messages: usize) -> Self {
        self.history = messages;
        self
    }

    /// The maximum size of these messages together, in bytes. Default 1 MiB; up to 64 MiB. The
    /// oldest ones are dropped first.
    pub const fn history_bytes(mut self, bytes: usize) -> Self {
        self.history_bytes = bytes;
        self
    }

    pub(super) fn validated(self) -> Result<Self, ConfigError> {
        self.validate_all()?;
        Ok(self)
    }

    /// The settings of the tree of the topic.
    pub(super) fn trees(&self) -> TreesConfig {
        TreesConfig {
            authors: AUTHORS.0,
            ranges: AUTHORS.1,
            grafts_at_once: GRAFTS,
            remember_for: REMEMBER_FOR,
            kept_bytes: KEPT,
            history_count: self.history,
            history_bytes: self.history_bytes,
            history_for: HISTORY_FOR,
            ..TreesConfig::default()
        }
    }
}

impl Options for TopicConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        settings! {
            "TopicConfig::history", "messages", &mut self.history, 0..=4_096;
            "TopicConfig::history_bytes", "bytes", &mut self.history_bytes, 0..=64 << 20;
        }
    }
}

/// The settings of the views of a topic, where those of the network are these.
pub(super) fn views(network: ViewsConfig) -> ViewsConfig {
    ViewsConfig { passive_limit: PASSIVE, ..network.with_active(NEIGHBORS) }
}

/// The part that a node takes in a topic. It ends when all its handles and subscriptions are gone.
#[derive(Debug)]
pub(crate) struct Part {
    pub(super) topic: Arc<TopicState>,
    pub(super) neighbors: Arc<Neighbors>,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.neighbors.wake.notify_one();
    }
}

/// What a node has of a topic.
#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) overlay: Arc<Overlay>,
    pub(super) hash: TopicHash,
    pub(super) config: Mutex<TopicConfig>,
    pub(super) finder: Mutex<Finder>,
    pub(super) part: Mutex<Weak<Part>>,
    readers: Mutex<Readers>,
}

/// The subscribers, and what is kept for further ones.
#[derive(Debug, Default)]
struct Readers {
    next: u64,
    all: Vec<(u64, Arc<Subscriber>)>,
    history: VecDeque<Event>,
    bytes: usize,
    published: Option<Instant>,
}

impl TopicState {
    pub(super) fn new(overlay: Arc<Overlay>, config: TopicConfig, finder: Finder) -> Self {
        Self {
            hash: TopicHash::of(&overlay.name),
            overlay,
            config: Mutex::new(config),
            finder: Mutex::new(finder),
            part: Mutex::default(),
            readers: Mutex::default(),
        }
    }

    /// Whether the node no longer takes part.
    pub(super) fn has_ended(&self) -> bool {
        self.part.lock().strong_count() == 0
            && self.readers.lock().published.is_none_or(|at| at.later(LINGER) <= Instant::now())
    }

    /// When the node stops to pass on what it has published, if it no longer takes part otherwise.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        let is_held = self.part.lock().strong_count() > 0;
        self.readers.lock().published.filter(|_| !is_held).map(|at| at.later(LINGER))
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.readers.lock().all.len()
    }

    /// Takes these options, if the node no longer takes part otherwise.
    pub(super) fn set_config(&self, config: TopicConfig) {
        let trees = config.trees();
        self.overlay.on(|of| {
            of.trees.set_history(trees.history_count, trees.history_bytes, trees.history_for);
        });
        *self.config.lock() = config;
    }

    /// Ends the time in which the node still passes on what it has published.
    pub(super) fn end_linger(&self) {
        self.readers.lock().published = None;
    }

    /// Adds a subscriber that `make` makes of what is kept. `None` if there are `most` of them.
    pub(super) fn subscribe(
        &self,
        make: impl FnOnce(VecDeque<Event>) -> Subscriber,
        most: usize,
    ) -> Option<(u64, Arc<Subscriber>)> {
        let mut readers = self.readers.lock();
        if readers.all.len() >= most {
            return None;
        }
        readers.forget_old();
        let subscriber = Arc::new(make(readers.history.clone()));
        let id = readers.next;
        readers.next = id.saturating_add(1);
        readers.all.push((id, Arc::clone(&subscriber)));
        Some((id, subscriber))
    }

    /// Whether an actor has subscribed.
    pub(super) fn is_read_by<M: Send + 'static>(
        &self,
        recipient: &Recipient<TopicEvent<M>>,
    ) -> bool {
        self.readers.lock().all.iter().any(|(_, subscriber)| subscriber.is_of(recipient))
    }

    pub(super) fn unsubscribe(&self, id: u64) {
        let mut readers = self.readers.lock();
        readers.all.retain(|(other, subscriber)| {
            *other != id || {
                subscriber.close();
                false
            }
        });
    }

    /// Removes subscribers whose actors have ended.
    pub(super) fn look_for_ended_actors(&self) {
        let mut readers = self.readers.lock();
        let ended = readers.all.extract_if(.., |(_, subscriber)| subscriber.has_ended());
        let ended: Vec<_> = ended.collect();
        drop(readers);
        // A subscriber may hold the last part in the topic.
        ended.iter().for_each(|(_, subscriber)| subscriber.close());
    }

    /// Publishes by `publish`, and hands the message to the subscribers of this node.
    pub(super) fn publish<E>(
        &self,
        payload: &Bytes,
        publish: impl FnOnce() -> Result<MessageId<PeerInfo>, E>,
    ) -> Result<u64, E> {
        let mut readers = self.readers.lock();
        let id = publish()?;
        readers.published = Some(Instant::now());
        let sequence = id.sequence;
        let (payload, since) = (payload.clone(), now());
        let event = Event::Message { id, payload, late: false, proven: true, since };
        readers.give(event, &self.config.lock());
        Ok(sequence)
    }

    pub(super) fn deliver(&self, event: Event) {
        self.readers.lock().give(event, &self.config.lock());
    }

    pub(super) fn miss(&self, gap: &Gap<PeerInfo>) {
        let event = Event::Missed { author: gap.first.author.clone(), messages: gap.count };
        self.readers.lock().give(event, &self.config.lock());
    }
}

impl Readers {
    fn give(&mut self, event: Event, config: &TopicConfig) {
        self.all.iter().for_each(|(_, subscriber)| subscriber.give(event.clone()));
        if config.history == 0 || matches!(event, Event::Missed { .. }) {
            return;
        }
        self.bytes = self.bytes.saturating_add(event.len());
        self.history.push_back(event);
        while self.history.len() > config.history || self.bytes > config.history_bytes {
            self.forget_first();
        }
        self.forget_old();
    }

    /// Forgets what is too old for new subscribers.
    fn forget_old(&mut self) {
        let is_old = |event: &Event| match event {
            Event::Message { since, .. } => since.later(HISTORY_FOR) <= now(),
            Event::Missed { .. } => true,
        };
        while self.history.front().is_some_and(is_old) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.history.pop_front() {
            self.bytes = self.bytes.saturating_sub(first.len());
        }
    }
}

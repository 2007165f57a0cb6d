//! The topics of a node: taking part, finding others, leaving.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use actix::prelude::Recipient;
use bytes::Bytes;
use indexmap::IndexMap;

use super::{
    Kind, Neighbors, Outgoing, Overlay,
    subscriber::{Event, Subscriber, TopicEvent},
    topic::{Part, TopicConfig, TopicState, views},
};
use crate::{
    bounded::BoundedMap,
    frame::{Frame, TypeCode, Wire, WireError},
    message::Sender,
    overlay::{
        PeerInfo,
        options::ConfigError,
        topics::{Finder, MAX_ANSWERS, Move, TPC, TopicHash, TopicsMessage},
        trees::{Delivery, Gap, MAX_PAYLOAD, MessageId, PublishError},
        views::MAX_TOPIC,
    },
    peer::NodeDown,
    session::Endpoint,
    sync::Mutex,
    time::{Later, now},
};

/// The pause between two messages that tell neighbours of the own topics.
const TELL_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

/// The number of nodes of which is remembered in which topics they take part.
const REMEMBERED: usize = 128;

/// The number of questions whose answers are counted.
const QUESTIONS: usize = 1_024;

/// The number of topics that the node has left whose numbers are remembered.
const LEFT: usize = 256;

/// The number of answers to one question that one neighbour may pass on.
const ANSWERS_OF_ONE: usize = 2;

/// The number of messages about topics that wait for the maintenance. Further ones are dropped and
/// counted.
const WAITING: usize = 256;

/// The maximum number of subscriptions of one node to one topic.
pub const MAX_SUBSCRIPTIONS: usize = 256;

/// Why a topic could not be used. Nothing was published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The node keeps no neighbours: it was built
    /// [`without_gossip`](crate::Builder::without_gossip), or other nodes cannot ask it for its name
    /// ([`well_known`](crate::Builder::well_known)).
    #[error("this node keeps no neighbours: build it with Builder::gossip")]
    NotEnabled,
    /// The name is empty or longer than 64 bytes.
    #[error("the name of the topic has {len} bytes: it must have 1 to {MAX_TOPIC}")]
    Name {
        /// The length of the name in bytes.
        len: usize,
    },
    /// An option is out of its bounds.
    #[error(transparent)]
    Options(#[from] ConfigError),
    /// The node takes part in this topic with other options.
    #[error(
        "this node takes part in the topic with other options: use the same, or leave it first"
    )]
    OtherOptions,
    /// The node takes part in as many topics as it may
    /// ([`GossipConfig::topics`](crate::peer::GossipConfig::topics)).
    #[error(
        "this node may take part in {limit} topics: raise GossipConfig::topics and Config::max_links"
    )]
    TooManyTopics {
        /// The limit.
        limit: usize,
    },
    /// There are [`MAX_SUBSCRIPTIONS`] subscriptions to this topic at this node.
    #[error("the topic has {MAX_SUBSCRIPTIONS} subscriptions at this node: share one")]
    TooManySubscriptions,
    /// The message could not be encoded.
    #[error(transparent)]
    Encode(#[from] WireError),
    /// The message is longer than 64 KiB.
    #[error("the message has {len} bytes, in a topic it may have {MAX_PAYLOAD}: send a reference")]
    TooLong {
        /// The length in bytes.
        len: usize,
    },
    /// All sequence numbers are used.
    #[error("this node has published too many messages to the topic: leave it and return")]
    Exhausted,
    /// The node has stopped.
    #[error(transparent)]
    Down(#[from] NodeDown),
}

/// A topic in which a node takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStatus {
    /// The name.
    pub name: String,
    /// The neighbours of this node in the topic.
    pub neighbors: Vec<PeerInfo>,
    /// The number of subscriptions at this node.
    pub subscriptions: usize,
}

/// The topics of a node.
#[derive(Debug)]
pub(super) struct Topics {
    all: Mutex<IndexMap<Arc<str>, Arc<TopicState>>>,
    /// In which topics other nodes take part, by the time at which they said so.
    others: Mutex<BoundedMap<PeerInfo, Vec<TopicHash>, std::time::Instant>>,
    /// What the neighbours were told last, and when.
    told: Mutex<(Vec<TopicHash>, Option<std::time::Instant>)>,
    /// The neighbours whose answers were taken, one entry for each answer, by the question.
    passed: Mutex<BoundedMap<MessageId<PeerInfo>, Vec<PeerInfo>, std::time::Instant>>,
    /// What waits for the maintenance to be sent.
    waiting: Mutex<VecDeque<(PeerInfo, Frame)>>,
    /// The incarnation and the number of the next message in topics that this node has left, so that
    /// it goes on counting when it returns.
    left: Mutex<BoundedMap<Arc<str>, (u64, u64), std::time::Instant>>,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            others: Mutex::new(BoundedMap::new(REMEMBERED)),
            told: Mutex::default(),
            passed: Mutex::new(BoundedMap::new(QUESTIONS)),
            waiting: Mutex::default(),
            left: Mutex::new(BoundedMap::new(LEFT)),
        }
    }
}

impl Topics {
    fn states(&self) -> Vec<Arc<TopicState>> {
        self.all.lock().values().cloned().collect()
    }

    fn state(&self, name: &str) -> Option<Arc<TopicState>> {
        self.all.lock().get(name).cloned()
    }

    fn with_hash(&self, hash: TopicHash) -> Option<Arc<TopicState>> {
        self.all.lock().values().find(|state| state.hash == hash).cloned()
    }

    pub(super) fn overlays(&self) -> Vec<Arc<Overlay>> {
        self.all.lock().values().map(|state| Arc::clone(&state.overlay)).collect()
    }

    pub(super) fn overlay(&self, name: &str) -> Option<Arc<Overlay>> {
        Some(Arc::clone(&self.all.lock().get(name)?.overlay))
    }

    /// Takes part in all topics again, after the node has left its network.
    pub(super) fn begin_again(&self, neighbors: &Neighbors, node: &Endpoint) {
        self.states().iter().for_each(|state| begin_again(neighbors, node, state));
    }

    /// The topics of this node, for its neighbours. `None` if there are none.
    pub(super) fn takes(&self) -> Option<Frame> {
        let topics = self.hashes();
        if topics.is_empty() { None } else { TopicsMessage::Takes { topics }.encode() }
    }

    fn hashes(&self) -> Vec<TopicHash> {
        let states = self.states();
        states.iter().filter(|state| !state.has_ended()).map(|state| state.hash).collect()
    }

    /// Notes that a message about topics is to be sent. Those to strangers have half of the room.
    pub(super) fn wait(&self, node: &Endpoint, to: &PeerInfo, frame: Frame) {
        let mut waiting = self.waiting.lock();
        let most = if frame.code() == TPC { WAITING } else { WAITING / 2 };
        if waiting.len() < most {
            waiting.push_back((to.clone(), frame));
        } else {
            node.counters.gossip_dropped.one();
        }
    }

    /// Does what is due. Returns when something is due next.
    pub(super) fn look(
        &self,
        node: &Arc<Endpoint>,
        neighbors: &Arc<Neighbors>,
        outgoing: &Outgoing,
    ) -> Option<std::time::Instant> {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for (to, frame) in waiting {
            outgoing.send(node, neighbors, to, frame, Kind::Control);
        }
        let mut due = self.tell(node, neighbors, outgoing);
        let has_network = neighbors.network.get().is_some_and(|of| !of.active().is_empty());
        for state in self.states() {
            // Under the lock, so that the topic is not opened again meanwhile.
            let all = self.all.lock();
            if state.has_ended() {
                if state.overlay.is_in() {
                    state.overlay.on(|of| of.views.leave(now()));
                }
                continue;
            }
            drop(all);
            if has_network {
                ask(node, neighbors, &state);
                due = [due, Some(state.finder.lock().due())].into_iter().flatten().min();
            }
            let ends = state.ends_at().map(tokio::time::Instant::into_std);
            due = [due, ends].into_iter().flatten().min();
        }
        due
    }

    /// Tells the neighbours of the own topics, if those have changed. Returns when it is due.
    fn tell(
        &self,
        node: &Arc<Endpoint>,
        neighbors: &Arc<Neighbors>,
        outgoing: &Outgoing,
    ) -> Option<std::time::Instant> {
        let topics = self.hashes();
        let mut told = self.told.lock();
        if told.0 == topics {
            return None;
        }
        let at = told.1.map(|at| at.later(TELL_EVERY));
        if at.is_some_and(|at| at > now()) {
            return at;
        }
        *told = (topics.clone(), Some(now()));
        drop(told);
        let frame = TopicsMessage::Takes { topics }.encode()?;
        for peer in neighbors.current() {
            outgoing.send(node, neighbors, peer, frame.clone(), Kind::Control);
        }
        None
    }

    /// Removes the subscriptions of actors that have ended.
    pub(super) fn look_for_ended_actors(&self) {
        self.states().iter().for_each(|state| state.look_for_ended_actors());
    }

    /// Forgets the topics that this node has left.
    pub(super) fn remove_left(&self) {
        let mut all = self.all.lock();
        let left = all.extract_if(.., |_, state| state.has_ended() && !state.overlay.is_in());
        let left: Vec<_> = left.collect();
        for (name, state) in &left {
            if let Some(next) = state.overlay.on(|of| of.trees.next_id()) {
                self.left.lock().insert(Arc::clone(name), next, now());
            }
        }
        drop(all);
        drop(left);
    }

    /// The answer to a question about a topic: `Some(None)` if this node has none. `None` if the
    /// broadcast is not a question.
    pub(super) fn answer(
        &self,
        node: &Endpoint,
        delivery: &Delivery<PeerInfo>,
    ) -> Option<Option<Frame>> {
        let (code, _) = delivery.payload.split_first_chunk::<4>()?;
        if TypeCode::new(code) != TPC {
            return None;
        }
        let frame = Frame::new(TPC, delivery.payload.slice(code.len()..));
        let Some(TopicsMessage::Ask { topic }) = TopicsMessage::decode(&frame) else {
            return Some(None);
        };
        let state = self.with_hash(topic).filter(|state| !state.has_ended());
        Some(state.and_then(|state| {
            state.finder.lock().heard(now());
            let mut peers = vec![node.me.clone()];
            peers.extend(state.overlay.active().into_iter().take(2));
            TopicsMessage::Here { question: delivery.id.clone(), peers }.encode()
        }))
    }

    pub(super) fn deliver(&self, node: &Endpoint, name: &str, delivery: Delivery<PeerInfo>) {
        let Some(state) = self.state(name) else { return };
        let Delivery { id, payload, late, age, .. } = delivery;
        let proven = node.transport.proves().is_some();
        let age = std::time::Duration::from_secs(age.into());
        let since = now().checked_sub(age).unwrap_or_else(now);
        state.deliver(Event::Message { id, payload, late, proven, since });
    }

    pub(super) fn miss(&self, name: &str, gap: &Gap<PeerInfo>) {
        if let Some(state) = self.state(name) {
            state.miss(gap);
        }
    }

    /// Handles a message about topics of a neighbour.
    pub(super) fn receive(
        &self,
        (node, neighbors): (&Endpoint, &Neighbors),
        from: &PeerInfo,
        message: TopicsMessage,
        sender: &Sender,
    ) {
        match message {
            TopicsMessage::Takes { topics } => {
                for state in self.states().iter().filter(|state| topics.contains(&state.hash)) {
                    neighbors.note_named([from].into_iter(), sender);
                    meet(neighbors, state, from.clone(), Some(from));
                }
                self.others.lock().insert(from.clone(), topics, now());
            }
            // A question is a broadcast.
            TopicsMessage::Ask { .. } => {}
            TopicsMessage::Here { question, peers } if question.author == node.me => {
                let mut states = self.states().into_iter();
                let asked = states.find(|state| state.finder.lock().asked(&question));
                if let Some(state) = asked.filter(|_| self.takes_answer(&question, from)) {
                    neighbors.note_named(peers.iter(), sender);
                    peers.into_iter().for_each(|peer| meet(neighbors, &state, peer, Some(from)));
                }
            }
            TopicsMessage::Here { question, peers } => {
                let source = neighbors.on(|of| of.trees.source(&question).cloned()).flatten();
                if let Some(source) = source.filter(|source| source != from)
                    && self.takes_answer(&question, from)
                    && let Some(frame) = (TopicsMessage::Here { question, peers }).encode()
                {
                    self.wait(node, &source, frame);
                }
            }
        }
    }

    /// Whether one more answer to a question is taken from a neighbour.
    fn takes_answer(&self, question: &MessageId<PeerInfo>, from: &PeerInfo) -> bool {
        let mut passed = self.passed.lock();
        let mut by = passed.get(question).cloned().unwrap_or_default();
        let of_one = by.iter().filter(|other| *other == from).count();
        if by.len() >= MAX_ANSWERS || of_one >= ANSWERS_OF_ONE {
            return false;
        }
        by.push(from.clone());
        passed.insert(question.clone(), by, now());
        true
    }
}

/// Asks the network for other nodes of a topic, when it is time to do so.
fn ask(node: &Endpoint, neighbors: &Neighbors, state: &TopicState) {
    let is_alone = state.overlay.active().is_empty();
    let mut finder = state.finder.lock();
    if !finder.asks(is_alone, now()) {
        return;
    }
    let Some(frame) = (TopicsMessage::Ask { topic: state.hash }).encode() else { return };
    if let Some(Ok(question)) = super::broadcast::publish_frame(node, neighbors, &frame) {
        node.counters.topics_asked.one();
        finder.note(question);
    }
}

/// Takes note of a node that takes part in a topic, and of which `source` has told.
fn meet(neighbors: &Neighbors, state: &TopicState, peer: PeerInfo, source: Option<&PeerInfo>) {
    let overlay = &state.overlay;
    if overlay.on(|of| of.views.is_neighbor(&peer) || *of.views.me() == peer) {
        return;
    }
    let (what, source) = (state.finder.lock().meets(), source.cloned());
    neighbors.with_overlay(overlay, |of| match what {
        Move::Introduce => of.views.introduce(peer, now()),
        Move::Remember => of.views.add_passive_from(peer, source),
    });
}

/// Takes part in a topic again that this node has left.
fn begin_again(neighbors: &Neighbors, node: &Endpoint, state: &TopicState) {
    let config = views(neighbors.config.views(&node.config));
    if state.overlay.begin_again(|| neighbors.new_views(node, config)) {
        *state.finder.lock() = new_finder(neighbors, node);
        ask_neighbors(neighbors, state);
    }
}

fn new_finder(neighbors: &Neighbors, node: &Endpoint) -> Finder {
    Finder::new(node.me.id().seed(neighbors.next_incarnation(node)), now())
}

/// Asks the neighbours in the network that take part in the topic as well.
fn ask_neighbors(neighbors: &Neighbors, state: &TopicState) {
    let known = neighbors.topics.others.lock();
    let takes = |peer: &PeerInfo| known.get(peer).is_some_and(|of| of.contains(&state.hash));
    let others: Vec<_> = neighbors.current().into_iter().filter(takes).collect();
    drop(known);
    if !others.is_empty() {
        state.finder.lock().wait(now());
    }
    for peer in others {
        meet(neighbors, state, peer.clone(), Some(&peer));
    }
}

/// Whether a node takes part in a topic.
#[cfg(feature = "kademlia")]
pub(crate) fn takes_part(node: &Endpoint, name: &str) -> bool {
    let state = Neighbors::of(node).and_then(|neighbors| neighbors.topics.state(name));
    state.is_some_and(|state| state.part.lock().strong_count() > 0)
}

/// Takes part in a topic, with these options or with those that it has. Returns whether the node
/// begins to.
pub(crate) fn open(
    node: &Arc<Endpoint>,
    name: &str,
    config: Option<TopicConfig>,
) -> Result<(Arc<Part>, bool), TopicError> {
    let config = config.map(TopicConfig::validated).transpose()?;
    let len = name.len();
    if len == 0 || len > MAX_TOPIC {
        return Err(TopicError::Name { len });
    }
    if node.drain.is_cancelled() {
        return Err(NodeDown.into());
    }
    let neighbors = Neighbors::of(node).ok_or(TopicError::NotEnabled)?;
    let topics = &neighbors.topics;
    let mut all = topics.all.lock();
    let known = all.get(name).cloned();
    let held = known.as_ref().and_then(|state| state.part.lock().upgrade());
    if let (Some(state), Some(part)) = (&known, held) {
        let same = config.is_none_or(|config| *state.config.lock() == config);
        return if same { Ok((part, false)) } else { Err(TopicError::OtherOptions) };
    }
    let state = match known {
        Some(state) => {
            state.set_config(config.unwrap_or_default());
            state
        }
        None => {
            make_room(&all, neighbors.config.topic_limit(&node.config))?;
            let state =
                Arc::new(neighbors.new_topic(node, name.into(), config.unwrap_or_default()));
            all.insert(Arc::clone(&state.overlay.name), Arc::clone(&state));
            ask_neighbors(&neighbors, &state);
            state
        }
    };
    let part = Arc::new(Part { topic: Arc::clone(&state), neighbors: Arc::clone(&neighbors) });
    *state.part.lock() = Arc::downgrade(&part);
    begin_again(&neighbors, node, &state);
    drop(all);
    neighbors.wake.notify_one();
    Ok((part, true))
}

/// Fails if the node takes part in as many topics as it may. Ends a topic that it has only to pass on
/// what it has published.
fn make_room(all: &IndexMap<Arc<str>, Arc<TopicState>>, limit: usize) -> Result<(), TopicError> {
    let lingers = |state: &&Arc<TopicState>| state.part.lock().strong_count() == 0;
    if all.len() < limit {
        return Ok(());
    }
    let ended = all.values().filter(lingers).count();
    // Those that have ended are removed soon.
    if all.len().saturating_sub(ended) >= limit || all.len() >= limit.saturating_mul(2) {
        return Err(TopicError::TooManyTopics { limit });
    }
    if let Some(oldest) = all.values().find(lingers) {
        oldest.end_linger();
    }
    Ok(())
}

impl Neighbors {
    fn new_topic(&self, node: &Endpoint, name: Arc<str>, config: TopicConfig) -> TopicState {
        let of_views = views(self.config.views(&node.config));
        let before = self.topics.left.lock().get(&name).copied();
        let mut machines = self.new_machines(node, of_views, config.trees());
        if let Some((incarnation, sequence)) = before {
            machines.trees = machines.trees.going_on(incarnation, sequence);
        }
        TopicState::new(Arc::new(Overlay::new(name, machines)), config, new_finder(self, node))
    }
}

/// The topics in which a node takes part.
pub(crate) fn open_topics(node: &Endpoint) -> Vec<TopicStatus> {
    let Some(neighbors) = Neighbors::of(node) else { return Vec::new() };
    let states = neighbors.topics.states().into_iter().filter(|state| !state.has_ended());
    let status = states.map(|state| TopicStatus {
        name: state.overlay.name.to_string(),
        neighbors: state.overlay.current.get(),
        subscriptions: state.subscriptions(),
    });
    status.collect()
}

impl Part {
    pub(crate) fn name(&self) -> &str {
        &self.topic.overlay.name
    }

    pub(crate) fn neighbors(&self) -> Vec<PeerInfo> {
        self.topic.overlay.current.get()
    }

    /// Takes note of a node that takes part as well.
    #[cfg(feature = "kademlia")]
    pub(crate) fn meet(&self, peer: PeerInfo) {
        meet(&self.neighbors, &self.topic, peer, None);
    }

    /// Completes when the node has a neighbour in the topic.
    pub(crate) async fn until_joined(&self) {
        let mut current = self.topic.overlay.current.subscribe();
        current.wait_for(|current| !current.is_empty()).await.ok();
    }

    /// Publishes an encoded message.
    pub(crate) fn publish(&self, node: &Endpoint, payload: &Bytes) -> Result<u64, TopicError> {
        let overlay = &self.topic.overlay;
        let prove = |id: &_, payload: &_| super::broadcast::prove(node, &overlay.name, id, payload);
        let publish = || {
            self.neighbors
                .with_overlay(overlay, |of| of.trees.publish(payload.clone(), prove, now()))
        };
        let sequence = self.topic.publish(payload, publish).map_err(|error| match error {
            PublishError::PayloadTooLong { len, .. } | PublishError::ProofTooLong { len, .. } => {
                TopicError::TooLong { len }
            }
            PublishError::NoSequence => TopicError::Exhausted,
        })?;
        node.counters.topics_out.one();
        Ok(sequence)
    }

    /// Subscribes an actor.
    pub(crate) fn subscribe<M: Wire + Send + 'static>(
        self: &Arc<Self>,
        node: &Arc<Endpoint>,
        recipient: Recipient<TopicEvent<M>>,
    ) -> Result<Subscription, TopicError> {
        let make = |first| Subscriber::new(node, recipient.clone(), first);
        let made = self.topic.subscribe(make, MAX_SUBSCRIPTIONS);
        let (id, subscriber) = made.ok_or(TopicError::TooManySubscriptions)?;
        subscriber.hand_over(node, Arc::clone(&self.topic.overlay.name), recipient);
        let topic = Arc::downgrade(&self.topic);
        Ok(Subscription { topic, id, subscriber, part: Some(Arc::clone(self)) })
    }

    /// Whether an actor has subscribed.
    pub(crate) fn is_read_by<M: Send + 'static>(
        &self,
        recipient: &Recipient<TopicEvent<M>>,
    ) -> bool {
        self.topic.is_read_by(recipient)
    }
}

/// A subscription to a [topic](crate::Peer::topic). When it is dropped, the actor receives nothing
/// more; what waits for it is discarded. It ends by itself when the actor ends, and when the node
/// stops.
///
/// It keeps the actor running, as an address does. An actor that holds its own subscription, or a
/// `Peer` and a detached subscription, therefore ends only when it stops itself or the node stops.
#[derive(Debug)]
#[must_use = "a subscription ends when it is dropped: keep it, or detach it"]
pub struct Subscription {
    topic: Weak<TopicState>,
    id: u64,
    subscriber: Arc<Subscriber>,
    /// `None` if it was detached.
    part: Option<Arc<Part>>,
}

impl Subscription {
    /// Lets the subscription last as long as the actor.
    pub fn detach(mut self) {
        if let Some(part) = self.part.take() {
            self.subscriber.keep(part);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let (Some(topic), Some(_)) = (self.topic.upgrade(), &self.part) {
            topic.unsubscribe(self.id);
        }
    }
}

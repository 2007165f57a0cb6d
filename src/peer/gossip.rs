//! The I/O of HyParView and Plumtree in a node: messages over links, and the links of the
//! neighbours.

mod address_group;
mod broadcast;
mod config;
mod outgoing;
mod overlay;
mod serve;
mod subscriber;
mod topic;
mod topics;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::{Either, LocalBoxFuture, select};
use indexmap::IndexSet;
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout, timeout_at},
};

#[cfg(feature = "kademlia")]
pub(crate) use self::topics::takes_part;
use self::{
    broadcast::ReceivingBroadcasts,
    outgoing::{Kind, Outgoing},
    overlay::{Machines, Output, Overlay},
    serve::{Receiving, ReceivingTopics},
    topics::Topics,
};
pub(crate) use self::{
    broadcast::publish,
    topic::Part,
    topics::{open, open_topics},
};
pub use self::{
    config::GossipConfig,
    subscriber::{Published, TOPIC_QUEUE, TOPIC_QUEUE_BYTES, TopicEvent},
    topic::TopicConfig,
    topics::{MAX_SUBSCRIPTIONS, Subscription, TopicError, TopicStatus},
};
use crate::{
    bounded::BoundedMap,
    dispatch::AtOnce,
    frame::Frame,
    message::Sender,
    node::PeerEvent,
    overlay::{
        Address, Candidate, Learned, PeerInfo,
        options::{ConfigError, Options as _},
        topics::TPC,
        trees::{BCC, BCP, MessageId, Trees, TreesConfig, TreesEvent, TreesMessage, TreesOutput},
        views::{DownReason, NBR, Views, ViewsConfig, ViewsEvent, ViewsMessage, ViewsOutput},
    },
    peer::{
        NodeDown, Peers,
        maintenance::{Maintenance, NodeContext},
        verification::{AskName, Outcome, Policy, verify_and_admit},
    },
    session,
    session::{Endpoint, Linked},
    sync::Mutex,
    time::{Later, now},
};

/// How often a node that has too few neighbours looks into the peer table for others.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a peer of the table that could not be reached is not asked again.
const NOT_AGAIN: Duration = Duration::from_secs(10);

/// How long a peer that was removed from the table does not become a neighbour again. Short: another
/// node with its id may have taken its place in the table.
const REMOVED_FOR: Duration = Duration::from_secs(10);

/// How long a neighbour that misbehaved does not become one again.
const MISBEHAVED_FOR: Duration = Duration::from_secs(60);

/// The number of peers of which the node remembers which node has named them, and of those that
/// could not be reached.
const REMEMBERED: usize = 1_024;

/// The neighbours of a node, shared by its links, its maintenance and its handle.
#[derive(Debug)]
pub(crate) struct Neighbors {
    config: GossipConfig,
    /// The number of views and trees that were made.
    turns: AtomicU64,
    network: OnceLock<Arc<Overlay>>,
    topics: Topics,
    /// Room for broadcasts that handlers have not finished.
    room: Arc<Semaphore>,
    /// Which node has named a peer, by the time.
    named_by: Mutex<BoundedMap<PeerInfo, Address, std::time::Instant>>,
    /// The peers that could not be reached, by the time.
    unreached: Mutex<BoundedMap<PeerInfo, (), std::time::Instant>>,
    /// The neighbours that are, or were, in the peer table.
    admitted: Mutex<IndexSet<PeerInfo>>,
    /// Notified when the maintenance has something to do.
    wake: Notify,
}

impl Neighbors {
    fn new(config: GossipConfig) -> Self {
        Self {
            config,
            turns: AtomicU64::new(0),
            network: OnceLock::new(),
            topics: Topics::default(),
            room: Arc::new(Semaphore::new(broadcast::ROOM)),
            named_by: Mutex::new(BoundedMap::new(REMEMBERED)),
            unreached: Mutex::new(BoundedMap::new(REMEMBERED)),
            admitted: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// The neighbours of `node`; `None` if it keeps none.
    pub(crate) fn of(node: &Endpoint) -> Option<Arc<Self>> {
        Arc::clone(node.neighbors.get()?).downcast().ok()
    }

    /// A number that differs in each view and tree of each run of the node.
    fn next_incarnation(&self, node: &Endpoint) -> u64 {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        node.links.incarnation.saturating_add(turn)
    }

    /// The views of a node that knows no other.
    fn new_views(&self, node: &Endpoint, config: ViewsConfig) -> Views<PeerInfo> {
        let seed = node.me.id().seed(self.next_incarnation(node));
        Views::new(node.me.clone(), config, seed, now()).with_groups(address_group::group_of)
    }

    fn new_machines(&self, node: &Endpoint, views: ViewsConfig, trees: TreesConfig) -> Machines {
        let incarnation = self.next_incarnation(node);
        let trees = Trees::new(node.me.clone(), incarnation, trees, now());
        Machines::new(self.new_views(node, views), trees)
    }

    /// Takes part again after the node has left its network.
    fn begin_again(&self, node: &Endpoint) {
        if let Some(network) = self.network.get()
            && network.begin_again(|| self.new_views(node, self.config.views(&node.config)))
        {
            self.topics.begin_again(self, node);
        }
    }

    /// Runs `work` on the machines of the network, and wakes the maintenance, which carries out what
    /// they ask for. `None` before the node is prepared.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Machines) -> R) -> Option<R> {
        Some(self.with_overlay(self.network.get()?, work))
    }

    /// Runs `work` on the machines of the network or of a topic.
    fn with_overlay<R>(&self, overlay: &Overlay, work: impl FnOnce(&mut Machines) -> R) -> R {
        let result = overlay.on(work);
        self.wake.notify_one();
        result
    }

    /// Runs `work` on the machines of the network. `None` before the node is prepared.
    fn on<R>(&self, work: impl FnOnce(&mut Machines) -> R) -> Option<R> {
        Some(self.network.get()?.on(work))
    }

    /// The network, and the topics in which this node takes part.
    fn overlays(&self) -> Vec<Arc<Overlay>> {
        self.network.get().into_iter().cloned().chain(self.topics.overlays()).collect()
    }

    /// The network, or the topic with this name, if this node takes part in it.
    fn overlay(&self, name: &str) -> Option<Arc<Overlay>> {
        let overlay =
            if name.is_empty() { self.network.get().cloned() } else { self.topics.overlay(name) };
        overlay.filter(|overlay| overlay.is_in())
    }

    fn has(&self, peer: &PeerInfo) -> bool {
        self.network.get().is_some_and(|network| network.has(peer))
    }

    /// The neighbours in the network.
    fn current(&self) -> Vec<PeerInfo> {
        self.network.get().map(|network| network.current.get()).unwrap_or_default()
    }

    /// Notes that a node has named others. They may be dialled from the scope of that node.
    fn note_named<'a>(&self, peers: impl Iterator<Item = &'a PeerInfo>, by: &Sender) {
        let mut named_by = self.named_by.lock();
        for peer in peers {
            if !named_by.contains_key(peer) {
                named_by.insert(peer.clone(), by.address().clone(), now());
            }
        }
    }

    /// Handles a message of a peer.
    fn receive(
        &self,
        overlay: &Overlay,
        from: &PeerInfo,
        message: ViewsMessage<PeerInfo>,
        sender: &Sender,
    ) {
        self.note_named(message.names().chain([from]), sender);
        self.with_overlay(overlay, |of| of.views.receive(from, message, now()));
    }

    /// Tells a node that this one does not take part in a topic.
    fn tell_that_left(&self, node: &Endpoint, peer: &PeerInfo, topic: &str) {
        if let Some(frame) = ViewsMessage::Leave.encode(topic) {
            self.topics.wait(node, peer, frame);
            self.wake.notify_one();
        }
    }

    /// Notes that the link to a peer is gone, or could not be opened.
    fn unreachable(&self, node: &Endpoint, peer: &PeerInfo) {
        self.unreached.lock().insert(peer.clone(), (), now());
        if !session::has_link(node, peer) {
            for overlay in self.overlays() {
                self.with_overlay(&overlay, |of| of.views.unreachable(peer, now()));
            }
        }
    }

    /// Notes the neighbours whose links have ended.
    fn look_for_ended_links(&self, node: &Endpoint) {
        for overlay in self.overlays() {
            for peer in overlay.active().iter().filter(|peer| !session::has_link(node, peer)) {
                self.unreachable(node, peer);
            }
        }
    }

    /// Compares the neighbours with the table. Those for which it had no room are added, and those
    /// that were removed from it are dropped: by the application, for example, or because they did
    /// not answer with their id.
    async fn compare_with_table(
        &self,
        NodeContext { node, peers }: &NodeContext,
    ) -> Result<(), NodeDown> {
        let admitted = self.admitted.lock().clone();
        let active = self.current();
        for peer in active.into_iter().filter(|peer| !admitted.contains(peer)) {
            if admit(node, peers, peer.clone()).await? && self.has(&peer) {
                self.admitted.lock().insert(peer);
            }
        }
        let removed = peers.with(move |table, _| {
            let mut removed = admitted.clone();
            removed
                .retain(|peer| table.list.get(peer.id()).is_none_or(|entry| entry.info() != peer));
            (removed, table.take_dismissed())
        });
        let (removed, dismissed) = removed.await?;
        self.on(|of| {
            of.views.forget_contacts(|contact| dismissed.contains(contact.id()));
            removed.iter().for_each(|peer| of.views.drop_peer(peer, REMOVED_FOR, now()));
        });
        Ok(())
    }

    /// Passes peers of the table to the views, while they look for neighbours.
    async fn look_into_table(&self, peers: &Peers) -> Result<(), NodeDown> {
        if !self.on(|of| of.views.wants_neighbors()).unwrap_or(false) {
            return Ok(());
        }
        let list = peers.list_to_maintain().await?;
        let unreached = self.unreached.lock();
        let may =
            |peer: &&PeerInfo| unreached.rank(peer).is_none_or(|at| at.later(NOT_AGAIN) <= now());
        // What only claims to be a peer is not dialled for it.
        let verified = list.iter().filter(|entry| entry.verified().is_some());
        let known: Vec<_> = verified.map(|entry| entry.info()).filter(may).cloned().collect();
        drop(unreached);
        self.with(|of| known.into_iter().for_each(|peer| of.views.add_passive(peer)));
        Ok(())
    }

    async fn carry_out(
        self: &Arc<Self>,
        context: &NodeContext,
        outgoing: &Outgoing,
        overlay: &Overlay,
        output: Output,
    ) -> Result<(), NodeDown> {
        let node = &context.node;
        match output {
            Output::Views(ViewsOutput::Send { to, message }) => {
                if let Some(frame) = message.encode(&overlay.name) {
                    outgoing.send(node, self, to, frame, Kind::of(&message));
                }
            }
            Output::Views(ViewsOutput::Event(event)) if overlay.is_network() => {
                self.tell(context, overlay, event).await?;
            }
            Output::Views(ViewsOutput::Event(event)) => match event {
                ViewsEvent::NeighborUp(peer) => self.keep(node, overlay, &peer),
                ViewsEvent::NeighborDown(peer, _) => release(node, overlay, &peer),
                ViewsEvent::Joined | ViewsEvent::Alone => {}
            },
            Output::Trees(TreesOutput::Send { to, message }) => {
                let kind = if message.is_control() { Kind::Control } else { Kind::Payload };
                let frames = message.encode(&overlay.name);
                let send = |frame| outgoing.send(node, self, to.clone(), frame, kind);
                if !frames.into_iter().all(send)
                    && let TreesMessage::Payload { id, .. } = &message
                {
                    self.with_overlay(overlay, |of| of.trees.not_sent(&to, id, now()));
                }
            }
            Output::Trees(TreesOutput::Deliver(delivery)) if overlay.is_network() => {
                if let Some(answer) = self.topics.answer(node, &delivery) {
                    self.pass_answer(node, outgoing, &delivery.id, answer);
                } else {
                    broadcast::deliver(node, &self.room, delivery);
                }
            }
            Output::Trees(TreesOutput::Deliver(delivery)) => {
                self.topics.deliver(node, &overlay.name, delivery);
            }
            Output::Trees(TreesOutput::Gap(gap)) if overlay.is_network() => {
                let author = gap.first.author.id().clone();
                node.emit(&PeerEvent::BroadcastsMissed { author, messages: gap.count });
            }
            Output::Trees(TreesOutput::Gap(gap)) => self.topics.miss(&overlay.name, &gap),
            Output::Trees(TreesOutput::Event(event)) => self.judge(overlay, event),
        }
        Ok(())
    }

    /// Sends the answer to a question about a topic to the neighbour that has brought the question
    /// first.
    fn pass_answer(
        self: &Arc<Self>,
        node: &Arc<Endpoint>,
        outgoing: &Outgoing,
        question: &MessageId<PeerInfo>,
        answer: Option<Frame>,
    ) {
        let Some(answer) = answer else { return };
        if let Some(to) = self.on(|of| of.trees.source(question).cloned()).flatten() {
            outgoing.send(node, self, to, answer, Kind::Control);
        }
    }

    /// Handles what the trees say of a neighbour.
    fn judge(&self, overlay: &Overlay, event: TreesEvent<PeerInfo>) {
        match event {
            TreesEvent::Useful { peer, useful } => {
                self.with_overlay(overlay, |of| of.views.set_useful(&peer, useful));
            }
            TreesEvent::Misbehaves { peer, offence } => {
                tracing::debug!(%peer, ?offence, topic = &*overlay.name, "a neighbour is dropped");
                self.with_overlay(overlay, |of| of.views.drop_peer(&peer, MISBEHAVED_FOR, now()));
            }
        }
    }

    /// Keeps the link of a new neighbour open.
    fn keep(&self, node: &Endpoint, overlay: &Overlay, peer: &PeerInfo) {
        node.links.pin(peer.id());
        overlay.changed();
        // The link may have ended before the peer became a neighbour.
        if !session::has_link(node, peer) {
            self.unreachable(node, peer);
        }
    }

    /// Does what follows from a change of the neighbours in the network.
    async fn tell(
        &self,
        NodeContext { node, peers }: &NodeContext,
        network: &Overlay,
        event: ViewsEvent<PeerInfo>,
    ) -> Result<(), NodeDown> {
        match event {
            ViewsEvent::NeighborUp(peer) => {
                node.joined.store(true, Ordering::Relaxed);
                self.keep(node, network, &peer);
                // After the message that tells the peer that it is a neighbour.
                if let Some(frame) = self.topics.takes() {
                    self.topics.wait(node, &peer, frame);
                    self.wake.notify_one();
                }
                if admit(node, peers, peer.clone()).await? {
                    self.admitted.lock().insert(peer);
                }
            }
            ViewsEvent::NeighborDown(peer, why) => {
                // Of what has not been verified, no more is known than its link.
                if why == DownReason::Lost
                    && let Some(entry) = peers.get(peer.id()).await?
                    && entry.learned().came_by_itself()
                    && *entry.info() == peer
                {
                    peers.give_up(&entry).await?;
                }
                self.admitted.lock().shift_remove(&peer);
                release(node, network, &peer);
            }
            ViewsEvent::Alone => node.emit(&PeerEvent::Alone),
            ViewsEvent::Joined => {}
        }
        Ok(())
    }
}

/// Lets the link of a former neighbour close when nothing is sent over it.
fn release(node: &Endpoint, overlay: &Overlay, peer: &PeerInfo) {
    node.links.unpin(peer.id());
    overlay.changed();
}

/// Adds a neighbour to the peer table, within the shares of the table. If there is no room, it takes
/// the place of a peer that is no neighbour. Returns whether it is in the table.
async fn admit(node: &Arc<Endpoint>, peers: &Peers, peer: PeerInfo) -> Result<bool, NodeDown> {
    let Some(Linked { seen_at, proven, found }) = session::linked(node, &peer) else {
        return Ok(false);
    };
    let ask = if found || proven { AskName::Never { proven } } else { AskName::Later };
    let candidate = Candidate::new(peer, Learned::Neighbor).seen_at(seen_at.clone());
    let policy = Policy { ask, introduce: false };
    let mut outcome = verify_and_admit(node, peers, candidate.clone(), policy).await?;
    if let (Outcome::Refused(refused), Some(neighbors)) = (&outcome, Neighbors::of(node))
        && peers.make_room(*refused, seen_at, move |other| !neighbors.has(other)).await?
    {
        outcome = verify_and_admit(node, peers, candidate, policy).await?;
    }
    Ok(matches!(outcome, Outcome::Added | Outcome::Known))
}

/// The maintenance that [`Builder::gossip`](crate::Builder::gossip) adds.
#[derive(Debug)]
pub(crate) struct Gossip(Arc<Neighbors>);

impl Gossip {
    pub(crate) fn new(config: GossipConfig) -> Self {
        Self(Arc::new(Neighbors::new(config)))
    }
}

impl Maintenance for Gossip {
    fn name(&self) -> &'static str {
        "gossip"
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.0.config.clone().validate_all()
    }

    fn prepare(&self, context: &NodeContext) {
        let NodeContext { node, peers } = context;
        let views = self.0.config.views(&node.config);
        let machines = self.0.new_machines(node, views, TreesConfig::default());
        let network = Overlay::new("".into(), machines);
        self.0.network.set(Arc::new(network)).ok();
        node.neighbors.set(Arc::<Neighbors>::clone(&self.0)).ok();
        let receiving = Receiving {
            node: Arc::downgrade(node),
            peers: peers.clone(),
            neighbors: Arc::clone(&self.0),
        };
        context.serve(NBR, Arc::new(receiving));
        for code in [BCP, BCC] {
            let (node, neighbors) = (Arc::downgrade(node), Arc::clone(&self.0));
            context.serve(code, Arc::new(AtOnce(ReceivingBroadcasts { node, neighbors })));
        }
        let (node, neighbors) = (Arc::downgrade(node), Arc::clone(&self.0));
        context.serve(TPC, Arc::new(AtOnce(ReceivingTopics { node, neighbors })));
    }

    fn run<'a>(&'a self, context: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        // The peer list has died if this fails.
        Box::pin(async { run(context, &self.0).await.unwrap_or_default() })
    }
}

async fn run(context: &NodeContext, neighbors: &Arc<Neighbors>) -> Result<(), NodeDown> {
    let node = &context.node;
    let outgoing = Outgoing::default();
    let mut look_at = Instant::now();
    let mut ended = Box::pin(node.links.link_ended());
    ended.as_mut().enable();
    loop {
        if look_at <= Instant::now() {
            look_at = Instant::now().later(LOOK_EVERY);
            neighbors.look_for_ended_links(node);
            neighbors.compare_with_table(context).await?;
            neighbors.topics.look_for_ended_actors();
            neighbors.look_into_table(&context.peers).await?;
        }
        let due = neighbors.topics.look(node, neighbors, &outgoing);
        let mut next = [due, None];
        for overlay in neighbors.overlays() {
            next[1] = overlay.on(|of| {
                of.views.tick(now());
                of.trees.tick(now());
                [of.views.next_tick(now()), of.trees.next_tick()].into_iter().flatten().min()
            });
            next[0] = next.into_iter().flatten().min();
            while let Some(output) = overlay.pop() {
                neighbors.carry_out(context, &outgoing, &overlay, output).await?;
            }
        }
        neighbors.topics.remove_left();
        let until = next[0].map_or(look_at, Instant::from_std).min(look_at);
        let changed = select(ended.as_mut(), Box::pin(neighbors.wake.notified()));
        if let Ok(Either::Left(_)) = timeout_at(until, changed).await {
            ended.set(node.links.link_ended());
            ended.as_mut().enable();
            neighbors.look_for_ended_links(node);
        }
    }
}

/// How long a contact, and those that it names, have to take this node in.
const ENTER: Duration = Duration::from_secs(10);

/// Enters the network of a contact: asks it to become a neighbour. Returns the neighbour, which is
/// the contact or a node that it has named. `None` if there is none, or if this node keeps no
/// neighbours.
pub(crate) async fn enter(node: &Arc<Endpoint>, contact: &Address) -> Option<PeerInfo> {
    let neighbors = Neighbors::of(node)?;
    neighbors.begin_again(node);
    let peer = session::open_link(node, contact, None).await.ok()?;
    let mut current = neighbors.network.get()?.current.subscribe();
    let before = current.get();
    neighbors.with(|of| of.views.join(peer.clone(), now()));
    let is_in = |current: &Vec<PeerInfo>| {
        current.contains(&peer) || (before.is_empty() && !current.is_empty())
    };
    let current = timeout(ENTER, current.wait_for(is_in)).await.ok()?.ok()?;
    if current.contains(&peer) { Some(peer) } else { current.into_iter().next() }
}

/// The neighbours of a node. Empty if it keeps none.
pub(crate) fn active_neighbors(node: &Endpoint) -> Vec<PeerInfo> {
    Neighbors::of(node).map(|neighbors| neighbors.current()).unwrap_or_default()
}

/// Whether the node has no neighbour. `None` if it keeps none.
pub(crate) fn is_alone(node: &Endpoint) -> Option<bool> {
    Some(Neighbors::of(node)?.current().is_empty())
}

/// Tells the neighbours that this node leaves, over their links. The node takes no part from then
/// on, until it [enters](enter) a network again.
pub(crate) fn leave(node: &Endpoint) {
    let Some(neighbors) = Neighbors::of(node) else { return };
    for overlay in neighbors.overlays() {
        for (to, message) in overlay.leave() {
            if let Some(frame) = message.encode(&overlay.name) {
                session::try_notify_peer(node, &to, &frame);
            }
        }
    }
    neighbors.wake.notify_one();
}

//! The I/O of HyParView and Plumtree in a node: messages over links, and the links of the
//! neighbours.

mod address_group;
mod broadcast;
mod config;
mod outgoing;
mod serve;

use std::{
    collections::VecDeque,
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

pub(crate) use self::broadcast::publish;
pub use self::config::GossipConfig;
use self::{
    broadcast::ReceivingBroadcasts,
    outgoing::{Kind, Outgoing},
    serve::Receiving,
};
use crate::{
    bounded::BoundedMap,
    dispatch::AtOnce,
    message::Sender,
    node::{PeerEvent, watch},
    overlay::{
        Address, Candidate, Learned, PeerInfo,
        options::{ConfigError, Options as _},
        trees::{BCC, BCP, Trees, TreesConfig, TreesEvent, TreesOutput},
        views::{DownReason, NBR, Views, ViewsEvent, ViewsMessage, ViewsOutput},
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

/// The pure machines: who the neighbours are, and what is broadcast over them.
#[derive(Debug)]
pub(crate) struct Machines {
    pub(crate) views: Views<PeerInfo>,
    pub(crate) trees: Trees<PeerInfo>,
    /// What they ask for, in order.
    outputs: VecDeque<Output>,
}

/// What one of the machines asks for.
#[derive(Debug)]
enum Output {
    Views(ViewsOutput<PeerInfo>),
    Trees(TreesOutput<PeerInfo>),
}

impl Machines {
    /// Collects what the machines ask for. The trees learn of neighbours before any further message
    /// of them is handled.
    fn collect(&mut self) {
        while let Some(output) = self.views.poll() {
            match &output {
                ViewsOutput::Event(ViewsEvent::NeighborUp(peer)) => {
                    self.trees.neighbor_up(peer.clone(), now());
                }
                ViewsOutput::Event(ViewsEvent::NeighborDown(peer, _)) => {
                    self.trees.neighbor_down(peer, now());
                }
                ViewsOutput::Event(_) | ViewsOutput::Send { .. } => {}
            }
            self.outputs.push_back(Output::Views(output));
        }
        self.outputs.extend(std::iter::from_fn(|| self.trees.poll()).map(Output::Trees));
    }
}

/// The neighbours of a node, shared by its links, its maintenance and its handle.
#[derive(Debug)]
pub(crate) struct Neighbors {
    config: GossipConfig,
    /// The number of times that the node began to take part.
    turns: AtomicU64,
    machines: OnceLock<Mutex<Machines>>,
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
    /// The neighbours, for those who wait for a change.
    current: watch::Sender<Vec<PeerInfo>>,
}

impl Neighbors {
    fn new(config: GossipConfig) -> Self {
        Self {
            config,
            turns: AtomicU64::new(0),
            machines: OnceLock::new(),
            room: Arc::new(Semaphore::new(broadcast::ROOM)),
            named_by: Mutex::new(BoundedMap::new(REMEMBERED)),
            unreached: Mutex::new(BoundedMap::new(REMEMBERED)),
            admitted: Mutex::default(),
            wake: Notify::new(),
            current: watch::Sender::new(Vec::new()),
        }
    }

    /// The neighbours of `node`; `None` if it keeps none.
    pub(crate) fn of(node: &Endpoint) -> Option<Arc<Self>> {
        Arc::clone(node.neighbors.get()?).downcast().ok()
    }

    /// The machines of a node that knows no other.
    fn new_machines(&self, node: &Endpoint) -> Machines {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let incarnation = node.links.incarnation.saturating_add(turn);
        let seed = node.me.id().seed(incarnation);
        let config = self.config.views(&node.config);
        let views =
            Views::new(node.me.clone(), config, seed, now()).with_groups(address_group::group_of);
        let trees = Trees::new(node.me.clone(), incarnation, TreesConfig::default(), now());
        Machines { views, trees, outputs: VecDeque::new() }
    }

    /// Takes part again after the node has left its network.
    fn begin_again(&self, node: &Endpoint) {
        if let Some(machines) = self.machines.get() {
            let mut machines = machines.lock();
            if machines.views.has_left() {
                *machines = self.new_machines(node);
            }
        }
    }

    /// Runs `work` on the machines, and wakes the maintenance, which carries out what they ask for.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Machines) -> R) -> Option<R> {
        let result = self.on(work);
        self.wake.notify_one();
        result
    }

    /// Runs `work` on the machines. `None` before the node is prepared.
    fn on<R>(&self, work: impl FnOnce(&mut Machines) -> R) -> Option<R> {
        let mut machines = self.machines.get()?.lock();
        let result = work(&mut machines);
        machines.collect();
        Some(result)
    }

    fn has(&self, peer: &PeerInfo) -> bool {
        self.on(|of| of.views.is_neighbor(peer)).unwrap_or(false)
    }

    /// Handles a message of a peer. What it names may be dialled from the scope of the sender.
    fn receive(&self, from: &PeerInfo, message: ViewsMessage<PeerInfo>, sender: &Sender) {
        let mut named_by = self.named_by.lock();
        for peer in message.names().chain([from]) {
            if !named_by.contains_key(peer) {
                named_by.insert(peer.clone(), sender.address().clone(), now());
            }
        }
        drop(named_by);
        self.with(|of| of.views.receive(from, message, now()));
    }

    /// Answers a stranger that may not become a neighbour.
    fn refuse(&self, stranger: &PeerInfo) {
        self.with(|of| of.views.refuse(stranger));
    }

    /// Notes that the link to a peer is gone, or could not be opened.
    fn unreachable(&self, node: &Endpoint, peer: &PeerInfo) {
        self.unreached.lock().insert(peer.clone(), (), now());
        if !session::has_link(node, peer) {
            self.with(|of| of.views.unreachable(peer, now()));
        }
    }

    /// Notes the neighbours whose links have ended.
    fn look_for_ended_links(&self, node: &Endpoint) {
        let active: Vec<_> = self.on(|of| of.views.active().cloned().collect()).unwrap_or_default();
        for peer in active.iter().filter(|peer| !session::has_link(node, peer)) {
            self.unreachable(node, peer);
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
        let active = self.current.get();
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

    /// Tells those who wait of the neighbours of now.
    fn changed(&self) {
        let active = self.on(|of| of.views.active().cloned().collect());
        self.current.send_replace(active.unwrap_or_default());
    }

    async fn carry_out(
        self: &Arc<Self>,
        context: &NodeContext,
        outgoing: &Outgoing,
        output: Output,
    ) -> Result<(), NodeDown> {
        let node = &context.node;
        match output {
            Output::Views(ViewsOutput::Send { to, message }) => {
                if let Some(frame) = message.encode("") {
                    outgoing.send(node, self, to, frame, Kind::of(&message));
                }
            }
            Output::Views(ViewsOutput::Event(event)) => self.tell(context, event).await?,
            Output::Trees(TreesOutput::Send { to, message }) => {
                let kind = if message.is_control() { Kind::Control } else { Kind::Payload };
                for frame in message.encode("") {
                    outgoing.send(node, self, to.clone(), frame, kind);
                }
            }
            Output::Trees(TreesOutput::Deliver(delivery)) => {
                broadcast::deliver(node, &self.room, delivery);
            }
            Output::Trees(TreesOutput::Gap(gap)) => {
                let author = gap.first.author.id().clone();
                node.emit(&PeerEvent::BroadcastsMissed { author, messages: gap.count });
            }
            Output::Trees(TreesOutput::Event(event)) => self.judge(event),
        }
        Ok(())
    }

    /// Handles what the trees say of a neighbour.
    fn judge(&self, event: TreesEvent<PeerInfo>) {
        match event {
            TreesEvent::Useful { peer, useful } => {
                self.with(|of| of.views.set_useful(&peer, useful));
            }
            TreesEvent::Misbehaves { peer, offence } => {
                tracing::debug!(%peer, ?offence, "a neighbour is dropped");
                self.with(|of| of.views.drop_peer(&peer, MISBEHAVED_FOR, now()));
            }
        }
    }

    /// Does what follows from a change of the views.
    async fn tell(
        &self,
        NodeContext { node, peers }: &NodeContext,
        event: ViewsEvent<PeerInfo>,
    ) -> Result<(), NodeDown> {
        match event {
            ViewsEvent::NeighborUp(peer) => {
                node.links.pin(peer.id());
                self.changed();
                node.joined.store(true, Ordering::Relaxed);
                if admit(node, peers, peer.clone()).await? {
                    self.admitted.lock().insert(peer.clone());
                }
                // The link may have ended before the peer became a neighbour.
                if !session::has_link(node, &peer) {
                    self.unreachable(node, &peer);
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
                node.links.unpin(peer.id());
                self.changed();
            }
            ViewsEvent::Alone => node.emit(&PeerEvent::Alone),
            ViewsEvent::Joined => {}
        }
        Ok(())
    }
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
        self.0.machines.set(Mutex::new(self.0.new_machines(node))).ok();
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
            neighbors.look_into_table(&context.peers).await?;
        }
        let next = neighbors.on(|of| {
            of.views.tick(now());
            of.trees.tick(now());
            [of.views.next_tick(now()), of.trees.next_tick()].into_iter().flatten().min()
        });
        while let Some(output) = neighbors.on(|of| of.outputs.pop_front()).flatten() {
            neighbors.carry_out(context, &outgoing, output).await?;
        }
        let until = next.flatten().map_or(look_at, Instant::from_std).min(look_at);
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
    let mut current = neighbors.current.subscribe();
    let before = neighbors.current.get();
    neighbors.with(|of| of.views.join(peer.clone(), now()));
    let is_in = |current: &Vec<PeerInfo>| {
        current.contains(&peer) || (before.is_empty() && !current.is_empty())
    };
    let current = timeout(ENTER, current.wait_for(is_in)).await.ok()?.ok()?;
    if current.contains(&peer) { Some(peer) } else { current.into_iter().next() }
}

/// The neighbours of a node. Empty if it keeps none.
pub(crate) fn active_neighbors(node: &Endpoint) -> Vec<PeerInfo> {
    Neighbors::of(node).map(|neighbors| neighbors.current.get()).unwrap_or_default()
}

/// Whether the node has no neighbour. `None` if it keeps none.
pub(crate) fn is_alone(node: &Endpoint) -> Option<bool> {
    Some(Neighbors::of(node)?.current.get().is_empty())
}

/// Tells the neighbours that this node leaves, over their links. The node takes no part from then
/// on, until it [enters](enter) a network again.
pub(crate) fn leave(node: &Endpoint) {
    let Some(neighbors) = Neighbors::of(node) else { return };
    neighbors.on(|of| of.views.leave(now()));
    let outputs = neighbors.on(|of| std::mem::take(&mut of.outputs));
    for output in outputs.unwrap_or_default() {
        match output {
            Output::Views(ViewsOutput::Send { to, message }) => {
                if let Some(frame) = message.encode("") {
                    session::try_notify_peer(node, &to, &frame);
                }
            }
            Output::Views(ViewsOutput::Event(ViewsEvent::NeighborUp(peer))) => {
                node.links.pin(peer.id());
            }
            Output::Views(ViewsOutput::Event(ViewsEvent::NeighborDown(peer, _))) => {
                node.links.unpin(peer.id());
            }
            Output::Views(ViewsOutput::Event(_)) | Output::Trees(_) => {}
        }
    }
    neighbors.admitted.lock().clear();
    neighbors.changed();
}

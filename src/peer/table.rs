//! `PeerListActor`, which owns the peer table and the router.

mod given_up;

use std::{collections::VecDeque, fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use actix::prelude::{Actor, Addr, Context, Handler, Message, MessageResult};
use tokio::{runtime::Handle, time::timeout};

#[cfg(feature = "gossip")]
use crate::overlay::{Host, address_of, network_of};
use crate::{
    fault_points::{Sometimes, reached},
    message::RequestError,
    node::{
        PeerEvent, Removed,
        log::{LogKind, warn_some},
        watch,
    },
    overlay::{
        Added, Candidate, Contacts, Envelope, Hop, Introductions, Learned, Moves, PeerEntry,
        PeerId, PeerInfo, PeerList, RouteFault, RouteReason, Router,
    },
    peer::supervision::{Guard, stop_at_abort},
    session::Endpoint,
    sync::Mutex,
    time::now,
};

/// The peer table and the router. The actor owns it, and its successor takes it over.
pub(crate) struct Table {
    pub(crate) list: PeerList,
    pub(crate) router: Box<dyn Router>,
    /// Whether the peers of the table list this node.
    pub(crate) introductions: Introductions,
    /// Ids that are reported at another address than in the table.
    pub(crate) moves: Moves,
    /// The contacts of this node's joins.
    pub(crate) contacts: Contacts,
    /// The peers that the application has removed last.
    dismissed: VecDeque<PeerId>,
}

/// The number of removed peers that wait for the maintenance of the neighbours.
const DISMISSED: usize = 64;

impl Table {
    pub(crate) fn new(list: PeerList, router: Box<dyn Router>) -> Self {
        let (introductions, moves, contacts, dismissed) = Default::default();
        Self { list, router, introductions, moves, contacts, dismissed }
    }

    /// Notes that a peer is not wanted, so that nothing brings it back that only remembers it.
    fn dismiss(&mut self, id: &PeerId) {
        self.contacts.forget(id);
        if self.dismissed.len() >= DISMISSED {
            self.dismissed.pop_front();
        }
        self.dismissed.push_back(id.clone());
    }

    /// Takes the peers that the application has removed.
    #[cfg(feature = "gossip")]
    pub(crate) fn take_dismissed(&mut self) -> VecDeque<PeerId> {
        std::mem::take(&mut self.dismissed)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("list", &self.list).finish_non_exhaustive()
    }
}

/// Owns the peer table and the router.
///
/// The `PeerActor` starts it, watches it, and starts a successor with the same table when it dies.
/// It handles one short message at a time and never waits. A panic of the router is caught: the
/// caller gets a typed error.
#[derive(Debug)]
pub struct PeerListActor {
    // Only the live actor locks it. The lock outlives the actor, so that the successor gets the
    // table.
    table: Arc<Mutex<Table>>,
    node: Arc<Endpoint>,
    _guard: Guard,
}

impl Actor for PeerListActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        stop_at_abort(self, &self.node, ctx);
    }
}

impl PeerListActor {
    pub(crate) const fn new(table: Arc<Mutex<Table>>, node: Arc<Endpoint>, guard: Guard) -> Self {
        Self { table, node, _guard: guard }
    }
}

type Work<R> = Arc<dyn Fn(&mut Table, &Endpoint) -> R + Send + Sync>;

/// Work on the table, done by its owner in the order of arrival.
struct WithTable<R>(Work<R>);

impl<R: Send + 'static> Message for WithTable<R> {
    type Result = R;
}

impl<R: Send + 'static> Handler<WithTable<R>> for PeerListActor {
    type Result = MessageResult<WithTable<R>>;

    fn handle(&mut self, WithTable(work): WithTable<R>, _: &mut Self::Context) -> Self::Result {
        let mut table = self.table.lock();
        MessageResult(work(&mut table, &self.node))
    }
}

/// The node has stopped, or its peer list has died and was not restarted in time. Nothing was
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct NodeDown;

/// How long a caller waits for the successor of a peer list that has died.
const SUCCESSOR_WITHIN: Duration = Duration::from_secs(2);

/// A handle to the peer table of a node. Every method sends a message to the `PeerListActor`.
///
/// Positions count from 0 in the order in which the peers were added, as in the original framework.
///
/// # Cancel safety
/// A method whose future is dropped before it is ready may or may not have taken effect.
#[derive(Clone, Debug)]
pub struct Peers {
    actor: watch::Receiver<Option<Addr<PeerListActor>>>,
    runtime: Handle,
}

pub(super) fn tell_added(added: &Added, peer: &PeerInfo, node: &Endpoint) {
    if matches!(added, Added::Added) {
        node.is_alive(peer.address());
        node.emit(&PeerEvent::PeerAdded { peer: peer.clone() });
    }
}

/// Notes why a candidate was not added.
fn note_added(added: &Added) {
    match added {
        Added::Added | Added::AlreadyKnown | Added::Own => {}
        Added::Full => reached(Sometimes::TableFull),
        Added::TooManyOfAddress
        | Added::TooManyOfNetwork
        | Added::TooManyUnverified
        | Added::TooManyNewcomers
        | Added::TooManyOfSource => reached(Sometimes::ShareFull),
    }
}

pub(super) fn tell_removed(entry: Option<&PeerEntry>, why: Removed, node: &Endpoint) {
    if let Some(entry) = entry {
        node.emit(&PeerEvent::PeerRemoved { peer: entry.info().clone(), why });
    }
}

impl Peers {
    pub(crate) const fn new(
        actor: watch::Receiver<Option<Addr<PeerListActor>>>,
        runtime: Handle,
    ) -> Self {
        Self { actor, runtime }
    }

    /// Runs `work` in the actor, or in its successor if the actor dies before the work has begun.
    pub(crate) async fn with<R>(
        &self,
        work: impl Fn(&mut Table, &Endpoint) -> R + Send + Sync + 'static,
    ) -> Result<R, NodeDown>
    where
        R: Send + 'static,
    {
        let work: Work<R> = Arc::new(work);
        let mut actor = self.actor.clone();
        loop {
            let address = actor.get_and_see().ok_or(NodeDown)?;
            if let Ok(result) = address.send(WithTable(Arc::clone(&work))).await {
                return Ok(result);
            }
            // The caller may be outside a runtime.
            let successor = {
                let _here = self.runtime.enter();
                timeout(SUCCESSOR_WITHIN, actor.changed())
            };
            successor.await.map_err(|_| NodeDown)?.map_err(|_| NodeDown)?;
        }
    }

    /// A copy of the whole table.
    ///
    /// # Errors
    /// [`NodeDown`].
    pub async fn list(&self) -> Result<PeerList, NodeDown> {
        self.with(|table, _| table.list.clone()).await
    }

    /// The peer with this id.
    ///
    /// # Errors
    /// [`NodeDown`].
    pub async fn get(&self, id: &PeerId) -> Result<Option<PeerEntry>, NodeDown> {
        let id = id.clone();
        self.with(move |table, _| table.list.get(&id).cloned()).await
    }

    /// The peer at this position.
    ///
    /// # Errors
    /// [`NodeDown`].
    pub async fn get_at(&self, position: usize) -> Result<Option<PeerEntry>, NodeDown> {
        self.with(move |table, _| table.list.get_at(position).cloned()).await
    }

    /// Adds a peer at the end. The node does not check that the peer is alive: the application
    /// vouches for it, so it counts as verified and its entry has no share limit.
    ///
    /// # Errors
    /// [`NodeDown`].
    pub async fn add(&self, peer: PeerInfo) -> Result<Added, NodeDown> {
        self.admit(Candidate::new(peer, Learned::Manual).verified(true)).await
    }

    /// Adds a peer at the end if its shares allow it. An unverified peer may be evicted for it.
    pub(crate) async fn admit(&self, candidate: Candidate) -> Result<Added, NodeDown> {
        self.with(move |table, node| {
            let shares = node.config.shares();
            let (added, gone) = shares.admit_for(&mut table.list, candidate.clone(), now());
            if gone.is_some() {
                reached(Sometimes::PeerDisplaced);
                node.counters.peers_displaced.one();
                tell_removed(gone.as_ref(), Removed::Displaced, node);
            }
            // The peer has just been seen alive.
            if candidate.verified || candidate.learned == Learned::Joined {
                node.is_alive(candidate.info.address());
            }
            tell_added(&added, &candidate.info, node);
            note_added(&added);
            added
        })
        .await
    }

    /// Makes room for a neighbour that was `refused`, and was seen at this host. In a full table, of
    /// the peers that `may_go` and that the application has not added, one that was a neighbour
    /// earlier goes, or an unverified one, or the one that was not seen for the longest time. If the
    /// share of its address or network is full, an earlier neighbour of that address or network goes.
    /// Since earlier neighbours go first, neighbours displace no more others than there are
    /// neighbours at a time. Returns whether one went.
    #[cfg(feature = "gossip")]
    pub(crate) async fn make_room(
        &self,
        refused: Added,
        seen_at: Host,
        may_go: impl Fn(&PeerInfo) -> bool + Send + Sync + 'static,
    ) -> Result<bool, NodeDown> {
        let was_neighbor = |entry: &PeerEntry| *entry.learned() == Learned::Neighbor;
        self.with(move |table, node| {
            let able = table.list.iter().filter(|entry| match refused {
                Added::Full => *entry.learned() != Learned::Manual,
                Added::TooManyOfAddress => {
                    was_neighbor(entry) && address_of(entry.seen_at()) == address_of(&seen_at)
                }
                Added::TooManyOfNetwork => {
                    was_neighbor(entry) && network_of(entry.seen_at()) == network_of(&seen_at)
                }
                Added::TooManyUnverified => was_neighbor(entry) && entry.verified().is_none(),
                _ => false,
            });
            let oldest = able.filter(|entry| may_go(entry.info())).min_by_key(|entry| {
                let verified = entry.verified().is_some();
                (!was_neighbor(entry), verified, entry.last_seen(), entry.added())
            });
            let Some(id) = oldest.map(|entry| entry.info().id().clone()) else { return false };
            node.counters.peers_displaced.one();
            tell_removed(table.list.remove(&id).as_ref(), Removed::Displaced, node);
            true
        })
        .await
    }

    /// Records that a peer has answered with its id, if the entry is unchanged. Returns true.
    pub(crate) async fn verify(&self, entry: &PeerEntry) -> Result<bool, NodeDown> {
        let (id, added) = (entry.info().id().clone(), entry.added());
        self.with(move |table, node| {
            if let Some(known) = table.list.get(&id).filter(|known| known.added() == added) {
                node.is_alive(known.info().address());
                table.list.verify(&id, now());
            }
            true
        })
        .await
    }

    /// Removes a peer that could not be verified, if the entry is unchanged.
    pub(crate) async fn give_up(&self, entry: &PeerEntry) -> Result<(), NodeDown> {
        let (id, added) = (entry.info().id().clone(), entry.added());
        self.with(move |table, node| {
            let is_it = |known: &PeerEntry| known.added() == added && known.verified().is_none();
            if table.list.get(&id).is_some_and(is_it) {
                node.counters.peers_not_verified.one();
                tell_removed(table.list.remove(&id).as_ref(), Removed::Unverified, node);
            }
        })
        .await
    }

    /// Adds a peer at `position`; the peers from there on move back. Past the end it is appended.
    ///
    /// # Errors
    /// [`NodeDown`].
    pub async fn insert_at(&self, position: usize, peer: PeerInfo) -> Result<Added, NodeDown> {
        self.with(move |table, node| {
            let added = table.list.insert_at(position, peer.clone(), Learned::Manual, now());
            tell_added(&added, &peer, node);
            added
        })
        .await
    }

    /// Removes the peer with this id and returns it. A peer that lists this node may introduce
    /// itself again; [ban](crate::Peer::ban) it to keep it away.
    ///
    /// # Errors
    /// [`NodeDown`].
    pub async fn remove(&self, id: &PeerId) -> Result<Option<PeerEntry>, NodeDown> {
        self.remove_because(id, Removed::Here).await
    }

    pub(crate) async fn remove_because(
        &self,
        id: &PeerId,
        why: Removed,
    ) -> Result<Option<PeerEntry>, NodeDown> {
        let id = id.clone();
        self.with(move |table, node| {
            if matches!(why, Removed::Here | Removed::NotAdmitted) {
                table.dismiss(&id);
            }
            let entry = table.list.remove(&id);
            tell_removed(entry.as_ref(), why, node);
            entry
        })
        .await
    }

    /// Removes the peers that the transport does not admit.
    pub(crate) async fn drop_not_admitted(&self, node: &Endpoint) -> Result<(), NodeDown> {
        let list = self.list().await?;
        let gone = list.iter().map(|entry| entry.info().id());
        for id in gone.filter(|id| !node.transport.admits(id)) {
            self.remove_because(id, Removed::NotAdmitted).await?;
        }
        Ok(())
    }

    /// Removes the peer at this position and returns it; the peers behind it move up.
    ///
    /// # Errors
    /// [`NodeDown`].
    pub async fn remove_at(&self, position: usize) -> Result<Option<PeerEntry>, NodeDown> {
        self.with(move |table, node| {
            let entry = table.list.remove_at(position);
            entry.iter().for_each(|entry| table.dismiss(entry.info().id()));
            tell_removed(entry.as_ref(), Removed::Here, node);
            entry
        })
        .await
    }

    /// Records that the peer was seen alive.
    pub(crate) async fn seen(&self, id: &PeerId) -> Result<bool, NodeDown> {
        let id = id.clone();
        self.with(move |table, node| {
            if let Some(known) = table.list.get(&id) {
                node.is_alive(known.info().address());
            }
            table.list.touch(&id, now())
        })
        .await
    }

    /// Empties the table.
    pub(crate) async fn clear(&self) -> Result<Vec<PeerEntry>, NodeDown> {
        self.with(|table, node| {
            table.contacts.clear();
            let entries = table.list.clear();
            entries.iter().for_each(|entry| tell_removed(Some(entry), Removed::Here, node));
            entries
        })
        .await
    }

    /// Asks the router for the next step of a routed message.
    pub(crate) async fn step(&self, envelope: Envelope) -> Result<Hop, NodeDown> {
        self.with(move |table, node| {
            let Table { list, router, .. } = table;
            let most = u8::try_from(node.config.max_hops).unwrap_or(u8::MAX);
            let step = || envelope.clone().at_most(most).step(node.me.id(), router.as_mut(), list);
            std::panic::catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| {
                warn_some!(LogKind::Router, error = "the router panicked", "no route found");
                Hop::Fail(
                    RouteFault::new(RouteReason::RouterFailed, node.me.id().clone())
                        .at_hop(envelope.hops()),
                )
            })
        })
        .await
    }

    /// Tells the router that a hop is unreachable, if `error` says so.
    pub(crate) async fn doubt(&self, hop: &PeerId, error: &RequestError) {
        if !matches!(error, RequestError::Connect { .. } | RequestError::Identity(_)) {
            return;
        }
        let hop = hop.clone();
        let told = self.with(move |table, _| {
            let tell = || table.router.unreachable(&hop);
            if std::panic::catch_unwind(AssertUnwindSafe(tell)).is_err() {
                warn_some!(
                    LogKind::Router,
                    error = "the router panicked",
                    "an unreachable hop was not recorded"
                );
            }
        });
        // A stopped node routes nothing more, so an error does not matter.
        told.await.ok();
    }

    /// Kills the actor, as a bug in it would, to test the supervision.
    #[cfg(feature = "test-utils")]
    #[expect(clippy::panic, reason = "the purpose of the method")]
    pub(crate) async fn crash(&self) {
        let address = self.actor.get();
        if let Some(address) = address {
            let crash: Work<()> = Arc::new(|_, _| panic!("crash on request"));
            address.send(WithTable(crash)).await.ok();
        }
    }
}

impl From<NodeDown> for RequestError {
    fn from(_: NodeDown) -> Self {
        Self::Stopped { sent: false }
    }
}

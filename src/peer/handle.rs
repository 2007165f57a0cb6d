//! `Peer`: the handle of a running node.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use actix::prelude::{Addr, Recipient};
use tokio::sync::watch;

use crate::{
    connection::{Config, Events, Node, PeerEvent},
    overlay::{Address, JoinConfig, JoinReport, PeerId, PeerInfo},
    peer::{
        Builder, JoinError, NodeDown, Peers, Status, StopReport,
        actor::{End, PeerActor},
        join, status,
    },
};

/// A running node. Cheap to clone, `Send` and `Sync`: it fits into an actor's field and into
/// `web::Data`.
///
/// When the last clone is dropped without [`stop`](Self::stop), the node is cut as by
/// [`abort`](Self::abort), as soon as its arbiter gets to it.
#[derive(Clone)]
#[must_use = "dropping the last handle ends the node"]
pub struct Peer(Arc<Inner>);

struct Inner {
    node: Arc<Node>,
    peers: Peers,
    actor: Addr<PeerActor>,
    stopped: watch::Receiver<Option<Arc<StopReport>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.node.drain.is_cancelled() {
            // A fresh sender has a place of its own in the mailbox; closed says that the actor is
            // gone already.
            self.actor.try_send(End { politely: false }).ok();
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peer").field(&self.0.node.me).finish()
    }
}

/// A handle that does not keep its node running.
#[derive(Clone)]
pub struct WeakPeer(Weak<Inner>);

impl fmt::Debug for WeakPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakPeer").finish_non_exhaustive()
    }
}

impl WeakPeer {
    /// The handle, as long as there is one.
    #[must_use]
    pub fn upgrade(&self) -> Option<Peer> {
        self.0.upgrade().map(Peer)
    }
}

impl Peer {
    /// A new node's options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        node: Arc<Node>,
        peers: Peers,
        actor: Addr<PeerActor>,
        stopped: watch::Receiver<Option<Arc<StopReport>>>,
    ) -> Self {
        Self(Arc::new(Inner { node, peers, actor, stopped }))
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.0.node
    }

    /// A handle that does not keep the node running: for handlers of the node itself, which would
    /// otherwise keep it alive for ever.
    #[must_use]
    pub fn downgrade(&self) -> WeakPeer {
        WeakPeer(Arc::downgrade(&self.0))
    }

    /// What the node tells others: id, host and port.
    #[must_use]
    pub fn info(&self) -> &PeerInfo {
        &self.0.node.me
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> &PeerId {
        self.0.node.me.id()
    }

    /// The limits and times in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.node.config
    }

    /// The node's actor, for those who prefer [messages](crate::messages).
    #[must_use]
    pub fn addr(&self) -> Addr<PeerActor> {
        self.0.actor.clone()
    }

    /// The table of known peers.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.0.peers
    }

    /// The node's events from now on, as a stream.
    #[must_use]
    pub fn events(&self) -> Events {
        self.0.node.events.listen()
    }

    /// Sends the node's events from now on to an actor, as [`Builder::events`] does from the start.
    pub fn subscribe(&self, subscriber: impl Into<Recipient<PeerEvent>>) {
        self.0.node.events.subscribe(subscriber.into());
    }

    /// What the node says about itself.
    pub async fn status(&self) -> Status {
        status::status(&self.0.node, &self.0.peers).await
    }

    /// Joins the network of `contact` (`host:port`) with the default [`JoinConfig`].
    ///
    /// # Errors
    /// See [`JoinError`]. A contact that refuses because its table is full is not an error: the
    /// walk goes on from its neighbours, and the report says what came of it.
    ///
    /// # Cancel safety
    /// Peers added before the future is dropped stay.
    pub async fn join(&self, contact: &str) -> Result<JoinReport, JoinError> {
        self.join_with(contact.parse()?, JoinConfig::default()).await
    }

    /// Joins the network of `contact`: asks for its name, introduces this node, takes its list, and
    /// goes on from there, depth-first.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    ///
    /// # Cancel safety
    /// As [`join`](Self::join).
    pub async fn join_with(
        &self,
        contact: Address,
        config: JoinConfig,
    ) -> Result<JoinReport, JoinError> {
        join::join(&self.0.node, &self.0.peers, contact, config).await
    }

    /// Leaves the network: says `QUIT` to every known peer and empties the table. The node goes on.
    /// Returns how many peers answered.
    ///
    /// # Errors
    /// [`NodeDown`].
    ///
    /// # Cancel safety
    /// The table is emptied first; peers that were not told find out by their ping sweep.
    pub async fn leave(&self) -> Result<usize, NodeDown> {
        join::leave(&self.0.node, &self.0.peers).await
    }

    /// Accepts no connections for now: they wait in the operating system's queue. What is open goes
    /// on.
    pub fn pause(&self) {
        if !self.0.node.paused.send_replace(true) {
            self.0.node.emit(&PeerEvent::Paused);
        }
    }

    /// Accepts connections again.
    pub fn resume(&self) {
        if self.0.node.paused.send_replace(false) {
            self.0.node.emit(&PeerEvent::Resumed);
        }
    }

    /// Ends the node politely: stops accepting, says `QUIT` to its peers when it has joined, lets
    /// what runs come to its end within [`Config::drain_timeout`], cuts what is late, and reports
    /// it.
    ///
    /// May be called more than once, from any clone; every call returns the same report. After it
    /// has returned nothing of the node runs: it has no task, no listener and no open connection.
    /// [`Replies`](crate::Replies) and bodies that the application holds end with an error.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the stopping.
    pub async fn stop(&self) -> StopReport {
        self.end(true).await
    }

    /// Ends the node at once, without a word to anybody, as a crash would. Everything open is cut.
    /// After it has returned nothing of the node runs, as after [`stop`](Self::stop).
    ///
    /// # Cancel safety
    /// As [`stop`](Self::stop).
    pub async fn abort(&self) -> StopReport {
        self.end(false).await
    }

    async fn end(&self, politely: bool) -> StopReport {
        let mut stopped = self.0.stopped.clone();
        // The actor answers when the node has stopped; an error says that it had stopped before.
        self.0.actor.send(End { politely }).await.ok();
        // Until the actor is gone, too.
        while stopped.changed().await.is_ok() {}
        let report = stopped.borrow().clone();
        report.map(|report| (*report).clone()).unwrap_or_default()
    }

    /// Kills a part of the node, as a bug in it would: for tests of what the application makes of
    /// it.
    #[cfg(feature = "test-utils")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
    pub async fn crash_peer_list(&self) {
        self.0.peers.crash().await;
    }
}

//! `Peer`: the handle of a running node.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Weak},
};

use actix::prelude::{Addr, Recipient};
use tokio::sync::watch;

use crate::{
    node::{Config, Events, PeerEvent},
    overlay::{Address, JoinConfig, JoinReport, PeerId, PeerInfo},
    peer::{
        Builder, JoinError, NodeDown, Peers, Status, StopReport,
        actor::{End, PeerActor},
        join, status,
    },
    reliable,
    session::Endpoint,
};

/// A running node. Cheap to clone, `Send` and `Sync`: it fits into an actor's field and into
/// `web::Data`. Its calls, and what they return, work on any thread and under any executor, outside
/// a tokio runtime as well: their timers and sockets are those of the node's runtime. When that has
/// ended before the node, they say that the node has stopped.
///
/// When the last clone is dropped without [`stop`](Self::stop), the node is cut as by
/// [`abort`](Self::abort), as soon as its arbiter gets to it.
#[derive(Clone)]
#[must_use = "dropping the last handle ends the node"]
pub struct Peer(Arc<Inner>);

struct Inner {
    node: Arc<Endpoint>,
    reliable: Arc<reliable::Sender>,
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
        (node, reliable): (Arc<Endpoint>, Arc<reliable::Sender>),
        peers: Peers,
        actor: Addr<PeerActor>,
        stopped: watch::Receiver<Option<Arc<StopReport>>>,
    ) -> Self {
        Self(Arc::new(Inner { node, reliable, peers, actor, stopped }))
    }

    pub(super) fn node(&self) -> &Arc<Endpoint> {
        &self.0.node
    }

    pub(super) fn reliable(&self) -> &Arc<reliable::Sender> {
        &self.0.reliable
    }

    /// Does `work` in the call, whichever executor or thread that is on, with the timers and sockets
    /// of the node. An error if its runtime has ended; `ended` is told whether the work had begun.
    ///
    /// The work is boxed: it is moved from future to future on its way down, and a call that never
    /// gets here is a small future.
    pub(super) async fn inside<T, E>(
        &self,
        work: Pin<Box<impl Future<Output = Result<T, E>>>>,
        ended: impl FnOnce(bool) -> E,
    ) -> Result<T, E> {
        let threads = &self.node().threads;
        let begun = !threads.have_ended();
        threads.inside(work).await.unwrap_or_else(|| Err(ended(begun)))
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
    /// `Ok` says that at least one node has this one in its table, or that its own table has as many
    /// peers as it may have; the report says which nodes list it
    /// ([`listed_by`](JoinReport::listed_by)), and why others do not. A contact that refuses because
    /// its table is full is not an error as long as one of its neighbours takes this node in.
    ///
    /// A node that is busy is asked again after a pause, within the time of the walk. When no node has
    /// taken this one in by then, and one of those that were asked said "not now"
    /// ([`JoinAnswer::NotNow`](crate::overlay::JoinAnswer::NotNow)), `join` ends in an error for which
    /// [`JoinError::is_tried_again`] is true. The node goes on trying in the background then, with
    /// pauses from 2 s to 2 minutes, until a node takes it in, the answer is "never", the contact is
    /// gone ten times in a row, or the node [leaves](Self::leave) or stops. [`PeerEvent::Joined`] and
    /// [`PeerEvent::NotJoined`] tell of the end. At most 64 contacts are tried so.
    ///
    /// Other nodes ask a node that has joined for its `NAME`, and drop it when it does not answer. A
    /// node that was built without [`Builder::well_known`](crate::Builder::well_known) is therefore
    /// switched on by `join`: those of the well-known codes that have no handler are served from then
    /// on.
    ///
    /// # Errors
    /// See [`JoinError`], which says why the contact did not take this node in.
    ///
    /// # Cancel safety
    /// Peers added before the future is dropped stay.
    pub async fn join(&self, contact: &str) -> Result<JoinReport, JoinError> {
        self.join_with(contact.parse()?, JoinConfig::default()).await
    }

    /// Joins the network of `contact`: asks for its name, introduces this node, takes its list, and
    /// goes on from there, depth-first. What [`join`](Self::join) says holds for it. A contact that is
    /// in the table then is remembered (the last 8 are): when it no longer is, because it left or was
    /// lost, the node joins by it again.
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
        self.0.node.routes.switch_on();
        let join = join::join(&self.0.node, &self.0.peers, contact, config);
        self.inside(Box::pin(join), |_| NodeDown.into()).await
    }

    /// Leaves the network: says `QUIT` to every known peer, empties the table, and ends the joins that
    /// are tried again in the background. The node goes on, and may be joined again: nodes that have
    /// joined by it come back to it. Returns how many peers answered.
    ///
    /// # Errors
    /// [`NodeDown`].
    ///
    /// # Cancel safety
    /// The table is emptied first; peers that were not told find out by their ping sweep.
    pub async fn leave(&self) -> Result<usize, NodeDown> {
        let leave = Box::pin(join::leave(&self.0.node, &self.0.peers));
        self.inside(leave, |_| NodeDown).await
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

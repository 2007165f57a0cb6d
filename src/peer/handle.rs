//! `Peer`: the handle of a running node.

mod bans;
#[cfg(feature = "swim")]
mod members;
pub(crate) mod neighbors;
pub(crate) mod registration;

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Weak},
};

use actix::prelude::{Addr, Recipient};

use crate::{
    connection::{Connections, OpenConnection},
    node::{Config, Events, PeerEvent, watch},
    overlay::{Address, JoinConfig, JoinReport, PeerId, PeerInfo},
    peer::{
        JoinError, NodeDown, Peers, Status, StopReport,
        actor::{End, PeerActor},
        joining::{self, leaving},
        status,
    },
    reliable,
    session::Endpoint,
};

/// A handle to a running node. Cheap to clone, `Send` and `Sync`: store it in an actor's field or
/// in `web::Data`. Its methods and the values that they return work on any thread and under any
/// executor, also outside a tokio runtime: their timers and sockets are those of the node's
/// runtime. If that runtime has ended before the node, the methods return that the node has
/// stopped.
///
/// When the last clone is dropped without [`stop`](Self::stop), the node is aborted as by
/// [`abort`](Self::abort), as soon as its arbiter handles the message.
///
#[doc = include_str!("sending.md")]
#[derive(Clone)]
#[must_use = "dropping the last handle ends the node"]
pub struct Peer(Arc<Inner>);

struct Inner {
    node: Arc<Endpoint>,
    reliable: Arc<reliable::ReliableSender>,
    connections: Connections,
    peers: Peers,
    actor: Addr<PeerActor>,
    stopped: watch::Receiver<Option<Arc<StopReport>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.node.drain.is_cancelled() {
            // A cloned sender has its own slot in the mailbox. An error means that the actor has
            // already ended.
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
    /// Returns the handle; `None` if every [`Peer`] has been dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<Peer> {
        self.0.upgrade().map(Peer)
    }
}

impl Peer {
    pub(crate) fn new(
        (node, reliable, connections): (Arc<Endpoint>, Arc<reliable::ReliableSender>, Connections),
        peers: Peers,
        actor: Addr<PeerActor>,
        stopped: watch::Receiver<Option<Arc<StopReport>>>,
    ) -> Self {
        Self(Arc::new(Inner { node, reliable, connections, peers, actor, stopped }))
    }

    pub(super) fn node(&self) -> &Arc<Endpoint> {
        &self.0.node
    }

    pub(super) fn reliable(&self) -> &Arc<reliable::ReliableSender> {
        &self.0.reliable
    }

    /// Runs `work` in the current task, under any executor and on any thread, with the timers and
    /// sockets of the node. Fails if the node's runtime has ended; `ended` receives whether the
    /// work had begun.
    ///
    /// The work is boxed, because it moves from future to future on its way down. The future of a
    /// call that returns earlier stays small.
    pub(super) async fn inside<T, E>(
        &self,
        work: Pin<Box<impl Future<Output = Result<T, E>>>>,
        ended: impl FnOnce(bool) -> E,
    ) -> Result<T, E> {
        let threads = &self.node().threads;
        let begun = !threads.have_ended();
        threads.inside(work).await.unwrap_or_else(|| Err(ended(begun)))
    }

    /// A handle that does not keep the node running. Handlers of the node itself use it; a [`Peer`]
    /// in a handler would keep the node alive forever.
    #[must_use]
    pub fn downgrade(&self) -> WeakPeer {
        WeakPeer(Arc::downgrade(&self.0))
    }

    /// What the node tells other nodes about itself: id, host and port.
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

    /// The node's actor, which takes [messages](crate::messages).
    #[must_use]
    pub fn addr(&self) -> Addr<PeerActor> {
        self.0.actor.clone()
    }

    /// The table of known peers.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.0.peers
    }

    /// A stream of the node's events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.0.node.events.listen()
    }

    /// Sends the node's events from now on to an actor.
    /// [`Builder::events`](crate::Builder::events) does so from the start.
    pub fn subscribe(&self, subscriber: impl Into<Recipient<PeerEvent>>) {
        self.0.node.events.subscribe(subscriber.into());
    }

    /// The open connections, classic exchanges and links, of both sides, in the order in which they
    /// were opened. Each has its own actor, which closes it on request.
    ///
    /// A connection is listed from the moment at which its protocol is known.
    #[must_use]
    pub fn connections(&self) -> Vec<OpenConnection> {
        self.0.connections.list()
    }

    /// A snapshot of the node's state.
    pub async fn status(&self) -> Status {
        status::status(&self.0.node, &self.0.connections, &self.0.peers).await
    }

    /// Joins the network of `contact` (`host:port`) with the default [`JoinConfig`].
    ///
    /// `Ok` means that at least one node has this node in its table, or that this node's own table
    /// is full. The report says which nodes list it ([`listed_by`](JoinReport::listed_by)), and why
    /// others do not. A contact that refuses because its table is full is not an error if one of
    /// its neighbours admits this node.
    ///
    /// A node that is busy is asked again after a pause, within the time of the walk. If no node
    /// has admitted this one by then, and one of those that were asked answered "not now"
    /// ([`JoinAnswer::NotNow`](crate::overlay::JoinAnswer::NotNow)), `join` returns an error for
    /// which [`JoinError::is_tried_again`] is true. The node then retries in the background, with
    /// pauses from 2 s to 2 minutes. The retries end when a node admits it, when the answer is
    /// "never", when the contact is gone ten times in a row, or when the node [leaves](Self::leave)
    /// or stops. [`PeerEvent::Joined`] and [`PeerEvent::NotJoined`] report the result. At most 64
    /// contacts are retried at a time.
    ///
    /// Other nodes ask a node that has joined for its `NAME`, and remove it when it does not
    /// answer. If the node was built without [`Builder::well_known`](crate::Builder::well_known),
    /// `join` therefore registers the well-known codes that have no handler yet.
    /// # Errors
    /// See [`JoinError`], which says why the contact did not admit this node.
    ///
    /// # Cancel safety
    /// Peers added before the future is dropped stay.
    pub async fn join(&self, contact: &str) -> Result<JoinReport, JoinError> {
        self.join_with(contact.parse()?, JoinConfig::default()).await
    }

    /// Joins the network of `contact` with these options: asks for its name, introduces this node,
    /// takes its list, and continues with the peers of the list, depth-first. Otherwise as
    /// [`join`](Self::join). The node remembers the last 8 contacts that were in the table after a
    /// join. When such a contact is no longer in the table, because it left or was lost, the node
    /// joins through it again.
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
        let join = joining::join(&self.0.node, &self.0.peers, contact, config);
        self.inside(Box::pin(join), |_| NodeDown.into()).await
    }

    /// Leaves the network: sends `QUIT` to every known peer, empties the table, and ends the joins
    /// that are retried in the background. The node keeps running and can join again; nodes that
    /// joined through it contact it again. Returns how many peers answered.
    ///
    /// # Errors
    /// [`NodeDown`].
    ///
    /// # Cancel safety
    /// The table is emptied first. Peers that did not receive `QUIT` detect it by their ping sweep.
    pub async fn leave(&self) -> Result<usize, NodeDown> {
        let leave = Box::pin(leaving::leave(&self.0.node, &self.0.peers));
        self.inside(leave, |_| NodeDown).await
    }

    /// Stops accepting connections until [`resume`](Self::resume): they wait in the operating
    /// system's queue. Open connections continue.
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

    /// Ends the node gracefully: stops accepting, sends `QUIT` to its peers if it has joined, waits
    /// up to [`Config::drain_timeout`] for what still runs, aborts the rest, and reports it.
    ///
    /// May be called more than once, from any clone; every call returns the same report. After it
    /// has returned nothing of the node runs: it has no task, no listener and no open connection.
    /// [`Replies`](crate::Replies) and bodies that the application holds end with an error.
    ///
    /// # Cancel safety
    /// If the future is dropped, the node still stops.
    pub async fn stop(&self) -> StopReport {
        self.end(true).await
    }

    /// Ends the node at once and sends nothing, as in a crash. Everything open is aborted. After it
    /// has returned nothing of the node runs, as after [`stop`](Self::stop).
    ///
    /// # Cancel safety
    /// As [`stop`](Self::stop).
    pub async fn abort(&self) -> StopReport {
        self.end(false).await
    }

    async fn end(&self, politely: bool) -> StopReport {
        let mut stopped = self.0.stopped.clone();
        // The actor answers when the node has stopped. An error means that it had stopped before.
        self.0.actor.send(End { politely }).await.ok();
        // Wait until the actor has ended as well.
        while stopped.changed().await.is_ok() {}
        let report = stopped.get();
        report.map(|report| (*report).clone()).unwrap_or_default()
    }

    /// Kills a part of the node, as a bug in it would, to test how the application reacts.
    #[cfg(feature = "test-utils")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
    pub async fn crash_peer_list(&self) {
        self.0.peers.crash().await;
    }
}

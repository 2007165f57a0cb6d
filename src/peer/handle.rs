//! `Peer`: the handle of a running node.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use actix::prelude::{Addr, Recipient};
use tokio::sync::watch;

use crate::{
    connection::{
        Config, Events, Node, Outgoing, Over, PeerEvent, PeerMessage, Replies, RequestError,
        SendError, links, typed,
    },
    link::AckLevel,
    overlay::{Address, JoinConfig, JoinReport, PeerId, PeerInfo},
    peer::{
        Builder, IntoTarget, JoinError, NodeDown, Peers, Status, StopReport, Target,
        actor::{End, PeerActor},
        join, status,
        target::ForWhom,
    },
};

/// A running node. Cheap to clone, `Send` and `Sync`: it fits into an actor's field and into
/// `web::Data`.
///
/// When the last clone is dropped without [`stop`](Self::stop), the node is cut as by
/// [`abort`](Self::abort).
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

    /// Sends a request; the replies come as they are read from what this returns.
    ///
    /// `to` is an address, a known peer's id, a [`PeerInfo`], text for one of them, or
    /// [`Target::routed`].
    ///
    /// # Errors
    /// See [`RequestError`]; [`RequestError::may_have_been_handled`] says what is known about the
    /// request.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the request may have been handled when it had
    /// been written.
    ///
    /// # Examples
    /// ```
    /// # use actix_peer::{Peer, frame::Frame};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let other = Peer::builder().id("other").well_known().start().await?;
    /// # let peer = Peer::builder().start().await?;
    /// let replies = peer.request(other.info(), Frame::text("NAME", "")).await?.collect().await?;
    /// assert_eq!(replies, [Frame::text("REPL", "other")]);
    /// # Ok(()) }
    /// ```
    pub async fn request(
        &self,
        to: impl IntoTarget,
        message: impl Into<Outgoing>,
    ) -> Result<Replies, RequestError> {
        let asking = self.node().measures.asking();
        let message = message.into();
        let node = &self.0.node;
        let quick = |to_address| links::try_request(node, (to_address, to.as_id()), &message);
        if let Some(replies) = to.as_address().and_then(quick) {
            return Ok(replies.measured(asking));
        }
        let message = to.for_whom(message);
        let to = to.into_target();
        // Boxed, so that the future of a request that does not wait is a small one.
        let waiting = async {
            let way = self.way(to, message).await?;
            let asked = links::request(&self.0.node, &way.to, way.message).await;
            let replies = self.lost_way(way.hop, asked).await?;
            Ok(if way.routed { replies.routed() } else { replies })
        };
        match Box::pin(waiting).await {
            Ok(replies) => Ok(replies.measured(asking)),
            Err(error) => {
                asking.end(false);
                Err(error)
            }
        }
    }

    /// Sends a message and does not wait for replies.
    ///
    /// Over a link this resolves when the message is on its way under credit: as long as the other
    /// node's handlers have not worked off what came before, it waits. In a classic exchange it
    /// resolves when the operating system has taken all of it. At most once: whether it was handled
    /// is not known; [`notify_acked`](Self::notify_acked) waits for that.
    ///
    /// # Errors
    /// See [`RequestError`].
    ///
    /// # Cancel safety
    /// As [`request`](Self::request).
    pub async fn notify(
        &self,
        to: impl IntoTarget,
        message: impl Into<Outgoing>,
    ) -> Result<(), RequestError> {
        let message = message.into();
        let node = &self.0.node;
        let quick = |to_address| links::try_notify(node, (to_address, to.as_id()), &message);
        if to.as_address().is_some_and(quick) {
            return Ok(());
        }
        let message = to.for_whom(message);
        let to = to.into_target();
        // Boxed, so that the future of a message that does not wait is a small one.
        let waiting = async {
            let way = self.way(to, message).await?;
            let told = links::notify(&self.0.node, &way.to, way.message).await;
            self.lost_way(way.hop, told).await
        };
        Box::pin(waiting).await
    }

    /// Sends a message and waits until the other node's handler has it, or has handled it.
    ///
    /// The message is numbered and kept until it is acknowledged: after a broken link it is sent
    /// again on the next one, and the other node recognises what it has had. So it is handled at
    /// most once, and when this returns `Ok`, exactly once. To a node without links it goes in a
    /// classic exchange, whose regular end counts as the acknowledgement of either level.
    ///
    /// # Errors
    /// See [`RequestError`]; when no acknowledgement came within
    /// [`Config::reply_timeout`](crate::Config::reply_timeout), the message may have been handled. A
    /// body is not kept, and is refused as [`RequestError::BodyNotKept`]; over several hops there is no
    /// acknowledgement, and [`Target::Routed`] to a node that is no neighbour is
    /// [`RequestError::NoLink`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the message up: it is not sent again, and may have been handled.
    ///
    /// # Examples
    /// ```
    /// # use actix_peer::{Incoming, Peer, Reply, frame::Frame, handler, link::AckLevel};
    /// # use actix::prelude::*;
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let news = handler::from_fn(async |_: Incoming| Reply::none()).start();
    /// # let other = Peer::builder().handle("NEWS", news)?.start().await?;
    /// # let peer = Peer::builder().start().await?;
    /// let message = Frame::text("NEWS", "it rains");
    /// peer.notify_acked(other.info(), message, AckLevel::Handled).await?;
    /// # Ok(()) }
    /// ```
    pub async fn notify_acked(
        &self,
        to: impl IntoTarget,
        message: impl Into<Outgoing>,
        level: AckLevel,
    ) -> Result<(), RequestError> {
        let message = to.for_whom(message.into());
        let way = self.way(to.into_target(), message).await?;
        if way.routed {
            // Only the first hop would acknowledge it.
            return Err(RequestError::NoLink(way.to));
        }
        let (over, whom) = (way.message.over, way.message.whom.clone());
        let frame = way.message.into_frame().map_err(|_| RequestError::BodyNotKept)?;
        links::notify_acked(&self.0.node, (&way.to, whom.as_ref()), frame, over, level).await
    }

    /// Sends a typed message and returns its result.
    ///
    /// # Errors
    /// See [`SendError`]; [`SendError::may_have_been_handled`] says what is known about the
    /// message.
    ///
    /// # Cancel safety
    /// As [`request`](Self::request).
    pub async fn send<M: PeerMessage>(
        &self,
        to: impl IntoTarget,
        message: M,
    ) -> Result<M::Result, SendError> {
        self.send_over(Over::Any, to, message).await
    }

    /// As [`send`](Self::send), over a link or in a classic exchange, whichever is asked for.
    ///
    /// # Errors
    /// See [`SendError`]; [`RequestError::NoLink`] when there is no link to be had.
    ///
    /// # Cancel safety
    /// As [`request`](Self::request).
    pub async fn send_over<M: PeerMessage>(
        &self,
        over: Over,
        to: impl IntoTarget,
        message: M,
    ) -> Result<M::Result, SendError> {
        let frame = message.to_frame().map_err(SendError::Encode)?;
        let message = Outgoing::from(frame).over(over);
        typed::answer::<M>(self.request(to, message).await).await
    }

    /// Sends a request to the node with this id, which need not be a neighbour: short for
    /// [`request`](Self::request) to [`Target::routed`].
    ///
    /// The message carries its origin and what it passed; each node asks its own
    /// [`Router`](crate::Router), and the replies come back along the way.
    ///
    /// # Errors
    /// [`RequestError::Route`] when it got stuck, with the reason and the node where it did; else
    /// as [`request`](Self::request).
    ///
    /// # Cancel safety
    /// As [`request`](Self::request).
    pub async fn route(
        &self,
        to: &PeerId,
        message: impl Into<Outgoing>,
    ) -> Result<Replies, RequestError> {
        self.request(Target::Routed(to.clone()), message).await
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
    /// May be called more than once, from any clone; every call returns the same report.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the stopping.
    pub async fn stop(&self) -> StopReport {
        self.end(true).await
    }

    /// Ends the node at once, without a word to anybody, as a crash would. Everything open is cut.
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
        let report = stopped.wait_for(Option::is_some).await.ok().and_then(|report| report.clone());
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

//! Topics: messages to the nodes that take part in one ([`Peer::topic`]).

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, Weak},
};

use actix::prelude::{Actor, AsyncContext, Handler, Recipient};

pub use super::gossip::{
    MAX_SUBSCRIPTIONS, Published, Subscription, TOPIC_QUEUE, TOPIC_QUEUE_BYTES, TopicConfig,
    TopicError, TopicEvent, TopicStatus,
};
use crate::{
    frame::Wire,
    overlay::PeerInfo,
    peer::{
        NodeDown, Peer,
        gossip::{Part, open, open_topics},
    },
    session::Endpoint,
};

/// A topic in which this node takes part, for messages of type `M`. Cheap to clone, `Send` and
/// `Sync`. It does not keep the node running.
///
/// The node takes part as long as there is a handle of the topic or a subscription to it, and for 30
/// seconds after it has published, so that others still get the message from it. A node that takes
/// part passes the messages of the topic on, whether it has subscribed or not.
pub struct Topic<M> {
    node: Weak<Endpoint>,
    part: Arc<Part>,
    of: PhantomData<fn() -> M>,
}

impl<M> Clone for Topic<M> {
    fn clone(&self) -> Self {
        Self { node: Weak::clone(&self.node), part: Arc::clone(&self.part), of: PhantomData }
    }
}

impl<M> fmt::Debug for Topic<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.name()).finish()
    }
}

impl<M> Topic<M> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.part.name()
    }

    /// The neighbours of this node in the topic: up to 6 nodes that take part as well.
    #[must_use]
    pub fn neighbors(&self) -> Vec<PeerInfo> {
        self.part.neighbors()
    }

    /// Completes when this node has a neighbour in the topic. It searches all the time, so this may
    /// take forever if no other node takes part.
    ///
    /// # Errors
    /// [`NodeDown`] if the node stops meanwhile.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn joined(&self) -> Result<(), NodeDown> {
        let drain = self.node.upgrade().ok_or(NodeDown)?.drain.clone();
        let stopped = drain.cancelled();
        let joined = self.part.until_joined();
        futures::pin_mut!(stopped, joined);
        match futures::future::select(joined, stopped).await {
            futures::future::Either::Left(_) => Ok(()),
            futures::future::Either::Right(_) => Err(NodeDown),
        }
    }
}

impl<M: Wire + Send + 'static> Topic<M> {
    /// Publishes a message to all subscribers of the topic, those of this node included. Returns its
    /// number among those that this run of the node has published to the topic.
    ///
    /// It never waits. A subscriber gets the message at most once, and the messages of one author in
    /// their order, as far as that is possible within a second; what is missing is reported
    /// ([`TopicEvent::Missed`]). Which subscribers get it is not known: those that are connected
    /// when it is published, those that begin to take part within half a minute, and later ones if
    /// the topic has a [history](TopicConfig::history). A burst of more than 8 MiB may exceed what is
    /// kept for slow neighbours. A node that stops right after it has published may end before the
    /// message has left it.
    ///
    /// # Errors
    /// [`TopicError::TooLong`] for more than 64 KiB, [`TopicError::Encode`],
    /// [`TopicError::Exhausted`], [`TopicError::Down`].
    pub fn publish(&self, message: &M) -> Result<u64, TopicError> {
        let frame = message.to_frame()?;
        self.part.publish(&*self.running()?, frame.data())
    }

    /// Subscribes an actor. It gets what this node keeps as a [history](TopicConfig::history), and
    /// then each message, one after the other: the next one when it has handled the one before. Up
    /// to [`TOPIC_QUEUE`] messages of [`TOPIC_QUEUE_BYTES`] wait for it; further ones are reported as
    /// missed.
    ///
    /// # Errors
    /// [`TopicError::TooManySubscriptions`], [`TopicError::Down`].
    pub fn subscribe(
        &self,
        subscriber: Recipient<TopicEvent<M>>,
    ) -> Result<Subscription, TopicError> {
        self.part.subscribe(&self.running()?, subscriber)
    }

    fn running(&self) -> Result<Arc<Endpoint>, NodeDown> {
        self.node.upgrade().filter(|node| !node.drain.is_cancelled()).ok_or(NodeDown)
    }
}

impl Peer {
    /// Takes part in a topic, with the options that the topic has at this node, or else the default
    /// ones. Only nodes that take part get its messages,
    /// and pass them on ([`overlay::topics`](crate::overlay::topics)).
    ///
    /// The node finds the others by its neighbours, by asking the network, and by Kademlia where that
    /// is on, mostly within a second; [`Topic::joined`] waits for the first one. All nodes use the topic with the same type of
    /// messages, or one that decodes those of the others. A message that cannot be decoded is
    /// reported as missed.
    ///
    /// With TLS the author of a message signs it, and no node passes on what its author has not
    /// signed; without, the author is a claim.
    ///
    /// # Errors
    /// See [`TopicError`].
    ///
    /// # Examples
    /// ```
    /// use actix::prelude::*;
    /// use actix_peer::{Peer, frame::{TypeCode, Wire}, topics::TopicEvent};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Goal(String);
    ///
    /// impl Wire for Goal {
    ///     const CODE: TypeCode = TypeCode::new(b"GOAL");
    /// }
    ///
    /// struct Fan(tokio::sync::mpsc::UnboundedSender<String>);
    ///
    /// impl Actor for Fan {
    ///     type Context = Context<Self>;
    /// }
    ///
    /// impl Handler<TopicEvent<Goal>> for Fan {
    ///     type Result = ();
    ///
    ///     fn handle(&mut self, event: TopicEvent<Goal>, _: &mut Self::Context) {
    ///         if let TopicEvent::Message(goal) = event {
    ///             self.0.send(format!("{}: {}", goal.author.id(), goal.message.0)).ok();
    ///         }
    ///     }
    /// }
    ///
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ada = Peer::builder().id("ada").well_known().start().await?;
    /// let bob = Peer::builder().id("bob").well_known().start().await?;
    /// bob.join(&ada.info().address().to_string()).await?;
    ///
    /// let (heard, mut goals) = tokio::sync::mpsc::unbounded_channel();
    /// let fan = Fan(heard).start();
    /// let subscription = ada.topic("football")?.subscribe(fan.recipient())?;
    /// let football = bob.topic("football")?;
    /// football.publish(&Goal("1:0".into()))?;
    /// assert_eq!(goals.recv().await.as_deref(), Some("bob: 1:0"));
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
    pub fn topic<M>(&self, name: &str) -> Result<Topic<M>, TopicError> {
        self.open_topic(name, None)
    }

    fn open_topic<M>(
        &self,
        name: &str,
        config: Option<TopicConfig>,
    ) -> Result<Topic<M>, TopicError> {
        let (part, begins) = open(self.node(), name, config)?;
        if begins {
            #[cfg(feature = "kademlia")]
            crate::peer::kademlia::provide_topic(self.node(), &part);
        }
        Ok(Topic { node: Arc::downgrade(self.node()), part, of: PhantomData })
    }

    /// Takes part in a topic with these options.
    ///
    /// # Errors
    /// See [`TopicError`]; [`TopicError::OtherOptions`] if the node takes part in this topic already,
    /// with other options.
    #[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
    pub fn topic_with<M>(&self, name: &str, config: TopicConfig) -> Result<Topic<M>, TopicError> {
        self.open_topic(name, Some(config))
    }

    /// The topics in which this node takes part, in the order in which it began to.
    #[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
    #[must_use]
    pub fn topics(&self) -> Vec<TopicStatus> {
        open_topics(self.node())
    }
}

/// Topics in the words of `actix-broker`: the type of a message is its topic, whose name is the code
/// of the type. Implemented for every actor.
///
/// ```
/// use actix::prelude::*;
/// use actix_peer::{Peer, frame::{TypeCode, Wire}, topics::{NetworkBroker, TopicEvent}};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Temperature(f32);
///
/// impl Wire for Temperature {
///     const CODE: TypeCode = TypeCode::new(b"TEMP");
/// }
///
/// struct Display(Peer);
///
/// impl Actor for Display {
///     type Context = Context<Self>;
///
///     fn started(&mut self, ctx: &mut Self::Context) {
///         if let Err(error) = self.subscribe_network::<Temperature>(&self.0, ctx) {
///             eprintln!("{error}");
///         }
///     }
/// }
///
/// impl Handler<TopicEvent<Temperature>> for Display {
///     type Result = ();
///
///     fn handle(&mut self, event: TopicEvent<Temperature>, _: &mut Self::Context) {
///         if let TopicEvent::Message(measured) = event {
///             println!("{} has {} degrees", measured.author.id(), measured.message.0);
///         }
///     }
/// }
///
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let peer = Peer::builder().well_known().start().await?;
/// Display(peer.clone()).start();
/// peer.issue_network(&Temperature(21.5))?;
/// # Ok(()) }
/// ```
pub trait NetworkBroker: Actor {
    /// Subscribes this actor to the messages of this type from all nodes, until it ends. It does
    /// nothing if the actor has subscribed already.
    ///
    /// # Errors
    /// As [`Peer::topic`] and [`Topic::subscribe`].
    fn subscribe_network<M>(&self, peer: &Peer, ctx: &mut Self::Context) -> Result<(), TopicError>
    where
        Self: Handler<TopicEvent<M>>,
        Self::Context: AsyncContext<Self> + actix::dev::ToEnvelope<Self, TopicEvent<M>>,
        M: Wire + Send + 'static,
    {
        let topic = peer.topic::<M>(&M::CODE.to_string())?;
        let recipient = ctx.address().recipient();
        // A supervised actor subscribes each time that it is restarted.
        if !topic.part.is_read_by(&recipient) {
            topic.subscribe(recipient)?.detach();
        }
        Ok(())
    }

    /// Publishes a message to the subscribers of its type at all nodes.
    ///
    /// # Errors
    /// As [`Peer::issue_network`].
    fn issue_network<M>(&self, peer: &Peer, message: &M) -> Result<u64, TopicError>
    where
        M: Wire + Send + 'static,
    {
        peer.issue_network(message)
    }
}

impl<A: Actor> NetworkBroker for A {}

impl Peer {
    /// Publishes a message to the subscribers of its type at all nodes
    /// ([`NetworkBroker::subscribe_network`]). Returns its number.
    ///
    /// The node takes part in the topic for 30 seconds after it.
    ///
    /// # Errors
    /// As [`topic`](Self::topic) and [`Topic::publish`].
    #[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
    pub fn issue_network<M>(&self, message: &M) -> Result<u64, TopicError>
    where
        M: Wire + Send + 'static,
    {
        self.topic::<M>(&M::CODE.to_string())?.publish(message)
    }
}

//! The queue between a topic and one actor that has subscribed.

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use actix::prelude::Recipient;
use bytes::Bytes;
use indexmap::IndexMap;
use tokio_util::sync::CancellationToken;

use super::topic::Part;
use crate::{
    frame::{Frame, Wire},
    message::Identity,
    node::{
        Counters,
        log::{LogKind, Sanitized, warn_some},
    },
    overlay::{PeerInfo, trees::MessageId},
    session::Endpoint,
    sync::{Mutex, Notify},
    time::now,
};

/// The number of messages that wait for one subscriber. Further ones are reported as missed, those
/// of up to 256 authors at once.
pub const TOPIC_QUEUE: usize = 8_192;

/// The bytes of messages that wait for one subscriber. Further messages are reported as missed.
pub const TOPIC_QUEUE_BYTES: usize = 4 << 20;

/// The number of authors of which missed messages are reported to a subscriber that has no room.
const AUTHORS: usize = 256;

/// What an actor that has subscribed to a [topic](crate::Peer::topic) receives. The messages of one
/// author come in the order in which they were published, apart from those that are
/// [late](Published::late).
///
/// ```
/// use actix::prelude::*;
/// use actix_peer::topics::TopicEvent;
///
/// struct Log;
///
/// impl Actor for Log {
///     type Context = Context<Self>;
/// }
///
/// # use actix_peer::frame::{TypeCode, Wire};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Line(String);
/// # impl Wire for Line { const CODE: TypeCode = TypeCode::new(b"LINE"); }
/// impl Handler<TopicEvent<Line>> for Log {
///     type Result = ();
///
///     fn handle(&mut self, event: TopicEvent<Line>, _: &mut Self::Context) {
///         match event {
///             TopicEvent::Message(said) => println!("{}: {}", said.author.id(), said.message.0),
///             TopicEvent::Missed { author, messages, .. } => {
///                 println!("{messages} messages of {} are missing", author.id());
///             }
///             _ => {}
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicEvent<M> {
    /// A message.
    Message(Published<M>),
    /// Messages of an author have not come: they were lost, or this subscriber was too slow for them.
    /// One that comes nevertheless is [late](Published::late).
    Missed {
        /// The name of the topic.
        topic: Arc<str>,
        /// The author.
        author: PeerInfo,
        /// The number of messages.
        messages: u64,
    },
}

impl<M: 'static> actix::Message for TopicEvent<M> {
    type Result = ();
}

/// A message of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published<M> {
    /// The name of the topic.
    pub topic: Arc<str>,
    /// The message.
    pub message: M,
    /// The node that published it, where it says that it listens.
    pub author: PeerInfo,
    /// The id of the author: [`Proven`](Identity::Proven) with TLS, by its signature, and for
    /// messages of this node; otherwise [`Claimed`](Identity::Claimed) by the node that sent the message.
    pub identity: Identity,
    /// Another number in each run of the author. Author, incarnation and sequence together are the
    /// id of the message.
    pub incarnation: u64,
    /// The number of the message among those that this run of the author has published to the topic.
    pub sequence: u64,
    /// How long ago it was published, in whole seconds. It is what the nodes on its way say, and not
    /// signed. More than a second or two is a message of the [history](super::TopicConfig::history),
    /// or one that was missed and came later.
    pub age: Duration,
    /// Whether a later message of the author came before, or this one was reported as missed.
    pub late: bool,
}

/// What is handed to subscribers.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Message { id: MessageId<PeerInfo>, payload: Bytes, late: bool, proven: bool, since: Instant },
    Missed { author: PeerInfo, messages: u64 },
}

impl Event {
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Message { payload, .. } => payload.len(),
            Self::Missed { .. } => 0,
        }
    }

    /// The event for an actor. The error is the author of a message that cannot be decoded.
    fn typed<M: Wire>(self, topic: &Arc<str>) -> Result<TopicEvent<M>, PeerInfo> {
        let topic = Arc::clone(topic);
        let (id, payload, late, proven, since) = match self {
            Self::Missed { author, messages } => {
                return Ok(TopicEvent::Missed { topic, author, messages });
            }
            Self::Message { id, payload, late, proven, since } => {
                (id, payload, late, proven, since)
            }
        };
        let MessageId { author, incarnation, sequence } = id;
        let age = Duration::from_secs(now().saturating_duration_since(since).as_secs());
        let frame = Frame::new(M::CODE, payload);
        match catch_unwind(AssertUnwindSafe(|| M::FORMAT.decode(&frame))) {
            Ok(Ok(message)) => {
                let id = author.id().clone();
                let identity = if proven { Identity::Proven(id) } else { Identity::Claimed(id) };
                Ok(TopicEvent::Message(Published {
                    topic,
                    message,
                    author,
                    identity,
                    incarnation,
                    sequence,
                    age,
                    late,
                }))
            }
            Ok(Err(error)) => {
                tracing::debug!(%author, error = %Sanitized(error), "cannot decode a message of a topic");
                Err(author)
            }
            Err(_) => {
                warn_some!(LogKind::Handler, %author, "the decoder of a message of a topic panicked");
                Err(author)
            }
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// What was kept when the actor subscribed. It does not count against the limits.
    first: VecDeque<Event>,
    events: VecDeque<Event>,
    bytes: usize,
    /// What is missing after the last event.
    missed: IndexMap<PeerInfo, u64>,
    closed: bool,
}

impl Queue {
    fn note_missed(&mut self, author: PeerInfo, messages: u64) {
        if self.missed.len() < AUTHORS || self.missed.contains_key(&author) {
            let count = self.missed.entry(author).or_default();
            *count = count.saturating_add(messages);
        }
    }

    fn pop(&mut self) -> Option<Event> {
        if let Some(event) = self.first.pop_front() {
            return Some(event);
        }
        if let Some(event) = self.events.pop_front() {
            self.bytes = self.bytes.saturating_sub(event.len());
            return Some(event);
        }
        let (author, messages) = self.missed.shift_remove_index(0)?;
        Some(Event::Missed { author, messages })
    }
}

/// The actor of a subscriber, whatever messages it takes.
struct Actor {
    has_ended: Box<dyn Fn() -> bool + Send + Sync>,
    /// Its `Recipient`.
    recipient: Box<dyn Any + Send + Sync>,
}

/// One subscriber.
pub(super) struct Subscriber {
    queue: Mutex<Queue>,
    filled: Notify,
    node: Weak<Endpoint>,
    /// `None` after the subscription has ended.
    actor: Mutex<Option<Actor>>,
    /// What keeps the node in the topic, if the subscription was detached.
    keeps: Mutex<Option<Arc<Part>>>,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Subscriber {
    /// A subscriber that gets these events first.
    pub(super) fn new<M: Wire + Send + 'static>(
        node: &Arc<Endpoint>,
        recipient: Recipient<TopicEvent<M>>,
        first: VecDeque<Event>,
    ) -> Self {
        let actor = recipient.clone();
        let actor = Actor {
            has_ended: Box::new(move || !actor.connected()),
            recipient: Box::new(recipient),
        };
        Self {
            queue: Mutex::new(Queue { first, ..Queue::default() }),
            filled: Notify::new(),
            node: Arc::downgrade(node),
            actor: Mutex::new(Some(actor)),
            keeps: Mutex::new(None),
        }
    }

    /// Hands the events to the actor, one after the other, until the subscription, the actor or the
    /// node ends. A node that stops hands over what waits.
    pub(super) fn hand_over<M: Wire + Send + 'static>(
        self: &Arc<Self>,
        node: &Arc<Endpoint>,
        topic: Arc<str>,
        recipient: Recipient<TopicEvent<M>>,
    ) {
        let (this, drain) = (Arc::clone(self), node.drain.clone());
        let handing_over = async move {
            while let Some(event) = this.next(&drain).await {
                let event = match event.typed(&topic) {
                    Ok(event) => event,
                    Err(author) => {
                        this.count(|counters| counters.topics_missed.one());
                        TopicEvent::Missed { topic: Arc::clone(&topic), author, messages: 1 }
                    }
                };
                let is_message = matches!(event, TopicEvent::Message(_));
                match recipient.send(event).await {
                    Ok(()) if is_message => this.count(|counters| counters.topics_in.one()),
                    Err(_) if this.has_ended() => break,
                    Ok(()) | Err(_) => {}
                }
            }
        };
        let (this, until_aborted) = (Arc::clone(self), node.until_aborted(handing_over));
        node.spawn(async move {
            until_aborted.await;
            this.close();
        });
    }

    fn count(&self, count: impl FnOnce(&Counters)) {
        if let Some(node) = self.node.upgrade() {
            count(&node.counters);
        }
    }

    /// Whether the actor has ended, or the subscription.
    pub(super) fn has_ended(&self) -> bool {
        self.actor.lock().as_ref().is_none_or(|actor| (actor.has_ended)())
    }

    /// Whether it is that of this actor.
    pub(super) fn is_of<M: 'static>(&self, recipient: &Recipient<TopicEvent<M>>) -> bool
    where
        TopicEvent<M>: Send,
    {
        let actor = self.actor.lock();
        let of = actor.as_ref().and_then(|of| of.recipient.downcast_ref());
        of.is_some_and(|of: &Recipient<TopicEvent<M>>| of == recipient)
    }

    /// Keeps the node in the topic until the actor ends.
    pub(super) fn keep(&self, part: Arc<Part>) {
        let mut keeps = self.keeps.lock();
        if !self.queue.lock().closed {
            *keeps = Some(part);
        }
    }

    pub(super) fn close(&self) {
        *self.queue.lock() = Queue { closed: true, ..Queue::default() };
        let (actor, kept) = (self.actor.lock().take(), self.keeps.lock().take());
        // Without a lock: the last address of an actor may be among them.
        drop((actor, kept));
        self.filled.notify_one();
    }

    /// Queues an event. Without room it becomes a missed message.
    pub(super) fn give(&self, event: Event) {
        let mut queue = self.queue.lock();
        if queue.closed {
            return;
        }
        let fits = |queue: &Queue| {
            queue.events.len() < TOPIC_QUEUE
                && queue.bytes.saturating_add(event.len()) <= TOPIC_QUEUE_BYTES
        };
        // What is missing comes before what follows it.
        while fits(&queue) && !queue.missed.is_empty() {
            if let Some((author, messages)) = queue.missed.shift_remove_index(0) {
                queue.events.push_back(Event::Missed { author, messages });
            }
        }
        if fits(&queue) && queue.missed.is_empty() {
            queue.bytes = queue.bytes.saturating_add(event.len());
            queue.events.push_back(event);
        } else {
            let (author, messages) = match event {
                // It was reported already.
                Event::Message { late: true, .. } => return,
                Event::Message { id, .. } => (id.author, 1),
                Event::Missed { author, messages } => (author, messages),
            };
            self.count(|counters| counters.topics_missed.add(messages));
            queue.note_missed(author, messages);
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// The next event. `None` if the subscription has ended, or if the node stops and none waits.
    async fn next(&self, drain: &CancellationToken) -> Option<Event> {
        loop {
            let filled = self.filled.notified();
            if let Some(next) = self.poll() {
                return next;
            }
            drain.run_until_cancelled(filled).await?;
        }
    }

    /// What is in the queue; `Some(None)` if the subscription has ended.
    fn poll(&self) -> Option<Option<Event>> {
        let mut queue = self.queue.lock();
        if queue.closed { Some(None) } else { queue.pop().map(Some) }
    }
}

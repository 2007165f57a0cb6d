//! What a node tells its application: events, to any actor or as a stream.

use std::{
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use actix::prelude::{Message, Recipient, SendError};
use futures::Stream;
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::ReusableBoxFuture;

use crate::{
    frame::TypeCode,
    limits::{Misbehavior, Offender},
    link::Reason,
    node::{Direction, counters::Counters, refusal::Refusal},
    overlay::{Address, JoinFailure, PeerId, PeerInfo},
};

/// Why a peer is no longer in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Removed {
    /// It said `QUIT`.
    Left,
    /// It did not answer the ping sweep, or another stabilizer gave it up.
    Lost,
    /// It joined, and nobody with its id answered where it said it was.
    Unverified,
    /// It joined, was not verified yet, and its address had the most of such peers when there was no
    /// place for one from another address.
    Displaced,
    /// Another node was found at its address, and gave its own name there.
    Replaced,
    /// This program removed it.
    Here,
    /// It is not admitted any more.
    NotAdmitted,
    /// A node with its id is at another address, and takes its place.
    Moved,
}

/// A part of the node that is watched and restarted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Child {
    /// The `ListenerActor`.
    Listener,
    /// The `PeerListActor`.
    PeerList,
    /// The `StabilizerActor` of the stabilizer with this name.
    Stabilizer(String),
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener => f.write_str("listener"),
            Self::PeerList => f.write_str("peer list"),
            Self::Stabilizer(name) => write!(f, "stabilizer {name}"),
        }
    }
}

/// Something that happened in the node. Sent to every subscriber, in the order in which it
/// happened.
///
/// Ids in it may be made up by remotes; they hold no white space and no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PeerEvent {
    /// The node listens.
    Started {
        /// What it tells others about itself.
        me: PeerInfo,
    },
    /// A peer was added to the table.
    PeerAdded {
        /// The peer.
        peer: PeerInfo,
    },
    /// A peer was removed from the table.
    PeerRemoved {
        /// The peer.
        peer: PeerInfo,
        /// Why.
        why: Removed,
    },
    /// A request was refused.
    Refused {
        /// Where the connection came from.
        from: Address,
        /// The code in the header, when one came.
        code: Option<TypeCode>,
        /// Why.
        refusal: Refusal,
    },
    /// Accepting connections fails; the listener tries again with a growing pause.
    AcceptFailed {
        /// The kind of the error, as the operating system says it.
        error: String,
    },
    /// A part of the node died and was started again.
    Restarted {
        /// Which part.
        child: Child,
        /// How often it has been restarted since the node started.
        times: u64,
    },
    /// A part of the node died too often, or could not be started again, and stays down.
    GaveUp {
        /// Which part.
        child: Child,
    },
    /// A thread of the node stood still, and everything on it: a handler blocked it, the process
    /// was stopped, or the machine slept. Told when it goes on. Five seconds are always seen, less
    /// than four never.
    StoodStill {
        /// How long, or up to a second more.
        time: Duration,
    },
    /// The node stopped accepting connections; `resume` ends that.
    Paused,
    /// The node accepts connections again.
    Resumed,
    /// The node stops: no new connections, no new requests.
    Stopping,
    /// The node has stopped. The last event.
    Stopped,
    /// This listener was too slow: so many events were lost to it ([`Events`] only).
    Missed {
        /// How many.
        events: u64,
    },
    /// A walk of `join` came to its end, or one of its tries in the background, and a node that was
    /// asked has this one in its table.
    Joined {
        /// The contact.
        contact: Address,
        /// How many peers were added.
        added: usize,
    },
    /// A join, or one of its tries in the background, came to its end, and no node that was asked has
    /// this one in its table: by this contact it is **listed nowhere**.
    NotJoined {
        /// The contact.
        contact: Address,
        /// What the contact says, or what is wrong there.
        why: JoinFailure,
        /// Whether the node goes on trying in the background. If not, it is for the program to join
        /// again.
        again: bool,
    },
    /// A link with another node was opened.
    LinkOpened {
        /// The other node, as it says.
        peer: PeerInfo,
        /// Who opened it: `In` is the other node.
        direction: Direction,
    },
    /// A link is over. What was open on it has failed.
    LinkClosed {
        /// The other node, as it says.
        peer: PeerInfo,
        /// Who opened it.
        direction: Direction,
        /// Why.
        reason: Reason,
    },
    /// Another node refused one-way messages of this node: no handler got them in full. Told of what
    /// goes over a link, at most once for each read of it, code and reason. When the other node ends
    /// the link, what was under way is told as well, with the reason of the end. A message of which
    /// the send has failed is not among them.
    NotifyRefused {
        /// The other node, as it says.
        peer: PeerInfo,
        /// The code of the messages.
        code: TypeCode,
        /// Why.
        reason: Reason,
        /// How many.
        messages: u32,
    },
    /// A source or a proven id has misbehaved too much, or the application wants nothing to do with
    /// it: its connections are refused for a time.
    Banned {
        /// Who.
        whom: Offender,
        /// The last offence.
        why: Misbehavior,
        /// For how long.
        time: Duration,
    },
    /// A ban has ended, by itself or by hand.
    BanEnded {
        /// Who was banned.
        whom: Offender,
        /// The last offence before it.
        why: Misbehavior,
    },
    /// The node has gone back to the peers that it remembered from before its start.
    Rejoined {
        /// How many of them were asked.
        asked: usize,
        /// How many answered as themselves and were added.
        added: usize,
    },
    /// The file of the address book could not be read or written, or was damaged and is set aside. The
    /// node serves on.
    AddressBookFailed {
        /// What is wrong.
        error: String,
    },
    /// A node is a member of the network that was not known (feature `swim`).
    MemberUp {
        /// The member.
        peer: PeerInfo,
    },
    /// A member is believed to be down, or left. A suspicion, not a proof: no link is closed and no peer removed for it. For
    /// one member it comes at most once in ten seconds.
    MemberDown {
        /// The member.
        peer: PeerInfo,
    },
    /// A member that was down is back.
    MemberRejoined {
        /// The member.
        peer: PeerInfo,
    },
    /// The metadata or the address of a member has changed.
    MemberChanged {
        /// The member.
        peer: PeerInfo,
    },
    /// A peer that this node lists did not list this node when it was asked. Told again only when it
    /// has listed the node meanwhile, or says something else.
    UnknownThere {
        /// The peer.
        peer: PeerInfo,
        /// Its words if it still does not list this node. `None` if it does from now on.
        refused: Option<String>,
    },
    /// One id is said to be at two addresses: two nodes have it, or one has moved and its old address
    /// still answers. Nothing was changed.
    TwoAddresses {
        /// The id, which may be this node's own.
        id: PeerId,
        /// The address in the table.
        listed: Address,
        /// The other address.
        other: Address,
        /// The peer whose table that is. `None` if it is the table of this node.
        told_by: Option<PeerInfo>,
    },
    /// The node said `QUIT` to the peers that it knew.
    Left {
        /// How many answered.
        told: usize,
    },
}

impl Message for PeerEvent {
    type Result = ();
}

/// The subscribers of one node.
#[derive(Debug)]
pub(crate) struct EventBus {
    stream: broadcast::Sender<PeerEvent>,
    recipients: Mutex<Vec<Recipient<PeerEvent>>>,
}

impl EventBus {
    pub(crate) fn new(queue: usize, recipients: Vec<Recipient<PeerEvent>>) -> Self {
        Self { stream: broadcast::Sender::new(queue), recipients: Mutex::new(recipients) }
    }

    pub(crate) fn subscribe(&self, recipient: Recipient<PeerEvent>) {
        self.recipients.lock().unwrap_or_else(PoisonError::into_inner).push(recipient);
    }

    pub(crate) fn listen(&self) -> Events {
        Events::new(self.stream.subscribe())
    }

    /// Hands `event` to everybody, waiting for nobody: what a full mailbox does not take is
    /// counted.
    pub(crate) fn emit(&self, event: &PeerEvent, counters: &Counters) {
        if self.stream.receiver_count() > 0 {
            // An error says that the last receiver went away meanwhile.
            self.stream.send(event.clone()).ok();
        }
        self.recipients.lock().unwrap_or_else(PoisonError::into_inner).retain(|recipient| {
            match recipient.try_send(event.clone()) {
                Ok(()) => true,
                Err(SendError::Full(_)) => {
                    counters.events_dropped.one();
                    true
                }
                Err(SendError::Closed(_)) => false,
            }
        });
    }

    /// Lets go of every subscriber: nothing comes after the last event.
    pub(crate) fn close(&self) {
        self.recipients.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

type Next = (Result<PeerEvent, RecvError>, broadcast::Receiver<PeerEvent>);

/// The node's events as a stream, from the moment of [`Peer::events`](crate::Peer::events) on.
///
/// Ends after [`PeerEvent::Stopped`]. A reader that lags more than
/// [`Config::event_queue`](crate::Config::event_queue) events behind gets a [`PeerEvent::Missed`]
/// and goes on with the oldest one kept.
///
/// # Cancel safety
/// Dropping `next()` loses nothing.
pub struct Events {
    next: ReusableBoxFuture<'static, Next>,
    ended: bool,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

async fn next(mut receiver: broadcast::Receiver<PeerEvent>) -> Next {
    (receiver.recv().await, receiver)
}

impl Events {
    fn new(receiver: broadcast::Receiver<PeerEvent>) -> Self {
        Self { next: ReusableBoxFuture::new(next(receiver)), ended: false }
    }
}

impl Stream for Events {
    type Item = PeerEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PeerEvent>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let (event, receiver) = std::task::ready!(self.next.poll(cx));
        self.next.set(next(receiver));
        self.ended = matches!(event, Ok(PeerEvent::Stopped) | Err(RecvError::Closed));
        Poll::Ready(match event {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(events)) => Some(PeerEvent::Missed { events }),
            Err(RecvError::Closed) => None,
        })
    }
}

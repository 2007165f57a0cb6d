//! The events of a node, sent to actors or read as a stream.

use std::{
    fmt,
    pin::Pin,
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
    sync::Mutex,
};

/// Why a peer is no longer in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Removed {
    /// It said `QUIT`.
    Left,
    /// It did not answer the ping sweep, or another stabilizer removed it.
    Lost,
    /// It joined, and no node with its id answered at the address that it gave.
    Unverified,
    /// It joined and was not verified yet, and its address had the most unverified peers when a
    /// peer from another address needed room.
    Displaced,
    /// Another node, with another id, was found at its address.
    Replaced,
    /// The application removed it.
    Here,
    /// It is no longer admitted.
    NotAdmitted,
    /// A node with its id is at another address, and replaces it.
    Moved,
}

/// A part of the node that is supervised and restarted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Child {
    /// The `ListenerActor`.
    Listener,
    /// The `PeerListActor`.
    PeerList,
    /// The `StabilizerActor` of the maintenance with this name: a stabilizer, a closure of
    /// [`Builder::every`](crate::Builder::every), or a part of the node such as `verification`.
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

/// Something that happened in the node. Each subscriber receives the events in the order in which
/// they happened.
///
/// A remote may have invented the ids in an event. They contain no white space and no control
/// characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PeerEvent {
    /// The node listens.
    Started {
        /// The description that it sends to other nodes.
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
        /// The code in the header. `None` if no header arrived.
        code: Option<TypeCode>,
        /// Why.
        refusal: Refusal,
    },
    /// Accepting a connection failed; the listener retries with a growing back-off.
    AcceptFailed {
        /// The kind of the error, as reported by the operating system.
        error: String,
    },
    /// A part of the node died and was restarted.
    Restarted {
        /// Which part.
        child: Child,
        /// How often it has been restarted since the node started.
        times: u64,
    },
    /// A part of the node died too often, or could not be restarted, and stays down.
    GaveUp {
        /// Which part.
        child: Child,
    },
    /// A thread of the node was blocked, with everything on it: a handler blocked it, the process
    /// was stopped, or the machine slept. Emitted when the thread continues. A standstill of five
    /// seconds is always detected, one of less than four never.
    StoodStill {
        /// Its duration, exact or up to one second too long.
        time: Duration,
    },
    /// The node stopped accepting connections until `resume`.
    Paused,
    /// The node accepts connections again.
    Resumed,
    /// The node stops: it accepts no new connections and no new requests.
    Stopping,
    /// The node has stopped. This is the last event.
    Stopped,
    /// This reader was too slow and lost events ([`Events`] only).
    Missed {
        /// The number of lost events.
        events: u64,
    },
    /// A `join`, or one of its retries in the background, ended, and a node that was asked lists
    /// this node in its table.
    Joined {
        /// The contact.
        contact: Address,
        /// The number of peers that were added.
        added: usize,
    },
    /// A `join`, or one of its retries in the background, ended, and no node that was asked
    /// lists this node in its table: through this contact it is **listed nowhere**.
    NotJoined {
        /// The contact.
        contact: Address,
        /// The answer of the contact, or the failure.
        why: JoinFailure,
        /// Whether the node retries in the background. If not, the application has to join again.
        again: bool,
    },
    /// The node has been without a neighbour for some seconds (feature `gossip`). It asks its
    /// contacts, and the peers that it lists, until it has one.
    Alone,
    /// Broadcasts did not reach the handlers of this node (feature `gossip`): they did not come in
    /// time, or this node had no room for them.
    BroadcastsMissed {
        /// The author.
        author: PeerId,
        /// The number of messages.
        messages: u64,
    },
    /// A link with another node was opened.
    LinkOpened {
        /// The other node, as it describes itself.
        peer: PeerInfo,
        /// Which side opened it: `In` is the other node.
        direction: Direction,
    },
    /// A link ended. The exchanges that were open on it have failed.
    LinkClosed {
        /// The other node, as it describes itself.
        peer: PeerInfo,
        /// Which side opened it.
        direction: Direction,
        /// Why.
        reason: Reason,
    },
    /// Another node refused one-way messages of this node: no handler received them in full.
    ///
    /// Emitted for messages that go over a link, at most once per read, code and reason. If the
    /// other node ends the link, the messages that were under way are reported as well, with the
    /// reason of the end. Messages whose send has failed are not included.
    NotifyRefused {
        /// The other node, as it describes itself.
        peer: PeerInfo,
        /// The code of the messages.
        code: TypeCode,
        /// Why.
        reason: Reason,
        /// The number of messages.
        messages: u32,
    },
    /// A source or a proven id was banned, for misbehavior or by the application. Its
    /// connections are refused while the ban lasts.
    Banned {
        /// The source or id.
        whom: Offender,
        /// The last misbehavior.
        why: Misbehavior,
        /// The duration of the ban.
        time: Duration,
    },
    /// A ban has ended: it expired, or the application ended it.
    BanEnded {
        /// The source or id that was banned.
        whom: Offender,
        /// The last misbehavior before the ban.
        why: Misbehavior,
    },
    /// The node has contacted the peers that it knew before its start.
    Rejoined {
        /// The number of peers that were asked.
        asked: usize,
        /// The number of peers that answered with their id and were added.
        added: usize,
    },
    /// The file of the address book could not be read or written, or was damaged and is set
    /// aside. The node continues without it.
    AddressBookFailed {
        /// The error.
        error: String,
    },
    /// A new member of the network was found (feature `swim`).
    MemberUp {
        /// The member.
        peer: PeerInfo,
    },
    /// A member is believed to be down, or has left.
    ///
    /// This is a suspicion, not a proof: no link is closed and no peer is removed for it. Emitted
    /// at most once in ten seconds for one member.
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
    /// A peer that this node lists did not list this node when it was asked. Emitted again only if
    /// the peer has listed the node in the meantime, or gives another answer.
    UnknownThere {
        /// The peer.
        peer: PeerInfo,
        /// Its answer if it still does not list this node. `None` if it does from now on.
        refused: Option<String>,
    },
    /// One id was found at two addresses: two nodes use it, or one node has moved and its old
    /// address still answers. The table was not changed.
    TwoAddresses {
        /// The id, which may be this node's own.
        id: PeerId,
        /// The address in the table.
        listed: Address,
        /// The other address.
        other: Address,
        /// The peer whose table has the listed address. `None` if it is the table of this node.
        told_by: Option<PeerInfo>,
    },
    /// The node sent `QUIT` to the peers that it knew.
    Left {
        /// The number of peers that answered.
        told: usize,
    },
}

impl Message for PeerEvent {
    type Result = ();
}

/// Events that a slow [`Events`] stream may lag behind before it loses some. They are kept once for
/// all streams. A reader that is always slower than the node loses events with any value, and the
/// counters of [`Peer::status`](crate::Peer::status) miss none.
const EVENT_QUEUE: usize = 1_024;

/// The subscribers of one node.
#[derive(Debug)]
pub(crate) struct EventBus {
    stream: broadcast::Sender<PeerEvent>,
    recipients: Mutex<Vec<Recipient<PeerEvent>>>,
}

impl EventBus {
    pub(crate) fn new(recipients: Vec<Recipient<PeerEvent>>) -> Self {
        Self { stream: broadcast::Sender::new(EVENT_QUEUE), recipients: Mutex::new(recipients) }
    }

    pub(crate) fn subscribe(&self, recipient: Recipient<PeerEvent>) {
        self.recipients.lock().push(recipient);
    }

    pub(crate) fn listen(&self) -> Events {
        Events::new(self.stream.subscribe())
    }

    /// Sends `event` to all subscribers without waiting. Events that do not fit into a mailbox are
    /// dropped and counted.
    pub(crate) fn emit(&self, event: &PeerEvent, counters: &Counters) {
        if self.stream.receiver_count() > 0 {
            // An error means that the last receiver was dropped in the meantime.
            self.stream.send(event.clone()).ok();
        }
        self.recipients.lock().retain(|recipient| match recipient.try_send(event.clone()) {
            Ok(()) => true,
            Err(SendError::Full(_)) => {
                counters.events_dropped.one();
                true
            }
            Err(SendError::Closed(_)) => false,
        });
    }

    /// Drops all subscribers: nothing follows the last event.
    pub(crate) fn close(&self) {
        self.recipients.lock().clear();
    }
}

type Next = (Result<PeerEvent, RecvError>, broadcast::Receiver<PeerEvent>);

/// The node's events as a stream, starting with the call of [`Peer::events`](crate::Peer::events).
///
/// The stream ends after [`PeerEvent::Stopped`]. A reader that lags more than 1,024 events behind
/// receives a [`PeerEvent::Missed`] and continues with the oldest event that is kept.
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

//! Layer 11: messages that are acknowledged and survive a broken link.

mod delivery;
pub(crate) mod mailbag;
pub(crate) mod sender;

pub(crate) use self::delivery::{Sender, notify_acked, replay, take};

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::{
    frame::{Frame, TypeCode},
    link::{AckLevel, OnRestart, Reason},
    message::RequestError,
    overlay::PeerInfo,
};

/// How a message is to be delivered: when it counts as delivered, and what happens when the other
/// node starts a new life meanwhile. An [`AckLevel`] is one, too.
///
/// ```
/// use actix_peer::{reliable::Reliability, link::AckLevel};
///
/// let once = Reliability::from(AckLevel::Handled);
/// assert_ne!(once, once.across_restarts());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reliability {
    pub(crate) level: AckLevel,
    pub(crate) on_restart: OnRestart,
}

impl Reliability {
    /// The message is sent to the next life of the other node as well, when it is not acknowledged
    /// by the one to which it was sent: handed over at least once, and perhaps once in each life.
    /// Without this, the sender is told that nobody knows.
    #[must_use]
    pub const fn across_restarts(mut self) -> Self {
        self.on_restart = OnRestart::Resend;
        self
    }
}

impl From<AckLevel> for Reliability {
    fn from(level: AckLevel) -> Self {
        Self { level, on_restart: OnRestart::Report }
    }
}

/// Why nobody knows whether a message was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unsure {
    /// The other node was started again, or stops, or speaks no links any more, and had not
    /// acknowledged it.
    Restarted,
    /// No acknowledgement came within
    /// [`Config::reliable_timeout`](crate::Config::reliable_timeout).
    Late,
    /// This node stops.
    Stopped,
}

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restarted => "the other node was started again",
            Self::Late => "no acknowledgement came in time",
            Self::Stopped => "this node stops",
        })
    }
}

/// Why a message is not known to be delivered
/// ([`Peer::send_reliable`](crate::Peer::send_reliable)).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReliableError {
    /// The message did not leave this node, or not all of it. Whose doing is in the error:
    /// [`RequestError::NoLink`] says that the other node speaks no links. Not handled.
    #[error("not sent: {0}")]
    NotSent(RequestError),
    /// As much waits to be acknowledged by that node as may
    /// ([`Config::reliable_messages`](crate::Config::reliable_messages),
    /// [`Config::reliable_bytes`](crate::Config::reliable_bytes)). Only from
    /// [`Peer::try_send_reliable`](crate::Peer::try_send_reliable). Not handled.
    #[error("too much waits to be acknowledged")]
    Full {
        /// The message.
        message: Frame,
    },
    /// The other node refused it for this reason: no handler for the code, too long, busy for too
    /// long, and so on. The remote's doing; not handled.
    #[error("refused: {reason}")]
    Refused {
        /// Why.
        reason: Reason,
    },
    /// The handler has it, and failed: it panicked, or was late. The remote's doing. It is not handed
    /// over again.
    #[error("handed over, and failed: {reason}")]
    Failed {
        /// How.
        reason: Reason,
    },
    /// It was sent, and nobody knows whether it was handed over.
    #[error("unknown: {why}")]
    Unknown {
        /// The message.
        message: Frame,
        /// Why nobody knows.
        why: Unsure,
    },
    /// The [`Outbox`] did not store it. This node's doing; not sent.
    #[error("not stored: {0}")]
    NotStored(io::Error),
}

impl ReliableError {
    /// Whether the message may have been handled. False is certain: it was not.
    #[must_use]
    pub const fn may_have_been_handled(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Full { .. } | Self::Refused { .. } | Self::NotStored(_) => {
                false
            }
            Self::Failed { .. } | Self::Unknown { .. } => true,
        }
    }

    /// Whether it is certain what became of the message: then nothing is left to be done about it.
    pub(crate) const fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::Unknown { .. } | Self::NotSent(RequestError::Stopped { .. }) | Self::NotStored(_)
        )
    }
}

/// A message that was taken and waits to be acknowledged: a future of what comes of it.
///
/// # Cancel safety
/// Dropping it gives the message up: it is not sent again, and may have been handled. In an
/// [`Outbox`] it stays.
#[must_use = "dropping it gives the message up"]
pub struct Receipt(pub(crate) BoxFuture<'static, Result<(), ReliableError>>);

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").finish_non_exhaustive()
    }
}

impl Future for Receipt {
    type Output = Result<(), ReliableError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// The name of a message in an [`Outbox`]: no other message of the node has it, in no life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeptId {
    /// The life of the node in which it was stored.
    life: u64,
    /// Counted up from 1.
    number: u64,
}

impl KeptId {
    pub(crate) const fn new(life: u64, number: u64) -> Self {
        Self { life, number }
    }

    pub(crate) const fn life(self) -> u64 {
        self.life
    }
}

impl fmt::Display for KeptId {
    /// Text that sorts as the messages were stored.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.life, self.number)
    }
}

/// A message as an [`Outbox`] keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub(crate) id: KeptId,
    pub(crate) to: PeerInfo,
    pub(crate) level: AckLevel,
    pub(crate) message: Frame,
}

/// The same, as bytes say it.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    id: KeptId,
    to: PeerInfo,
    handled: bool,
    code: [u8; 4],
    #[serde(borrow)]
    data: &'a [u8],
}

impl Kept {
    /// Its name.
    #[must_use]
    pub const fn id(&self) -> KeptId {
        self.id
    }

    /// Whom it is for.
    #[must_use]
    pub const fn to(&self) -> &PeerInfo {
        &self.to
    }

    /// The message.
    #[must_use]
    pub const fn message(&self) -> &Frame {
        &self.message
    }

    /// As bytes, for a file or a database; none when memory or the format does not allow it.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let stored = Stored {
            id: self.id,
            to: self.to.clone(),
            handled: self.level == AckLevel::Handled,
            code: *self.message.code().as_bytes(),
            data: self.message.data(),
        };
        postcard::to_stdvec(&stored).ok()
    }

    /// From what [`to_bytes`](Self::to_bytes) made; none when it is something else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (stored, rest): (Stored<'_>, _) = postcard::take_from_bytes(bytes).ok()?;
        let level = if stored.handled { AckLevel::Handled } else { AckLevel::Delivered };
        let code = TypeCode::new(&stored.code);
        if !rest.is_empty() || code.is_reserved() {
            return None;
        }
        let message = Frame::new(code, Bytes::copy_from_slice(stored.data));
        Some(Self { id: stored.id, to: stored.to, level, message })
    }
}

/// Where messages are kept until they are acknowledged, so that they survive a restart of this node
/// ([`Builder::outbox`](crate::Builder::outbox)): a file, a database.
///
/// With it, [`Peer::send_reliable`](crate::Peer::send_reliable) delivers at least once, across
/// restarts of this node: each message is stored before the first byte of it is sent, and deleted
/// when it is certain what became of it. What is left when the node starts is sent again, in the
/// order in which it was stored, until it is acknowledged or refused, beside what is sent then. The
/// other node cannot know that it has had a message in an earlier life of this one; where twice is
/// too often, the message carries a name of the application's, and its handler looks for it.
///
/// What is done here is waited for by whoever sends, one message after the other to each node: a
/// store that blocks belongs on a thread of its own (`spawn_blocking`).
///
/// # Examples
/// ```
/// use std::{collections::BTreeMap, io, sync::{Arc, Mutex}};
/// use actix::prelude::*;
/// use actix_peer::{Incoming, Peer, Reply, reliable::{Kept, KeptId, Outbox}, frame::Frame, handler, link::AckLevel};
/// use futures::{FutureExt, future::{BoxFuture, ready}};
///
/// /// On the disk, if this were no example.
/// #[derive(Clone, Default)]
/// struct Shelf(Arc<Mutex<BTreeMap<KeptId, Vec<u8>>>>);
///
/// impl Outbox for Shelf {
///     fn store<'a>(&'a self, kept: &'a Kept) -> BoxFuture<'a, io::Result<()>> {
///         let bytes = kept.to_bytes().ok_or(io::ErrorKind::InvalidData);
///         let stored = bytes.map(|bytes| self.0.lock().unwrap().insert(kept.id(), bytes));
///         ready(stored.map(drop).map_err(io::Error::from)).boxed()
///     }
///     fn delete(&self, id: KeptId) -> BoxFuture<'_, io::Result<()>> {
///         self.0.lock().unwrap().remove(&id);
///         ready(Ok(())).boxed()
///     }
///     fn load(&self) -> BoxFuture<'_, io::Result<Vec<Kept>>> {
///         let all = self.0.lock().unwrap();
///         ready(Ok(all.values().filter_map(|bytes| Kept::from_bytes(bytes)).collect())).boxed()
///     }
/// }
///
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let news = handler::from_fn(async |_: Incoming| Reply::none()).start();
/// # let other = Peer::builder().handle("NEWS", news)?.start().await?;
/// let shelf = Shelf::default();
/// let peer = Peer::builder().outbox(shelf.clone()).start().await?;
/// peer.send_reliable(other.info(), Frame::text("NEWS", "it rains"), AckLevel::Handled).await?;
/// assert!(shelf.0.lock().unwrap().is_empty());
/// # Ok(()) }
/// ```
pub trait Outbox: Send + Sync + 'static {
    /// Keeps a message. It is sent when this is ready.
    ///
    /// # Errors
    /// The message is not sent, and its sender is told so.
    fn store<'a>(&'a self, kept: &'a Kept) -> BoxFuture<'a, io::Result<()>>;

    /// Lets go of a message; it may be gone already.
    ///
    /// # Errors
    /// They are traced. The message may be sent again when the node starts the next time.
    fn delete(&self, id: KeptId) -> BoxFuture<'_, io::Result<()>>;

    /// All that is kept. Asked for once, when the node starts.
    ///
    /// # Errors
    /// The node does not start.
    fn load(&self) -> BoxFuture<'_, io::Result<Vec<Kept>>>;
}

/// An outbox that several share.
pub(crate) type SharedOutbox = Arc<dyn Outbox>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_message_comes_out_of_its_bytes_as_it_went_in_and_nothing_else_does() {
        for (level, data) in [(AckLevel::Handled, 0), (AckLevel::Delivered, 100_000)] {
            let kept = Kept {
                id: KeptId::new(7, 9),
                to: "bob 127.0.0.1 9000".parse().unwrap(),
                level,
                message: Frame::new("NEWS", vec![3; data]),
            };
            let mut bytes = kept.to_bytes().unwrap();
            assert_eq!(Kept::from_bytes(&bytes), Some(kept));
            assert_eq!(Kept::from_bytes(bytes.get(1..).unwrap()), None);
            bytes.push(0);
            assert_eq!(Kept::from_bytes(&bytes), None);
            assert_eq!(Kept::from_bytes(bytes.get(..10).unwrap()), None);
        }
    }

    #[test]
    fn names_sort_as_the_messages_were_stored_as_text_too() {
        let names = [(1, 2), (1, 10), (2, 1), (16, 1)].map(|(life, n)| KeptId::new(life, n));
        assert!(names.is_sorted() && names.map(|name| name.to_string()).is_sorted());
    }
}

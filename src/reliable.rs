//! Layer 11: acknowledged messages, which survive a broken link.

mod replay;
mod send_queues;
mod send_task;
mod sender;

pub(crate) use self::{
    replay::replay,
    sender::{ReliableSender, accept, notify_acked},
};

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

/// How a message is delivered: when it is acknowledged, and what happens if the other node restarts
/// before that. An [`AckLevel`] converts into it.
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
    /// Sends the message again if the other node restarts before it has acknowledged the message.
    ///
    /// The message is then delivered at least once, and perhaps once to each incarnation of the
    /// other node. Without this option it fails with [`ReliableError::Unknown`].
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

/// Why it is unknown whether a message was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unsure {
    /// The other node restarted, stops, or no longer speaks links, and had not acknowledged it.
    Restarted,
    /// It was sent again over another link, and the other node refused that copy. An earlier copy
    /// may still arrive.
    SentAgain,
    /// No acknowledgement arrived within
    /// [`Config::reliable_timeout`](crate::Config::reliable_timeout).
    Late,
    /// This node stops.
    Stopped,
}

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restarted => "the other node was started again",
            Self::SentAgain => "it was sent again, and the other node refused the last copy",
            Self::Late => "no acknowledgement arrived in time",
            Self::Stopped => "this node stops",
        })
    }
}

/// Why an acknowledged message failed ([`Peer::send_reliable`](crate::Peer::send_reliable)).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReliableError {
    /// The message was not sent, or not in full. The error has the cause: for example,
    /// [`RequestError::NoLink`] means that the other node speaks no links. Not handled.
    #[error("the message was not sent: {0}")]
    NotSent(RequestError),
    /// The messages that wait to be acknowledged by that node have reached the limit
    /// ([`Config::reliable_messages`](crate::Config::reliable_messages),
    /// [`Config::reliable_bytes`](crate::Config::reliable_bytes)). Returned only by
    /// [`Peer::try_send_reliable`](crate::Peer::try_send_reliable). Not handled.
    #[error("too many messages to this peer wait to be acknowledged")]
    Full {
        /// The message.
        message: Frame,
    },
    /// The other node refused it for this reason, for example because there is no handler for the
    /// code, or it is too long, or the handler was busy for too long. Caused by the remote; not
    /// handled.
    #[error("the other node refused the message: {reason}")]
    Refused {
        /// Why.
        reason: Reason,
    },
    /// The handler received it and failed: it panicked, or was late. Caused by the remote. The
    /// message may have been handled, and is not delivered again.
    #[error("delivered, and failed: {reason}")]
    Failed {
        /// Why.
        reason: Reason,
    },
    /// It was sent, and it is unknown whether it was delivered. It may have been handled.
    #[error("it is unknown whether the message was delivered: {why}")]
    Unknown {
        /// The message.
        message: Frame,
        /// Why this is unknown.
        why: Unsure,
    },
    /// The [`Outbox`] did not store it. Caused by this node; not sent.
    #[error("the outbox did not store the message: {0}")]
    NotStored(io::Error),
}

impl ReliableError {
    /// Whether the message may have been handled. If false, it certainly was not.
    #[must_use]
    pub const fn may_have_been_handled(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Full { .. } | Self::Refused { .. } | Self::NotStored(_) => {
                false
            }
            Self::Failed { .. } | Self::Unknown { .. } => true,
        }
    }

    /// Whether the outcome of the message is certain, so that it can be deleted from the outbox.
    pub(crate) const fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::Unknown { .. } | Self::NotSent(RequestError::Stopped { .. }) | Self::NotStored(_)
        )
    }
}

/// An accepted message that waits to be acknowledged: a future of its outcome.
///
/// # Cancel safety
/// Dropping it cancels the message: it is not sent again, and may have been handled. It stays in an
/// [`Outbox`].
#[must_use = "dropping it cancels the message"]
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

/// The id of a message in an [`Outbox`]. It is unique among all messages of the node, across its
/// restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeptId {
    /// The incarnation of the node that stored it.
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
    /// Text whose order is the order in which the messages were stored.
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

/// The serialized form of a [`Kept`].
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
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> KeptId {
        self.id
    }

    /// Its destination.
    #[must_use]
    pub const fn to(&self) -> &PeerInfo {
        &self.to
    }

    /// The message.
    #[must_use]
    pub const fn message(&self) -> &Frame {
        &self.message
    }

    /// Serializes it, for a file or a database. `None` if that fails.
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

    /// Deserializes the result of [`to_bytes`](Self::to_bytes). `None` if the bytes are not valid.
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

/// A store, such as a file or a database, that keeps messages until they are acknowledged, so that
/// they survive a restart of this node ([`Builder::outbox`](crate::Builder::outbox)).
///
/// With an outbox, [`Peer::send_reliable`](crate::Peer::send_reliable) delivers at least once,
/// across restarts of this node. Each message is stored before its first byte is sent, and deleted
/// when its outcome is certain. When the node starts, it sends the stored messages again, in the
/// order in which they were stored, concurrently with new messages, until they are acknowledged or
/// refused.
///
/// The other node cannot detect a message that it received from an earlier incarnation of this
/// node. If a message must not be handled twice, the application adds an id to the message, and the
/// handler checks it.
///
/// Senders wait for the methods of this trait, one message after the other to each node. A store
/// that blocks should use a thread of its own (`spawn_blocking`).
///
/// # Examples
/// ```
/// use std::{collections::BTreeMap, io, sync::{Arc, Mutex}}; use actix::prelude::*; use
/// actix_peer::{Incoming, Peer, Reply, reliable::{Kept, KeptId, Outbox}, frame::Frame, handler,
/// link::AckLevel}; use futures::{FutureExt, future::{BoxFuture, ready}};
///
/// /// A real outbox writes to the disk.
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
    /// Stores a message. It is sent after the future has completed.
    ///
    /// # Errors
    /// On an error the message is not sent, and its sender gets [`ReliableError::NotStored`].
    fn store<'a>(&'a self, kept: &'a Kept) -> BoxFuture<'a, io::Result<()>>;

    /// Deletes a message, which may be deleted already.
    ///
    /// # Errors
    /// An error is logged. The message may be sent again at the next start of the node.
    fn delete(&self, id: KeptId) -> BoxFuture<'_, io::Result<()>>;

    /// Loads all stored messages. Called once, when the node starts.
    ///
    /// # Errors
    /// On an error the node does not start.
    fn load(&self) -> BoxFuture<'_, io::Result<Vec<Kept>>>;
}

/// A shared outbox.
pub(crate) type SharedOutbox = Arc<dyn Outbox>;

#[cfg(test)]
mod models;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_message_survives_serialization_and_invalid_bytes_are_refused() {
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
    fn ids_and_their_text_sort_in_the_order_in_which_messages_were_stored() {
        let names = [(1, 2), (1, 10), (2, 1), (16, 1)].map(|(life, n)| KeptId::new(life, n));
        assert!(names.is_sorted() && names.map(|name| name.to_string()).is_sorted());
    }
}

//! The messages of a tree.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Identifies a message of a tree. Two messages with equal payloads have different ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId<P> {
    /// The node that published the message.
    pub author: P,
    /// The run of the author. The numbers of two runs differ.
    pub incarnation: u64,
    /// The number of the message in this run. The first one is 0.
    pub sequence: u64,
}

/// Ids of an author with consecutive sequence numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span<P> {
    /// The first id.
    pub first: MessageId<P>,
    /// The number of ids. 0 is an empty span.
    pub count: u32,
}

impl<P: Clone> Span<P> {
    /// The ids, at most `limit` of them.
    pub(super) fn ids(&self, limit: usize) -> impl Iterator<Item = MessageId<P>> + use<P> {
        let first = self.first.clone();
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).min(limit);
        let count = u64::try_from(count).unwrap_or(0);
        (0..count).map_while(move |n| {
            let sequence = first.sequence.checked_add(n)?;
            Some(MessageId { sequence, ..first.clone() })
        })
    }
}

impl<P: PartialEq> Span<P> {
    pub(super) const fn one(id: MessageId<P>) -> Self {
        Self { first: id, count: 1 }
    }

    /// Adds an id if it is the next one.
    pub(super) fn extend(&mut self, id: &MessageId<P>) -> bool {
        let next = self.first.sequence.checked_add(u64::from(self.count));
        let fits = self.first.author == id.author
            && self.first.incarnation == id.incarnation
            && next == Some(id.sequence)
            && self.count < u32::MAX;
        if fits {
            self.count = self.count.saturating_add(1);
        }
        fits
    }
}

/// Ids as spans. The order is kept.
pub(super) fn spans<P: PartialEq>(ids: impl IntoIterator<Item = MessageId<P>>) -> Vec<Span<P>> {
    let mut spans: Vec<Span<P>> = Vec::new();
    for id in ids {
        if !spans.last_mut().is_some_and(|last| last.extend(&id)) {
            spans.push(Span::one(id));
        }
    }
    spans
}

/// Ids of messages that the sender has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced<P> {
    /// The ids.
    pub span: Span<P>,
    /// The number of links that the messages would have passed when they arrive from the sender.
    pub hops: u8,
}

/// A message between two neighbours in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreesMessage<P> {
    /// A published message.
    Payload {
        /// The id.
        id: MessageId<P>,
        /// The number of links that it has passed, this one included.
        hops: u8,
        /// How long ago it was published, in seconds, as far as the nodes on its way know.
        age: u32,
        /// The payload.
        payload: Bytes,
        /// What the author's driver added, for example a signature. It is passed on unchanged.
        proof: Bytes,
    },
    /// The sender has these messages. Answered with `Graft` if the receiver misses one.
    IHave {
        /// The ids.
        announced: Vec<Announced<P>>,
    },
    /// Asks for messages, and makes the link eager. Without ids it only does the latter. Answered
    /// with `Payload` or `Refuse` for each id.
    Graft {
        /// The ids.
        spans: Vec<Span<P>>,
    },
    /// The sender does not send these grafted messages.
    Refuse {
        /// The ids.
        spans: Vec<Span<P>>,
    },
    /// The sender has another source. Makes the link lazy.
    Prune,
}

impl<P> TreesMessage<P> {
    /// Whether the message is small and must not wait behind payloads. The driver sends it on a
    /// stream of its own.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        !matches!(self, Self::Payload { .. })
    }
}

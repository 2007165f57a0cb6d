//! Messages that wait to be acknowledged, at the sender, across links.

use std::collections::VecDeque;

use crate::{
    frame::Frame,
    link::{AckLevel, Numbered},
};

/// Messages kept until they are acknowledged, unless told otherwise.
const MAX_MESSAGES: usize = 1_024;

/// Bytes of data of them.
const MAX_BYTES: usize = 4 << 20;

/// What waits to be acknowledged by one peer. Sent in order; after a broken link what is left is
/// sent again, in order, on the next one (WIRE.md part 3, "Frames").
#[derive(Debug)]
pub struct Outbox {
    incarnation: u64,
    last_sequence: u64,
    /// In the order of their numbers.
    waiting: VecDeque<Waiting>,
    /// How many of them, from the front, have been sent on the present link.
    sent: usize,
    bytes: usize,
    /// The peer's incarnation to which something was sent.
    peer: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    numbered: Numbered,
    frame: Frame,
    /// Whether it was ever sent: then it may have been handled.
    tried: bool,
}

/// An [`Outbox`] has no room: the sender waits for an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much waits to be acknowledged")]
pub struct OutboxFull;

impl Outbox {
    /// An empty one, of a node in this incarnation, whose messages get numbers after `last`: no
    /// number goes to the same peer twice.
    #[must_use]
    pub const fn new(incarnation: u64, last: u64) -> Self {
        Self {
            incarnation,
            last_sequence: last,
            waiting: VecDeque::new(),
            sent: 0,
            bytes: 0,
            peer: None,
        }
    }

    /// The highest number that was given to a message.
    #[must_use]
    pub const fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Messages that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a message; returns its number.
    ///
    /// # Errors
    /// 1,024 messages or 4 MiB wait already. A single message of any length is taken when nothing
    /// else waits.
    pub fn push(&mut self, frame: Frame, level: AckLevel) -> Result<u64, OutboxFull> {
        let bytes = self.bytes + frame.data().len();
        if self.waiting.len() >= MAX_MESSAGES || (bytes > MAX_BYTES && !self.is_empty()) {
            return Err(OutboxFull);
        }
        self.bytes = bytes;
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        let numbered = Numbered { incarnation: self.incarnation, sequence, level };
        self.waiting.push_back(Waiting { numbered, frame, tried: false });
        Ok(sequence)
    }

    /// A link to the peer in this incarnation is open, nothing was sent on it yet. Returns the
    /// numbers of messages whose fate will never be known: they were sent to an earlier life of the
    /// peer. They do not wait any more.
    pub fn opened(&mut self, peer: u64) -> Vec<u64> {
        self.sent = 0;
        let other_life = self.peer.replace(peer).is_some_and(|before| before != peer);
        if !other_life {
            return Vec::new();
        }
        let (unknown, waiting) = self.waiting.drain(..).partition(|waiting| waiting.tried);
        self.waiting = waiting;
        self.bytes = self.waiting.iter().map(|waiting| waiting.frame.data().len()).sum();
        let unknown: VecDeque<Waiting> = unknown;
        unknown.into_iter().map(|waiting| waiting.numbered.sequence).collect()
    }

    /// The next message to send on the present link. Counts as sent.
    pub fn next_unsent(&mut self) -> Option<(Numbered, Frame)> {
        let waiting = self.waiting.get_mut(self.sent)?;
        waiting.tried = true;
        self.sent += 1;
        Some((waiting.numbered, waiting.frame.clone()))
    }

    /// The message with this number is acknowledged, or refused: it does not wait any more. False
    /// when it did not wait.
    pub fn done(&mut self, sequence: u64) -> bool {
        let found = self.waiting.binary_search_by_key(&sequence, |w| w.numbered.sequence);
        let Some((at, waiting)) = found.ok().and_then(|at| Some((at, self.waiting.remove(at)?)))
        else {
            return false;
        };
        self.bytes -= waiting.frame.data().len();
        if at < self.sent {
            self.sent -= 1;
        }
        true
    }
}

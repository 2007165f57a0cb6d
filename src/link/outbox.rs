//! Messages that wait to be acknowledged, at the sender, across links.

use std::collections::VecDeque;

use crate::{
    frame::Frame,
    link::{AckLevel, REMEMBERED, Sequenced},
};

/// How much an [`Outbox`] keeps until it is acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Messages. Default 1,024.
    pub messages: usize,
    /// Bytes of data of them. Default 4 MiB.
    pub bytes: usize,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { messages: 1_024, bytes: 4 << 20 }
    }
}

/// What becomes of a message that was sent to a life of the peer that has ended since: whether it
/// was handled then will never be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnRestart {
    /// Its sender is told so.
    #[default]
    Report,
    /// It is sent to the next life as well, and may be handled a second time.
    Resend,
}

/// What waits to be acknowledged by one peer. Sent in order; after a broken link what is left is
/// sent again, in order, on the next one ([protocol](crate::protocol#sending-again)).
#[derive(Debug)]
pub struct Outbox {
    incarnation: u64,
    series: u64,
    limits: OutboxLimits,
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
    numbered: Sequenced,
    frame: Frame,
    on_restart: OnRestart,
    /// How often it was sent: then it may have been handled.
    tries: u32,
}

/// An [`Outbox`] has no room: the sender waits for an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much waits to be acknowledged")]
pub struct OutboxFull;

impl Outbox {
    /// An empty one, of a node in this incarnation, whose messages get numbers after `last`: no
    /// number goes to the same peer twice.
    #[must_use]
    pub const fn new(incarnation: u64, last: u64, limits: OutboxLimits) -> Self {
        Self {
            incarnation,
            series: 0,
            limits,
            last_sequence: last,
            waiting: VecDeque::new(),
            sent: 0,
            bytes: 0,
            peer: None,
        }
    }

    /// Says which [series](Sequenced::series) its numbers are of. Default 0.
    #[must_use]
    pub const fn in_series(mut self, series: u64) -> Self {
        self.series = series;
        self
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

    /// Whether a message with so many bytes of data would be taken now. A single message of any
    /// length is, when nothing else waits.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let Some(oldest) = self.waiting.front() else { return true };
        // Of an older one the receiver might not know any more that it has had it.
        let span = self.last_sequence + 1 - oldest.numbered.sequence;
        self.waiting.len() < self.limits.messages
            && self.bytes.saturating_add(bytes) <= self.limits.bytes
            && span < REMEMBERED
    }

    /// Takes a message; returns its number.
    ///
    /// # Errors
    /// There is [no room](Self::has_room): as many messages, or bytes, wait already as the limits
    /// allow, or the oldest of them has waited for [`REMEMBERED`] numbers.
    pub fn push(
        &mut self,
        frame: Frame,
        level: AckLevel,
        on_restart: OnRestart,
    ) -> Result<u64, OutboxFull> {
        if !self.has_room(frame.data().len()) {
            return Err(OutboxFull);
        }
        self.bytes += frame.data().len();
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        let numbered =
            Sequenced { incarnation: self.incarnation, series: self.series, sequence, level };
        self.waiting.push_back(Waiting { numbered, frame, on_restart, tries: 0 });
        Ok(sequence)
    }

    /// Whether a link to the peer was ever opened.
    #[must_use]
    pub const fn was_opened(&self) -> bool {
        self.peer.is_some()
    }

    /// A link to the peer in this incarnation is open, nothing was sent on it yet. Returns the
    /// numbers of messages whose fate will never be known: they were sent to an earlier life of the
    /// peer, and are not to be sent to the next. They do not wait any more.
    pub fn opened(&mut self, peer: u64) -> Vec<u64> {
        self.sent = 0;
        let other_life = self.peer.replace(peer).is_some_and(|before| before != peer);
        if !other_life {
            return Vec::new();
        }
        let lost = |waiting: &Waiting| waiting.tries > 0 && waiting.on_restart == OnRestart::Report;
        let unknown = self.waiting.iter().filter(|waiting| lost(waiting));
        let unknown = unknown.map(|waiting| waiting.numbered.sequence).collect();
        self.waiting.retain(|waiting| !lost(waiting));
        self.bytes = self.waiting.iter().map(|waiting| waiting.frame.data().len()).sum();
        unknown
    }

    /// The next message to send on the present link. Counts as sent.
    pub fn next_unsent(&mut self) -> Option<(Sequenced, Frame)> {
        let waiting = self.waiting.get_mut(self.sent)?;
        waiting.tries = waiting.tries.saturating_add(1);
        self.sent += 1;
        Some((waiting.numbered, waiting.frame.clone()))
    }

    /// Nothing of the message that [`next_unsent`](Self::next_unsent) gave left this node: the link
    /// was over.
    pub fn not_sent(&mut self, sequence: u64) {
        if let Some(waiting) = self.find(sequence).and_then(|at| self.waiting.get_mut(at)) {
            waiting.tries = waiting.tries.saturating_sub(1);
        }
    }

    /// How often a message that waits was sent; none when it does not wait.
    #[must_use]
    pub fn tries(&self, sequence: u64) -> Option<u32> {
        Some(self.waiting.get(self.find(sequence)?)?.tries)
    }

    /// What becomes of a message that waits when the peer starts a new life.
    #[must_use]
    pub fn on_restart(&self, sequence: u64) -> Option<OnRestart> {
        Some(self.waiting.get(self.find(sequence)?)?.on_restart)
    }

    /// The numbers of the messages that wait, in order.
    pub fn sequences(&self) -> impl Iterator<Item = u64> {
        self.waiting.iter().map(|waiting| waiting.numbered.sequence)
    }

    fn find(&self, sequence: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&sequence, |waiting| waiting.numbered.sequence).ok()
    }

    /// The message with this number is acknowledged, or refused: it does not wait any more. False
    /// when it did not wait.
    pub fn done(&mut self, sequence: u64) -> bool {
        let found = self.find(sequence).and_then(|at| Some((at, self.waiting.remove(at)?)));
        let Some((at, waiting)) = found else { return false };
        self.bytes -= waiting.frame.data().len();
        if at < self.sent {
            self.sent -= 1;
        }
        true
    }
}

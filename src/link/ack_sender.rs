//! The messages of a sender that wait to be acknowledged, across links.

use std::collections::VecDeque;

use crate::{
    fault_points::{Sometimes, reached},
    frame::Frame,
    link::{AckLevel, REMEMBERED, Sequenced},
};

/// The limits of an [`AckSender`].
#[derive(Clone, Copy, Debug)]
pub struct AckSenderLimits {
    /// The number of messages. Default 1,024.
    pub messages: usize,
    /// The bytes of their data. Default 4 MiB.
    pub bytes: usize,
}

impl Default for AckSenderLimits {
    fn default() -> Self {
        Self { messages: 1_024, bytes: 4 << 20 }
    }
}

/// What to do with a message that was sent to an earlier incarnation of the peer and not
/// acknowledged. It is unknown whether it was handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnRestart {
    /// Report it to its sender.
    #[default]
    Report,
    /// Send it to the next incarnation as well. It may be handled a second time.
    Resend,
}

/// The messages that wait to be acknowledged by one peer. They are sent in order. After a broken
/// link the remaining messages are sent again, in order, on the next one
/// ([protocol](crate::protocol#sending-again)).
#[derive(Debug)]
pub struct AckSender {
    incarnation: u64,
    series: u64,
    limits: AckSenderLimits,
    last_sequence: u64,
    /// In the order of their numbers.
    waiting: VecDeque<Waiting>,
    /// The number of messages, from the front, that were sent on the current link.
    sent: usize,
    bytes: usize,
    /// The incarnation of the peer on the last link. `None` if no link was opened.
    peer: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    numbered: Sequenced,
    frame: Frame,
    on_restart: OnRestart,
    /// How often it was sent. If not 0, it may have been handled.
    tries: u32,
    /// Whether it was sent to an earlier incarnation of the peer.
    earlier: bool,
}

/// An [`AckSender`] has no room. The sender has to wait for an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many messages to this peer wait to be acknowledged")]
pub struct AckSenderFull;

impl AckSender {
    /// An empty sender of a node with this incarnation. The numbers of its messages begin after
    /// `last`, so that no number is used twice for one peer.
    #[must_use]
    pub const fn new(incarnation: u64, last: u64, limits: AckSenderLimits) -> Self {
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

    /// Sets the [series](Sequenced::series) of its numbers. Default 0.
    #[must_use]
    pub const fn in_series(mut self, series: u64) -> Self {
        self.series = series;
        self
    }

    /// The highest number of a message.
    #[must_use]
    pub const fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// The number of waiting messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a message with this many bytes of data would be accepted now. A single message of
    /// any length is accepted if no other waits.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let Some(oldest) = self.waiting.front() else { return true };
        // The receiver may have forgotten an older message.
        let span = self.last_sequence + 1 - oldest.numbered.sequence;
        self.waiting.len() < self.limits.messages
            && self.bytes.saturating_add(bytes) <= self.limits.bytes
            && span < REMEMBERED
    }

    /// Adds a message and returns its number.
    ///
    /// # Errors
    /// If there is [no room](Self::has_room): the waiting messages, or their bytes, have reached
    /// the limits, or the oldest of them is [`REMEMBERED`] numbers behind.
    pub fn push(
        &mut self,
        frame: Frame,
        level: AckLevel,
        on_restart: OnRestart,
    ) -> Result<u64, AckSenderFull> {
        if !self.has_room(frame.data().len()) {
            return Err(AckSenderFull);
        }
        self.bytes += frame.data().len();
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        let numbered =
            Sequenced { incarnation: self.incarnation, series: self.series, sequence, level };
        self.waiting.push_back(Waiting { numbered, frame, on_restart, tries: 0, earlier: false });
        Ok(sequence)
    }

    /// Whether a link to the peer was ever opened.
    #[must_use]
    pub const fn was_opened(&self) -> bool {
        self.peer.is_some()
    }

    /// Notes a new link to the peer with this incarnation. Removes the messages that were sent to
    /// an earlier incarnation and are not sent again, and returns their numbers. Their outcome is
    /// unknown.
    pub fn opened(&mut self, peer: u64) -> Vec<u64> {
        self.sent = 0;
        let before = self.peer.replace(peer).filter(|before| *before != peer);
        let Some(before) = before else { return Vec::new() };
        reached(if before < peer {
            Sometimes::NewIncarnation
        } else {
            Sometimes::SmallerIncarnation
        });
        let lost = |waiting: &Waiting| waiting.tries > 0 && waiting.on_restart == OnRestart::Report;
        let unknown = self.waiting.iter().filter(|waiting| lost(waiting));
        let unknown = unknown.map(|waiting| waiting.numbered.sequence).collect();
        self.waiting.retain(|waiting| !lost(waiting));
        self.waiting.iter_mut().for_each(|waiting| waiting.earlier |= waiting.tries > 0);
        self.bytes = self.waiting.iter().map(|waiting| waiting.frame.data().len()).sum();
        unknown
    }

    /// The next message to send on the current link. It counts as sent.
    pub fn next_unsent(&mut self) -> Option<(Sequenced, Frame)> {
        let waiting = self.waiting.get_mut(self.sent)?;
        waiting.tries = waiting.tries.saturating_add(1);
        self.sent += 1;
        Some((waiting.numbered, waiting.frame.clone()))
    }

    /// Notes that nothing of the message from [`next_unsent`](Self::next_unsent) was sent, because
    /// the link had ended.
    pub fn not_sent(&mut self, sequence: u64) {
        if let Some(waiting) = self.find(sequence).and_then(|at| self.waiting.get_mut(at)) {
            waiting.tries = waiting.tries.saturating_sub(1);
        }
    }

    /// How often a waiting message was sent. `None` if it does not wait.
    #[must_use]
    pub fn tries(&self, sequence: u64) -> Option<u32> {
        Some(self.waiting.get(self.find(sequence)?)?.tries)
    }

    /// Whether a waiting message was also sent to an earlier incarnation of the peer, which may have
    /// handled it.
    #[must_use]
    pub fn was_sent_earlier(&self, sequence: u64) -> bool {
        self.find(sequence).and_then(|at| self.waiting.get(at)).is_some_and(|found| found.earlier)
    }

    /// What to do with a waiting message when the peer restarts. `None` if it does not wait.
    #[must_use]
    pub fn on_restart(&self, sequence: u64) -> Option<OnRestart> {
        Some(self.waiting.get(self.find(sequence)?)?.on_restart)
    }

    /// The numbers of the waiting messages, in order.
    pub fn sequences(&self) -> impl Iterator<Item = u64> {
        self.waiting.iter().map(|waiting| waiting.numbered.sequence)
    }

    fn find(&self, sequence: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&sequence, |waiting| waiting.numbered.sequence).ok()
    }

    /// Removes the message with this number, which was acknowledged or refused. False if it did not
    /// wait.
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

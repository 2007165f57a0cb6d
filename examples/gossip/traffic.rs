//! The published messages, and how they arrived.

use actix_peer::overlay::trees::MessageId;
use indexmap::IndexMap;

use crate::network::Id;

/// A published message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) author: Id,
    /// When it was published, in microseconds.
    pub(crate) at: u64,
    /// When it arrived last.
    pub(crate) last: u64,
    /// The most links that it has passed.
    pub(crate) hops: u8,
    /// The nodes that have it, as bits.
    reached: Vec<u64>,
}

impl Message {
    pub(crate) fn has_reached(&self, node: Id) -> bool {
        let word = self.reached.get(node as usize / 64).copied().unwrap_or(0);
        node == self.author || word >> (node % 64) & 1 == 1
    }

    fn reach(&mut self, node: Id) {
        let word = node as usize / 64;
        if self.reached.len() <= word {
            self.reached.resize(word + 1, 0);
        }
        self.reached[word] |= 1 << (node % 64);
    }
}

/// What has happened since the last reset.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) messages: IndexMap<MessageId<Id>, Message>,
    /// The delays of deliveries in milliseconds: how many had each.
    pub(crate) delays: Vec<u64>,
    pub(crate) deliveries: u64,
    pub(crate) late: u64,
    pub(crate) gaps: u64,
    /// Received payloads, duplicates included, without those at silent nodes.
    pub(crate) payloads: u64,
    pub(crate) controls: u64,
}

impl Traffic {
    pub(crate) fn published(&mut self, id: MessageId<Id>, now: u64, nodes: usize) {
        let reached = vec![0; nodes.div_ceil(64)];
        let author = id.author;
        self.messages.insert(id, Message { author, at: now, last: now, hops: 0, reached });
    }

    pub(crate) fn arrived(&mut self, is_control: bool, silent: bool) {
        if is_control {
            self.controls += 1;
        } else if !silent {
            self.payloads += 1;
        }
    }

    pub(crate) fn delivered(&mut self, at: Id, id: &MessageId<Id>, hops: u8, late: bool, now: u64) {
        let Some(message) = self.messages.get_mut(id) else { return };
        message.hops = message.hops.max(hops);
        message.last = message.last.max(now);
        message.reach(at);
        self.deliveries += 1;
        self.late += u64::from(late);
        let delay = usize::try_from((now - message.at) / 1_000).unwrap_or(0).min(60_000);
        if self.delays.len() <= delay {
            self.delays.resize(delay + 1, 0);
        }
        self.delays[delay] += 1;
    }

    /// The delay in milliseconds that `share` of the deliveries did not exceed.
    pub(crate) fn delay(&self, share: f64) -> f64 {
        let wanted = (self.deliveries as f64 * share).ceil();
        let mut sum = 0.0;
        for (delay, count) in self.delays.iter().enumerate() {
            sum += *count as f64;
            if sum >= wanted {
                return delay as f64;
            }
        }
        0.0
    }

    /// Received duplicates for each delivery.
    pub(crate) fn redundancy(&self) -> f64 {
        if self.deliveries == 0 {
            return 0.0;
        }
        self.payloads as f64 / self.deliveries as f64 - 1.0
    }
}

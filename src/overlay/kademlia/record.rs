//! The record that a publisher stores under a key.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::overlay::{PeerInfo, kademlia::Key};

/// The record of a publisher under a key. There is one record for each publisher and key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub(super) key: Key,
    pub(super) publisher: PeerInfo,
    pub(super) sequence: u64,
    pub(super) seconds: u32,
    pub(super) value: Vec<u8>,
}

impl Record {
    /// Makes a record that is valid for this number of `seconds` from now. Of two records of a
    /// publisher, the one with the higher `sequence` is the newer.
    #[must_use]
    pub const fn new(
        key: Key,
        publisher: PeerInfo,
        sequence: u64,
        seconds: u32,
        value: Vec<u8>,
    ) -> Self {
        Self { key, publisher, sequence, seconds, value }
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// The publisher, as the nodes that kept the record report.
    #[must_use]
    pub const fn publisher(&self) -> &PeerInfo {
        &self.publisher
    }

    /// The sequence number among the publisher's records under this key.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The remaining lifetime.
    #[must_use]
    pub const fn time_left(&self) -> Duration {
        Duration::from_secs(self.seconds as u64)
    }

    /// The value; empty for a provider.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The value; empty for a provider.
    #[must_use]
    pub fn into_value(self) -> Vec<u8> {
        self.value
    }

    /// Whether it only announces that its publisher provides something: it has no value. It is
    /// useful as long as its publisher is alive, while a value is valid for its lifetime.
    #[must_use]
    pub const fn is_provider(&self) -> bool {
        self.value.is_empty()
    }

    /// Whether it is newer than another record of the publisher: by sequence, and for the same
    /// sequence by value, so that all nodes agree in the end.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.sequence, &self.value) > (other.sequence, &other.value)
    }
}

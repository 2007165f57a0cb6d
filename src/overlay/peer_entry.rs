//! A known peer, and a peer that may become one.

use std::time::Instant;

use serde::Serialize;

use crate::overlay::{Host, PeerId, PeerInfo};

/// How a peer was learned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Learned {
    /// The application added it.
    Manual,
    /// It was the first contact of a join.
    Contact,
    /// It introduced itself with `JOIN`.
    Joined,
    /// Another peer listed it.
    Listed {
        /// The peer that listed it.
        by: PeerId,
    },
    /// It announced itself in the local network (feature `mdns`).
    Nearby,
    /// It was in the address book from before a restart.
    Remembered,
    /// It became a neighbour of this node (feature `gossip`).
    Neighbor,
}

impl Learned {
    /// Whether the peer came to this node, or may have: others decided that it is known here.
    pub(crate) const fn came_by_itself(&self) -> bool {
        matches!(self, Self::Joined | Self::Neighbor)
    }
}

/// One known peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEntry {
    pub(super) info: PeerInfo,
    pub(super) learned: Learned,
    pub(super) added: Instant,
    pub(super) seen_at: Host,
    pub(super) verified: Option<Instant>,
    pub(super) last_seen: Option<Instant>,
}

impl PeerEntry {
    /// Id, host and port.
    #[must_use]
    pub const fn info(&self) -> &PeerInfo {
        &self.info
    }

    /// How it was learned.
    #[must_use]
    pub const fn learned(&self) -> &Learned {
        &self.learned
    }

    /// When it was added.
    #[must_use]
    pub const fn added(&self) -> Instant {
        self.added
    }

    /// The address that it was seen at: where its connection came from, or where it answered. It
    /// counts for the shares of the table.
    #[must_use]
    pub const fn seen_at(&self) -> &Host {
        &self.seen_at
    }

    /// When it was verified: a node with its id has answered at its address, it has proved its id,
    /// or the application vouches for it. `None` if only its own claim is known.
    #[must_use]
    pub const fn verified(&self) -> Option<Instant> {
        self.verified
    }

    /// When it was last seen alive by this node; `None` if it never was.
    #[must_use]
    pub const fn last_seen(&self) -> Option<Instant> {
        self.last_seen
    }
}

/// A peer that may be added to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Id, host and port.
    pub info: PeerInfo,
    /// How it was learned.
    pub learned: Learned,
    /// The address that it was seen at: where its connection came from, or where it answered. A
    /// host name does not count, because the owner of a domain can create any number of them.
    pub seen_at: Host,
    /// Whether a node with its id has answered there, or has proved the id.
    pub verified: bool,
}

impl Candidate {
    /// Makes a candidate of which only its own claim is known.
    #[must_use]
    pub fn new(info: PeerInfo, learned: Learned) -> Self {
        Self { seen_at: info.host().clone(), info, learned, verified: false }
    }

    /// Sets the address where it was seen.
    #[must_use]
    pub fn seen_at(mut self, host: Host) -> Self {
        self.seen_at = host;
        self
    }

    /// Sets whether it is verified.
    #[must_use]
    pub const fn verified(mut self, verified: bool) -> Self {
        self.verified = verified;
        self
    }
}

//! What came of a join.

use crate::overlay::{Address, AskFailure, PeerInfo};

/// Why a walk came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JoinEnd {
    /// Everybody within reach was asked.
    Complete,
    /// The own table is full.
    TableFull,
    /// The own table holds as many peers as wanted.
    TargetReached,
    /// As many questions as allowed were asked.
    AskLimit,
    /// The time is up.
    TimeUp,
    /// The contact cannot be reached, or does not say its name.
    ContactFailed,
    /// The contact is the node itself.
    ContactIsSelf,
}

/// What came of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReport {
    pub(super) added: Vec<PeerInfo>,
    pub(super) refused: Vec<(Address, String)>,
    pub(super) failed: Vec<(Address, AskFailure)>,
    pub(super) elsewhere: Vec<(PeerInfo, Address)>,
    pub(super) asked: usize,
    pub(super) end: JoinEnd,
}

impl JoinReport {
    /// The peers that were added to the own table.
    #[must_use]
    pub fn added(&self) -> &[PeerInfo] {
        &self.added
    }

    /// The nodes that refused to add this one, with their words as they came (at most 256
    /// characters).
    #[must_use]
    pub fn refused(&self) -> &[(Address, String)] {
        &self.refused
    }

    /// The nodes that did not answer, or not in the protocol, or that were not asked.
    #[must_use]
    pub fn failed(&self) -> &[(Address, AskFailure)] {
        &self.failed
    }

    /// The nodes that list another node with this node's id, each with the address that it lists. They
    /// are among those that [refused](Self::refused).
    #[must_use]
    pub fn elsewhere(&self) -> &[(PeerInfo, Address)] {
        &self.elsewhere
    }

    /// How many questions were asked.
    #[must_use]
    pub const fn asked(&self) -> usize {
        self.asked
    }

    /// Why the walk came to its end.
    #[must_use]
    pub const fn end(&self) -> JoinEnd {
        self.end
    }
}

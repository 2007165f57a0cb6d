//! What came of a join.

use crate::overlay::{Address, JoinFailure, PeerInfo};

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
    /// The contact cannot be reached, or does not take part, and no other node took this one in.
    ContactFailed,
    /// The contact is the node itself.
    ContactIsSelf,
}

/// What came of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReport {
    pub(super) added: Vec<PeerInfo>,
    pub(super) listed_by: Vec<PeerInfo>,
    pub(super) refused: Vec<(Address, JoinFailure)>,
    pub(super) failed: Vec<(Address, JoinFailure)>,
    pub(super) elsewhere: Vec<(PeerInfo, Address)>,
    pub(super) asked: usize,
    pub(super) end: JoinEnd,
}

/// Puts the last word of an address in place of an earlier one.
fn put(list: &mut Vec<(Address, JoinFailure)>, at: Address, why: JoinFailure) {
    list.retain(|(address, _)| *address != at);
    list.push((at, why));
}

impl JoinReport {
    pub(super) const fn new() -> Self {
        Self {
            added: Vec::new(),
            listed_by: Vec::new(),
            refused: Vec::new(),
            failed: Vec::new(),
            elsewhere: Vec::new(),
            asked: 0,
            end: JoinEnd::Complete,
        }
    }

    pub(super) fn note_failed(&mut self, at: Address, why: JoinFailure) {
        put(&mut self.failed, at, why);
    }

    pub(super) fn note_refused(&mut self, at: Address, why: JoinFailure) {
        put(&mut self.refused, at, why);
    }

    /// A node lists this one: what it answered before does not count any more.
    pub(super) fn note_listed(&mut self, by: PeerInfo) {
        let others = |(address, _): &(Address, JoinFailure)| address != by.address();
        self.refused.retain(others);
        self.failed.retain(others);
        self.listed_by.push(by);
    }

    /// The peers that were added to the own table.
    #[must_use]
    pub fn added(&self) -> &[PeerInfo] {
        &self.added
    }

    /// The peers that said in this walk that they have this node in their tables. With none, this node
    /// is **listed nowhere** as far as the walk has come: no other node finds it.
    #[must_use]
    pub fn listed_by(&self) -> &[PeerInfo] {
        &self.listed_by
    }

    /// The nodes that were asked to add this one and did not, and why, with the last answer of each.
    #[must_use]
    pub fn refused(&self) -> &[(Address, JoinFailure)] {
        &self.refused
    }

    /// The nodes that did not answer, or not in the protocol, or that were not asked, and why.
    #[must_use]
    pub fn failed(&self) -> &[(Address, JoinFailure)] {
        &self.failed
    }

    /// Why the node at this address did not take part or did not take this node in; `None` if it did,
    /// or was not asked.
    #[must_use]
    pub fn why_not(&self, at: &Address) -> Option<&JoinFailure> {
        let all = self.refused.iter().chain(&self.failed);
        all.filter(|(address, _)| address == at).map(|(_, why)| why).next()
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

//! The report of a join.

use crate::overlay::{Address, JoinFailure, PeerInfo};

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JoinEnd {
    /// Every reachable node was asked.
    Complete,
    /// The own table is full.
    TableFull,
    /// The own table has reached the target.
    TargetReached,
    /// The maximum number of questions was asked.
    AskLimit,
    /// The time is up.
    TimeUp,
    /// The contact cannot be reached, or does not take part, and no other node admitted this one.
    ContactFailed,
    /// The contact is the node itself.
    ContactIsSelf,
}

/// The report of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReport {
    pub(super) added: Vec<PeerInfo>,
    pub(super) listed_by: Vec<PeerInfo>,
    pub(super) refused: Vec<(Address, JoinFailure)>,
    pub(super) failed: Vec<(Address, JoinFailure)>,
    pub(super) elsewhere: Vec<(PeerInfo, Address)>,
    pub(super) neighbor: Option<PeerInfo>,
    pub(super) asked: usize,
    pub(super) end: JoinEnd,
}

/// Replaces the earlier failure of an address with its latest one.
fn replace(list: &mut Vec<(Address, JoinFailure)>, at: Address, why: JoinFailure) {
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
            neighbor: None,
            asked: 0,
            end: JoinEnd::Complete,
        }
    }

    pub(super) fn note_failed(&mut self, at: Address, why: JoinFailure) {
        replace(&mut self.failed, at, why);
    }

    pub(super) fn note_refused(&mut self, at: Address, why: JoinFailure) {
        replace(&mut self.refused, at, why);
    }

    /// A node lists this one: its earlier answers do not count any more.
    pub(super) fn note_listed(&mut self, by: PeerInfo) {
        let others = |(address, _): &(Address, JoinFailure)| address != by.address();
        self.refused.retain(others);
        self.failed.retain(others);
        self.listed_by.push(by);
    }

    /// Notes a peer that was added to the table because it became a neighbour meanwhile.
    #[cfg(feature = "gossip")]
    pub(crate) fn note_added(&mut self, peer: PeerInfo) {
        if !self.added.contains(&peer) {
            self.added.push(peer);
        }
    }

    /// The peers that were added to the own table.
    #[must_use]
    pub fn added(&self) -> &[PeerInfo] {
        &self.added
    }

    /// The peers that said in this walk that they have this node in their tables. If there are
    /// none, this node is **listed nowhere** as far as the walk has come: no other node can find
    /// it.
    #[must_use]
    pub fn listed_by(&self) -> &[PeerInfo] {
        &self.listed_by
    }

    /// Notes the neighbour by which this node has entered the network.
    #[cfg(feature = "gossip")]
    pub(crate) fn note_neighbor(&mut self, neighbor: PeerInfo) {
        self.neighbor = Some(neighbor);
    }

    /// The node that took this one in as a neighbour (feature `gossip`), even if its table has no
    /// room: the contact, or a node that the contact named. `None` if the walk was over first, or
    /// if this node keeps no neighbours.
    #[must_use]
    pub const fn neighbor(&self) -> Option<&PeerInfo> {
        self.neighbor.as_ref()
    }

    /// The nodes that were asked to add this one and did not, each with the reason in its last
    /// answer.
    #[must_use]
    pub fn refused(&self) -> &[(Address, JoinFailure)] {
        &self.refused
    }

    /// The nodes that did not answer, did not answer in the protocol, or were not asked, with the
    /// reason.
    #[must_use]
    pub fn failed(&self) -> &[(Address, JoinFailure)] {
        &self.failed
    }

    /// Why the node at this address did not take part or did not admit this node; `None` if it did,
    /// or was not asked.
    #[must_use]
    pub fn why_not(&self, at: &Address) -> Option<&JoinFailure> {
        let all = self.refused.iter().chain(&self.failed);
        all.filter(|(address, _)| address == at).map(|(_, why)| why).next()
    }

    /// The nodes that list another node with this node's id, each with the listed address. They are
    /// among those that [refused](Self::refused).
    #[must_use]
    pub fn elsewhere(&self) -> &[(PeerInfo, Address)] {
        &self.elsewhere
    }

    /// The number of questions that were asked.
    #[must_use]
    pub const fn asked(&self) -> usize {
        self.asked
    }

    /// Why the walk ended.
    #[must_use]
    pub const fn end(&self) -> JoinEnd {
        self.end
    }
}

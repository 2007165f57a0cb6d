//! Verification: a peer is in the table of peers because it answers `NAME` with its id at its
//! address. Every node that enters the table by itself goes through [`verify_and_admit`]; the
//! exceptions are those that the application adds and those that return.

mod moves;
mod sweep;

use std::sync::{Arc, atomic::Ordering};

pub(crate) use self::{moves::two_addresses, sweep::Verification};
use crate::{
    frame::{Frame, TypeCode},
    overlay::{Added, Address, Candidate, PeerInfo, Verdict, WITHIN},
    peer::{NodeDown, Peers, asking::hosts::ResolvedHosts, asking::question},
    session,
    session::Endpoint,
};

/// When a candidate is asked for its `NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskName<'a> {
    /// Before it is added. `named_by` is the address of the node that named the candidate, if
    /// another node did: that node may not name every address.
    First { named_by: Option<&'a Address> },
    /// After it is added, by [`Verification`]. It is removed if it does not answer.
    Later,
    /// It has just answered, has proved its id, or needs no verification. `proven` is whether it
    /// has proved its id.
    Never { proven: bool },
}

/// How a candidate enters the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy<'a> {
    pub(crate) ask: AskName<'a>,
    /// Whether this node introduces itself to a peer that was added.
    pub(crate) introduce: bool,
}

/// The result for a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was not asked: it is this node, is banned or not admitted, has no address that this node
    /// may dial, or was dialled too often.
    NotAsked,
    /// No node with its id answered.
    NotVerified,
    /// It answered that it is busy. It may be asked at another time.
    Busy,
    /// It has been added to the table.
    Added,
    /// It was in the table already.
    Known,
    /// Its id is in the table with another address.
    Elsewhere,
    /// The table did not take it.
    Refused(Added),
}

impl Outcome {
    /// The answer of the table, if it was asked. A candidate that was not asked or not verified
    /// counts as known.
    pub(crate) const fn added(&self) -> Added {
        match self {
            Self::Added => Added::Added,
            Self::Refused(added) => *added,
            _ => Added::AlreadyKnown,
        }
    }
}

/// Verifies a candidate and admits it to the table, within the shares of newcomers.
///
/// If its id is in the table with another address and is proven, the entry takes the new address at
/// once. If the id is not proven, the node checks in the background whether the old address still
/// answers.
pub(crate) async fn verify_and_admit(
    node: &Arc<Endpoint>,
    peers: &Peers,
    mut candidate: Candidate,
    Policy { ask, introduce }: Policy<'_>,
) -> Result<Outcome, NodeDown> {
    let proven = match ask {
        AskName::First { named_by } => {
            let info = &candidate.info;
            if peers.get(info.id()).await?.is_some() {
                return Ok(Outcome::Known);
            }
            let mut hosts = ResolvedHosts::default();
            if !may_ask(node, &mut hosts, info, named_by).await {
                return Ok(Outcome::NotAsked);
            }
            match ask_name(node, info).await {
                Verdict::Verified => {}
                Verdict::Busy => return Ok(Outcome::Busy),
                Verdict::Another | Verdict::StoodStill | Verdict::Silent => {
                    return Ok(Outcome::NotVerified);
                }
            }
            let seen_at = hosts.of(node, info.host()).await.first();
            candidate.seen_at = seen_at.unwrap_or_else(|| info.host()).clone();
            node.secure && candidate.info.id().is_key()
        }
        AskName::Later => false,
        AskName::Never { proven } => proven,
    };
    candidate.verified = ask != AskName::Later;
    let info = candidate.info.clone();
    let outcome = moves::admit(node, peers, candidate, proven).await?;
    if outcome != Outcome::Added {
        return Ok(outcome);
    }
    // A peer that was asked and is not told of this node does not know it.
    if introduce || !matches!(ask, AskName::First { .. }) {
        node.joined.store(true, Ordering::Relaxed);
    }
    if ask == AskName::Later {
        node.verifications.note_unverified();
    }
    if introduce {
        // The answer does not matter: the peer may know this node, be full, or admit it.
        let introduction = Frame::text(TypeCode::JOIN, node.me.to_string());
        question(node, (info.address(), Some(info.id())), introduction, WITHIN).await.ok();
    }
    Ok(outcome)
}

/// Whether this node may ask a peer that it knows only from another node, or from an earlier run,
/// at the pace of unverified addresses.
pub(crate) async fn may_ask(
    node: &Endpoint,
    hosts: &mut ResolvedHosts,
    peer: &PeerInfo,
    named_by: Option<&Address>,
) -> bool {
    let (id, at) = (peer.id(), peer.address());
    if id == node.me.id()
        || !node.transport.admits(id)
        || node.bans.refuses_id(id)
        || node.bans.refuses(at)
    {
        return false;
    }
    let is_place = match named_by {
        Some(by) => hosts.may_go(node, at, by).await,
        None => hosts.has_place(node, at.host()).await,
    };
    is_place && node.may_dial(at).await
}

/// Whether this node may ask a peer of its table that it has not verified: at the pace of dials,
/// unless a link is open, over which no dial is needed. For questions whose number is bounded
/// otherwise.
async fn may_reach(node: &Endpoint, peer: &PeerInfo) -> bool {
    let at = peer.address();
    session::is_open(node, (at, Some(peer.id()))) || node.may_dial(at).await
}

/// Asks the node at the address of a peer for its `NAME`.
pub(crate) async fn ask_name(node: &Arc<Endpoint>, peer: &PeerInfo) -> Verdict {
    let (id, at) = (peer.id(), peer.address());
    let answer = question(node, (at, Some(id)), Frame::empty(TypeCode::NAME), WITHIN).await;
    let verdict = Verdict::of(&answer, id);
    if verdict == Verdict::Verified {
        node.answered(at);
    }
    verdict
}

//! Ids that appear at another address than the one in the table.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use tokio::time::{Instant, sleep_until};

use crate::{
    frame::{Frame, TypeCode},
    node::Removed,
    overlay::{ASKED_AFTER, Added, AskFailure, Candidate, PeerEntry, PeerInfo, Verdict, WITHIN},
    peer::{
        NodeDown, Peers,
        introduce::two_addresses,
        list::{tell_added, tell_removed},
        question::question,
    },
    session::Endpoint,
    time::{Later, now},
};

impl Peers {
    /// Replaces the entry with the candidate's id. With `of`, only if that is still the entry;
    /// without it, only if the id has not moved in the last ten minutes.
    async fn take_over(
        &self,
        candidate: &Candidate,
        of: Option<&PeerEntry>,
    ) -> Result<Added, NodeDown> {
        let (candidate, of) = (candidate.clone(), of.map(PeerEntry::added));
        self.with(move |table, node| {
            let id = candidate.info.id();
            let is_as_before = match (table.list.get(id), of) {
                (Some(entry), Some(added)) => entry.added() == added,
                (Some(_), None) => table.moves.moves(id, now()),
                (None, _) => true,
            };
            if !is_as_before {
                return Added::AlreadyKnown;
            }
            let shares = node.config.shares();
            let (added, old) = shares.readmit(&mut table.list, candidate.clone(), now());
            tell_removed(old.as_ref(), Removed::Moved, node);
            tell_added(&added, &candidate.info, node);
            added
        })
        .await
    }
}

/// The result of admitting a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It has been added to the table.
    Added,
    /// It was in the table already, at this address.
    Known,
    /// Its id is in the table with another address.
    Elsewhere(PeerInfo),
    /// It was not added to the table.
    Not(Added),
}

/// Admits a candidate to the table. If its id is in the table with another address and is proven,
/// the entry takes the new address at once. If the id is not proven, the node checks in the
/// background whether the old address still answers.
pub(crate) async fn admit(
    node: &Arc<Endpoint>,
    peers: &Peers,
    candidate: Candidate,
    proven: bool,
) -> Result<Admitted, NodeDown> {
    match peers.admit(candidate.clone()).await? {
        Added::Added => return Ok(Admitted::Added),
        Added::AlreadyKnown => {}
        not => return Ok(Admitted::Not(not)),
    }
    let Some(entry) = peers.get(candidate.info.id()).await? else { return Ok(Admitted::Known) };
    if entry.info() == &candidate.info {
        return Ok(Admitted::Known);
    }
    if proven {
        match peers.take_over(&candidate.clone().verified(true), None).await? {
            Added::Added => return Ok(Admitted::Added),
            Added::AlreadyKnown => {}
            not => return Ok(Admitted::Not(not)),
        }
    }
    let listed = entry.info().clone();
    begin(node, peers, entry, candidate).await?;
    Ok(Admitted::Elsewhere(listed))
}

/// Starts a check of where the id is. One check for each id at a time.
async fn begin(
    node: &Arc<Endpoint>,
    peers: &Peers,
    entry: PeerEntry,
    candidate: Candidate,
) -> Result<(), NodeDown> {
    let id = entry.info().id().clone();
    let of = id.clone();
    if !peers.with(move |table, _| table.moves.begin(&of, now())).await? {
        return Ok(());
    }
    let (of, node, peers) = (Arc::clone(node), Arc::clone(node), peers.clone());
    let run = async move {
        // A transport that panics changes no entry.
        let look = AssertUnwindSafe(look(&node, &peers, &entry, candidate)).catch_unwind();
        look.await.map(drop).ok();
        peers.with(move |table, _| table.moves.ended(&id)).await.ok();
    };
    of.spawn(of.until_drain(run));
    Ok(())
}

/// Asks at the listed address until it has not answered three times, then at the other one. A node
/// that falsely claims the id of a live peer can therefore only cause dials to that peer.
async fn look(
    node: &Arc<Endpoint>,
    peers: &Peers,
    entry: &PeerEntry,
    candidate: Candidate,
) -> Result<(), NodeDown> {
    let (id, listed, other) = (entry.info().id(), entry.info().address(), candidate.info.address());
    let name = || Frame::empty(TypeCode::NAME);
    let begun = Instant::now();
    for after in ASKED_AFTER {
        sleep_until(begun.later(after)).await;
        match peers.get(id).await? {
            // The peer was removed meanwhile.
            None => break,
            Some(known) if known.added() != entry.added() => return Ok(()),
            Some(_) => {}
        }
        let answer = question(node, (listed, Some(id)), name(), WITHIN).await;
        if answer == Err(AskFailure::StoodStill) {
            return Ok(());
        }
        match Verdict::of(&answer, id) {
            Verdict::Verified => {
                let (of, at) = (id.clone(), other.clone());
                if peers.with(move |table, _| table.moves.tell(&of, &at, now())).await? {
                    two_addresses(node, id, listed, other, None);
                }
                return Ok(());
            }
            Verdict::Another => break,
            Verdict::Silent => {}
        }
    }
    if !node.may_dial(other).await {
        return Ok(());
    }
    let answer = question(node, (other, Some(id)), name(), WITHIN).await;
    if Verdict::of(&answer, id) == Verdict::Verified {
        node.answered(other);
        let added = peers.take_over(&candidate.clone().verified(true), Some(entry)).await?;
        tracing::debug!(%id, %listed, %other, ?added, "a peer has moved");
    }
    Ok(())
}

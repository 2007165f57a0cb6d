//! Ids that appear at another address than the one in the table.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::{Outcome, ask_name, may_reach};
use crate::{
    node::{PeerEvent, Removed},
    overlay::{ASKED_AFTER, Added, Address, Candidate, PeerEntry, PeerId, PeerInfo, Verdict},
    peer::{
        NodeDown, Peers,
        table::{tell_added, tell_removed},
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
                (Some(_), None) => table.moves.record_move(id, now()),
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

/// Admits a candidate to the table. If its id is in the table with another address and is proven,
/// the entry takes the new address at once. If the id is not proven, the node checks in the
/// background whether the old address still answers.
pub(super) async fn admit(
    node: &Arc<Endpoint>,
    peers: &Peers,
    candidate: Candidate,
    proven: bool,
) -> Result<Outcome, NodeDown> {
    match peers.admit(candidate.clone()).await? {
        Added::Added => return Ok(Outcome::Added),
        Added::AlreadyKnown => {}
        not => return Ok(Outcome::Refused(not)),
    }
    let Some(entry) = peers.get(candidate.info.id()).await? else { return Ok(Outcome::Known) };
    if entry.info() == &candidate.info {
        return Ok(Outcome::Known);
    }
    if proven {
        match peers.take_over(&candidate.clone().verified(true), None).await? {
            Added::Added => return Ok(Outcome::Added),
            Added::AlreadyKnown => {}
            not => return Ok(Outcome::Refused(not)),
        }
    }
    begin(node, peers, entry, candidate).await?;
    Ok(Outcome::Elsewhere)
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
    let begun = Instant::now();
    for after in ASKED_AFTER {
        sleep_until(begun.later(after)).await;
        match peers.get(id).await? {
            // The peer was removed meanwhile.
            None => break,
            Some(known) if known.added() != entry.added() => return Ok(()),
            Some(_) => {}
        }
        match ask_name(node, entry.info()).await {
            Verdict::Verified => {
                let (of, at) = (id.clone(), other.clone());
                if peers.with(move |table, _| table.moves.should_report(&of, &at, now())).await? {
                    two_addresses(node, id, listed, other, None);
                }
                return Ok(());
            }
            Verdict::Another => break,
            Verdict::StoodStill => return Ok(()),
            Verdict::Busy | Verdict::Silent => {}
        }
    }
    if !may_reach(node, &candidate.info).await {
        return Ok(());
    }
    if ask_name(node, &candidate.info).await == Verdict::Verified {
        let added = peers.take_over(&candidate.clone().verified(true), Some(entry)).await?;
        tracing::debug!(%id, %listed, %other, ?added, "a peer has moved");
    }
    Ok(())
}

/// Counts and reports that one id is at two addresses.
pub(crate) fn two_addresses(
    node: &Endpoint,
    id: &PeerId,
    listed: &Address,
    other: &Address,
    told_by: Option<PeerInfo>,
) {
    node.counters.ids_at_two_addresses.one();
    tracing::warn!(%id, %listed, %other, "one id at two addresses");
    let (id, listed, other) = (id.clone(), listed.clone(), other.clone());
    node.emit(&PeerEvent::TwoAddresses { id, listed, other, told_by });
}

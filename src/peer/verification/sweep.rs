//! The maintenance that verifies peers in the table. A peer that has joined is asked for its `NAME`
//! at its announced address. A peer at whose address another node was found is asked there again.

use std::{
    cell::RefCell,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    future::{LocalBoxFuture, join},
};
use indexmap::IndexSet;
use tokio::time::{sleep, sleep_until};

use super::{ask_name, may_reach};
use crate::{
    frame::{Frame, TypeCode},
    overlay::{ASKED_AFTER, ASKED_LATER, Address, PeerEntry, PeerId, Verdict, WITHIN},
    peer::{
        NodeDown, Peers,
        asking::question,
        maintenance::{Maintenance, NodeContext, run_jobs},
    },
    session::Endpoint,
    time::Later,
};

/// How long the node waits for further peers that join, before it looks at the table. The first
/// question is later than that anyway.
const TOGETHER: Duration = Duration::from_millis(100);

/// Verifies the peers that have joined, and those at whose addresses other nodes were found.
pub(crate) struct Verification;

/// The verifications of joined peers that have begun. Their number is that of the unverified peers,
/// which is a share of the table. Each lasts until its last question has ended. If its peer has
/// left or was displaced, it ends at the time of the next question and asks nothing.
type Begun = RefCell<IndexSet<(PeerId, Instant)>>;

impl Maintenance for Verification {
    fn name(&self) -> &'static str {
        "verification"
    }

    fn run<'a>(&'a self, NodeContext { node, peers }: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let begun = Begun::default();
            // A predecessor that died has not verified them.
            node.verifications.note_unverified();
            let next = || async {
                node.verifications.unverified().await;
                sleep(TOGETHER).await;
                joined(peers, &begun).await
            };
            let run = |entry| verify_joined(node, peers, entry, &begun);
            join(run_jobs(next, run), verify_all_anew(node, peers)).await;
        })
    }
}

/// The peers in the table that have joined and whose verification has not begun.
async fn joined(peers: &Peers, begun: &Begun) -> Result<Vec<PeerEntry>, NodeDown> {
    let unverified = peers.with(|table, _| {
        let joined =
            |entry: &&PeerEntry| entry.verified().is_none() && entry.learned().came_by_itself();
        table.list.iter().filter(joined).cloned().collect::<Vec<_>>()
    });
    let mut unverified = unverified.await?;
    unverified
        .retain(|entry| begun.borrow_mut().insert((entry.info().id().clone(), entry.added())));
    Ok(unverified)
}

async fn verify_joined(node: &Arc<Endpoint>, peers: &Peers, entry: PeerEntry, begun: &Begun) {
    // A transport that panics verifies no peer.
    let verified = AssertUnwindSafe(verify(node, peers, &entry)).catch_unwind().await;
    if let Ok(Ok(false)) | Err(_) = verified {
        peers.give_up(&entry).await.ok();
    }
    begun.borrow_mut().swap_remove(&(entry.info().id().clone(), entry.added()));
}

/// Verifies the peers at whose addresses other nodes were found, one after the other: several
/// messages that found another node lead to one question.
async fn verify_all_anew(node: &Arc<Endpoint>, peers: &Peers) {
    loop {
        let (id, at) = node.verifications.next_elsewhere().await;
        // A transport that panics counts as no answer.
        AssertUnwindSafe(verify_anew(node, peers, &id, &at)).catch_unwind().await.ok();
    }
}

/// Asks which node is at the address of a peer.
async fn verify_anew(node: &Arc<Endpoint>, peers: &Peers, id: &PeerId, at: &Address) {
    let Ok(Some(entry)) = peers.get(id).await else { return };
    if entry.info().address() != at {
        return;
    }
    // The question is for any node at the address: the answer says which one it is.
    let name = question(node, (at, None), Frame::empty(TypeCode::NAME), WITHIN);
    if Verdict::of(&name.await, id) == Verdict::Another {
        peers.replaced(&entry).await.ok();
    }
}

/// Whether the peer is verified, or its entry has changed.
async fn verify(node: &Arc<Endpoint>, peers: &Peers, entry: &PeerEntry) -> Result<bool, NodeDown> {
    let (id, mut was_asked) = (entry.info().id(), false);
    for (n, after) in ASKED_AFTER.into_iter().chain(ASKED_LATER).enumerate() {
        if was_asked && n >= ASKED_AFTER.len() {
            break;
        }
        sleep_until(entry.added().later(after).into()).await;
        let known = peers.get(id).await?;
        if known.is_none_or(|known| known.added() != entry.added() || known.verified().is_some()) {
            return Ok(true);
        }
        if !may_reach(node, entry.info()).await {
            continue;
        }
        was_asked = true;
        match ask_name(node, entry.info()).await {
            Verdict::Verified => return peers.verify(entry).await,
            Verdict::Another => return Ok(false),
            Verdict::Busy | Verdict::StoodStill | Verdict::Silent => {}
        }
    }
    Ok(false)
}

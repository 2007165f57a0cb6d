//! Verification of peers that have joined: each is asked for its `NAME` at its announced address.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use tokio::time::{Instant, sleep_until};

use crate::{
    frame::{Frame, TypeCode},
    overlay::{ASKED_AFTER, PeerEntry, PeerInfo, Verdict, WITHIN},
    peer::{NodeDown, Peers, stabilizer::question},
    session::Endpoint,
    time::Later,
};

/// Starts the verification of a peer that has just been added; the peer is removed if it fails. The
/// number of verifications is that of the unverified peers, which is a share of the table. Each
/// lasts until its last question has ended. If its peer has left or was displaced, it ends at the
/// time of the next question and asks nothing.
pub(crate) fn begin(node: &Arc<Endpoint>, peers: &Peers, peer: PeerInfo) {
    let (of, node, peers) = (Arc::clone(node), Arc::clone(node), peers.clone());
    let run = async move {
        let Ok(Some(entry)) = peers.get(peer.id()).await else { return };
        // A transport that panics verifies no peer.
        let verified = AssertUnwindSafe(verify(&node, &peers, &entry)).catch_unwind().await;
        if let Ok(Ok(false)) | Err(_) = verified {
            peers.give_up(&entry).await.ok();
        }
    };
    of.spawn(of.until_drain(run));
}

/// Verifies peers again at whose addresses other nodes were found, until the node ends.
pub(crate) async fn verify_anew(node: Arc<Endpoint>, peers: Peers) {
    loop {
        let (id, at) = node.reverifications.next().await;
        let Ok(known) = peers.get(&id).await else { return };
        let Some(entry) = known.filter(|entry| *entry.info().address() == at) else { continue };
        // The question is for any node at the address: the answer says which one it is.
        let name = question(&node, (&at, None), Frame::empty(TypeCode::NAME), WITHIN);
        // A transport that panics counts as no answer.
        if let Ok(answer) = AssertUnwindSafe(name).catch_unwind().await
            && Verdict::of(&answer, &id) == Verdict::Another
        {
            peers.replaced(&entry).await.ok();
        }
    }
}

/// Whether the peer is verified, or its entry has changed.
async fn verify(node: &Arc<Endpoint>, peers: &Peers, entry: &PeerEntry) -> Result<bool, NodeDown> {
    let (id, at) = (entry.info().id(), entry.info().address());
    for after in ASKED_AFTER {
        sleep_until(Instant::from_std(entry.added()).later(after)).await;
        let known = peers.get(id).await?;
        if known.is_none_or(|known| known.added() != entry.added() || known.verified().is_some()) {
            return Ok(true);
        }
        if !node.may_dial(at).await {
            continue;
        }
        let name = Frame::empty(TypeCode::NAME);
        match Verdict::of(&question(node, (at, Some(id)), name, WITHIN).await, id) {
            Verdict::Verified => {
                node.answered(at);
                return peers.verify(entry).await;
            }
            Verdict::Another => return Ok(false),
            Verdict::Silent => {}
        }
    }
    Ok(false)
}

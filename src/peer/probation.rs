//! Verifying peers that have joined: asking each for its `NAME` where it says it listens.

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

/// Has a peer that has just been added verified, or taken out again. As many of these ask as peers
/// are unverified, which is a share of the table, each for as long as its last question takes. When
/// its peer has left or was displaced, it ends at the time of the next question and asks nothing.
pub(crate) fn begin(node: &Arc<Endpoint>, peers: &Peers, peer: PeerInfo) {
    let (of, node, peers) = (Arc::clone(node), Arc::clone(node), peers.clone());
    let run = async move {
        let Ok(Some(entry)) = peers.get(peer.id()).await else { return };
        // A transport that panics verifies nobody.
        let verified = AssertUnwindSafe(verify(&node, &peers, &entry)).catch_unwind().await;
        if let Ok(Ok(false)) | Err(_) = verified {
            peers.give_up(&entry).await.ok();
        }
    };
    of.spawn(of.until_drain(run));
}

/// Verifies peers anew at whose addresses other nodes were found, as long as the node runs.
pub(crate) async fn verify_anew(node: Arc<Endpoint>, peers: Peers) {
    loop {
        let (id, at) = node.doubts.next().await;
        let Ok(known) = peers.get(&id).await else { return };
        let Some(entry) = known.filter(|entry| *entry.info().address() == at) else { continue };
        // Of any node that is there: the answer says which one it is.
        let name = question(&node, (&at, None), Frame::empty(TypeCode::NAME), WITHIN);
        // A transport that panics says nothing.
        if let Ok(answer) = AssertUnwindSafe(name).catch_unwind().await
            && Verdict::of(&answer, &id) == Verdict::Another
        {
            peers.replaced(&entry).await.ok();
        }
    }
}

/// Whether the peer is verified, or no longer what it was.
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

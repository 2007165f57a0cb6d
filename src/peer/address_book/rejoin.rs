//! Contacting the peers of the address book at the start.

use std::sync::{Arc, atomic::Ordering};

use futures::{StreamExt, stream};

use super::Store;
use crate::{
    frame::{Frame, TypeCode},
    node::PeerEvent,
    overlay::{Added, Candidate, Learned, PeerInfo, Scope, Verdict, WITHIN, is_busy},
    peer::{Peers, maintenance::NodeContext, question::question},
    session::Endpoint,
};

/// The number of last-known good peers that are asked before all others.
const ANCHORS: usize = 2;

/// A peer that does not answer is replaced by another. This is the maximum number of questions for
/// each place.
const ASKED_FOR_A_PLACE: usize = 3;

/// The number of peers that are asked at the same time.
const AT_ONCE: usize = 8;

/// The result of asking a peer from the book.
enum Outcome {
    Added,
    /// It answered, but the table is full or already has it.
    There,
    /// No node with its id answered.
    Gone,
    /// It was not asked.
    NotAsked,
}

/// Asks the anchors first, then the other peers at random.
pub(super) async fn rejoin(store: &Store, context: &NodeContext) {
    let most = store.config.rejoin;
    let chosen = {
        let book = store.book();
        let mut chosen = book.anchors(ANCHORS.min(most));
        let others = most.saturating_mul(ASKED_FOR_A_PLACE).saturating_sub(chosen.len());
        let old = book.pick_old(others, &chosen, context.node.ambient.random());
        chosen.extend(old);
        chosen
    };
    if chosen.is_empty() {
        return;
    }
    let (mut asked, mut added) = (0, 0);
    let mut chosen = chosen.into_iter();
    // The anchors are asked separately: no other peer replaces them.
    let mut next: Vec<_> = chosen.by_ref().take(ANCHORS).collect();
    while !next.is_empty() && added < most {
        let ask = |peer| async {
            let outcome = go_to(&context.node, &context.peers, &peer).await;
            (peer, outcome)
        };
        let outcomes: Vec<_> = stream::iter(next).map(ask).buffered(AT_ONCE).collect().await;
        for (peer, outcome) in outcomes {
            asked += usize::from(!matches!(outcome, Outcome::NotAsked));
            added += usize::from(matches!(outcome, Outcome::Added));
            if matches!(outcome, Outcome::Gone) {
                store.book().note_failure(peer.id());
            }
        }
        next = chosen.by_ref().take(AT_ONCE.min(most.saturating_sub(added))).collect();
    }
    context.node.emit(&PeerEvent::Rejoined { asked, added });
}

fn is_refused(node: &Endpoint, peer: &PeerInfo) -> bool {
    !node.transport.admits(peer.id())
        || node.bans.refuses_id(peer.id())
        || node.bans.refuses(peer.address())
}

/// Asks a peer for its `NAME`, introduces this node, and adds the peer if its id is the expected
/// one. An address from the book is dialled at the pace of unverified ones.
async fn go_to(node: &Arc<Endpoint>, peers: &Peers, peer: &PeerInfo) -> Outcome {
    let means = node.look_up(peer.host()).await.unwrap_or_default();
    let is_place = !means.is_empty() && means.iter().all(|host| Scope::of(host).is_some());
    if peer.id() == node.me.id()
        || !is_place
        || is_refused(node, peer)
        || !node.may_dial(peer.address()).await
    {
        return Outcome::NotAsked;
    }
    let to = (peer.address(), Some(peer.id()));
    let answer = question(node, to, Frame::empty(TypeCode::NAME), WITHIN).await;
    // The peer is alive and may be asked at another time.
    if is_busy(&answer) {
        return Outcome::There;
    }
    if Verdict::of(&answer, peer.id()) != Verdict::Verified {
        return Outcome::Gone;
    }
    node.answered(peer.address());
    let seen_at = means.into_iter().next().unwrap_or_else(|| peer.host().clone());
    let candidate =
        Candidate::new(peer.clone(), Learned::Remembered).seen_at(seen_at).verified(true);
    match peers.admit(candidate).await {
        Ok(Added::Added) => {}
        _ => return Outcome::There,
    }
    node.joined.store(true, Ordering::Relaxed);
    // The answer does not matter: the peer may know this node, be full, or admit it.
    let introduction = Frame::text(TypeCode::JOIN, node.me.to_string());
    question(node, to, introduction, WITHIN).await.ok();
    Outcome::Added
}

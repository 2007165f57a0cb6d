//! Contacting the peers of the address book at the start.

use futures::{StreamExt, stream};

use super::Store;
use crate::{
    node::PeerEvent,
    overlay::{Candidate, Learned},
    peer::{
        maintenance::NodeContext,
        verification::{AskName, Outcome, Policy, verify_and_admit},
    },
};

/// The number of last-known good peers that are asked before all others.
const ANCHORS: usize = 2;

/// A peer that does not answer is replaced by another. This is the maximum number of questions for
/// each place.
const ASKED_FOR_A_PLACE: usize = 3;

/// The number of peers that are asked at the same time.
const AT_ONCE: usize = 8;

/// An address from the book is dialled at the pace of unverified ones.
const POLICY: Policy<'_> = Policy { ask: AskName::First { named_by: None }, introduce: true };

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
            let candidate = Candidate::new(peer, Learned::Remembered);
            let id = candidate.info.id().clone();
            (id, verify_and_admit(&context.node, &context.peers, candidate, POLICY).await)
        };
        let outcomes: Vec<_> = stream::iter(next).map(ask).buffered(AT_ONCE).collect().await;
        for (id, outcome) in outcomes {
            let Ok(outcome) = outcome else { return };
            asked += usize::from(outcome != Outcome::NotAsked);
            added += usize::from(outcome == Outcome::Added);
            if outcome == Outcome::NotVerified {
                store.book().note_failure(&id);
            }
        }
        next = chosen.by_ref().take(AT_ONCE.min(most.saturating_sub(added))).collect();
    }
    context.node.emit(&PeerEvent::Rejoined { asked, added });
}

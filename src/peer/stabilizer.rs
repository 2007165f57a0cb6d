//! Runs the pure stabilizers: carries out the actions that they request, at their intervals.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};

use crate::{
    frame::{Frame, TypeCode},
    overlay::{
        Candidate, Learned, Listing, PeerInfo, Stabilizer, StabilizerAction, StabilizerEvent, View,
        options::ConfigError,
    },
    peer::{
        Peers,
        asking::question,
        joining::introductions,
        maintenance::{Maintenance, NodeContext},
        verification::{AskName, Outcome, Policy, verify_and_admit},
    },
    session::Endpoint,
    time::now,
};

/// A stabilizer as a piece of maintenance: it runs at once, and then repeatedly with its pause in
/// between, so that runs never overlap. Each start uses a fresh clone.
pub(crate) struct Stabilizing<S>(S);

impl<S> Stabilizing<S> {
    pub(crate) const fn new(stabilizer: S) -> Self {
        Self(stabilizer)
    }
}

impl<S: Stabilizer + Clone> Maintenance for Stabilizing<S> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.0.validate()
    }

    fn run<'a>(&'a self, NodeContext { node, peers }: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let mut stabilizer = self.0.clone();
            loop {
                sweep(&mut stabilizer, node, peers).await;
                tokio::time::sleep(stabilizer.every()).await;
            }
        })
    }
}

/// One run: a tick, the actions that the stabilizer requests, and its reaction to the answers,
/// until it requests nothing more.
async fn sweep(stabilizer: &mut dyn Stabilizer, node: &Arc<Endpoint>, peers: &Peers) {
    // A snapshot: the run is about the peers at its beginning.
    let Ok(list) = peers.list_to_maintain().await else { return };
    let at_once = stabilizer.at_once().max(1);
    let mut step = |event| {
        let view = View { me: &node.me, peers: &list, now: now() };
        stabilizer.step(event, &view)
    };
    let mut asks = VecDeque::new();
    let mut under_way = FuturesUnordered::new();
    let mut actions = step(StabilizerEvent::Tick);
    loop {
        for action in actions {
            match action {
                StabilizerAction::Ask { .. } | StabilizerAction::Consider { .. } => {
                    asks.push_back(action);
                }
                action => apply(action, node, peers).await,
            }
        }
        while under_way.len() < at_once {
            let Some(action) = asks.pop_front() else {
                break;
            };
            under_way.push(go(node, peers, action));
        }
        let Some(event) = under_way.next().await else {
            return;
        };
        actions = event.map_or_else(Vec::new, &mut step);
    }
}

/// Runs an action that needs a peer: a question, whose answer is returned to the stabilizer, or a
/// visit, which has no answer.
async fn go(
    node: &Arc<Endpoint>,
    peers: &Peers,
    action: StabilizerAction,
) -> Option<StabilizerEvent> {
    match action {
        StabilizerAction::Ask { peer, frame, within } => {
            Some(ask(node, peers, peer, frame, within).await)
        }
        StabilizerAction::Consider { peer, by } => {
            consider(node, peers, peer, &by).await;
            None
        }
        _ => None,
    }
}

/// Visits a peer that another peer has named.
async fn consider(node: &Arc<Endpoint>, peers: &Peers, peer: PeerInfo, by: &PeerInfo) {
    let candidate = Candidate::new(peer.clone(), Learned::Listed { by: by.id().clone() });
    let policy = Policy { ask: AskName::First { named_by: Some(by.address()) }, introduce: true };
    let outcome = verify_and_admit(node, peers, candidate, policy).await;
    if outcome != Ok(Outcome::Added) {
        tracing::debug!(%peer, %by, ?outcome, "named by another peer, but not added");
    }
}

async fn apply(action: StabilizerAction, node: &Arc<Endpoint>, peers: &Peers) {
    let done = match action {
        StabilizerAction::Seen(id) => match peers.seen(&id).await {
            Ok(_) => introductions::when_due(node, peers, &id).await,
            Err(down) => Err(down),
        },
        StabilizerAction::Forget(id) => peers.lost(&id).await,
        StabilizerAction::Rejoin(peer) => peers.rejoin(peer).await,
        _ => Ok(()),
    };
    if let Err(error) = done {
        tracing::debug!(%error, "maintenance action failed");
    }
}

async fn ask(
    node: &Arc<Endpoint>,
    peers: &Peers,
    peer: PeerInfo,
    frame: Frame,
    within: Duration,
) -> StabilizerEvent {
    let answer = if frame.code() == TypeCode::PING {
        // Over a link the answer also says whether the peer lists this node.
        introductions::ask(node, &peer, frame, within).await
    } else {
        question(node, (peer.address(), Some(peer.id())), frame, within).await
    };
    match answer {
        Ok(replies) => {
            if let Some(listing) = Listing::in_pong(&replies) {
                introductions::said(node, peers, &peer, listing).await.ok();
            }
            StabilizerEvent::Answered { peer, replies }
        }
        Err(failure) => StabilizerEvent::Failed { peer, failure },
    }
}

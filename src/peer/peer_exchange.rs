//! The I/O of the peer exchange: answering `@PEX`, and asking peers that others have named.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, LocalBoxFuture};

use crate::{
    dispatch::{Notified, Serve},
    frame::{Frame, TypeCode},
    message::{Incoming, Reply},
    node::Refusal,
    overlay::{
        Added, Candidate, Learned, PEX, PeerInfo, PeersSeen, Scope, Verdict, WITHIN, is_question,
        seen_lately,
    },
    peer::{
        Peers,
        join::ResolvedHosts,
        service::{Service, ServiceContext},
        stabilizer::question,
    },
    session::Endpoint,
    time::now,
};

/// How long all askers get the same answer. A node that asks often learns no more of the table, and
/// costs only the answer itself.
const SAME_FOR: Duration = Duration::from_secs(30);

/// Answers `@PEX`.
#[derive(Debug)]
pub(super) struct ExchangeService {
    seed: u64,
}

impl ExchangeService {
    pub(super) const NAME: &'static str = "peer-exchange-answers";

    pub(super) const fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl Service for ExchangeService {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn prepare(&self, context: &ServiceContext) {
        let (node, peers) = (Arc::downgrade(&context.node), context.peers.clone());
        context.serve(
            PEX,
            Arc::new(Answering { node, peers, told: Arc::new(Mutex::new((self.seed, None))) }),
        );
    }

    fn run(&self, _: ServiceContext) -> LocalBoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// The seed of the next draw; the last draw and its time.
type Drawn = Arc<Mutex<(u64, Option<(Instant, PeersSeen)>)>>;

#[derive(Debug)]
struct Answering {
    node: Weak<Endpoint>,
    peers: Peers,
    told: Drawn,
}

async fn told(peers: &Peers, drawn: &Drawn) -> Option<PeersSeen> {
    let lock = || drawn.lock().unwrap_or_else(PoisonError::into_inner);
    let (seed, last) = lock().clone();
    if let Some((at, told)) = last
        && now().saturating_duration_since(at) < SAME_FOR
    {
        return Some(told);
    }
    let told = peers.with(move |table, _| seen_lately(&table.list, now(), seed)).await.ok()?;
    *lock() = (seed.wrapping_add(1), Some((now(), told.clone())));
    Some(told)
}

impl Serve for Answering {
    /// Not an actor.
    fn handler(&self) -> u64 {
        0
    }

    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        let (node, peers, drawn) = (self.node.upgrade(), self.peers.clone(), self.told.clone());
        Box::pin(async move {
            let node = node.ok_or(Refusal::HandlerGone)?;
            if !is_question(&incoming.frame) {
                return Ok(Reply::error("Peer exchange: not a question of this version"));
            }
            let mut told = told(&peers, &drawn).await.ok_or(Refusal::HandlerGone)?;
            let host = incoming.sender().address().host();
            let here = node.transport.is_here(host).then_some(Scope::Machine);
            let asker = here.or_else(|| Scope::of(host)).unwrap_or(Scope::World);
            // An asker is never told an address that it could not reach.
            told.retain(|peer| Scope::of(peer.host()).is_some_and(|scope| asker.may_name(scope)));
            Ok(Reply::one(told.encode()))
        })
    }

    fn notify(&self, incoming: Incoming) -> Notified {
        Notified::Serving(self.serve(incoming))
    }
}

/// Asks a peer that another peer has named for its `NAME`, and adds it if its id is the named one.
pub(super) async fn consider(node: &Arc<Endpoint>, peers: &Peers, peer: &PeerInfo, by: &PeerInfo) {
    let (id, at) = (peer.id(), peer.address());
    let mut hosts = ResolvedHosts::default();
    if id == node.me.id()
        || !matches!(peers.get(id).await, Ok(None))
        || !hosts.may_go(node, at, by.address()).await
        || !node.may_dial(at).await
    {
        return;
    }
    let answer = question(node, (at, Some(id)), Frame::empty(TypeCode::NAME), WITHIN).await;
    if Verdict::of(&answer, id) != Verdict::Verified {
        return;
    }
    node.answered(at);
    let seen_at = hosts.of(node, peer.host()).await.first().cloned();
    let seen_at = seen_at.unwrap_or_else(|| peer.host().clone());
    let learned = Learned::Listed { by: by.id().clone() };
    let candidate = Candidate::new(peer.clone(), learned).seen_at(seen_at).verified(true);
    match peers.admit(candidate).await {
        Ok(Added::Added) => {
            node.joined.store(true, Ordering::Relaxed);
            // The answer does not matter: the peer may know this node, be full, or admit it.
            let introduction = Frame::text(TypeCode::JOIN, node.me.to_string());
            question(node, (at, Some(id)), introduction, WITHIN).await.ok();
        }
        added => tracing::debug!(%peer, %by, ?added, "named by another peer, but not added"),
    }
}

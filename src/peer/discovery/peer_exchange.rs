//! The I/O of the peer exchange: answering `@PEX`, and asking peers that others have named.

use std::{
    cell::OnceCell,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, LocalBoxFuture};

use crate::{
    dispatch::{Notified, Serve},
    message::{Incoming, Reply},
    node::Refusal,
    overlay::{
        PEX, PeerExchange, PeersSeen, Scope, Stabilizer, is_question, options::ConfigError,
        seen_lately,
    },
    peer::{
        Peers,
        asking::hosts::scope_of,
        maintenance::{Maintenance, NodeContext},
        stabilizer::Stabilizing,
    },
    session::Endpoint,
    sync::Mutex,
    time::now,
};

/// How long all askers get the same answer. A node that asks often learns no more of the table, and
/// costs only the answer itself.
const SAME_FOR: Duration = Duration::from_secs(30);

/// The maintenance of the peer exchange: answers `@PEX`, and asks peers for theirs.
pub(crate) struct Exchanging {
    exchange: PeerExchange,
    /// The same with a seed of the node.
    asks: OnceCell<Stabilizing<PeerExchange>>,
}

impl Exchanging {
    pub(crate) const fn new(exchange: PeerExchange) -> Self {
        Self { exchange, asks: OnceCell::new() }
    }
}

impl Maintenance for Exchanging {
    fn name(&self) -> &str {
        self.exchange.name()
    }

    fn validate(&self) -> Result<(), ConfigError> {
        Stabilizer::validate(&self.exchange)
    }

    fn prepare(&self, context: &NodeContext) {
        let (exchange, seed) = self.exchange.clone().seeded(context.node.ambient.random());
        // It is prepared once.
        self.asks.set(Stabilizing::new(exchange)).ok();
        let (node, peers) = (Arc::downgrade(&context.node), context.peers.clone());
        context.serve(
            PEX,
            Arc::new(Answering { node, peers, told: Arc::new(Mutex::new((seed, None))) }),
        );
    }

    fn run<'a>(&'a self, context: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        self.asks.get_or_init(|| Stabilizing::new(self.exchange.clone())).run(context)
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
    let lock = || drawn.lock();
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
            let asker = scope_of(&node, incoming.sender().address().host());
            // An asker is never told an address that it could not reach.
            told.retain(|peer| Scope::of(peer.host()).is_some_and(|scope| asker.may_name(scope)));
            Ok(Reply::one(told.encode()))
        })
    }

    fn notify(&self, incoming: Incoming) -> Notified {
        Notified::Serving(self.serve(incoming))
    }
}

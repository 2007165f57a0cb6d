//! Receiving `@NBR` and `@TPC`.

use std::sync::{Arc, Weak};

use futures::future::BoxFuture;

use super::Neighbors;
use crate::{
    dispatch::{Notified, Serve, Take},
    message::{Identity, Incoming, Reply, Sender, Via},
    node::Refusal,
    overlay::{JoinPolicy, PeerInfo, topics::TopicsMessage, views::ViewsMessage},
    peer::{Peers, asking::hosts::claims},
    session::Endpoint,
};

/// Serves `@NBR`. Messages of neighbours are handled at once, and none is queued.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) node: Weak<Endpoint>,
    pub(super) peers: Peers,
    pub(super) neighbors: Arc<Neighbors>,
}

/// The sender of a message over a link, with the address at which it says that it listens.
pub(super) fn sender_of(sender: &Sender) -> Option<&PeerInfo> {
    let listens = sender.listens().filter(|_| *sender.via() == Via::Link)?;
    match sender.identity() {
        Identity::Claimed(id) | Identity::Proven(id) if id == listens.id() => Some(listens),
        _ => None,
    }
}

impl Receiving {
    /// Handles a message. A stranger that asks to become a neighbour is handled by the future that
    /// is returned.
    fn take(&self, incoming: &Incoming) -> Result<Option<BoxFuture<'static, ()>>, Refusal> {
        let node = self.node.upgrade().ok_or(Refusal::HandlerGone)?;
        let sender = incoming.sender();
        let from = sender_of(sender).ok_or(Refusal::BadMessage)?.clone();
        let (topic, message) = ViewsMessage::decode(&incoming.frame).ok_or(Refusal::BadMessage)?;
        let Some(overlay) = self.neighbors.overlay(topic) else {
            // The others end what they think of this node.
            if !matches!(message, ViewsMessage::Leave | ViewsMessage::Refuse { .. }) {
                self.neighbors.tell_that_left(&node, &from, topic);
            }
            return Ok(None);
        };
        let asks = matches!(message, ViewsMessage::Join | ViewsMessage::Neighbor { .. });
        if !asks || overlay.has(&from) || self.neighbors.has(&from) {
            self.neighbors.receive(&overlay, &from, message, sender);
            return Ok(None);
        }
        let (sender, peers, neighbors) =
            (sender.clone(), self.peers.clone(), Arc::clone(&self.neighbors));
        Ok(Some(Box::pin(async move {
            if may_ask(&node, &peers, &from, &sender).await {
                neighbors.receive(&overlay, &from, message, &sender);
            } else {
                node.counters.joins_refused.one();
                neighbors.with_overlay(&overlay, |of| of.views.refuse(&from));
            }
        })))
    }
}

/// Whether a node may become a neighbour by asking: the rule of `JOIN`.
async fn may_ask(node: &Arc<Endpoint>, peers: &Peers, from: &PeerInfo, sender: &Sender) -> bool {
    if !node.transport.admits(from.id()) || !node.may_claim(sender.proven(), from.id()) {
        return false;
    }
    let known = peers.get(from.id()).await.ok().flatten();
    if known.is_some_and(|known| known.info() == from) {
        return true;
    }
    let policy = node.config.join_policy;
    policy != JoinPolicy::Closed
        && claims(node, sender, from.host(), |claim| policy.lets_in(claim)).await
}

impl Serve for Receiving {
    /// Not an actor.
    fn handler(&self) -> u64 {
        0
    }

    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        match self.take(&incoming) {
            Ok(asked) => answer(asked),
            Err(refusal) => Box::pin(async move { Err(refusal) }),
        }
    }

    fn notify(&self, incoming: Incoming) -> Notified {
        match self.take(&incoming) {
            Ok(None) => Notified::Delivered,
            Ok(asked) => Notified::Serving(answer(asked)),
            Err(refusal) => Notified::Refused(refusal),
        }
    }
}

/// The messages have no answer of their own.
fn answer(asked: Option<BoxFuture<'static, ()>>) -> BoxFuture<'static, Result<Reply, Refusal>> {
    Box::pin(async move {
        if let Some(asked) = asked {
            asked.await;
        }
        Ok(Reply::none())
    })
}

/// Serves `@TPC`, for neighbours.
#[derive(Debug)]
pub(super) struct ReceivingTopics {
    pub(super) node: Weak<Endpoint>,
    pub(super) neighbors: Arc<Neighbors>,
}

impl Take for ReceivingTopics {
    fn take(&self, incoming: &Incoming) -> Result<(), Refusal> {
        let node = self.node.upgrade().ok_or(Refusal::HandlerGone)?;
        let sender = incoming.sender();
        let from = sender_of(sender).ok_or(Refusal::BadMessage)?;
        let message = TopicsMessage::decode(&incoming.frame).ok_or(Refusal::BadMessage)?;
        if self.neighbors.has(from) {
            self.neighbors.topics.receive((&node, &self.neighbors), from, message, sender);
            self.neighbors.wake.notify_one();
        }
        Ok(())
    }
}

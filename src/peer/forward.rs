//! Passing routed messages on (`@FWD`).

use std::sync::{Arc, Weak};

use futures::{StreamExt, future::BoxFuture};

use crate::{
    connection::{
        Incoming, Node, Outgoing, Refusal, Reply, RequestError, Sender, Serve, Told, links,
    },
    overlay::{Envelope, Hop, PeerInfo, RouteFault, RouteReason},
    peer::Peers,
};

/// Serves `@FWD`: hands the message to this node's own handler, or passes it to the next node and
/// the replies back.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) node: Weak<Node>,
    pub(crate) peers: Peers,
}

impl Serve for Forward {
    /// No actor.
    fn handler(&self) -> u64 {
        0
    }

    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        let (node, peers) = (self.node.upgrade(), self.peers.clone());
        Box::pin(async move {
            let node = node.ok_or(Refusal::HandlerGone)?;
            let fault =
                |reason| Ok(Reply::one(RouteFault::new(reason, node.me.id().clone()).to_frame()));
            let Some(envelope) = Envelope::decode(&incoming.frame) else {
                return fault(RouteReason::Malformed);
            };
            // What it has passed ends with the node that sent it here, and begins with its origin.
            let (first, last) = (envelope.trace().first(), envelope.trace().last());
            if incoming
                .sender()
                .proven()
                .is_some_and(|proven| last != Some(proven) || first != Some(envelope.origin()))
            {
                return Err(Refusal::NotYourId);
            }
            match peers.step(envelope).await.map_err(|_| Refusal::HandlerGone)? {
                Hop::Here(envelope) => here(&node, envelope, incoming).await,
                Hop::Next(next, envelope) => Ok(pass_on(&node, &next, &envelope).await),
                Hop::Fail(fault) => Ok(Reply::one(fault.to_frame())),
            }
        })
    }

    fn tell(&self, incoming: Incoming) -> Told {
        Told::Serving(self.serve(incoming))
    }
}

/// The message is for this node: its handler gets it with the asker as its origin.
async fn here(node: &Arc<Node>, envelope: Envelope, outer: Incoming) -> Result<Reply, Refusal> {
    let route = node.routes.find(envelope.frame().code()).filter(|route| !route.internal);
    let route = route.ok_or(Refusal::UnknownCode)?;
    if envelope.frame().data().len() as u64 > u64::from(route.intake.limit()) {
        return Err(Refusal::TooLong);
    }
    let place = Arc::clone(&route.places).acquire_owned();
    let place = tokio::time::timeout(node.config.busy_after, place).await;
    let place = place.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::HandlerGone)?;
    let (frame, origin, path) = envelope.into_delivery();
    let (_, sender, token) = outer.into_parts();
    let sender = Sender::routed(&sender, origin, path);
    // The place of the outer request is the one that counts for the node.
    let answer = route.ask(Incoming::new(frame, sender, None, token)).await;
    drop(place);
    answer
}

/// Sends the message to `next` and relays what comes back, frame by frame, at the pace of the
/// asker.
async fn pass_on(node: &Arc<Node>, next: &PeerInfo, envelope: &Envelope) -> Reply {
    let me = node.me.id().clone();
    let report = move |reason| RouteFault::new(reason, me.clone()).to_frame();
    let Some(frame) = envelope.encode() else {
        return Reply::one(report(RouteReason::Malformed));
    };
    let fault = move |error: &RequestError| {
        report(if error.may_have_been_handled() {
            RouteReason::Broken
        } else {
            RouteReason::Unreachable
        })
    };
    node.counters.forwarded.one();
    match links::request(node, next.address(), Outgoing::from(frame).only_to(next.id())).await {
        Ok(replies) => {
            Reply::stream(replies.map(move |reply| reply.unwrap_or_else(|error| fault(&error))))
        }
        Err(error) => Reply::one(fault(&error)),
    }
}

//! Forwarding of routed messages (`@FWD`).

use std::sync::{Arc, Weak};

use futures::{StreamExt, future::BoxFuture};
use tokio::time::Instant;

use crate::{
    dispatch::{Notified, Serve},
    frame::{Frame, TypeCode},
    message::{Incoming, Outgoing, Over, Reply, RequestError, Sender},
    node::Refusal,
    overlay::{Envelope, ForwardPolicy, Hop, PeerInfo, RouteFault, RouteReason},
    peer::Peers,
    session,
    session::Endpoint,
};

/// Serves `@FWD`: delivers the message to this node's own handler, or forwards it to the next node
/// and relays the replies.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) node: Weak<Endpoint>,
    pub(crate) peers: Peers,
}

impl Forward {
    /// `asked` says whether the sender waits for replies and can therefore receive a fault.
    fn carry(&self, incoming: Incoming, asked: bool) -> BoxFuture<'static, Result<Reply, Refusal>> {
        let (node, peers) = (self.node.upgrade(), self.peers.clone());
        Box::pin(async move {
            let node = node.ok_or(Refusal::HandlerGone)?;
            let fault = |fault: RouteFault| {
                if !asked {
                    node.counters.forwards_lost.one();
                }
                Ok(Reply::one(fault.to_frame()))
            };
            let at_me = |reason| RouteFault::new(reason, node.me.id().clone());
            let Some(envelope) = Envelope::decode(&incoming.frame) else {
                return fault(at_me(RouteReason::Malformed));
            };
            // The trace begins with the origin and ends with the node that sent the message here.
            let (first, last) = (envelope.trace().first(), envelope.trace().last());
            if incoming
                .sender()
                .proven()
                .is_some_and(|proven| last != Some(proven) || first != Some(envelope.origin()))
            {
                return Err(Refusal::NotYourId);
            }
            if envelope.to() != node.me.id()
                && let Some(reason) = refusal(&node, &peers, &envelope, incoming.sender()).await?
            {
                node.counters.forwards_refused.one();
                return fault(at_me(reason).at_hop(envelope.hops()));
            }
            match peers.step(envelope).await.map_err(|_| Refusal::HandlerGone)? {
                Hop::Here(envelope) => here(&node, envelope, incoming).await,
                Hop::Next(next, envelope) => {
                    Ok(pass_on((&node, &peers), &next, &envelope, asked).await)
                }
                Hop::Fail(stuck) => fault(stuck),
            }
        })
    }
}

impl Serve for Forward {
    /// Not an actor.
    fn handler(&self) -> u64 {
        0
    }

    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        self.carry(incoming, true)
    }

    fn notify(&self, incoming: Incoming) -> Notified {
        Notified::Serving(self.carry(incoming, false))
    }
}

/// Why this node does not forward a message from `sender`; `None` if it does.
async fn refusal(
    node: &Endpoint,
    peers: &Peers,
    envelope: &Envelope,
    sender: &Sender,
) -> Result<Option<RouteReason>, Refusal> {
    let welcome = match (node.config.forward, envelope.trace().last()) {
        (ForwardPolicy::Everyone, _) => true,
        (ForwardPolicy::KnownPeers, Some(last)) => {
            peers.get(last).await.map_err(|_| Refusal::HandlerGone)?.is_some()
        }
        (ForwardPolicy::KnownPeers, None) | (ForwardPolicy::Nobody, _) => false,
    };
    if !welcome {
        return Ok(Some(RouteReason::Refused));
    }
    let now = Instant::now().into_std();
    let meter = node.forwards.of(sender.address(), now);
    Ok(meter.filter(|meter| !meter.take(0, now)).map(|_| RouteReason::Busy))
}

/// Whether `next` supports routed messages. A node with links does. Another node is probed with an
/// empty one: a node of this crate answers that it is malformed, and an original program does not
/// answer.
pub(super) async fn passes_on(node: &Arc<Endpoint>, next: &PeerInfo, over: Over) -> bool {
    let (to, id) = (next.address(), next.id());
    if over != Over::Classic && session::speaks_links(node, to, Some(id)).await {
        return true;
    }
    let probe = Outgoing::from(Frame::empty(TypeCode::FWD)).over(Over::Classic).only_to(id);
    let replies = async { session::request(node, to, probe).await?.collect().await };
    // A node that cannot be reached counts as supporting them: sending the message then returns the
    // reason.
    replies.await.map_or(true, |replies| replies.iter().any(|reply| reply.code() == TypeCode::FWE))
}

/// Delivers a message that is for this node, with the asker as its origin.
async fn here(node: &Arc<Endpoint>, envelope: Envelope, outer: Incoming) -> Result<Reply, Refusal> {
    let route = node.routes.find(envelope.frame().code()).filter(|route| !route.internal);
    let route = route.ok_or(Refusal::UnknownCode)?;
    if envelope.frame().data().len() as u64 > u64::from(route.intake.limit()) {
        return Err(Refusal::TooLong);
    }
    let permit = Arc::clone(&route.permits).acquire_owned();
    let permit = tokio::time::timeout(node.config.busy_after, permit).await;
    let permit = permit.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::HandlerGone)?;
    let (frame, origin, path) = envelope.into_delivery();
    let (_, sender, token) = outer.into_parts();
    let sender = Sender::routed(&sender, origin, path);
    // The permit of the outer request is the one that counts for the node.
    let answer = route.call(Incoming::new(frame, sender, None, token)).await;
    drop(permit);
    answer
}

/// Sends the message to `next` and relays the replies, frame by frame, at the pace of the asker, if
/// the asker waits for replies.
async fn pass_on(
    (node, peers): (&Arc<Endpoint>, &Peers),
    next: &PeerInfo,
    envelope: &Envelope,
    asked: bool,
) -> Reply {
    let me = node.me.id().clone();
    // The trace already includes this node.
    let hop = envelope.hops().saturating_sub(1);
    let report = move |reason| RouteFault::new(reason, me.clone()).at_hop(hop).to_frame();
    let lost = |reason| {
        if !asked {
            node.counters.forwards_lost.one();
        }
        Reply::one(report(reason))
    };
    let reason = |error: &RequestError| {
        if error.may_have_been_handled() { RouteReason::Broken } else { RouteReason::Unreachable }
    };
    let frame = if passes_on(node, next, Over::Any).await {
        envelope.encode()
    } else if next.id() == envelope.to() {
        // An original program gets the plain message, without the origin.
        Some(envelope.frame().clone())
    } else {
        return lost(RouteReason::NotForwarding);
    };
    let Some(frame) = frame else {
        return lost(RouteReason::Malformed);
    };
    let message = Outgoing::from(frame).only_to(next.id());
    node.counters.forwarded.one();
    if !asked {
        return match session::notify(node, next.address(), message).await {
            Ok(()) => Reply::none(),
            Err(error) => {
                peers.doubt(next.id(), &error).await;
                lost(reason(&error))
            }
        };
    }
    match session::request(node, next.address(), message).await {
        Ok(replies) => Reply::stream(
            replies.map(move |reply| reply.unwrap_or_else(|error| report(reason(&error)))),
        ),
        Err(error) => {
            peers.doubt(next.id(), &error).await;
            lost(reason(&error))
        }
    }
}

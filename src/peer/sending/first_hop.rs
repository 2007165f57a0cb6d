//! The first hop of a message.

use crate::{
    message::{Outgoing, RequestError},
    overlay::{Address, Envelope, Hop, InvalidAddress, PeerId, RouteFault, RouteReason},
    peer::{Peer, Target, sending::forward::passes_on},
};

/// The first hop of a message, and its form on that hop.
pub(super) struct FirstHop {
    pub(super) to: Address,
    pub(super) message: Outgoing,
    /// Whether replies are attributed to the final node instead of the first hop.
    pub(super) routed: bool,
    /// The peer that the router chose.
    pub(super) chosen: Option<PeerId>,
}

impl Peer {
    pub(super) async fn first_hop(
        &self,
        to: Result<Target, InvalidAddress>,
        message: Outgoing,
    ) -> Result<FirstHop, RequestError> {
        message.check().map_err(RequestError::NotSendable)?;
        let to = match to? {
            Target::Address(to) => to,
            Target::Peer(id) => match self.peers().get(&id).await? {
                Some(entry) => {
                    let (to, message) = (entry.info().address().clone(), message.only_to(&id));
                    return Ok(FirstHop { to, message, routed: false, chosen: None });
                }
                None => return Err(RequestError::UnknownPeer(id)),
            },
            Target::Routed(id) => return self.routed(id, message).await,
        };
        Ok(FirstHop { to, message, routed: false, chosen: None })
    }

    /// Tells the router if the hop that it chose was not reached.
    pub(super) async fn note_unreached<R>(
        &self,
        chosen: Option<PeerId>,
        sent: Result<R, RequestError>,
    ) -> Result<R, RequestError> {
        if let (Some(hop), Err(error)) = (&chosen, &sent) {
            self.peers().doubt(hop, error).await;
        }
        sent
    }

    async fn routed(&self, id: PeerId, message: Outgoing) -> Result<FirstHop, RequestError> {
        let node = self.node();
        let over = message.over;
        let frame = message.into_frame().map_err(|_| RequestError::BodyNotRouted)?;
        let hops = u8::try_from(node.config.max_hops).unwrap_or(u8::MAX);
        let envelope = Envelope::new(id.clone(), node.me.id().clone(), hops, frame.clone());
        match self.peers().step(envelope).await? {
            Hop::Fail(fault) => Err(RequestError::Route(fault)),
            Hop::Here(_) => Ok(FirstHop {
                to: node.me.address().clone(),
                message: Outgoing::from(frame).over(over),
                routed: false,
                chosen: None,
            }),
            // A neighbour gets the plain message, so that the original programs can be asked as
            // well.
            Hop::Next(next, _) if *next.id() == id => Ok(FirstHop {
                to: next.address().clone(),
                message: Outgoing::from(frame).over(over).only_to(&id),
                routed: false,
                chosen: Some(id),
            }),
            Hop::Next(next, envelope) => {
                let malformed = || {
                    RequestError::Route(RouteFault::new(
                        RouteReason::Malformed,
                        node.me.id().clone(),
                    ))
                };
                let envelope = envelope.encode().ok_or_else(malformed)?;
                if !passes_on(node, &next, over).await {
                    let fault = RouteFault::new(RouteReason::NotForwarding, node.me.id().clone());
                    return Err(RequestError::Route(fault.at_hop(0)));
                }
                Ok(FirstHop {
                    to: next.address().clone(),
                    message: Outgoing::from(envelope).over(over).only_to(next.id()),
                    routed: true,
                    chosen: Some(next.id().clone()),
                })
            }
        }
    }
}

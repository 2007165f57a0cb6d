//! Broadcast: publishing, receiving, and delivering to the handlers of this node.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{Neighbors, serve::sender_of};
use crate::{
    dispatch::{Notified, Take},
    frame::{Frame, TypeCode},
    message::{Incoming, MessageGuard, Sender},
    node::{PeerEvent, Refusal},
    overlay::{
        PeerInfo,
        trees::{Delivery, MessageId, PublishError, TreesMessage, signed},
    },
    session::Endpoint,
    time::now,
};

/// The unit in which the room for broadcasts is counted, in bytes.
const UNIT: usize = 1 << 10;

/// The room for broadcasts that handlers have not finished, in units: 16 MiB.
pub(super) const ROOM: usize = 16 << 10;

/// The length of a code in front of the data.
const CODE: usize = 4;

/// Publishes a frame to all nodes of the network. `None` if the node keeps no neighbours.
pub(crate) fn publish(node: &Endpoint, frame: &Frame) -> Option<Result<u64, PublishError>> {
    let published = publish_frame(node, &*Neighbors::of(node)?, frame)?;
    Some(published.map(|id| {
        node.counters.broadcasts_out.one();
        id.sequence
    }))
}

/// Publishes a frame to all nodes of the network. `None` before the node is prepared.
pub(super) fn publish_frame(
    node: &Endpoint,
    neighbors: &Neighbors,
    frame: &Frame,
) -> Option<Result<MessageId<PeerInfo>, PublishError>> {
    let payload = [&frame.code().as_bytes()[..], frame.data()].concat();
    neighbors.with(|of| of.trees.publish(payload.into(), |id, of| prove(node, "", id, of), now()))
}

/// The signature of the author. Empty if the transport has none.
pub(super) fn prove(
    node: &Endpoint,
    topic: &str,
    id: &MessageId<PeerInfo>,
    payload: &Bytes,
) -> Bytes {
    let signature = node.transport.sign(&signed(topic, id, payload));
    signature.map_or_else(Bytes::new, Bytes::from)
}

/// Serves `@BCP` and `@BCC`.
#[derive(Debug)]
pub(super) struct ReceivingBroadcasts {
    pub(super) node: Weak<Endpoint>,
    pub(super) neighbors: Arc<Neighbors>,
}

impl Take for ReceivingBroadcasts {
    fn take(&self, incoming: &Incoming) -> Result<(), Refusal> {
        let node = self.node.upgrade().ok_or(Refusal::HandlerGone)?;
        let from = sender_of(incoming.sender()).ok_or(Refusal::BadMessage)?;
        let (topic, message) = TreesMessage::decode(&incoming.frame).ok_or(Refusal::BadMessage)?;
        let Some(overlay) = self.neighbors.overlay(topic) else {
            self.neighbors.tell_that_left(&node, from, topic);
            return Ok(());
        };
        if let TreesMessage::Payload { id, payload, proof, .. } = &message {
            let is_known = overlay.on(|of| of.trees.is_known(id));
            let is_signed =
                || node.transport.verify(id.author.id(), &signed(topic, id, payload), proof);
            if !is_known && !is_signed() {
                node.counters.broadcasts_forged.one();
                return Err(Refusal::NotYourId);
            }
        }
        self.neighbors.with_overlay(&overlay, |of| of.trees.receive(from, message, now()));
        Ok(())
    }
}

/// Hands a message to the handler of its code, if this node has one and there is room.
pub(super) fn deliver(node: &Endpoint, room: &Arc<Semaphore>, delivery: Delivery<PeerInfo>) {
    let Delivery { id, payload, late, .. } = delivery;
    let missed = || {
        node.counters.broadcasts_unhandled.one();
        let author = id.author.id().clone();
        node.emit(&PeerEvent::BroadcastsMissed { author, messages: 1 });
    };
    let Some((code, _)) = payload.split_first_chunk::<CODE>() else { return };
    let code = TypeCode::new(code);
    let data = payload.slice(CODE..);
    // A node without a handler for the code is not interested in it.
    let Some(route) = node.routes.find(code).filter(|route| !route.internal) else {
        node.counters.broadcasts_unhandled.one();
        return;
    };
    if data.len() as u64 > u64::from(route.intake.limit()) {
        return missed();
    }
    let units = u32::try_from(data.len() / UNIT).unwrap_or(u32::MAX).saturating_add(1);
    let Ok(permit) = Arc::clone(room).try_acquire_many_owned(units) else { return missed() };
    let proven = node.transport.proves().is_some();
    let sender = Sender::broadcast(id.author.clone(), (id.sequence, late), proven);
    let guard = MessageGuard::new(Some(Arc::from([permit])), None);
    let incoming = Incoming::new(Frame::new(code, data), sender, None, guard);
    match route.serve.notify(incoming) {
        Notified::Delivered => node.counters.broadcasts_in.one(),
        Notified::Refused(_) => missed(),
        Notified::Serving(served) => {
            node.counters.broadcasts_in.one();
            let served = node.until_aborted(served);
            node.spawn(async move {
                served.await;
            });
        }
    }
}

//! Sending to neighbours, over the open link, and to those that may become neighbours, over one that is
//! dialled.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use indexmap::IndexMap;
use tokio::time::timeout;

use super::Neighbors;
use crate::{
    frame::Frame,
    message::{Outgoing as Message, Over},
    overlay::{PeerInfo, views::ViewsMessage},
    peer::asking::hosts::ResolvedHosts,
    session,
    session::Endpoint,
    sync::Mutex,
};

/// The number of control messages that wait for one peer. Further messages are dropped and counted.
const CONTROL_PER_PEER: usize = 256;

/// The bytes of payloads that wait for one peer. Further messages are dropped and counted.
const PAYLOADS_PER_PEER: usize = 4 << 20;

/// The number of peers to which messages wait.
const WAITING: usize = 128;

/// How long a message waits for its link. Less than the views wait for an answer.
const WAIT: Duration = Duration::from_secs(6);

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Worth a dial if there is no link.
    Dials,
    /// Sent before payloads that wait.
    Control,
    Payload,
}

impl Kind {
    pub(super) const fn of(message: &ViewsMessage<PeerInfo>) -> Self {
        if message.may_dial() { Self::Dials } else { Self::Control }
    }
}

/// The messages that wait for one peer.
#[derive(Debug, Default)]
struct Queue {
    control: VecDeque<Frame>,
    payloads: VecDeque<Frame>,
    bytes: usize,
}

impl Queue {
    /// False if there is no room.
    fn push(&mut self, frame: Frame, kind: Kind) -> bool {
        let len = frame.data().len();
        if kind == Kind::Payload {
            let fits = self.bytes.saturating_add(len) <= PAYLOADS_PER_PEER;
            if fits {
                self.bytes = self.bytes.saturating_add(len);
                self.payloads.push_back(frame);
            }
            return fits;
        }
        let fits = self.control.len() < CONTROL_PER_PEER;
        if fits {
            self.control.push_back(frame);
        }
        fits
    }

    fn pop(&mut self) -> Option<Frame> {
        self.control.pop_front().or_else(|| {
            let frame = self.payloads.pop_front()?;
            self.bytes = self.bytes.saturating_sub(frame.data().len());
            Some(frame)
        })
    }
}

/// The messages that wait for credit on a link, or for the link, by their receiver. One task sends
/// them to each.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    waiting: Arc<Mutex<IndexMap<PeerInfo, Queue>>>,
}

impl Outgoing {
    /// Sends a message over the open link. If there is none, dials one if the message is one for
    /// which that is done. False if there is a link and no room for the message.
    pub(super) fn send(
        &self,
        node: &Arc<Endpoint>,
        neighbors: &Arc<Neighbors>,
        to: PeerInfo,
        frame: Frame,
        kind: Kind,
    ) -> bool {
        let mut waiting = self.waiting.lock();
        if let Some(queue) = waiting.get_mut(&to) {
            let fits = queue.push(frame, kind);
            if !fits {
                node.counters.gossip_dropped.one();
            }
            return fits;
        }
        if session::try_notify_peer(node, &to, &frame)
            || (kind != Kind::Dials && !session::has_link(node, &to))
        {
            return true;
        }
        if waiting.len() >= WAITING {
            drop(waiting);
            node.counters.gossip_dropped.one();
            neighbors.unreachable(node, &to);
            return false;
        }
        let mut queue = Queue::default();
        queue.push(frame, kind);
        waiting.insert(to.clone(), queue);
        drop(waiting);
        self.drain(node, neighbors, to);
        true
    }

    /// Sends what waits for one peer in a task, until nothing waits.
    fn drain(&self, node: &Arc<Endpoint>, neighbors: &Arc<Neighbors>, to: PeerInfo) {
        let waiting = Arc::clone(&self.waiting);
        let (of, node, neighbors) = (Arc::clone(node), Arc::clone(node), Arc::clone(neighbors));
        let next = move |to: &PeerInfo| {
            let mut waiting = waiting.lock();
            let frame = waiting.get_mut(to).and_then(Queue::pop);
            if frame.is_none() {
                waiting.swap_remove(to);
            }
            frame
        };
        let run = async move {
            let mut reached = true;
            while let Some(frame) = next(&to) {
                reached = reached
                    && matches!(timeout(WAIT, send(&node, &neighbors, &to, frame)).await, Ok(true));
                if !reached {
                    node.counters.gossip_dropped.one();
                }
            }
            if !reached {
                neighbors.unreachable(&node, &to);
            }
        };
        of.spawn(of.until_drain(run));
    }
}

/// Sends one message. A node that only other nodes have named is dialled at the pace of unverified
/// addresses, and only where those nodes may send this one.
async fn send(node: &Arc<Endpoint>, neighbors: &Neighbors, to: &PeerInfo, frame: Frame) -> bool {
    let paced = !session::has_link(node, to);
    if paced && !may_dial(node, neighbors, to).await {
        return false;
    }
    let message = Message::from(frame).over(Over::Link).only_to(to.id());
    let sent = session::notify(node, to.address(), message).await.is_ok();
    if sent && paced {
        node.answered(to.address());
    }
    sent
}

async fn may_dial(node: &Arc<Endpoint>, neighbors: &Neighbors, to: &PeerInfo) -> bool {
    let named_by = neighbors.named_by.lock().get(to).cloned();
    let Some(by) = named_by else { return true };
    // What is not dialled uses up no dial: others need those that its address gets in a minute.
    !node.links.is_held_back(to.address())
        && !node.bans.refuses(to.address())
        && node.transport.admits(to.id())
        && ResolvedHosts::default().may_go(node, to.address(), &by).await
        && node.may_dial(to.address()).await
}

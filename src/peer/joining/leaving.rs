//! Leaving a network: `QUIT` to every peer.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use futures::{
    StreamExt,
    future::{self, join_all},
    stream,
};
use tokio::time::timeout;

use crate::{
    frame::{Frame, TypeCode},
    message::Replies,
    node::PeerEvent,
    overlay::{PeerId, PeerInfo},
    peer::{NodeDown, Peers, asking::question},
    session,
    session::Endpoint,
};

/// The number of peers that receive `QUIT` at the same time.
const GOODBYES_AT_ONCE: usize = 32;

/// The message that tells a peer that this node leaves.
fn goodbye(node: &Endpoint) -> Frame {
    Frame::text(TypeCode::QUIT, node.me.id().to_string())
}

/// Sends `QUIT` over the open links of the peers that `meant` selects. The answers are pending.
pub(crate) fn say_goodbye_over_links(
    node: &Endpoint,
    meant: impl Fn(&PeerInfo) -> bool,
) -> BTreeMap<PeerId, Replies> {
    let told = session::ask_all(node, &goodbye(node), meant);
    told.into_iter().map(|(peer, replies)| (peer.id().clone(), replies)).collect()
}

/// Sends `QUIT` to every known peer that did not receive it over a link. Returns how many peers
/// answered, those over links included.
pub(crate) async fn say_goodbye(
    node: &Arc<Endpoint>,
    known: Vec<PeerInfo>,
    over_links: BTreeMap<PeerId, Replies>,
) -> usize {
    node.joined.store(false, Ordering::Relaxed);
    if known.is_empty() && over_links.is_empty() {
        return 0;
    }
    let within = node.config.connect_timeout;
    let mut known = known;
    known.retain(|peer| !over_links.contains_key(peer.id()));
    let answered = over_links.into_values().map(|replies| async move {
        matches!(timeout(within, replies.collect()).await, Ok(Ok(_)))
    });
    let told = stream::iter(known)
        .map(|peer| async move {
            let to = (peer.address(), Some(peer.id()));
            question(node, to, goodbye(node), within).await.is_ok()
        })
        .buffer_unordered(GOODBYES_AT_ONCE)
        .filter(|told| std::future::ready(*told))
        .count();
    let (told, answered) = future::join(told, join_all(answered)).await;
    let told = told + answered.into_iter().filter(|told| *told).count();
    node.emit(&PeerEvent::Left { told });
    told
}

/// Leaves the network. The node continues without peers.
pub(crate) async fn leave(node: &Arc<Endpoint>, peers: &Peers) -> Result<usize, NodeDown> {
    node.left.store(true, Ordering::Relaxed);
    node.joins.end_all();
    #[cfg(feature = "gossip")]
    crate::peer::gossip::leave(node);
    let known = peers.clear().await?;
    let known: Vec<_> = known.iter().map(|entry| entry.info().clone()).collect();
    let over_links = say_goodbye_over_links(node, |peer| known.contains(peer));
    Ok(say_goodbye(node, known, over_links).await)
}

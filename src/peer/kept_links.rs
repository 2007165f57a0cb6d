//! Links that the application wants open at all times.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{LocalBoxFuture, join_all},
};
use tokio::time::sleep;

use crate::{
    overlay::{Address, InvalidPeerInfo, PeerId, PeerInfo},
    peer::maintenance::{Maintenance, NodeContext, back_off},
    session,
    session::Endpoint,
};

/// The first pause after a dial that failed.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause, without the jitter.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A peer with which the node keeps a link.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    at: Address,
    id: Option<PeerId>,
}

impl std::str::FromStr for Kept {
    type Err = InvalidPeerInfo;

    /// `host:port`, or `id host port`.
    fn from_str(text: &str) -> Result<Self, InvalidPeerInfo> {
        if let Ok(at) = text.parse() {
            return Ok(Self { at, id: None });
        }
        let peer: PeerInfo = text.parse()?;
        Ok(Self { at: peer.address().clone(), id: Some(peer.id().clone()) })
    }
}

/// Keeps a link with each of these peers.
pub(crate) struct KeptLinks(pub(crate) Vec<Kept>);

impl Maintenance for KeptLinks {
    fn name(&self) -> &'static str {
        "kept-links"
    }

    fn prepare(&self, NodeContext { node, .. }: &NodeContext) {
        node.kept_links.store(self.0.len(), Ordering::Relaxed);
    }

    fn run<'a>(&'a self, NodeContext { node, .. }: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        node.kept_links_open.store(0, Ordering::Relaxed);
        join_all(self.0.iter().map(|kept| keep(node, kept))).map(drop).boxed_local()
    }
}

/// A pin that is taken back when it is dropped.
struct Pin<'a> {
    node: &'a Endpoint,
    peer: PeerId,
}

impl<'a> Pin<'a> {
    fn new(node: &'a Endpoint, peer: PeerId) -> Self {
        node.links.pin(&peer);
        node.kept_links_open.fetch_add(1, Ordering::Relaxed);
        Self { node, peer }
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.node.links.unpin(&self.peer);
        self.node.kept_links_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens the link again, with back-off, whenever it has ended.
async fn keep(node: &Arc<Endpoint>, Kept { at, id }: &Kept) {
    let mut tries = 0_u32;
    loop {
        if let Ok(peer) = session::open_link(node, at, id.as_ref()).await {
            let _pin = Pin::new(node, peer.id().clone());
            tries = 0;
            session::until_no_link(node, &peer).await;
        }
        sleep(back_off(node, tries, (FIRST_PAUSE, LONGEST_PAUSE))).await;
        tries = tries.saturating_add(1);
    }
}

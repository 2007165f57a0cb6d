//! The state that a node reports about itself.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use serde::Serialize;

use crate::{
    connection::Connections,
    frame::TypeCode,
    node::{ConfigEntry, ConnectionStatus, Counts, LinkStatus},
    overlay::{Address, PeerId},
    peer::Peers,
    session::Endpoint,
};

/// The state of a node at one moment. Serialisable.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The node's id.
    pub id: PeerId,
    /// The address that the node announces.
    pub address: Address,
    /// The time since the start of the node.
    pub uptime: Duration,
    /// Whether it has joined a network, or another node has joined it.
    pub joined: bool,
    /// Whether the node accepts no connections for now ([`Peer::pause`](crate::Peer::pause)).
    pub paused: bool,
    /// Whether it is stopping or has stopped.
    pub stopping: bool,
    /// The number of known peers.
    pub peers: usize,
    /// The number of these that are not verified.
    pub unverified: usize,
    /// The maximum number of peers in the table; 0 = no limit.
    pub max_peers: usize,
    /// The number of accepted connections that are open, silent ones included.
    pub connections: usize,
    /// The number of these whose header is not complete.
    pub half_open: usize,
    /// The bytes of memory in use for incomplete frames, of
    /// [`Config::max_partial_bytes`](crate::Config::max_partial_bytes), in steps of 64 KiB.
    pub partial_bytes: usize,
    /// The bytes of memory in use for incomplete replies to own requests, of
    /// [`Config::max_partial_replies`](crate::Config::max_partial_replies), in steps of 64 KiB.
    pub partial_replies: usize,
    /// The number of own exchanges that are open.
    pub outgoing: usize,
    /// The number of own connections that are being opened.
    pub dialling: usize,
    /// Classic exchanges that are open, of both sides. Each has a connection of its own.
    pub exchanges: Vec<ConnectionStatus>,
    /// The number of links that the application wants open at all times
    /// ([`Builder::keep_linked`](crate::Builder::keep_linked)).
    pub kept_links: usize,
    /// The number of these that are open.
    pub kept_links_open: usize,
    /// Open links.
    pub links: Vec<LinkStatus>,
    /// The codes that have a handler.
    pub codes: Vec<TypeCode>,
    /// The counters since the start of the node.
    pub counts: Counts,
    /// How often each part has been restarted.
    pub restarts: BTreeMap<String, u64>,
    /// The limits and times in force.
    pub limits: Vec<ConfigEntry>,
}

pub(crate) async fn status(node: &Endpoint, connections: &Connections, peers: &Peers) -> Status {
    // First, because no guard may be held across this await: the future has to be `Send`.
    let known = peers.list().await.map(|list| (list.len(), list.unverified()));
    let (known, unverified) = known.unwrap_or((0, 0));
    Status {
        id: node.me.id().clone(),
        address: node.me.address().clone(),
        uptime: node.started.elapsed(),
        joined: node.joined.load(Ordering::Relaxed),
        paused: node.paused.get(),
        stopping: node.drain.is_cancelled(),
        peers: known,
        unverified,
        max_peers: node.config.max_peers,
        connections: node.open_in.load(Ordering::Relaxed),
        half_open: node.admission.half_open(),
        partial_bytes: node.partial.used(),
        partial_replies: node.partial_replies.used(),
        outgoing: node.open_out.load(Ordering::Relaxed),
        dialling: node.dialling(),
        exchanges: connections.exchanges(),
        kept_links: node.kept_links.load(Ordering::Relaxed),
        kept_links_open: node.kept_links_open.load(Ordering::Relaxed),
        links: node.links.all().iter().map(|line| line.status()).collect(),
        codes: node.routes.codes(),
        counts: node.counters.read(),
        restarts: node
            .restarts()
            .into_iter()
            .map(|(child, times)| (child.to_string(), times))
            .collect(),
        limits: node.config.entries(),
    }
}

//! What a node says about itself.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use serde::Serialize;

use crate::{
    frame::TypeCode,
    node::{ConfigEntry, Counts},
    overlay::{Address, PeerId},
    peer::Peers,
    session::{Endpoint, LinkStatus},
};

/// A node at one moment. Serialisable.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The node's id.
    pub id: PeerId,
    /// The address that it tells others.
    pub address: Address,
    /// Since it started.
    pub uptime: Duration,
    /// Whether it has joined a network, or another node has joined it.
    pub joined: bool,
    /// Whether it accepts no connections for now.
    pub paused: bool,
    /// Whether it is stopping or has stopped.
    pub stopping: bool,
    /// Known peers.
    pub peers: usize,
    /// Of these, the ones that are not verified.
    pub unverified: usize,
    /// The most peers that the table holds; 0 = no limit.
    pub max_peers: usize,
    /// Accepted connections open now, silent ones included.
    pub connections: usize,
    /// Of these, the ones whose header is not complete.
    pub half_open: usize,
    /// Bytes of memory that frames hold which have not come in full, of
    /// [`Config::max_partial_bytes`](crate::Config::max_partial_bytes), in steps of 64 KiB.
    pub partial_bytes: usize,
    /// Bytes of memory that replies to own requests hold which are not complete, of
    /// [`Config::max_partial_replies`](crate::Config::max_partial_replies), in steps of 64 KiB.
    pub partial_replies: usize,
    /// Own exchanges open now.
    pub outgoing: usize,
    /// Own connections that are being opened now.
    pub dialling: usize,
    /// Open links.
    pub links: Vec<LinkStatus>,
    /// The codes that have a handler.
    pub codes: Vec<TypeCode>,
    /// What has been counted since it started.
    pub counts: Counts,
    /// How often each part has been restarted.
    pub restarts: BTreeMap<String, u64>,
    /// The limits and times in force.
    pub limits: Vec<ConfigEntry>,
}

pub(crate) async fn status(node: &Endpoint, peers: &Peers) -> Status {
    // Before the rest: no guard is held while this waits, so that the future is `Send`.
    let known = peers.list().await.map(|list| (list.len(), list.unverified()));
    let (known, unverified) = known.unwrap_or((0, 0));
    Status {
        id: node.me.id().clone(),
        address: node.me.address().clone(),
        uptime: node.started.elapsed(),
        joined: node.joined.load(Ordering::Relaxed),
        paused: *node.paused.borrow(),
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

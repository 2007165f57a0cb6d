//! Ending a node: drain, goodbye, abort, report.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::prelude::Addr;
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    fault_points::{Sometimes, reached},
    node::{AbortedExchange, PeerEvent, watch},
    peer::{
        Peers,
        joining::leaving::{say_goodbye, say_goodbye_over_links},
        table::PeerListActor,
    },
    session::Endpoint,
    time::Later,
};

/// The result of stopping a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StopReport {
    /// The number of peers in the table and nodes with an open link that received `QUIT` and
    /// answered.
    pub told: usize,
    /// Exchanges that were aborted because they did not end in time, at most 1,024 of them.
    pub aborted: Vec<AbortedExchange>,
    /// The number of further exchanges that were aborted.
    pub aborted_more: usize,
    /// How long the stop took.
    pub took: Duration,
}

impl StopReport {
    /// Whether everything ended by itself.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.aborted.is_empty() && self.aborted_more == 0
    }
}

/// The time for aborted exchanges to release their connections.
const ABORT_TIME: Duration = Duration::from_secs(1);

/// Tells the peers that the node leaves, and waits for what still runs.
async fn goodbye(node: &Arc<Endpoint>, peers: &Peers, begun: Instant, told: &mut usize) {
    #[cfg(feature = "swim")]
    crate::peer::swim::leave(node).await;
    #[cfg(feature = "gossip")]
    crate::peer::gossip::leave(node);
    let until = begun.later(node.config.drain_timeout);
    let leaves = node.config.leave_on_stop;
    // A node with a link may list this node even if this node does not list it.
    let over_links = say_goodbye_over_links(node, |_| leaves);
    node.links.bye();
    if leaves {
        let known =
            peers.list().await.map(|list| list.iter().map(|entry| entry.info().clone()).collect());
        let goodbyes = say_goodbye(node, known.unwrap_or_default(), over_links);
        *told = timeout_at(until, goodbyes).await.unwrap_or(0);
    }
    node.tasks.close();
    // Whatever is still running then is aborted.
    if timeout_at(until, node.tasks.wait()).await.is_err() {
        reached(Sometimes::DrainTimedOut);
    }
}

/// Stops accepting, waits for what still runs while the peers are told, and aborts the rest.
pub(crate) async fn stop(
    node: &Arc<Endpoint>,
    peers: &Peers,
    list: &watch::Sender<Option<Addr<PeerListActor>>>,
    politely: bool,
) -> StopReport {
    let begun = Instant::now();
    node.drain.cancel();
    node.emit(&PeerEvent::Stopping);
    let mut told = 0;
    if politely {
        // Ends early at an abort.
        node.abort.run_until_cancelled(goodbye(node, peers, begun, &mut told)).await;
    }
    node.tasks.close();
    node.abort_all(node.silent.load(Ordering::Relaxed));
    timeout(ABORT_TIME, node.tasks.wait()).await.ok();
    node.routes.clear();
    list.send_replace(None);
    node.parts.close();
    timeout(ABORT_TIME, node.parts.wait()).await.ok();
    node.emit(&PeerEvent::Stopped);
    node.events.close();
    let (aborted, aborted_more) = node.take_aborted();
    StopReport { told, aborted, aborted_more, took: begun.elapsed() }
}

//! Detects threads of a node that are blocked.

use std::sync::{Arc, Weak};

use tokio::time::{Instant, sleep_until};

use crate::{
    node::PeerEvent,
    overlay::{LOOK_EVERY, standstill},
    session::Endpoint,
    time::{Later, now},
};

/// Starts a watch on every thread of the node, which reads the clock once a second. A watch that
/// runs late was held up, as was everything else on that thread.
pub(crate) fn start(node: &Arc<Endpoint>) {
    node.threads.spawn_on_each(|| node.tasks.track_future(watch(Arc::downgrade(node))));
}

/// Ends with the node.
async fn watch(node: Weak<Endpoint>) {
    let Some(drain) = node.upgrade().map(|node| node.drain.clone()) else { return };
    loop {
        let due = Instant::now().later(LOOK_EVERY);
        if drain.run_until_cancelled(sleep_until(due)).await.is_none() {
            return;
        }
        let Some(node) = node.upgrade() else { return };
        if let Some(time) = standstill(due.into_std(), now()) {
            tracing::warn!(?time, "a thread of the node was blocked");
            node.counters.standstills.one();
            node.emit(&PeerEvent::StoodStill { time });
        }
    }
}

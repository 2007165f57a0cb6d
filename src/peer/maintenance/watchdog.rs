//! Detects threads of a node that are blocked.

use std::sync::Arc;

use futures::future::LocalBoxFuture;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Maintenance, NodeContext};
use crate::{
    node::PeerEvent,
    overlay::{LOOK_EVERY, standstill},
    session::Endpoint,
    time::{Later, now},
};

/// Watches every thread of the node: a task on each reads the clock once a second. A task that runs
/// late was held up, as was everything else on that thread.
pub(crate) struct Watchdog;

impl Maintenance for Watchdog {
    fn name(&self) -> &'static str {
        "watchdog"
    }

    fn run<'a>(&'a self, NodeContext { node, .. }: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            // The tasks end with this future, and this future ends when one of them ends.
            let over = CancellationToken::new();
            let _over = over.clone().drop_guard();
            let (sender, mut ended) = mpsc::channel(1);
            node.threads.spawn_on_each(|| {
                let (sender, over) = (Ended(sender.clone()), over.clone());
                let (of, node) = (Arc::clone(node), Arc::clone(node));
                of.tasks.track_future(async move {
                    let _sender = sender;
                    over.run_until_cancelled(watch(&node)).await;
                })
            });
            ended.recv().await;
        })
    }
}

/// Reports the end of a task, also after a panic.
struct Ended(mpsc::Sender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        // One report is enough, so a full channel does not matter.
        self.0.try_send(()).ok();
    }
}

async fn watch(node: &Endpoint) {
    loop {
        let due = Instant::now().later(LOOK_EVERY);
        sleep_until(due).await;
        if let Some(time) = standstill(due.into_std(), now()) {
            tracing::warn!(?time, "a thread of the node was blocked");
            node.counters.standstills.one();
            node.emit(&PeerEvent::StoodStill { time });
        }
    }
}

//! Removes peers from the table that the transport no longer admits.

use futures::future::LocalBoxFuture;
use tokio::sync::watch;

use super::{Maintenance, NodeContext};

/// Follows the changes of what the transport admits.
pub(crate) struct FollowAdmission(pub(crate) watch::Receiver<()>);

impl Maintenance for FollowAdmission {
    fn name(&self) -> &'static str {
        "admission"
    }

    fn run<'a>(&'a self, NodeContext { node, peers }: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        let mut changes = self.0.clone();
        Box::pin(async move {
            while changes.changed().await.is_ok() && peers.drop_not_admitted(node).await.is_ok() {}
        })
    }
}

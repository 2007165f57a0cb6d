//! Emits the events of bans that end.

use std::sync::Arc;

use futures::future::LocalBoxFuture;

use super::{Maintenance, NodeContext};
use crate::node::watch_bans;

pub(crate) struct EndOfBans;

impl Maintenance for EndOfBans {
    fn name(&self) -> &'static str {
        "bans"
    }

    fn run<'a>(&'a self, context: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        Box::pin(watch_bans(Arc::clone(&context.node.node)))
    }
}

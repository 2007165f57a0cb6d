//! Layer 10: links at run time: the pool of a node, opening, reading, writing, credit.

mod acked;
mod buffers;
mod credit;
mod credit_pool;
mod deliver;
mod deliver_acked;
mod driver;
mod exchange;
mod inbound;
mod leaving;
mod messages;
mod open;
mod pool;
mod queue;
mod reach;
mod recv_stream;
mod reply;
mod report;
mod request;
mod send;
mod served;
mod state;
mod status;
mod tick;
mod turns;
mod unreached;

use std::{ops::Deref, sync::Arc};

use self::pool::LinkPool;
use crate::{
    dispatch::Routes,
    node::{Node, OnBan},
    overlay::Address,
};

#[cfg(feature = "gossip")]
pub(crate) use self::messages::{Linked, has_link, linked, try_notify_peer};
pub(crate) use self::{
    exchange::AckWaiter,
    messages::{
        Path, ask_all, is_open, notify, open_link, path, request, try_notify, try_notify_all,
        try_request, until_no_link,
    },
    open::welcome,
    queue::ExchangeBroken,
    reach::{reach, speaks_links},
    state::{Session, Unsent},
    unreached::Unreached,
};

/// A node with its handlers and its links. It sends and receives messages.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) node: Arc<Node>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) links: Arc<LinkPool>,
}

impl Deref for Endpoint {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Endpoint {
    /// The endpoint of a node with this incarnation.
    pub(crate) fn new(node: Node, incarnation: u64) -> Arc<Self> {
        let longest = u32::try_from(node.config.max_partial_bytes).unwrap_or(u32::MAX);
        let endpoint = Arc::new(Self {
            routes: Arc::new(Routes::new(longest)),
            links: Arc::new(LinkPool::new(&node.me, &node.config, incarnation)),
            node: Arc::new(node),
        });
        let weak = Arc::downgrade(&endpoint);
        let on_ban = OnBan(Box::new(move |whom| {
            if let Some(endpoint) = weak.upgrade() {
                endpoint.links.abort_offender(whom);
            }
        }));
        // This is the only place that sets it.
        endpoint.on_ban.set(on_ban).ok();
        endpoint
    }

    /// The parts that a link uses.
    fn parts(&self) -> (Arc<Node>, Arc<Routes>) {
        (Arc::clone(&self.node), Arc::clone(&self.routes))
    }

    /// Aborts everything that runs: connections are closed, with a reason or `silently`, and all
    /// tasks of the node end.
    pub(crate) fn abort_all(&self, silently: bool) {
        self.abort.cancel();
        self.links.abort(silently);
        self.revocables.abort().into_iter().for_each(|exchange| self.report_aborted(exchange));
    }

    /// Notes that a peer is alive at `to`.
    pub(crate) fn is_alive(&self, to: &Address) {
        self.links.is_alive(to);
    }
}

#[cfg(test)]
pub(crate) mod models;

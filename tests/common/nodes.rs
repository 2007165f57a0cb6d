//! Nodes on a memory network, and messages between nodes.

use std::time::Duration;

#[cfg(feature = "test-utils")]
use actix_peer::{
    Builder,
    overlay::Host,
    transport::memory::{MemoryNetwork, MemoryTransport},
};
use actix_peer::{Events, Outgoing, Peer, PeerEvent, RequestError, frame::Frame, node::Counts};
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, repeat};

/// The transport of the host `name`.
#[cfg(feature = "test-utils")]
pub(crate) fn host(wires: &MemoryNetwork, name: &str) -> MemoryTransport {
    wires.transport(name.parse::<Host>().unwrap())
}

/// A node on the host `name` whose id is that name.
#[cfg(feature = "test-utils")]
pub(crate) fn on_host(wires: &MemoryNetwork, name: &str) -> Builder {
    Peer::builder().transport(host(wires, name)).listen(format!("{name}:9000")).id(name)
}

/// Cuts every link. Returns the number of links that were cut.
#[cfg(feature = "test-utils")]
pub(crate) fn cut_all_links(wires: &MemoryNetwork) -> usize {
    wires.links().iter().filter(|link| wires.break_link(link.number())).count()
}

/// The replies to a message.
pub(crate) async fn replies(
    from: &Peer,
    to: &Peer,
    message: impl Into<Outgoing>,
) -> Result<Vec<Frame>, RequestError> {
    from.request(to.info(), message).await?.collect().await
}

/// A body of this many zeros.
pub(crate) fn zeros(len: u32) -> impl AsyncRead + Send + Unpin + 'static {
    repeat(0).take(len.into())
}

pub(crate) async fn counts(node: &Peer) -> Counts {
    node.status().await.counts
}

/// The ids in the table of a node, sorted.
pub(crate) async fn known(node: &Peer) -> Vec<String> {
    let list = node.peers().list().await.unwrap();
    let mut known: Vec<_> = list.iter().map(|entry| entry.info().id().to_string()).collect();
    known.sort();
    known
}

/// The next event for which `which` returns a value, within `limit`.
pub(crate) async fn event_within<T>(
    limit: Duration,
    events: &mut Events,
    which: impl Fn(PeerEvent) -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = which(events.next().await.expect("the stream of events is open")) {
                return found;
            }
        }
    };
    tokio::time::timeout(limit, found).await.expect("the event occurs in time")
}

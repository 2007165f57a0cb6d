//! Joining and leaving a network: the driver of the pure walk.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::time::Instant;

use crate::{
    connection::{Node, PeerEvent},
    frame::{Frame, TypeCode},
    overlay::{
        Added, Address, JoinConfig, JoinEnd, JoinEvent, JoinReport, JoinStep, JoinWalk, PeerInfo,
    },
    peer::{JoinError, NodeDown, Peers, stabilizer::question},
};

/// The longest time for one question of the walk: three round trips of a busy node, and far from
/// the limit of the whole walk.
const QUESTION_TIME: Duration = Duration::from_secs(5);

/// Peers that are told `QUIT` at the same time.
const GOODBYES_AT_ONCE: usize = 32;

/// Walks the network from `contact` on and adds peers to the table.
pub(crate) async fn join(
    node: &Arc<Node>,
    peers: &Peers,
    contact: Address,
    config: JoinConfig,
) -> Result<JoinReport, JoinError> {
    let now = || Instant::now().into_std();
    let mut walk = JoinWalk::new(node.me.clone(), contact.clone(), config, now());
    let mut event = JoinEvent::Start;
    let report = loop {
        let list = peers.list().await?;
        event = match walk.step(event, &list, now()) {
            JoinStep::Ask { to, whom, frame } => {
                match question(node, (&to, whom.as_ref()), frame, QUESTION_TIME).await {
                    Ok(replies) => JoinEvent::Replies(replies),
                    Err(failure) => JoinEvent::Failed(failure),
                }
            }
            JoinStep::Add { info, learned } => {
                let added = peers.add_learned(info, learned).await?;
                if matches!(added, Added::Added) {
                    node.joined.store(true, Ordering::Relaxed);
                }
                JoinEvent::Added(added)
            }
            JoinStep::Done(report) => break report,
        };
    };
    match report.end() {
        JoinEnd::ContactIsSelf => Err(JoinError::ContactIsSelf(contact)),
        JoinEnd::ContactFailed => {
            Err(JoinError::ContactFailed { contact, report: Box::new(report) })
        }
        _ => {
            node.emit(&PeerEvent::Joined { contact, added: report.added().len() });
            Ok(report)
        }
    }
}

/// Says `QUIT` to every known peer. Returns how many answered.
pub(crate) async fn say_goodbye(node: &Arc<Node>, known: Vec<PeerInfo>) -> usize {
    node.joined.store(false, Ordering::Relaxed);
    if known.is_empty() {
        return 0;
    }
    let goodbye = Frame::text(TypeCode::QUIT, node.me.id().to_string());
    let told = stream::iter(known)
        .map(|peer| {
            let goodbye = goodbye.clone();
            async move {
                question(
                    node,
                    (peer.address(), Some(peer.id())),
                    goodbye,
                    node.config.connect_timeout,
                )
                .await
                .is_ok()
            }
        })
        .buffer_unordered(GOODBYES_AT_ONCE)
        .filter(|told| std::future::ready(*told))
        .count()
        .await;
    node.emit(&PeerEvent::Left { told });
    told
}

/// Leaves the network and goes on without peers.
pub(crate) async fn leave(node: &Arc<Node>, peers: &Peers) -> Result<usize, NodeDown> {
    let known = peers.clear().await?;
    Ok(say_goodbye(node, known.iter().map(|entry| entry.info().clone()).collect()).await)
}

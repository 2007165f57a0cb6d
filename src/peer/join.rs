//! Joining and leaving a network: the driver of the pure walk.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, stream};

use crate::{
    connection::{Node, PeerEvent, now},
    frame::{Frame, TypeCode},
    overlay::options::Options as _,
    overlay::{
        Added, Address, AskFailure, Candidate, Host, JoinConfig, JoinEnd, JoinEvent, JoinReport,
        JoinStep, JoinWalk, PeerId, PeerInfo, Scope,
    },
    peer::{JoinError, NodeDown, Peers, stabilizer::question},
};

/// The longest time for one question of the walk: three round trips of a busy node, and far from
/// the limit of the whole walk.
const QUESTION_TIME: Duration = Duration::from_secs(5);

/// Peers that are told `QUIT` at the same time.
const GOODBYES_AT_ONCE: usize = 32;

/// What the hosts of a walk mean, looked up once each: at most as many as the walk asks.
#[derive(Debug, Default)]
pub(crate) struct Places(HashMap<Host, Vec<Host>>);

impl Places {
    pub(crate) async fn of(&mut self, node: &Node, host: &Host) -> &[Host] {
        if !self.0.contains_key(host) {
            let means = node.look_up(host).await.unwrap_or_default();
            self.0.insert(host.clone(), means);
        }
        self.0.get(host).map_or(&[], Vec::as_slice)
    }

    /// The narrowest and the widest scope of a host; none when there is nobody.
    async fn scopes(&mut self, node: &Node, host: &Host) -> Option<(Scope, Scope)> {
        let here = |host: &Host| {
            if node.transport.is_here(host) { Some(Scope::Machine) } else { Scope::of(host) }
        };
        let means = self.of(node, host).await;
        let scopes: Option<Vec<_>> = means.iter().map(here).collect();
        let scopes = scopes?;
        Some((*scopes.iter().min()?, *scopes.iter().max()?))
    }

    /// Whether the node may go to `to`, which it has from a list that `by` sent.
    pub(crate) async fn may_go(&mut self, node: &Node, to: &Address, by: &Address) -> bool {
        let by = self.scopes(node, by.host()).await;
        let to = self.scopes(node, to.host()).await;
        by.zip(to).is_some_and(|((_, by), (to, _))| by.may_name(to))
    }
}

/// Asks a question of the walk, unless the place to ask at is one where nobody may send this node.
async fn ask(
    node: &Arc<Node>,
    places: &mut Places,
    (to, whom, named_by): (&Address, Option<&PeerId>, Option<Address>),
    frame: Frame,
) -> Result<Vec<Frame>, AskFailure> {
    if let Some(by) = &named_by
        && !(places.may_go(node, to, by).await && node.may_dial(to).await)
    {
        return Err(AskFailure::NotAllowed);
    }
    let replies = question(node, (to, whom), frame, QUESTION_TIME).await?;
    if named_by.is_some() && replies.first().is_some_and(|reply| reply.code() == TypeCode::REPL) {
        node.pace().answered(to);
    }
    Ok(replies)
}

/// Walks the network from `contact` on and adds peers to the table.
pub(crate) async fn join(
    node: &Arc<Node>,
    peers: &Peers,
    contact: Address,
    config: JoinConfig,
) -> Result<JoinReport, JoinError> {
    config.validate_all()?;
    let mut walk = JoinWalk::new(node.me.clone(), contact.clone(), config, now());
    let (mut event, mut places) = (JoinEvent::Start, Places::default());
    let report = loop {
        let list = peers.list().await?;
        event = match walk.step(event, &list, now()) {
            JoinStep::Ask { to, whom, frame, named_by } => {
                match ask(node, &mut places, (&to, whom.as_ref(), named_by), frame).await {
                    Ok(replies) => JoinEvent::Replies(replies),
                    Err(failure) => JoinEvent::Failed(failure),
                }
            }
            JoinStep::Add { info, learned } => {
                // It has said its name at its address.
                let seen_at = places.of(node, info.host()).await.first().cloned();
                let seen_at = seen_at.unwrap_or_else(|| info.host().clone());
                let candidate = Candidate::new(info, learned).seen_at(seen_at).verified(true);
                let added = peers.admit(candidate).await?;
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

//! Joining and leaving a network: the I/O for the pure walk, retries, introductions, and the
//! answers to nodes that join or leave.

mod contacts;
mod error;
mod failure;
mod given;
pub(crate) mod introductions;
pub(crate) mod leaving;
mod retries;
pub(crate) mod well_known;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

#[cfg(feature = "gossip")]
use futures::future::{Either, select};

#[cfg(feature = "gossip")]
use crate::{
    overlay::{Learned, PeerInfo, PeerList},
    peer::gossip::enter,
};

pub use self::error::JoinError;
pub(crate) use self::{contacts::RejoinContacts, given::GivenContacts, retries::JoinRetries};
use crate::{
    frame::{Frame, TypeCode},
    node::PeerEvent,
    overlay::{
        Address, Candidate, JoinAnswer, JoinConfig, JoinEnd, JoinEvent, JoinFailure, JoinReport,
        JoinStep, JoinWalk, PeerId, options::Options as _,
    },
    peer::{
        NodeDown, Peers,
        asking::{
            hosts::{OwnAddresses, ResolvedHosts},
            question_in_full,
        },
        verification::{AskName, Policy, two_addresses, verify_and_admit},
    },
    session::Endpoint,
    time::now,
};

/// The maximum time for one question of the walk: three round trips of a busy node, and far below
/// the limit of the whole walk.
const QUESTION_TIME: Duration = Duration::from_secs(5);

/// Asks a question of the walk, unless the address is one where other nodes may not send this node.
async fn ask(
    node: &Arc<Endpoint>,
    hosts: &mut ResolvedHosts,
    (to, whom, named_by): (&Address, Option<&PeerId>, Option<Address>),
    frame: Frame,
) -> Result<Vec<Frame>, JoinFailure> {
    if let Some(by) = &named_by
        && !(hosts.may_go(node, to, by).await && node.may_dial(to).await)
    {
        return Err(JoinFailure::NotAllowed);
    }
    let code = frame.code();
    let replies = question_in_full(node, (to, whom), frame, QUESTION_TIME).await;
    let replies = replies.map_err(|unanswered| failure::failure_of(code, unanswered))?;
    if named_by.is_some() && replies.first().is_some_and(|reply| reply.code() == TypeCode::REPL) {
        node.answered(to);
    }
    Ok(replies)
}

/// Walks the network, starting at `contact`, and adds peers to the table. `earlier` is the number
/// of earlier walks with the same contact.
async fn walk(
    node: &Arc<Endpoint>,
    peers: &Peers,
    contact: Address,
    (config, earlier): (JoinConfig, u32),
) -> Result<JoinReport, NodeDown> {
    let own = OwnAddresses::of(node).await;
    let is_own = |at: &Address| own.is_own(node, at);
    let mut walk = JoinWalk::new(node.me.clone(), contact, config, now()).turn(earlier);
    let (mut event, mut hosts) = (JoinEvent::Start, ResolvedHosts::default());
    let report = loop {
        let list = peers.list().await?;
        event = match walk.step_as(event, &list, now(), &is_own) {
            JoinStep::Ask { to, whom, frame, named_by } => {
                match ask(node, &mut hosts, (&to, whom.as_ref(), named_by), frame).await {
                    Ok(replies) => JoinEvent::Replies(replies),
                    Err(failure) => JoinEvent::Failed(failure),
                }
            }
            JoinStep::Wait(pause) => {
                tokio::time::sleep(pause).await;
                JoinEvent::Waited
            }
            JoinStep::Add { info, learned } => {
                // The peer has answered `NAME` at this address.
                let seen_at = hosts.of(node, info.host()).await.first().cloned();
                let seen_at = seen_at.unwrap_or_else(|| info.host().clone());
                let proven = node.secure && info.id().is_key();
                let candidate = Candidate::new(info, learned).seen_at(seen_at);
                let policy = Policy { ask: AskName::Never { proven }, introduce: false };
                let outcome = verify_and_admit(node, peers, candidate, policy).await?;
                JoinEvent::Added(outcome.added())
            }
            JoinStep::Done(report) => break report,
        };
    };
    for (by, listed) in report.elsewhere() {
        two_addresses(node, node.me.id(), listed, node.me.address(), Some(by.clone()));
    }
    Ok(report)
}

/// As [`come_in`], but a node that has neighbours does not ask for another one, which would have to
/// give up one of its own.
async fn come_back(
    node: &Arc<Endpoint>,
    peers: &Peers,
    contact: &Address,
    walked: (JoinConfig, u32),
) -> Result<Came, NodeDown> {
    #[cfg(feature = "gossip")]
    if crate::peer::gossip::is_alone(node) == Some(false) {
        let report = walk(node, peers, contact.clone(), walked).await?;
        return Ok(Came::of(contact, report));
    }
    come_in(node, peers, contact, walked).await
}

/// Walks the network, and asks the contact to take this node in as a neighbour. The walk fills the
/// table; if no node admits this one, the neighbour counts.
async fn come_in(
    node: &Arc<Endpoint>,
    peers: &Peers,
    contact: &Address,
    walked: (JoinConfig, u32),
) -> Result<Came, NodeDown> {
    #[cfg(feature = "gossip")]
    let before = peers.list().await?;
    let walk = walk(node, peers, contact.clone(), walked);
    #[cfg(not(feature = "gossip"))]
    let report = walk.await?;
    #[cfg(feature = "gossip")]
    let report = match select(Box::pin(walk), Box::pin(enter(node, contact))).await {
        Either::Left((report, entering)) => {
            let report = report?;
            let is_in = !matches!(Came::of(contact, report.clone()), Came::Not { .. });
            let neighbor = if is_in { None } else { entering.await };
            with_neighbors(peers, report, &before, neighbor).await?
        }
        Either::Right((neighbor, walk)) => {
            with_neighbors(peers, walk.await?, &before, neighbor).await?
        }
    };
    Ok(Came::of(contact, report))
}

/// Adds to a report the neighbour that took this node in, and the neighbours that were added to the
/// table meanwhile.
#[cfg(feature = "gossip")]
async fn with_neighbors(
    peers: &Peers,
    mut report: JoinReport,
    before: &PeerList,
    neighbor: Option<PeerInfo>,
) -> Result<JoinReport, NodeDown> {
    let list = peers.list().await?;
    let came = list.iter().filter(|entry| *entry.learned() == Learned::Neighbor);
    for entry in came.filter(|entry| !before.contains(entry.info().id())) {
        report.note_added(entry.info().clone());
    }
    neighbor.into_iter().for_each(|neighbor| report.note_neighbor(neighbor));
    Ok(report)
}

/// Joins again through a contact that is no longer in the table.
pub(super) async fn rejoin(
    node: &Arc<Endpoint>,
    peers: &Peers,
    contact: Address,
    config: JoinConfig,
) -> Result<(), NodeDown> {
    match come_back(node, peers, &contact, (config, 0)).await? {
        Came::In(report) if !report.added().is_empty() => {
            node.emit(&PeerEvent::Joined { contact, added: report.added().len() });
        }
        Came::In(_) | Came::Itself => {}
        // The next look at the contacts retries it.
        Came::Not { cause, .. } => {
            tracing::debug!(%contact, %cause, "a contact of a join is still unreachable");
        }
    }
    Ok(())
}

/// The outcome of a walk.
enum Came {
    In(JoinReport),
    Itself,
    Not { cause: JoinFailure, report: Box<JoinReport> },
}

impl Came {
    fn of(contact: &Address, report: JoinReport) -> Self {
        let has_enough = matches!(report.end(), JoinEnd::TableFull | JoinEnd::TargetReached);
        let is_in = !report.listed_by().is_empty() || report.neighbor().is_some();
        if report.end() == JoinEnd::ContactIsSelf {
            Self::Itself
        } else if has_enough || is_in {
            Self::In(report)
        } else {
            // A walk without time or without questions asks nothing.
            let cause = report.why_not(contact).cloned().unwrap_or(JoinFailure::NoAnswer);
            Self::Not { cause, report: Box::new(report) }
        }
    }

    /// Whether a retry may help: the contact, or a node that it lists, answered "not now".
    fn is_not_now(report: &JoinReport) -> bool {
        let mut all = report.refused().iter().chain(report.failed());
        all.any(|(_, why)| why.answer() == JoinAnswer::NotNow)
    }
}

/// Joins the network of `contact`, and retries in the background when the answer is "not now".
pub(crate) async fn join(
    node: &Arc<Endpoint>,
    peers: &Peers,
    contact: Address,
    config: JoinConfig,
) -> Result<JoinReport, JoinError> {
    config.validate_all()?;
    node.left.store(false, Ordering::Relaxed);
    match come_in(node, peers, &contact, (config.clone(), 0)).await? {
        Came::Itself => Err(JoinError::ContactIsSelf(contact)),
        Came::In(report) => {
            node.joins.end(&contact);
            contacts::joined(peers, &contact, config).await?;
            node.emit(&PeerEvent::Joined { contact, added: report.added().len() });
            Ok(report)
        }
        Came::Not { cause, report } => {
            let again = Came::is_not_now(&report) && node.joins.begin(&contact, config);
            let why = cause.clone();
            node.emit(&PeerEvent::NotJoined { contact: contact.clone(), why, again });
            let takes_part = report.refused().iter().any(|(address, _)| *address == contact);
            Err(if takes_part {
                JoinError::NotTakenIn { contact, cause, again, report }
            } else {
                JoinError::ContactFailed { contact, cause, again, report }
            })
        }
    }
}

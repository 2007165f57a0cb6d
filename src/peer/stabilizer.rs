//! `StabilizerActor`: runs one maintenance job at its interval.

use std::{collections::VecDeque, fmt, rc::Rc, sync::Arc, time::Duration};

use actix::prelude::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, timeout_at};

use crate::{
    classic::client,
    frame::{Frame, TypeCode},
    message::{RequestError, outgoing::OutgoingKind},
    overlay::{
        Address, AskFailure, Listing, PeerId, PeerInfo, Stabilizer, StabilizerAction,
        StabilizerEvent, View, is_gap, options::ConfigError,
    },
    peer::{
        Peer, Peers, WeakPeer,
        child::Guard,
        introduce,
        peer_exchange::consider,
        service::{Service, ServiceContext},
    },
    session::Endpoint,
    time::{Later, now},
};

/// The job: a pure stabilizer that requests actions, the application's closure, or a service of the
/// node.
pub(crate) enum Job {
    Pure(Box<dyn Stabilizer>),
    Closure { every: Duration, run: Rc<dyn Fn(Peer) -> LocalBoxFuture<'static, ()>> },
    Service { service: Rc<dyn Service>, context: ServiceContext },
}

/// How to make a new job: once at the start, and after each death of its actor.
pub(crate) struct Recipe {
    pub(crate) name: String,
    /// Whether its options are within their bounds.
    pub(crate) valid: Result<(), ConfigError>,
    pub(crate) make: Box<dyn Fn() -> Job>,
}

impl Recipe {
    pub(crate) fn of_service(service: Rc<dyn Service>, context: ServiceContext) -> Self {
        let name = service.name().to_owned();
        let make = move || Job::Service { service: Rc::clone(&service), context: context.clone() };
        Self { name, valid: Ok(()), make: Box::new(make) }
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recipe").field(&self.name).finish()
    }
}

/// Runs one maintenance job: at once, and then repeatedly with its pause in between, so that runs
/// never overlap.
///
/// The `PeerActor` starts one actor for each job, so a slow job does not delay the others. A panic
/// of the job ends its actor, and the `PeerActor` starts a successor from the recipe, with
/// back-off. The actor ends when the node drains.
pub struct StabilizerActor {
    name: String,
    job: Option<Job>,
    node: Arc<Endpoint>,
    peers: Peers,
    peer: WeakPeer,
    _guard: Guard,
}

impl fmt::Debug for StabilizerActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StabilizerActor").field(&self.name).finish()
    }
}

impl StabilizerActor {
    pub(crate) fn new(
        name: &str,
        job: Option<Job>,
        node: Arc<Endpoint>,
        peers: Peers,
        peer: WeakPeer,
        guard: Guard,
    ) -> Self {
        Self { name: name.to_owned(), job, node, peers, peer, _guard: guard }
    }
}

impl Actor for StabilizerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(job) = self.job.take() else {
            return ctx.stop();
        };
        let (node, peers, peer) = (Arc::clone(&self.node), self.peers.clone(), self.peer.clone());
        let run = async move {
            let run = async {
                match job {
                    Job::Pure(mut stabilizer) => loop {
                        sweep(stabilizer.as_mut(), &node, &peers).await;
                        tokio::time::sleep(stabilizer.every()).await;
                    },
                    Job::Closure { every, run } => {
                        while let Some(peer) = peer.upgrade() {
                            run(peer).await;
                            tokio::time::sleep(every).await;
                        }
                    }
                    Job::Service { service, context } => service.run(context).await,
                }
            };
            node.drain.run_until_cancelled(run).await
        };
        ctx.spawn(run.into_actor(self).map(|_, _, ctx| ctx.stop()));
    }
}

/// One run: a tick, the actions that the stabilizer requests, and its reaction to the answers,
/// until it requests nothing more.
async fn sweep(stabilizer: &mut dyn Stabilizer, node: &Arc<Endpoint>, peers: &Peers) {
    // A snapshot: the run is about the peers at its beginning.
    let Ok(list) = peers.list_to_maintain().await else { return };
    let at_once = stabilizer.at_once().max(1);
    let mut step = |event| {
        let view = View { me: &node.me, peers: &list, now: now() };
        stabilizer.step(event, &view)
    };
    let mut asks = VecDeque::new();
    let mut under_way = FuturesUnordered::new();
    let mut actions = step(StabilizerEvent::Tick);
    loop {
        for action in actions {
            match action {
                StabilizerAction::Ask { .. } | StabilizerAction::Consider { .. } => {
                    asks.push_back(action);
                }
                action => apply(action, node, peers).await,
            }
        }
        while under_way.len() < at_once {
            let Some(action) = asks.pop_front() else {
                break;
            };
            under_way.push(go(node, peers, action));
        }
        let Some(event) = under_way.next().await else {
            return;
        };
        actions = event.map_or_else(Vec::new, &mut step);
    }
}

/// Runs an action that needs a peer: a question, whose answer is returned to the stabilizer, or a
/// visit, which has no answer.
async fn go(
    node: &Arc<Endpoint>,
    peers: &Peers,
    action: StabilizerAction,
) -> Option<StabilizerEvent> {
    match action {
        StabilizerAction::Ask { peer, frame, within } => {
            Some(ask(node, peers, peer, frame, within).await)
        }
        StabilizerAction::Consider { peer, by } => {
            consider(node, peers, &peer, &by).await;
            None
        }
        _ => None,
    }
}

async fn apply(action: StabilizerAction, node: &Arc<Endpoint>, peers: &Peers) {
    let done = match action {
        StabilizerAction::Seen(id) => match peers.seen(&id).await {
            Ok(_) => introduce::when_due(node, peers, &id).await,
            Err(down) => Err(down),
        },
        StabilizerAction::Forget(id) => peers.lost(&id).await,
        StabilizerAction::Rejoin(peer) => peers.rejoin(peer).await,
        _ => Ok(()),
    };
    if let Err(error) = done {
        tracing::debug!(%error, "maintenance action failed");
    }
}

async fn ask(
    node: &Arc<Endpoint>,
    peers: &Peers,
    peer: PeerInfo,
    frame: Frame,
    within: Duration,
) -> StabilizerEvent {
    let answer = if frame.code() == TypeCode::PING {
        // Over a link the answer also says whether the peer lists this node.
        introduce::ask(node, &peer, frame, within).await
    } else {
        question(node, (peer.address(), Some(peer.id())), frame, within).await
    };
    match answer {
        Ok(replies) => {
            if let Some(listing) = Listing::in_pong(&replies) {
                introduce::said(node, peers, &peer, listing).await.ok();
            }
            StabilizerEvent::Answered { peer, replies }
        }
        Err(failure) => StabilizerEvent::Failed { peer, failure },
    }
}

/// Why a question was not answered.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The connection was not opened, with the reason; `None` if the time ran out.
    NotConnected(Option<RequestError>),
    /// The exchange broke off.
    Broken(RequestError),
    /// No complete answer came in time.
    Late,
    /// This node itself was blocked meanwhile.
    StoodStill,
}

impl From<Unanswered> for AskFailure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotConnected(_) => Self::Unreachable,
            Unanswered::Broken(_) => Self::Broken,
            Unanswered::Late => Self::Late,
            Unanswered::StoodStill => Self::StoodStill,
        }
    }
}

/// Asks and collects the answer within a time. The failure is in the terms of the pure layers.
pub(crate) async fn question(
    node: &Arc<Endpoint>,
    to: (&Address, Option<&PeerId>),
    frame: Frame,
    within: Duration,
) -> Result<Vec<Frame>, AskFailure> {
    Ok(question_in_full(node, to, frame, within).await?)
}

/// As [`question`], with the full reason if there is no answer.
pub(crate) async fn question_in_full(
    node: &Arc<Endpoint>,
    to: (&Address, Option<&PeerId>),
    frame: Frame,
    within: Duration,
) -> Result<Vec<Frame>, Unanswered> {
    let until = Instant::now().later(within);
    let answer = question_until(node, to, frame, until).await;
    // A late wake-up means that this node was blocked, and that nothing was read in time.
    let gap = is_gap(until.into_std(), now());
    answer.map_err(|failure| if gap { Unanswered::StoodStill } else { failure })
}

async fn question_until(
    node: &Arc<Endpoint>,
    to: (&Address, Option<&PeerId>),
    frame: Frame,
    until: Instant,
) -> Result<Vec<Frame>, Unanswered> {
    let opened = timeout_at(until, client::open(&node.node, to, OutgoingKind::Frame(frame))).await;
    let replies = match opened {
        Ok(Ok(replies)) => replies,
        Ok(Err(
            error @ (RequestError::Connect { .. }
            | RequestError::Identity(_)
            | RequestError::Banned(_)
            | RequestError::Busy),
        )) => return Err(Unanswered::NotConnected(Some(error))),
        Err(_) => return Err(Unanswered::NotConnected(None)),
        Ok(Err(error)) => return Err(Unanswered::Broken(error)),
    };
    let limit = node.config.control_reply();
    match timeout_at(until, replies.collect_or_part_up_to(limit)).await {
        Ok(Ok(frames)) => Ok(frames),
        Ok(Err((frames, error))) => {
            // A refusal is a valid answer, even if the connection breaks after it.
            let refused = frames.first().is_some_and(|first| first.code() == TypeCode::ERRO);
            if refused { Ok(frames) } else { Err(Unanswered::Broken(error)) }
        }
        Err(_) => Err(Unanswered::Late),
    }
}

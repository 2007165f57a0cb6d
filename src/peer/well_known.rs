//! The handlers for the well-known codes that need no files (WIRE.md part 2).

use std::sync::{Arc, Weak, atomic::Ordering};

use actix::prelude::{Actor, Context, Handler, ResponseFuture};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    connection::{Incoming, Node, Refusal, Removed, Reply, Sender, Via},
    frame::{Frame, TypeCode},
    overlay::{Added, Candidate, Claim, Host, JoinPolicy, Learned, PeerId, PeerInfo, QuitPolicy},
    peer::{NodeDown, Peers, child::stop_at_cut, probation},
};

/// Serves `NAME`, `LIST`, `JOIN`, `QUIT` and `PING`, with the words of the original programs.
#[derive(Debug)]
pub(crate) struct WellKnown {
    pub(crate) node: Weak<Node>,
    pub(crate) peers: Peers,
    _part: TaskTrackerToken,
}

impl WellKnown {
    pub(crate) const CODES: [TypeCode; 5] =
        [TypeCode::NAME, TypeCode::LIST, TypeCode::JOIN, TypeCode::QUIT, TypeCode::PING];
}

impl Actor for WellKnown {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(node) = self.node.upgrade() {
            stop_at_cut(self, &node, ctx);
        }
    }
}

impl Handler<Incoming> for WellKnown {
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, msg: Incoming, _: &mut Self::Context) -> Self::Result {
        let (node, peers) = (self.node.upgrade(), self.peers.clone());
        Box::pin(async move {
            let Some(node) = node else {
                return Reply::refused(Refusal::HandlerGone);
            };
            // It is no future of the actor, and would outlive the node.
            let answer = node.tasks.track_future(node.until_cut(answer(&msg, &node, &peers)));
            match answer.await {
                Some(Ok(reply)) => reply,
                Some(Err(NodeDown)) => Reply::refused(Refusal::HandlerGone),
                None => Reply::refused(Refusal::Stopping),
            }
        })
    }
}

async fn answer(msg: &Incoming, node: &Arc<Node>, peers: &Peers) -> Result<Reply, NodeDown> {
    let (request, sender) = (&msg.frame, msg.sender());
    let text = request.as_str().unwrap_or("\0");
    Ok(match request.code().to_ascii_uppercase() {
        TypeCode::NAME => repl(node.me.id().to_string()),
        TypeCode::PING => Reply::one(Frame::text(TypeCode::PONG, node.me.id().to_string())),
        TypeCode::LIST => {
            let list = peers.list().await?;
            let count = Frame::text(TypeCode::REPL, list.len().to_string());
            let entries =
                list.iter().map(|entry| Frame::text(TypeCode::REPL, entry.info().to_string()));
            Reply::many(std::iter::once(count).chain(entries))
        }
        TypeCode::JOIN => join(text, sender, node, peers).await?,
        TypeCode::QUIT => quit(text, sender, node, peers).await?,
        _ => Reply::refused(Refusal::UnknownCode),
    })
}

fn repl(text: String) -> Reply {
    Reply::one(Frame::text(TypeCode::REPL, text))
}

/// Where a sender is, as far as its connection shows. What others passed on shows nothing.
fn source(sender: &Sender) -> Option<&Host> {
    match sender.via() {
        Via::Classic | Via::Link => Some(sender.address().host()),
        Via::Routed { .. } => None,
    }
}

/// Whether `holds` of the claim of the sender to be at `host`.
pub(crate) async fn claims(
    node: &Node,
    sender: &Sender,
    host: &Host,
    holds: impl FnOnce(&Claim<'_>) -> bool,
) -> bool {
    let Some(source) = source(sender) else { return false };
    let means = node.look_up(host).await.unwrap_or_default();
    holds(&Claim {
        host,
        means: &means,
        here: node.transport.is_here(host),
        source,
        source_here: node.transport.is_here(source),
    })
}

async fn join(
    text: &str,
    sender: &Sender,
    node: &Arc<Node>,
    peers: &Peers,
) -> Result<Reply, NodeDown> {
    let Ok(peer) = text.parse::<PeerInfo>() else {
        return Ok(Reply::error("Join: incorrect arguments"));
    };
    let (id, proven) = (peer.id().clone(), sender.proven());
    if !node.may_claim(proven, &id) {
        return Ok(Reply::refused(Refusal::NotYourId));
    }
    let policy = node.config.join_policy;
    let refused = |text: &str| {
        node.counters.joins_refused.one();
        Ok(Reply::error(format!("Join: {text}")))
    };
    // Its own id is told as such, as in the originals, wherever it comes from.
    if id != *node.me.id() && policy == JoinPolicy::Closed {
        return refused("not allowed");
    }
    let lets_in = |claim: &Claim<'_>| policy.lets_in(claim);
    if id != *node.me.id() && !claims(node, sender, peer.host(), lets_in).await {
        return refused("not your address");
    }
    let verified = policy == JoinPolicy::Open || proven.is_some();
    let seen_at = sender.address().host().clone();
    let candidate = Candidate::new(peer.clone(), Learned::Joined).seen_at(seen_at);
    match peers.admit(candidate.verified(verified)).await? {
        Added::Added => {
            node.joined.store(true, Ordering::Relaxed);
            if !verified {
                probation::begin(node, peers, peer);
            }
            Ok(repl(format!("Join: peer added: {id}")))
        }
        Added::AlreadyKnown => Ok(Reply::error(format!("Join: peer already inserted {id}"))),
        Added::Own => Ok(Reply::error("Join: attempt to insert self")),
        Added::TooManyOfAddress => refused("too many peers at your address"),
        Added::TooManyOfNetwork => refused("too many peers in your network"),
        Added::TooManyUnverified | Added::TooManyNewcomers | Added::TooManyOfSource => {
            refused("too many new peers")
        }
        Added::Full => refused("too many peers"),
    }
}

async fn quit(text: &str, sender: &Sender, node: &Node, peers: &Peers) -> Result<Reply, NodeDown> {
    let Ok(id) = text.trim().parse::<PeerId>() else {
        // The text names what was asked for only when it can be an id: nothing else is echoed.
        return Ok(Reply::error("Quit: peer not found: "));
    };
    let proven = sender.proven();
    if !node.may_claim(proven, &id) {
        return Ok(Reply::refused(Refusal::NotYourId));
    }
    let entry = peers.known(&id).await?;
    let is_own = match &entry {
        Some(entry) if node.config.quit_policy == QuitPolicy::Own && proven.is_none() => {
            // Where it was seen needs no look-up.
            claims(node, sender, entry.seen_at(), |claim| claim.is_own()).await
                || claims(node, sender, entry.info().host(), |claim| claim.is_own()).await
        }
        _ => true,
    };
    if !is_own {
        node.counters.quits_refused.one();
        return Ok(Reply::error("Quit: not your address"));
    }
    Ok(match peers.remove_because(&id, Removed::Left).await? {
        Some(entry) => repl(format!("Quit: peer removed: {}", entry.info().id())),
        None => Reply::error(format!("Quit: peer not found: {id}")),
    })
}

/// Registers them: one actor for all five codes.
pub(crate) fn routes(
    node: &Arc<Node>,
    peers: &Peers,
) -> Vec<(TypeCode, actix::Recipient<Incoming>)> {
    let (weak, peers) = (Arc::downgrade(node), peers.clone());
    let actor = WellKnown { node: weak, peers, _part: node.parts.token() }.start();
    WellKnown::CODES.into_iter().map(|code| (code, actor.clone().recipient())).collect()
}

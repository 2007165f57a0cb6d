//! The handlers for the well-known codes that need no files
//! ([protocol](crate::protocol#well-known-messages)).

use std::sync::{Arc, Weak};

use actix::prelude::{Actor, Context, Handler, ResponseFuture};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    frame::{Frame, TypeCode},
    message::{Incoming, Reply, Sender},
    node::{Refusal, Removed},
    overlay::{
        Added, Address, Candidate, Claim, Host, JoinPolicy, Learned, Listing, PeerEntry, PeerId,
        PeerInfo, QuitPolicy, Scope, Verdict,
    },
    peer::{
        NodeDown, Peers,
        asking::hosts::{claims, scope_of, source},
        supervision::stop_at_abort,
        verification::{AskName, Policy, ask_name, verify_and_admit},
    },
    session::Endpoint,
    time::now,
};

/// Serves `NAME`, `LIST`, `JOIN`, `QUIT` and `PING`, with the answers of the original programs.
#[derive(Debug)]
pub(crate) struct WellKnown {
    pub(crate) node: Weak<Endpoint>,
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
            stop_at_abort(self, &node, ctx);
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
            // Tracked and aborted with the node: the future does not belong to the actor and would
            // outlive the node.
            let answer = node.tasks.track_future(node.until_aborted(answer(&msg, &node, &peers)));
            match answer.await {
                Some(Ok(reply)) => reply,
                Some(Err(NodeDown)) => Reply::refused(Refusal::HandlerGone),
                None => Reply::refused(Refusal::Stopping),
            }
        })
    }
}

async fn answer(msg: &Incoming, node: &Arc<Endpoint>, peers: &Peers) -> Result<Reply, NodeDown> {
    let (request, sender) = (&msg.frame, msg.sender());
    let text = request.as_str().unwrap_or("\0");
    Ok(match request.code().to_ascii_uppercase() {
        TypeCode::NAME => repl(node.me.id().to_string()),
        TypeCode::PING => ping(sender, node, peers).await?,
        TypeCode::LIST => {
            let list = peers.list().await?;
            let count = Frame::text(TypeCode::REPL, list.len().to_string());
            let asker = scope_of(node, sender.address().host());
            let entries = list.iter().map(|entry| told(entry, asker).to_string());
            let entries = entries.map(|entry| Frame::text(TypeCode::REPL, entry));
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

/// Answers `PONG`. Over a link the answer also says whether the asker is listed, if it asks for
/// that.
async fn ping(sender: &Sender, node: &Endpoint, peers: &Peers) -> Result<Reply, NodeDown> {
    let pong = Frame::text(TypeCode::PONG, node.me.id().to_string());
    let asker = sender.listens().filter(|_| sender.asks_for_listing()).cloned();
    let Some(asker) = asker else { return Ok(Reply::one(pong)) };
    let source = sender.address().host().clone();
    let listing = peers.with(move |table, _| {
        Listing::of(&table.list, &asker, |entry| is_at(entry, asker.address(), &source))
    });
    Ok(Reply::many([pong, listing.await?.to_frame()]))
}

/// Whether an entry is for a node that listens on this port and whose connection comes from this
/// host, under any name of the host.
fn is_at(entry: &PeerEntry, listens: &Address, source: &Host) -> bool {
    entry.info().port() == listens.port()
        && (entry.info().host() == source || entry.seen_at() == source)
}

/// An entry as it is sent to an asker. The asker may be unable to resolve a host name, so it gets
/// the address that the peer was seen at, if it could reach that address.
fn told(entry: &PeerEntry, asker: Scope) -> PeerInfo {
    let (info, seen_at) = (entry.info(), entry.seen_at());
    let is_name =
        matches!(info.host(), Host::Name(_)) && Scope::of(info.host()) != Some(Scope::Machine);
    let is_reached = matches!(seen_at, Host::Ip(_))
        && Scope::of(seen_at).is_some_and(|scope| asker.may_name(scope));
    let at = Address::new(seen_at.clone(), info.port());
    match PeerInfo::new(info.id().clone(), at) {
        Ok(seen) if is_name && is_reached => seen,
        _ => info.clone(),
    }
}

/// The peer at the address that its connection comes from, if its host name cannot be resolved
/// here; `None` otherwise.
async fn seen_at(node: &Endpoint, sender: &Sender, peer: &PeerInfo) -> Option<PeerInfo> {
    let at = Address::new(source(sender)?.clone(), peer.address().port());
    let is_name = matches!(peer.host(), Host::Name(_));
    let means =
        if is_name { node.look_up(peer.host()).await.unwrap_or_default() } else { return None };
    if means.is_empty() { PeerInfo::new(peer.id().clone(), at).ok() } else { None }
}

async fn join(
    text: &str,
    sender: &Sender,
    node: &Arc<Endpoint>,
    peers: &Peers,
) -> Result<Reply, NodeDown> {
    let Ok(mut peer) = text.parse::<PeerInfo>() else {
        return Ok(Reply::error("Join: incorrect arguments"));
    };
    let (id, proven) = (peer.id().clone(), sender.proven());
    if !node.may_claim(proven, &id) {
        return Ok(Reply::refused(Refusal::NotYourId));
    }
    let known = Ok(Reply::error(format!("Join: peer already inserted {id}")));
    if let Some(source) = source(sender)
        && let Some(entry) = peers.get(&id).await?
        && entry.info() != &peer
        && is_at(&entry, peer.address(), source)
    {
        // The same node under another name of its host.
        return known;
    }
    let policy = node.config.join_policy;
    let refused = |text: &str| {
        node.counters.joins_refused.one();
        Ok(Reply::error(format!("Join: {text}")))
    };
    // The node's own id gets its own answer, as in the originals, from any sender.
    if id != *node.me.id() && policy == JoinPolicy::Closed {
        return refused("not allowed");
    }
    let lets_in = |claim: &Claim<'_>| policy.lets_in(claim);
    let mut is_let_in = id == *node.me.id() || claims(node, sender, peer.host(), lets_in).await;
    if !is_let_in && let Some(seen) = seen_at(node, sender, &peer).await {
        is_let_in = claims(node, sender, seen.host(), lets_in).await;
        peer = seen;
    }
    if !is_let_in {
        return refused("not your address");
    }
    let verified = policy == JoinPolicy::Open || proven.is_some();
    let seen_at = sender.address().host().clone();
    let candidate = Candidate::new(peer, Learned::Joined).seen_at(seen_at);
    let ask = if verified { AskName::Never { proven: proven.is_some() } } else { AskName::Later };
    let policy = Policy { ask, introduce: false };
    match verify_and_admit(node, peers, candidate, policy).await?.added() {
        Added::Added => Ok(repl(format!("Join: peer added: {id}"))),
        Added::AlreadyKnown => known,
        Added::Own => Ok(Reply::error("Join: attempt to insert self")),
        Added::TooManyOfAddress => refused("too many peers at your address"),
        Added::TooManyOfNetwork => refused("too many peers in your network"),
        Added::TooManyUnverified | Added::TooManyNewcomers | Added::TooManyOfSource => {
            refused("too many new peers")
        }
        Added::Full => refused("too many peers"),
    }
}

/// Whether a `QUIT` comes from another node than the one in the table, with the same id. Over a
/// link the hello says where the sender is. Otherwise the node in the table is asked in case of
/// doubt.
async fn is_another(
    entry: &PeerEntry,
    sender: &Sender,
    node: &Arc<Endpoint>,
    peers: &Peers,
) -> Result<bool, NodeDown> {
    let info = entry.info();
    let source = sender.address().host();
    if let Some(listens) = sender.listens().filter(|listens| listens.id() == info.id()) {
        return Ok(listens != info && !is_at(entry, listens.address(), source));
    }
    let id = info.id().clone();
    let contested = peers.with(move |table, _| table.moves.is_contested(&id, now())).await?;
    let from_afar = sender.proven().is_some() && info.host() != source && entry.seen_at() != source;
    if !contested && !from_afar {
        return Ok(false);
    }
    Ok(ask_name(node, info).await == Verdict::Verified)
}

async fn quit(
    text: &str,
    sender: &Sender,
    node: &Arc<Endpoint>,
    peers: &Peers,
) -> Result<Reply, NodeDown> {
    let Ok(id) = text.trim().parse::<PeerId>() else {
        // The text contains the argument only if it parses as an id: nothing else is echoed.
        return Ok(Reply::error("Quit: peer not found: "));
    };
    let proven = sender.proven();
    if !node.may_claim(proven, &id) {
        return Ok(Reply::refused(Refusal::NotYourId));
    }
    let entry = peers.known(&id).await?;
    let is_own = match &entry {
        Some(entry) if node.config.quit_policy == QuitPolicy::Own && proven.is_none() => {
            // The address where the peer was seen needs no look-up.
            claims(node, sender, entry.seen_at(), |claim| claim.is_own()).await
                || claims(node, sender, entry.info().host(), |claim| claim.is_own()).await
        }
        _ => true,
    };
    let is_another = match &entry {
        Some(entry) if is_own && node.config.quit_policy == QuitPolicy::Own => {
            is_another(entry, sender, node, peers).await?
        }
        _ => false,
    };
    if !is_own || is_another {
        node.counters.quits_refused.one();
        return Ok(Reply::error("Quit: not your address"));
    }
    Ok(match peers.remove_because(&id, Removed::Left).await? {
        Some(entry) => repl(format!("Quit: peer removed: {}", entry.info().id())),
        None => Reply::error(format!("Quit: peer not found: {id}")),
    })
}

/// Registers the handlers: one actor for all five codes.
pub(crate) fn routes(
    node: &Arc<Endpoint>,
    peers: &Peers,
) -> Vec<(TypeCode, actix::Recipient<Incoming>)> {
    let (weak, peers) = (Arc::downgrade(node), peers.clone());
    let actor = WellKnown { node: weak, peers, _part: node.parts.token() }.start();
    WellKnown::CODES.into_iter().map(|code| (code, actor.clone().recipient())).collect()
}

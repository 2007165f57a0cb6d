//! The handlers for the well-known codes that need no files (WIRE.md part 2).

use std::sync::{Arc, Weak, atomic::Ordering};

use actix::prelude::{Actor, Context, Handler, ResponseFuture};

use crate::{
    connection::{Incoming, Node, Refusal, Removed, Reply},
    frame::{Frame, TypeCode},
    overlay::{Added, Learned, PeerId, PeerInfo},
    peer::{NodeDown, Peers},
};

/// Serves `NAME`, `LIST`, `JOIN`, `QUIT` and `PING`, with the words of the original programs.
#[derive(Debug)]
pub(crate) struct WellKnown {
    pub(crate) node: Weak<Node>,
    pub(crate) peers: Peers,
}

impl WellKnown {
    pub(crate) const CODES: [TypeCode; 5] =
        [TypeCode::NAME, TypeCode::LIST, TypeCode::JOIN, TypeCode::QUIT, TypeCode::PING];
}

impl Actor for WellKnown {
    type Context = Context<Self>;
}

impl Handler<Incoming> for WellKnown {
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, msg: Incoming, _: &mut Self::Context) -> Self::Result {
        let (node, peers) = (self.node.upgrade(), self.peers.clone());
        Box::pin(async move {
            let Some(node) = node else {
                return Reply::refused(Refusal::HandlerGone);
            };
            let reply = answer(&msg, &node, &peers).await;
            reply.unwrap_or(Reply::refused(Refusal::HandlerGone))
        })
    }
}

async fn answer(msg: &Incoming, node: &Node, peers: &Peers) -> Result<Reply, NodeDown> {
    let (request, proven) = (&msg.frame, msg.sender().proven());
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
        TypeCode::JOIN => join(text, proven, node, peers).await?,
        TypeCode::QUIT => quit(text, proven, node, peers).await?,
        _ => Reply::refused(Refusal::UnknownCode),
    })
}

fn repl(text: String) -> Reply {
    Reply::one(Frame::text(TypeCode::REPL, text))
}

async fn join(
    text: &str,
    proven: Option<&PeerId>,
    node: &Node,
    peers: &Peers,
) -> Result<Reply, NodeDown> {
    let Ok(peer) = text.parse::<PeerInfo>() else {
        return Ok(Reply::error("Join: incorrect arguments"));
    };
    let id = peer.id().clone();
    if !node.may_claim(proven, &id) {
        return Ok(Reply::refused(Refusal::NotYourId));
    }
    Ok(match peers.add_learned(peer, Learned::Joined).await? {
        Added::Added => {
            node.joined.store(true, Ordering::Relaxed);
            repl(format!("Join: peer added: {id}"))
        }
        Added::AlreadyKnown => Reply::error(format!("Join: peer already inserted {id}")),
        Added::Own => Reply::error("Join: attempt to insert self"),
        _ => Reply::error("Join: too many peers"),
    })
}

async fn quit(
    text: &str,
    proven: Option<&PeerId>,
    node: &Node,
    peers: &Peers,
) -> Result<Reply, NodeDown> {
    let text = text.trim();
    let removed = match text.parse::<PeerId>() {
        Ok(id) if !node.may_claim(proven, &id) => return Ok(Reply::refused(Refusal::NotYourId)),
        Ok(id) => peers.remove_because(&id, Removed::Left).await?,
        Err(_) => None,
    };
    Ok(match removed {
        Some(entry) => repl(format!("Quit: peer removed: {}", entry.info().id())),
        // The text names what was asked for only when it can be an id: nothing else is echoed.
        None if text.parse::<PeerId>().is_ok() => {
            Reply::error(format!("Quit: peer not found: {text}"))
        }
        None => Reply::error("Quit: peer not found: "),
    })
}

/// Registers them: one actor for all five codes.
pub(crate) fn routes(
    node: &Arc<Node>,
    peers: &Peers,
) -> Vec<(TypeCode, actix::Recipient<Incoming>)> {
    let actor = WellKnown { node: Arc::downgrade(node), peers: peers.clone() }.start();
    WellKnown::CODES.into_iter().map(|code| (code, actor.clone().recipient())).collect()
}

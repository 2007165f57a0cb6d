//! Sends requests and one-way messages: over a link, or in a classic exchange.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    classic::client,
    frame::Frame,
    message::{Outgoing, Over, Replies, RequestError, outgoing::OutgoingKind},
    overlay::{Address, PeerId, PeerInfo},
    session::{Endpoint, reach::reach, send::SendFailure, state::Session, unreached::Unreached},
};
#[cfg(feature = "gossip")]
use crate::{link::Role, overlay::Host};

/// The path of a message.
pub(crate) enum Path {
    Link(Arc<Session>),
    Classic,
}

pub(crate) async fn path(
    endpoint: &Arc<Endpoint>,
    (to, whom): (&Address, Option<&PeerId>),
    over: Over,
) -> Result<Path, RequestError> {
    if endpoint.abort.is_cancelled() {
        return Err(RequestError::Stopped { sent: false });
    }
    if over == Over::Classic {
        return Ok(Path::Classic);
    }
    if let Some(session) = endpoint.links.open_session((to, whom)) {
        return Ok(Path::Link(session));
    }
    // A node has no link with itself.
    let possible = endpoint.config.links && to != endpoint.me.address();
    let reached = if possible {
        reach(endpoint, to, whom).await
    } else {
        Err(Unreached::Classic { sign: None })
    };
    match (reached, over) {
        (Ok(session), _) => Ok(Path::Link(session)),
        (
            Err(
                Unreached::Classic { .. }
                | Unreached::NoRoom
                | Unreached::Left
                | Unreached::Stopped,
            ),
            Over::Any,
        ) => Ok(Path::Classic),
        (Err(unreached), _) => Err(unreached.into_error(to)),
    }
}

/// Sends a request over a link if the peer speaks links, otherwise in a classic exchange.
pub(crate) async fn request(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    message: Outgoing,
) -> Result<Replies, RequestError> {
    let Outgoing { mut kind, over, whom } = message;
    let to = (to, whom.as_ref());
    loop {
        let session = match path(endpoint, to, over).await? {
            Path::Link(session) => session,
            // In a classic exchange only the answer to a `NAME` identifies the peer.
            Path::Classic => {
                let replies = client::open(&endpoint.node, to, kind).await?.with_panics();
                return Ok(match to.1 {
                    Some(whom) => replies.of_peer(whom.clone(), to.0),
                    None => replies,
                });
            }
        };
        match session.request(kind, endpoint.config.reply_timeout).await {
            Ok(replies) => return Ok(replies),
            // Nothing was sent: try another link, or a classic exchange.
            Err(SendFailure::Gone(Some(frame))) => kind = OutgoingKind::Frame(frame),
            Err(failed) => return Err(failed.into_error(&session)),
        }
    }
}

/// Runs `work` on the open link to `to` with a message of one frame. `None` if there is no such
/// link or the message is not one frame.
fn on_open<R>(
    endpoint: &Endpoint,
    to: (&Address, Option<&PeerId>),
    message: &Outgoing,
    work: impl FnOnce(&Arc<Session>, &Frame) -> R,
) -> Option<R> {
    match &message.kind {
        OutgoingKind::Frame(frame) if message.over != Over::Classic && message.check().is_ok() => {
            endpoint.links.on_open(to, |session| work(session, frame))
        }
        OutgoingKind::Frame(_) | OutgoingKind::Body { .. } => None,
    }
}

/// Sends a request of one frame without waiting. `None` if there is no link with credit and room.
pub(crate) fn try_request(
    endpoint: &Endpoint,
    to: (&Address, Option<&PeerId>),
    message: &Outgoing,
) -> Option<Replies> {
    on_open(endpoint, to, message, |session, frame| session.try_request(frame))?
}

/// Sends a request of one frame without waiting over each open link with credit and room to a peer
/// for which `meant` is true.
pub(crate) fn ask_all(
    endpoint: &Endpoint,
    frame: &Frame,
    meant: impl Fn(&PeerInfo) -> bool,
) -> Vec<(PeerInfo, Replies)> {
    let sessions = endpoint
        .links
        .all()
        .into_iter()
        .filter(|session| session.is_open() && meant(&session.peer));
    sessions
        .filter_map(|session| Some((session.peer.clone(), session.try_request(frame)?)))
        .collect()
}

/// Sends a one-way message of one frame without waiting. False if there is no link with credit and
/// room.
pub(crate) fn try_notify(
    endpoint: &Endpoint,
    to: (&Address, Option<&PeerId>),
    message: &Outgoing,
) -> bool {
    on_open(endpoint, to, message, |session, frame| session.try_notify(frame)).unwrap_or(false)
}

/// Whether there is an open link to this peer, over which a message goes without a dial.
pub(crate) fn is_open(endpoint: &Endpoint, to: (&Address, Option<&PeerId>)) -> bool {
    endpoint.links.on_open(to, |_| ()).is_some()
}

/// Whether there is an open link with this peer, opened by either side.
pub(crate) fn has_link(endpoint: &Endpoint, peer: &PeerInfo) -> bool {
    endpoint.links.with_peer(peer).is_some()
}

/// Opens a link, or finds the open one, and returns the peer at its other end.
pub(crate) async fn open_link(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    whom: Option<&PeerId>,
) -> Result<PeerInfo, RequestError> {
    match path(endpoint, (to, whom), Over::Link).await? {
        Path::Link(session) => Ok(session.peer.clone()),
        Path::Classic => Err(RequestError::NoLink(to.clone())),
    }
}

/// Completes when there is no open link with this peer.
pub(crate) async fn until_no_link(endpoint: &Endpoint, peer: &PeerInfo) {
    loop {
        let mut ended = std::pin::pin!(endpoint.links.link_ended());
        ended.as_mut().enable();
        if !has_link(endpoint, peer) {
            return;
        }
        ended.await;
    }
}

/// Sends a one-way message without waiting over an open link with this peer. False if there is no
/// link with credit and room.
#[cfg(feature = "gossip")]
pub(crate) fn try_notify_peer(endpoint: &Endpoint, peer: &PeerInfo, frame: &Frame) -> bool {
    endpoint.links.with_peer(peer).is_some_and(|session| session.try_notify(frame))
}

/// What the open link with a peer says about it.
#[cfg(feature = "gossip")]
#[derive(Clone, Debug)]
pub(crate) struct Linked {
    /// The address of the other end.
    pub(crate) seen_at: Host,
    pub(crate) proven: bool,
    /// Whether this node has opened the link, so that it found the peer at its address.
    pub(crate) found: bool,
}

/// What the open link with this peer says about it. `None` if there is none.
#[cfg(feature = "gossip")]
pub(crate) fn linked(endpoint: &Endpoint, peer: &PeerInfo) -> Option<Linked> {
    let session = endpoint.links.with_peer(peer)?;
    Some(Linked {
        seen_at: session.sender.address().host().clone(),
        proven: session.sender.proven().is_some(),
        found: session.role == Role::Dialler,
    })
}

/// Sends as many of these one-way messages, from the front, as there is a link with credit and room
/// for. Removes them from `messages` and returns their number.
pub(crate) fn try_notify_all(
    endpoint: &Endpoint,
    to: (&Address, Option<&PeerId>),
    messages: &mut VecDeque<Frame>,
) -> u64 {
    endpoint.links.on_open(to, |session| session.try_notify_all(messages)).unwrap_or(0)
}

/// Sends a one-way message over a link if the peer speaks links, otherwise in a classic exchange.
pub(crate) async fn notify(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    message: Outgoing,
) -> Result<(), RequestError> {
    let Outgoing { mut kind, over, whom } = message;
    let to = (to, whom.as_ref());
    loop {
        let session = match path(endpoint, to, over).await? {
            Path::Link(session) => session,
            Path::Classic => return client::notify(&endpoint.node, to, kind).await,
        };
        match session.notify(kind).await {
            Ok(()) => return Ok(()),
            // Nothing was sent: try another link, or a classic exchange.
            Err(SendFailure::Gone(Some(frame))) => kind = OutgoingKind::Frame(frame),
            Err(failed) => return Err(failed.into_error(&session)),
        }
    }
}

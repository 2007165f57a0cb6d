//! One request, as a handler gets it.

use std::{fmt, sync::Arc};

use crate::{
    frame::{Frame, TypeCode},
    link::{Hello, LISTING},
    message::{body::Body, credit::WindowShare, reply::Reply},
    node::Permits,
    overlay::{Address, PeerId, PeerInfo},
};
use actix::prelude::Message;

/// What is known about the id of a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// A classic exchange carries no id.
    Unknown,
    /// The sender says so; nothing proves it.
    Claimed(PeerId),
    /// The connection proves it.
    Proven(PeerId),
}

/// How a request came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// By a classic exchange: one connection for one request ([protocol](crate::protocol#classic-exchanges)).
    Classic,
    /// Over a link: one connection for many exchanges ([protocol](crate::protocol#links)).
    Link,
    /// Passed on by other nodes, the last of which opened the connection.
    Routed {
        /// The node that asked, by its own word.
        origin: PeerId,
        /// The nodes that it passed, the asker first.
        path: Vec<PeerId>,
    },
}

/// Who sent a request, as far as it is known. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Sender(Arc<Known>);

#[derive(Debug, PartialEq, Eq)]
struct Known {
    address: Address,
    identity: Identity,
    via: Via,
    /// Over a link: where the sender says that it listens.
    listens: Option<PeerInfo>,
    /// Whether it wants to be told whether it is listed.
    asks_for_listing: bool,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Known { address, identity, via, .. } = &*self.0;
        f.debug_struct("Sender")
            .field("address", address)
            .field("identity", identity)
            .field("via", via)
            .finish()
    }
}

impl Sender {
    pub(crate) fn classic(address: Address, proven: Option<PeerId>) -> Self {
        let identity = proven.map_or(Identity::Unknown, Identity::Proven);
        Self::new(address, identity, Via::Classic)
    }

    fn new(address: Address, identity: Identity, via: Via) -> Self {
        Self(Arc::new(Known { address, identity, via, listens: None, asks_for_listing: false }))
    }

    /// `theirs` is the hello, whose id was compared with the proven one.
    pub(crate) fn link(address: Address, theirs: &Hello, proven: bool) -> Self {
        let id = theirs.info.id().clone();
        let identity = if proven { Identity::Proven(id) } else { Identity::Claimed(id) };
        let asks_for_listing = theirs.has(LISTING);
        let listens = Some(theirs.info.clone());
        Self(Arc::new(Known { address, identity, via: Via::Link, listens, asks_for_listing }))
    }

    /// Where the sender of what came over a link says that it listens.
    pub(crate) fn listens(&self) -> Option<&PeerInfo> {
        self.0.listens.as_ref()
    }

    /// Whether the sender wants to be told, behind the answer to a `PING`, whether it is listed.
    pub(crate) fn asks_for_listing(&self) -> bool {
        self.0.asks_for_listing
    }

    /// The origin is proven when it is the node that sent the message here.
    pub(crate) fn routed(last: &Self, origin: PeerId, path: Vec<PeerId>) -> Self {
        let address = last.address().clone();
        let identity = match last.proven() {
            Some(proven) if *proven == origin => Identity::Proven(origin.clone()),
            _ => Identity::Claimed(origin.clone()),
        };
        Self::new(address, identity, Via::Routed { origin, path })
    }

    /// Where the connection came from. The port is the connection's, not the one the sender listens
    /// on.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// What is known about the sender's id.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// The sender's id, where it is proven.
    #[must_use]
    pub fn proven(&self) -> Option<&PeerId> {
        match &self.0.identity {
            Identity::Proven(id) => Some(id),
            Identity::Unknown | Identity::Claimed(_) => None,
        }
    }

    /// The id of the node that asked, as far as there is one: of a routed message its origin, by the
    /// word of the nodes on the way; else the one that is claimed or proven.
    #[must_use]
    pub fn origin(&self) -> Option<&PeerId> {
        match (&self.0.via, &self.0.identity) {
            (Via::Routed { origin, .. }, _) => Some(origin),
            (_, Identity::Claimed(id) | Identity::Proven(id)) => Some(id),
            (_, Identity::Unknown) => None,
        }
    }

    /// The nodes that a routed message passed, the asker first, this node not among them; none for
    /// one that came straight.
    #[must_use]
    pub fn path(&self) -> &[PeerId] {
        match &self.0.via {
            Via::Routed { path, .. } => path,
            Via::Classic | Via::Link => &[],
        }
    }

    /// How often the message was passed on to get here: 1 when it came straight.
    #[must_use]
    pub fn hops(&self) -> usize {
        self.path().len().max(1)
    }

    /// How the request came.
    #[must_use]
    pub fn via(&self) -> &Via {
        &self.0.via
    }
}

/// A request, sent to the handler that is registered for its code. Answered with a [`Reply`].
///
/// Dropped or answered, it gives back its place among the requests in hand
/// ([`Config::max_requests`](crate::Config::max_requests)), and what came over a link its part of
/// the link's window; a handler that keeps it, keeps both.
pub struct Incoming {
    /// Code and data. The data is empty when the code is registered as streaming: take
    /// [`into_body`](Self::into_body) then.
    pub frame: Frame,
    body: Option<Box<Body>>,
    origin: Origin,
}

/// Whose message it is, and what it holds.
enum Origin {
    /// Over a link, which knows the sender: a clone of that for each message would cost it a tenth
    /// of its time.
    Link {
        held: WindowShare,
        places: Option<Permits>,
    },
    Other {
        sender: Sender,
        token: Token,
    },
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("frame", &self.frame)
            .field("sender", self.sender())
            .field("streaming", &self.body.is_some())
            .finish_non_exhaustive()
    }
}

impl Message for Incoming {
    type Result = Reply;
}

impl Incoming {
    pub(crate) const fn new(
        frame: Frame,
        sender: Sender,
        body: Option<Box<Body>>,
        token: Token,
    ) -> Self {
        Self { frame, body, origin: Origin::Other { sender, token } }
    }

    pub(crate) const fn over_link(
        frame: Frame,
        held: WindowShare,
        body: Option<Box<Body>>,
        places: Option<Permits>,
    ) -> Self {
        Self { frame, body, origin: Origin::Link { held, places } }
    }

    /// A request as a handler would get it, for tests of handlers without a node.
    #[must_use]
    pub fn for_tests(frame: Frame, from: Address) -> Self {
        Self::new(frame, Sender::classic(from, None), None, Token::default())
    }

    /// The code of the request, as it was sent.
    #[must_use]
    pub const fn code(&self) -> TypeCode {
        self.frame.code()
    }

    /// Who sent it.
    #[must_use]
    pub fn sender(&self) -> &Sender {
        match &self.origin {
            Origin::Link { held, .. } => held.sender(),
            Origin::Other { sender, .. } => sender,
        }
    }

    /// The data as a body, whether it is still coming (a code registered as streaming) or here
    /// already.
    #[must_use]
    pub fn into_body(self) -> Body {
        let Self { frame, body, .. } = self;
        body.map_or_else(|| Body::whole(frame), |body| *body)
    }

    pub(crate) fn into_parts(self) -> (Frame, Sender, Token) {
        match self.origin {
            Origin::Link { held, places } => {
                (self.frame, held.sender().clone(), Token::new(places, Some(held)))
            }
            Origin::Other { sender, token } => (self.frame, sender, token),
        }
    }
}

/// What a message holds until its handler has let go of it: its place among those in hand, and its
/// part of a link's window.
#[derive(Default)]
pub(crate) struct Token {
    _places: Option<Permits>,
    _window: Option<WindowShare>,
}

impl Token {
    pub(crate) const fn new(places: Option<Permits>, window: Option<WindowShare>) -> Self {
        Self { _places: places, _window: window }
    }
}

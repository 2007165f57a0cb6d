//! One request, as a handler receives it.

use std::{fmt, sync::Arc};

use crate::{
    frame::{Frame, TypeCode},
    link::{Hello, LISTING, LinkId},
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
    /// The sender claims this id without a proof.
    Claimed(PeerId),
    /// The connection proves it.
    Proven(PeerId),
}

/// How a request arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// In a classic exchange: one connection for one request
    /// ([protocol](crate::protocol#classic-exchanges)).
    Classic,
    /// Over a link: one connection for many exchanges ([protocol](crate::protocol#links)).
    Link,
    /// Forwarded by other nodes, the last of which opened the connection.
    Routed {
        /// The node that sent the request. The id is claimed, not proven.
        origin: PeerId,
        /// The nodes on the path, the origin first.
        path: Vec<PeerId>,
    },
    /// Broadcast to all nodes ([`Peer::broadcast`](crate::Peer::broadcast)), and passed on by a
    /// neighbour.
    Broadcast {
        /// The node that published the message, where it says that it listens.
        author: PeerInfo,
        /// The number of the message among those that the author has published since its start.
        sequence: u64,
        /// Whether a later message of the author was handled before, or this one was reported as
        /// missed.
        late: bool,
    },
}

/// What is known about the sender of a request. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Sender(Arc<Known>);

#[derive(Debug, PartialEq, Eq)]
struct Known {
    address: Address,
    identity: Identity,
    via: Via,
    /// The address at which the sender says that it listens. `None` if the request did not arrive
    /// over a link.
    listens: Option<PeerInfo>,
    /// Whether the sender asks to learn if it is listed.
    asks_for_listing: bool,
    /// The link on which the sender is. `None` for other connections.
    link: Option<LinkId>,
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
        Self(Arc::new(Known {
            address,
            identity,
            via,
            listens: None,
            asks_for_listing: false,
            link: None,
        }))
    }

    /// The sender on a link. `theirs` is its hello, whose id was compared with the proven one.
    pub(crate) fn link(link: LinkId, address: Address, theirs: &Hello, proven: bool) -> Self {
        let id = theirs.info.id().clone();
        let identity = if proven { Identity::Proven(id) } else { Identity::Claimed(id) };
        let asks_for_listing = theirs.has(LISTING);
        let listens = Some(theirs.info.clone());
        let (via, link) = (Via::Link, Some(link));
        Self(Arc::new(Known { address, identity, via, listens, asks_for_listing, link }))
    }

    /// The link on which the sender is. `None` for other connections.
    #[cfg(feature = "test-utils")]
    pub(crate) fn link_id(&self) -> Option<LinkId> {
        self.0.link
    }

    /// The address at which the sender says that it listens. `None` if the request did not arrive
    /// over a link.
    pub(crate) fn listens(&self) -> Option<&PeerInfo> {
        self.0.listens.as_ref()
    }

    /// Whether the sender asks to learn, after the answer to a `PING`, if it is listed.
    pub(crate) fn asks_for_listing(&self) -> bool {
        self.0.asks_for_listing
    }

    /// The sender of a routed message. The origin is proven only if it is the node that sent the
    /// message here.
    pub(crate) fn routed(last: &Self, origin: PeerId, path: Vec<PeerId>) -> Self {
        let address = last.address().clone();
        let identity = match last.proven() {
            Some(proven) if *proven == origin => Identity::Proven(origin.clone()),
            _ => Identity::Claimed(origin.clone()),
        };
        Self::new(address, identity, Via::Routed { origin, path })
    }

    /// The sender of a broadcast. The author is proven if it has signed the message.
    #[cfg(feature = "gossip")]
    pub(crate) fn broadcast(author: PeerInfo, (sequence, late): (u64, bool), proven: bool) -> Self {
        let id = author.id().clone();
        let identity = if proven { Identity::Proven(id) } else { Identity::Claimed(id) };
        Self::new(author.address().clone(), identity, Via::Broadcast { author, sequence, late })
    }

    /// The remote address of the connection; of a broadcast, the address that the author claims. The
    /// port is that of the connection, not the one on
    /// which the sender listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// What is known about the sender's id.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// The sender's id. `None` if it is not proven.
    #[must_use]
    pub fn proven(&self) -> Option<&PeerId> {
        match &self.0.identity {
            Identity::Proven(id) => Some(id),
            Identity::Unknown | Identity::Claimed(_) => None,
        }
    }

    /// The id of the node that sent the request. For a routed message this is its origin, as
    /// claimed by the nodes on the path. For other messages it is the claimed or proven id; `None`
    /// if there is none.
    #[must_use]
    pub fn origin(&self) -> Option<&PeerId> {
        match (&self.0.via, &self.0.identity) {
            (Via::Routed { origin, .. }, _) => Some(origin),
            (_, Identity::Claimed(id) | Identity::Proven(id)) => Some(id),
            (_, Identity::Unknown) => None,
        }
    }

    /// The nodes on the path of a routed message, the origin first, without this node. Empty for a
    /// direct message.
    #[must_use]
    pub fn path(&self) -> &[PeerId] {
        match &self.0.via {
            Via::Routed { path, .. } => path,
            Via::Classic | Via::Link | Via::Broadcast { .. } => &[],
        }
    }

    /// The number of hops of the message: 1 if it is a direct message.
    #[must_use]
    pub fn hops(&self) -> usize {
        self.path().len().max(1)
    }

    /// How the request arrived.
    #[must_use]
    pub fn via(&self) -> &Via {
        &self.0.via
    }
}

#[cfg(feature = "test-utils")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
impl Sender {
    /// The sender of a message over a link, or, if its id is unknown, in a classic exchange, for
    /// tests of handlers without a node (feature `test-utils`).
    #[must_use]
    pub fn for_tests(address: Address, identity: Identity) -> Self {
        let via = if identity == Identity::Unknown { Via::Classic } else { Via::Link };
        Self::new(address, identity, via)
    }

    /// The sender of a message that `origin` sent and that passed the nodes of `path`, the origin
    /// first, for tests of handlers without a node (feature `test-utils`).
    #[must_use]
    pub fn routed_for_tests(address: Address, origin: PeerId, path: Vec<PeerId>) -> Self {
        Self::routed(&Self::for_tests(address, Identity::Unknown), origin, path)
    }
}

/// The sender of a message in a classic exchange: its id is unknown.
#[cfg(feature = "test-utils")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
impl From<Address> for Sender {
    fn from(address: Address) -> Self {
        Self::for_tests(address, Identity::Unknown)
    }
}

/// A request, sent to the handler that is registered for its code. Answered with a [`Reply`].
///
/// When it is dropped or answered, it returns its permit
/// ([`Config::max_requests`](crate::Config::max_requests)), and, if it arrived over a link, its
/// share of the link's window. A handler that keeps it keeps both.
pub struct Incoming {
    /// The code and the data. The data is empty if the code is registered as streaming: use
    /// [`into_body`](Self::into_body) for those.
    pub frame: Frame,
    body: Option<Box<Body>>,
    origin: Origin,
}

/// The sender of a message, and the permits that the message holds.
enum Origin {
    /// Over a link, which has the sender. Cloning it for each message would cost a tenth of the
    /// time of a message.
    Link {
        window: WindowShare,
        permits: Option<Permits>,
    },
    Other {
        sender: Sender,
        guard: MessageGuard,
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
        guard: MessageGuard,
    ) -> Self {
        Self { frame, body, origin: Origin::Other { sender, guard } }
    }

    pub(crate) const fn over_link(
        frame: Frame,
        window: WindowShare,
        body: Option<Box<Body>>,
        permits: Option<Permits>,
    ) -> Self {
        Self { frame, body, origin: Origin::Link { window, permits } }
    }

    /// A request as a handler receives it, for tests of handlers without a node (feature
    /// `test-utils`). `from` is an address, or a [`Sender::for_tests`].
    #[cfg(feature = "test-utils")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
    #[must_use]
    pub fn for_tests(frame: Frame, from: impl Into<Sender>) -> Self {
        Self::new(frame, from.into(), None, MessageGuard::default())
    }

    /// The code of the request, as it was sent.
    #[must_use]
    pub const fn code(&self) -> TypeCode {
        self.frame.code()
    }

    /// The sender of the request.
    #[must_use]
    pub fn sender(&self) -> &Sender {
        match &self.origin {
            Origin::Link { window, .. } => window.sender(),
            Origin::Other { sender, .. } => sender,
        }
    }

    /// The data as a body, whether it is still arriving (a code registered as streaming) or
    /// complete.
    #[must_use]
    pub fn into_body(self) -> Body {
        let Self { frame, body, .. } = self;
        body.map_or_else(|| Body::whole(frame), |body| *body)
    }

    pub(crate) fn into_parts(self) -> (Frame, Sender, MessageGuard) {
        match self.origin {
            Origin::Link { window, permits } => {
                (self.frame, window.sender().clone(), MessageGuard::new(permits, Some(window)))
            }
            Origin::Other { sender, guard } => (self.frame, sender, guard),
        }
    }
}

/// What a message holds until its handler releases it: its permits, and its share of a link's
/// window.
#[derive(Default)]
pub(crate) struct MessageGuard {
    _permits: Option<Permits>,
    _window: Option<WindowShare>,
}

impl MessageGuard {
    pub(crate) const fn new(permits: Option<Permits>, window: Option<WindowShare>) -> Self {
        Self { _permits: permits, _window: window }
    }
}

//! Mutual TLS 1.3 over another transport: a node's id is its public key, and is proven.
//!
//! Both sides send an Ed25519 raw public key (RFC 7250) and prove that they have its private key.
//! No certificate, no authority, no name and no clock is needed. The id of a node is its key, as 64
//! hexadecimal digits ([`NodeIdentity::id`]). There is no resumption, no ticket and no early data:
//! a banned peer cannot resume an old session, and nothing can be replayed.
//!
//! # On the wire
//!
//! [`protocol`](crate::protocol#tls) has the details. TLS runs directly on the connection; the
//! application protocol (ALPN) is `actix-peer/1`.
//!
//! After the acceptor has checked the dialler, it sends one empty frame `@ADM`. The dial completes
//! when this frame arrives, so that the dial of a node that is not admitted fails, and not a later
//! exchange (in TLS 1.3 a client is done before the server has checked its key). After that, frames
//! are sent as on any other connection.
//!
//! A port serves TLS and plain connections: a first byte of 0x16 is TLS, and no frame begins with
//! it. Plain connections are refused with one `ERRO` frame unless [`TlsTransport::plain`] is set.
//!
//! # Which connections are checked
//!
//! Every message to a known peer by its id, or to a [`PeerInfo`](crate::PeerInfo), reaches the node
//! with that key or fails with an [`IdentityFault`](super::IdentityFault). A message to an address
//! reaches the peer at that address if it is admitted. There is no fallback to plain connections: a
//! peer whose id is a key is never dialled without TLS.

mod admission;
mod handshake;
mod handshake_permits;
mod identity;
mod identity_error;
mod key_file;
mod pem;
mod sniff;
mod stream;
mod verify;

use std::{collections::BTreeSet, fmt, io, sync::Arc};

use futures::future::BoxFuture;
use tokio::sync::watch;

use self::handshake::Handshakes;
pub use self::{
    admission::{Admission, Policy},
    identity::NodeIdentity,
    identity_error::IdentityError,
};
use super::{Io, Listener, Transport, tcp::Tcp};
use crate::{
    overlay::{
        Address, Host, PeerId,
        options::{ConfigError, Options, Setting},
    },
    transport::Simulated,
};

/// How to handle connections without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Plain {
    /// They are refused, with one plain `ERRO` frame with the reason.
    #[default]
    Refused,
    /// They are served, unless an [allow-list](Policy::AllowList) is in force, because their peers
    /// prove no id. No peer can claim an id that is a key over them. Peers whose ids are not keys,
    /// like those of the original programs, are dialled without TLS.
    Served,
}

/// Mutual TLS 1.3 over another transport. Give it to
/// [`Builder::transport`](crate::Builder::transport).
///
/// Cheap to clone.
///
/// # Examples
///
/// ```
/// use actix_peer::{Peer, frame::Frame, transport::tls::{Admission, NodeIdentity, TlsTransport}};
///
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ada, bob) = (NodeIdentity::generate()?, NodeIdentity::generate()?);
/// let admission = Admission::allow_list([ada.id().clone()]);
/// let transport = TlsTransport::new(bob).admission(admission.clone());
/// let bob = Peer::builder().transport(transport).well_known().start().await?;
/// let ada = Peer::builder().identity(ada).start().await?;
///
/// let replies = ada.request(bob.info(), Frame::text("NAME", "")).await?.collect().await?;
/// assert_eq!(replies, [Frame::text("REPL", bob.id().to_string())]);
///
/// admission.ban(ada.id());
/// let asked = async { ada.request(bob.info(), Frame::text("NAME", "")).await?.collect().await };
/// assert!(asked.await.is_err());
/// # ada.stop().await; bob.stop().await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TlsTransport {
    inner: Arc<dyn Transport>,
    plain: Plain,
    /// The addresses without a known id that are dialled without TLS.
    plain_at: BTreeSet<Address>,
    handshakes: Handshakes,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport")
            .field("id", self.id())
            .field("inner", &self.inner)
            .field("plain", &self.plain)
            .finish_non_exhaustive()
    }
}

impl TlsTransport {
    /// TLS over TCP, open to every peer that proves an id.
    #[must_use]
    pub fn new(identity: NodeIdentity) -> Self {
        Self::over(Tcp::default(), identity)
    }

    /// TLS over another transport.
    #[must_use]
    pub fn over(inner: impl Transport, identity: NodeIdentity) -> Self {
        Self {
            inner: Arc::new(inner),
            plain: Plain::default(),
            plain_at: BTreeSet::new(),
            handshakes: Handshakes::new(identity),
        }
    }

    /// Which peers are admitted, in both directions. Default: all. Keep a clone to change it later.
    #[must_use]
    pub fn admission(mut self, admission: Admission) -> Self {
        self.handshakes.set_admission(admission);
        self
    }

    /// How to handle connections without TLS. Default [`Plain::Refused`].
    #[must_use]
    pub const fn plain(mut self, plain: Plain) -> Self {
        self.plain = plain;
        self
    }

    /// Dials this address without TLS, if plain connections are served and no key is expected. Use
    /// it for the first contact with a network of the original programs. All other addresses are
    /// dialled with TLS.
    #[must_use]
    pub fn plain_at(mut self, address: Address) -> Self {
        self.plain_at.insert(address);
        self
    }

    /// Concurrent handshakes of accepted connections. Default 256; 1 to 65,536. One source gets at
    /// most a quarter of them, unless it is loopback ([`limit_loopback`](Self::limit_loopback)).
    /// Further ones wait.
    ///
    /// Trade-off: each takes about 20 KiB.
    #[must_use]
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.handshakes.set_max_handshakes(handshakes);
        self
    }

    /// Whether the share of a source in the handshakes applies to loopback. Default false, like
    /// [`Config::limit_loopback`](crate::Config::limit_loopback).
    #[must_use]
    pub const fn limit_loopback(mut self, limit: bool) -> Self {
        self.handshakes.limit_loopback = limit;
        self
    }

    /// This node's id: its public key.
    #[must_use]
    pub const fn id(&self) -> &PeerId {
        self.handshakes.identity.id()
    }

    /// The same options over another transport.
    #[cfg(test)]
    pub(crate) fn moved_to(mut self, inner: impl Transport) -> Self {
        self.inner = Arc::new(inner);
        self.handshakes.set_max_handshakes(self.handshakes.max_handshakes);
        self
    }

    fn dial_plain<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move { self.handshakes.plain(self.inner.dial(to).await?) })
    }
}

impl Options for TlsTransport {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        self.handshakes.settings()
    }
}

impl Transport for TlsTransport {
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.inner.listen(at)
    }

    /// Dials with TLS, to any admitted peer. Addresses of [`plain_at`](Self::plain_at) are dialled
    /// without TLS if plain connections are served.
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        if self.plain_at.contains(to) && self.serves_unproven() {
            return self.dial_plain(to);
        }
        Box::pin(async move { self.handshakes.dial(self.inner.dial(to), to, None).await })
    }

    /// Dials with TLS, only to this peer. A peer whose id is not a key is dialled without TLS if
    /// plain connections are served.
    fn dial_peer<'a>(&'a self, to: &'a Address, id: &'a PeerId) -> BoxFuture<'a, io::Result<Io>> {
        if !id.is_key() && self.serves_unproven() {
            return self.dial_plain(to);
        }
        Box::pin(async move { self.handshakes.dial(self.inner.dial(to), to, Some(id)).await })
    }

    fn secure(&self, io: Io) -> BoxFuture<'_, io::Result<Io>> {
        Box::pin(async move {
            let Io { reader, writer, remote, .. } = io;
            let (first, reader) = sniff::sniff(reader).await?;
            let io = Io { reader: Box::new(reader), writer, remote, proven: None };
            match first {
                // Boxed, so that a silent connection does not hold the memory for a handshake.
                sniff::SniffedProtocol::Tls => Box::pin(self.handshakes.accept(io)).await,
                sniff::SniffedProtocol::Plain if self.serves_unproven() => {
                    self.handshakes.plain(io)
                }
                // Not served: the node refuses it with a reason.
                sniff::SniffedProtocol::Plain | sniff::SniffedProtocol::Closed => Ok(io),
            }
        })
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.validate_all().and_then(|()| self.inner.validate())
    }

    fn proves(&self) -> Option<&PeerId> {
        Some(self.id())
    }

    fn sign(&self, data: &[u8]) -> Option<Vec<u8>> {
        Some(self.handshakes.identity.sign(data))
    }

    fn verify(&self, id: &PeerId, data: &[u8], signature: &[u8]) -> bool {
        NodeIdentity::verify(id, data, signature)
    }

    fn simulated(&self) -> Option<Simulated> {
        self.inner.simulated()
    }

    fn serves_unproven(&self) -> bool {
        self.plain == Plain::Served && self.handshakes.admission().admits_unproven()
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, io::Result<Vec<Host>>> {
        self.inner.resolve(host)
    }

    fn is_here(&self, host: &Host) -> bool {
        self.inner.is_here(host)
    }

    /// Who proves its id is on a list or not; of the others, who is served without a proof.
    fn admits(&self, id: &PeerId) -> bool {
        let admission = self.handshakes.admission();
        if id.is_key() {
            admission.admits(id)
        } else {
            self.plain == Plain::Refused || admission.admits_unproven()
        }
    }

    fn admission_changes(&self) -> Option<watch::Receiver<()>> {
        Some(self.handshakes.admission().changes())
    }

    fn own_host(&self, listening: &Address) -> Host {
        self.inner.own_host(listening)
    }
}

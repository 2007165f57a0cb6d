//! Layer 4: listening, dialling and byte streams.
//!
//! A node reaches the network through one [`Transport`] and nothing else: it asks for a
//! [`Listener`], dials an [`Address`], and gets an [`Io`], the two halves of a byte stream, from
//! either. What is beneath is the transport's own affair.
//!
//! | transport | for |
//! | --- | --- |
//! | [`tcp::Tcp`] | plain TCP; the default |
//! | `tls::TlsTransport` | mutual TLS 1.3 over another transport; ids are public keys, and proven (feature `tls`) |
//! | `memory::MemoryNetwork` | a network inside the process, with latency, partitions and crashes (feature `test-utils`) |
//!
//! No transport has a time limit of its own for a whole dial, keeps a connection alive or notices
//! that a remote has gone silent: whoever dials and reads brings the clock. A look-up of a name, and
//! each of several addresses of one, have a time of their own ([`tcp::Tcp`]).

mod fault;
#[cfg(feature = "test-utils")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
pub mod memory;
mod names;
pub mod tcp;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub mod tls;

use std::{
    fmt, io,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

use crate::overlay::{Address, Host, PeerId, options::ConfigError};

pub use self::fault::{IdentityFault, NameFault};

/// A way to listen and to dial.
///
/// One transport serves a whole node, and is shared by its actors. The futures need a tokio runtime
/// with IO and time.
///
/// # Examples
///
/// A transport that counts what another one dials:
///
/// ```
/// use std::{io, sync::atomic::{AtomicU64, Ordering}};
///
/// use actix_peer::overlay::{Address, Host};
/// use actix_peer::transport::{Io, Listener, Transport, tcp::Tcp};
/// use futures::future::BoxFuture;
///
/// #[derive(Debug, Default)]
/// struct Counting {
///     inner: Tcp,
///     dials: AtomicU64,
/// }
///
/// impl Transport for Counting {
///     fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
///         self.inner.listen(at)
///     }
///     fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
///         self.dials.fetch_add(1, Ordering::Relaxed);
///         self.inner.dial(to)
///     }
///     fn own_host(&self, listening: &Address) -> Host {
///         self.inner.own_host(listening)
///     }
/// }
/// ```
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Starts to listen at an address of this machine, or at all that a name has. Port 0 asks for any
    /// free port, which [`Listener::local_address`] then tells.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) when somebody listens there,
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) when the address is not of this
    /// machine, and whatever else the system says. Nothing listens then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing listening.
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// Opens a connection to an address.
    ///
    /// It may take as long as the network likes, up to for ever: the caller sets the time limit.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for port 0,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when nobody listens there, and
    /// whatever else the system says. No byte of the caller's was sent in any case.
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempt up. The other side may have seen a connection that was
    /// closed at once.
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>>;

    /// Opens a connection to the peer with this id, and proves that it is that peer where the
    /// transport can. Unless overridden, ids are only claimed, and this is [`dial`](Self::dial).
    ///
    /// # Errors
    /// As [`dial`](Self::dial); what is wrong with who is there as an [`IdentityFault`] inside the
    /// error.
    ///
    /// # Cancel safety
    /// As [`dial`](Self::dial).
    fn dial_peer<'a>(&'a self, to: &'a Address, _id: &'a PeerId) -> BoxFuture<'a, io::Result<Io>> {
        self.dial(to)
    }

    /// Takes a connection that was accepted to where its frames begin: finds out who is there, where
    /// the transport can. Unless overridden, nothing is done.
    ///
    /// It may take as long as the other side likes: the caller sets the time limit.
    ///
    /// # Errors
    /// Nothing that could be served comes. The connection is closed.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    fn secure(&self, io: Io) -> BoxFuture<'_, io::Result<Io>> {
        Box::pin(std::future::ready(Ok(io)))
    }

    /// The id that this transport proves to others, which is the node's then. None where ids are
    /// only claimed.
    fn proves(&self) -> Option<&PeerId> {
        None
    }

    /// Says whether its options are within their bounds: asked when the node starts, which is refused
    /// on an error. Unless overridden, they are.
    ///
    /// # Errors
    /// The first option that is not.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// What a node has in place of the system's clock and random numbers: asked once, when it starts.
    /// `None`, unless overridden, where the network is a real one.
    fn simulated(&self) -> Option<Simulated> {
        None
    }

    /// Whether a connection on which nobody has proved an id is served. Only asked where ids are
    /// [proven](Self::proves).
    fn serves_unproven(&self) -> bool {
        true
    }

    /// The addresses that a host has. Unless overridden, a host is its own address.
    ///
    /// It may take as long as the network likes: the caller sets the time limit.
    ///
    /// # Errors
    /// It has none, or nobody knows. Nothing was sent to any of them.
    ///
    /// # Cancel safety
    /// Dropping the future gives the look-up up; what it takes of the system may go on for a while.
    fn resolve<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, io::Result<Vec<Host>>> {
        Box::pin(std::future::ready(Ok(vec![host.clone()])))
    }

    /// Whether a host is an address of this machine, loopback aside. Never sends a packet and never
    /// blocks. Unless overridden, none is.
    fn is_here(&self, _host: &Host) -> bool {
        false
    }

    /// Whether the peer with this id may be talked to. Unless overridden, everybody may.
    fn admits(&self, _id: &PeerId) -> bool {
        true
    }

    /// Is marked as changed when [`admits`](Self::admits) may have another answer than before: the
    /// node then drops from its table whom it does not admit. None where that never happens.
    fn admission_changes(&self) -> Option<watch::Receiver<()>> {
        None
    }

    /// The host under which others reach a node that listens at `listening`: what the node tells
    /// about itself when its configuration does not say otherwise. Never sends a packet and never
    /// blocks.
    fn own_host(&self, listening: &Address) -> Host;
}

/// What a node on a simulated network has in place of the system's clock and random numbers, so that
/// the same seed gives the same history: the date goes with tokio's clock from a fixed one on, and
/// the random numbers come from a seed. They are no secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simulated {
    pub(crate) began: tokio::time::Instant,
    pub(crate) seed: u64,
}

impl Simulated {
    /// A network that began at this moment, and the seed of one life of a node in it: another one for
    /// each life.
    #[must_use]
    pub const fn new(began: tokio::time::Instant, seed: u64) -> Self {
        Self { began, seed }
    }
}

/// A place where connections arrive. Dropping it stops listening; connections that were taken live
/// on.
pub trait Listener: Send + 'static {
    /// Takes the next connection.
    ///
    /// # Errors
    /// An error is about accepting as such (no file descriptors are left, the interface is gone),
    /// not about one connection, and the listener may be polled again: **after a pause**, since the
    /// cause may last.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>>;

    /// The address at which it listens, with the port that was really taken.
    fn local_address(&self) -> Address;

    /// All addresses at which it listens, beginning with [`local_address`](Self::local_address). Unless
    /// overridden, that one alone.
    fn local_addresses(&self) -> Vec<Address> {
        vec![self.local_address()]
    }
}

/// The read half of a connection.
pub type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;

/// The write half of a connection.
pub type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// One connection: a byte stream in each direction.
///
/// The stream ends for the other side when `writer` is shut down or dropped; `reader` stays usable
/// then. Dropping both halves closes the connection.
pub struct Io {
    /// Bytes from the other side.
    pub reader: ReadHalf,
    /// Bytes to the other side.
    pub writer: WriteHalf,
    /// The other side's address. For a connection that was accepted the port is the one it dialled
    /// from, not the one it listens at.
    pub remote: Address,
    /// The other side's id, where the transport has proved it.
    pub proven: Option<PeerId>,
}

impl Io {
    /// A connection on which nobody has proved an id.
    #[must_use]
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        remote: Address,
    ) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(writer), remote, proven: None }
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("remote", &self.remote)
            .field("proven", &self.proven)
            .finish_non_exhaustive()
    }
}

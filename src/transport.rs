//! Layer 4: listening, dialling and byte streams.
//!
//! A node reaches the network only through one [`Transport`]: it asks for a [`Listener`] or dials
//! an [`Address`], and both return an [`Io`], the two halves of a byte stream.
//!
//! | transport | for |
//! | --- | --- |
//! | [`tcp::Tcp`] | plain TCP; the default |
//! | `tls::TlsTransport` | mutual TLS 1.3 over another transport; ids are public keys, and proven (feature `tls`) |
//! | `memory::MemoryNetwork` | a network inside the process, with latency, partitions and crashes (feature `test-utils`) |
//!
//! A transport has no time-out for a whole dial, sends no keepalives and does not detect silent
//! remotes: the caller does that. Only the look-up of a name, and the dial of each of its
//! addresses, have time-outs of their own ([`tcp::Tcp`]).

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
    time::Duration,
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
/// One transport serves a whole node and is shared by its actors. The futures need a tokio runtime
/// with I/O and time.
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
    /// Starts to listen at an address of this machine, or at all addresses of a name. Port 0
    /// selects any free port, which [`Listener::local_address`] returns.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if the address is in use,
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) if it is not an address of this
    /// machine, and other errors of the system. On an error nothing listens.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing listening.
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// Opens a connection to an address.
    ///
    /// This has no time-out and may take forever: the caller sets one.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for port 0,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if nothing listens there, and other
    /// errors of the system. No data of the caller was sent.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the attempt. The other side may have seen a connection that was
    /// closed at once.
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>>;

    /// Opens a connection to the peer with this id, and verifies the id if the transport can. By
    /// default ids are only claimed, and this is [`dial`](Self::dial).
    ///
    /// # Errors
    /// As [`dial`](Self::dial). If the peer is not the expected one, the error contains an
    /// [`IdentityFault`].
    ///
    /// # Cancel safety
    /// As [`dial`](Self::dial).
    fn dial_peer<'a>(&'a self, to: &'a Address, _id: &'a PeerId) -> BoxFuture<'a, io::Result<Io>> {
        self.dial(to)
    }

    /// Prepares an accepted connection for frames: authenticates the peer if the transport can. By
    /// default it does nothing.
    ///
    /// This has no time-out: the caller sets one.
    ///
    /// # Errors
    /// If the connection cannot be served. It is closed.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    fn secure(&self, io: Io) -> BoxFuture<'_, io::Result<Io>> {
        Box::pin(std::future::ready(Ok(io)))
    }

    /// The id that this transport proves to others, which is then the id of the node. `None` if ids
    /// are only claimed.
    fn proves(&self) -> Option<&PeerId> {
        None
    }

    /// Signs data in the name of the id that it [proves](Self::proves). `None` if ids are only
    /// claimed, which is the default.
    fn sign(&self, _data: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// Whether the node with this id has [signed](Self::sign) the data. By default every node has,
    /// because ids are only claimed.
    fn verify(&self, _id: &PeerId, _data: &[u8], _signature: &[u8]) -> bool {
        true
    }

    /// Checks that its options are within their bounds. Called at the start of the node, which
    /// fails on an error. By default it succeeds.
    ///
    /// # Errors
    /// The first option that is out of bounds.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// The replacement of the system's clock and random numbers. Called once, at the start of the
    /// node. `None` if the network is a real one, which is the default.
    fn simulated(&self) -> Option<Simulated> {
        None
    }

    /// Whether a connection without a proven id is served. Called only if ids are
    /// [proven](Self::proves).
    fn serves_unproven(&self) -> bool {
        true
    }

    /// The addresses of a host. By default a host is its own address.
    ///
    /// This has no time-out: the caller sets one.
    ///
    /// # Errors
    /// If it has no address, or the look-up fails. Nothing was sent to any of them.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the look-up. It may occupy a thread of the system for a while.
    fn resolve<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, io::Result<Vec<Host>>> {
        Box::pin(std::future::ready(Ok(vec![host.clone()])))
    }

    /// Whether a host is an address of this machine, except loopback. Never sends a packet and
    /// never blocks. By default no host is.
    fn is_here(&self, _host: &Host) -> bool {
        false
    }

    /// Whether the peer with this id is admitted. By default every peer is.
    fn admits(&self, _id: &PeerId) -> bool {
        true
    }

    /// Is marked as changed when the result of [`admits`](Self::admits) may have changed. The node
    /// then removes peers that are no longer admitted from its table. `None` if it never changes.
    fn admission_changes(&self) -> Option<watch::Receiver<()>> {
        None
    }

    /// The host under which others reach a node that listens at `listening`. The node announces it
    /// unless its configuration sets another one. Never sends a packet and never blocks.
    fn own_host(&self, listening: &Address) -> Host;
}

/// The date at which a simulated network begins, since 1970. It is far enough from zero that the
/// clock of a simulation can go back.
const SIMULATED_DATE: Duration = Duration::from_secs(1 << 31);

/// The replacement of the system's clock and random numbers on a simulated network, so that the
/// same seed gives the same history. The date starts at a fixed one and follows tokio's clock. The
/// random numbers come from a seed and are not secret.
#[derive(Clone, Debug)]
pub struct Simulated {
    began: tokio::time::Instant,
    seed: u64,
    #[cfg(feature = "test-utils")]
    offset: memory::OffsetCell,
}

impl Simulated {
    /// The start of the network, and the seed of one run of a node. Each run needs another seed.
    #[must_use]
    pub fn new(began: tokio::time::Instant, seed: u64) -> Self {
        Self {
            began,
            seed,
            #[cfg(feature = "test-utils")]
            offset: memory::OffsetCell::default(),
        }
    }

    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// The time since 1970 by the wall clock.
    pub(crate) fn since_1970(&self) -> Duration {
        let since = SIMULATED_DATE.saturating_add(self.began.elapsed());
        #[cfg(feature = "test-utils")]
        let since = self.offset.apply(since);
        since
    }
}

/// A listener for connections. Dropping it stops listening; accepted connections stay open.
pub trait Listener: Send + 'static {
    /// Accepts the next connection.
    ///
    /// # Errors
    /// An error means that accepting failed (no file descriptors are left, the interface is gone),
    /// not a single connection. The listener may be polled again, but only **after a pause**,
    /// because the cause may persist.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>>;

    /// The address at which it listens, with the actual port.
    fn local_address(&self) -> Address;

    /// All addresses at which it listens, beginning with [`local_address`](Self::local_address). By
    /// default only that one.
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
/// Shutting down or dropping `writer` ends the stream for the other side; `reader` stays usable.
/// Dropping both halves closes the connection.
pub struct Io {
    /// Bytes from the other side.
    pub reader: ReadHalf,
    /// Bytes to the other side.
    pub writer: WriteHalf,
    /// The address of the other side. For an accepted connection, the port is the one from which it
    /// dialled, not the one at which it listens.
    pub remote: Address,
    /// The proven id of the other side. `None` if the transport has not proved it.
    pub proven: Option<PeerId>,
}

impl Io {
    /// A connection without a proven id.
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

//! The errors of starting a node and registering a handler.

use std::io;

use crate::{
    frame::{InvalidTypeCode, TypeCode},
    overlay::{
        Address, Host, InvalidAddress, InvalidHost, InvalidPeerId, InvalidPeerInfo, PeerId,
        options::ConfigError,
    },
};

/// Why a node did not start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An option is out of its bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The text to listen on is not `host:port`.
    #[error("cannot listen on {text:?}: {source}")]
    InvalidListenAddress {
        /// The given text.
        text: String,
        /// Why it is invalid.
        source: InvalidAddress,
    },
    /// A contact is not `host:port` ([`Builder::contacts`](crate::Builder::contacts)).
    #[error("the contact {text:?} is invalid: {source}")]
    InvalidContact {
        /// The given text.
        text: String,
        /// Why it is invalid.
        source: InvalidAddress,
    },
    /// The address to announce is not `host:port`
    /// ([`Builder::advertise`](crate::Builder::advertise)).
    #[error("cannot announce {text:?}: {source}")]
    InvalidAdvertise {
        /// The given text.
        text: String,
        /// Why it is invalid.
        source: InvalidAddress,
    },
    /// A peer to keep a link with is neither `host:port` nor `id host port`
    /// ([`Builder::keep_linked`](crate::Builder::keep_linked)).
    #[error("cannot keep a link with {text:?}: {source}")]
    InvalidKeptLink {
        /// The given text.
        text: String,
        /// Why it is invalid.
        source: InvalidPeerInfo,
    },
    /// The id is invalid.
    #[error(transparent)]
    InvalidId(#[from] InvalidPeerId),
    /// The given id differs from the key that the transport proves.
    #[error("the id {} was given, but the identity is {}", id.short(), key.short())]
    NotTheKey {
        /// The given id.
        id: PeerId,
        /// The key.
        key: PeerId,
    },
    /// The host to announce is invalid.
    #[error(transparent)]
    InvalidHost(#[from] InvalidHost),
    /// Other nodes cannot reach the announced host: an unspecified address (`0.0.0.0`, `[::]`), a
    /// multicast, broadcast or reserved one, or an IPv4-mapped IPv6 address.
    #[error("no other node can reach {0}: set another host to announce (Builder::host)")]
    UnreachableHost(Host),
    /// The node's own `id host port` cannot be announced.
    #[error(transparent)]
    InvalidPeerInfo(#[from] InvalidPeerInfo),
    /// Another program or node listens on this address.
    #[error("the address {address} is in use")]
    AddressInUse {
        /// The address.
        address: Address,
    },
    /// The address does not belong to this machine.
    #[error("the address {address} does not belong to this machine")]
    AddressNotAvailable {
        /// The address.
        address: Address,
    },
    /// Listening failed for another reason.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: Address,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The content of the [`Outbox`](crate::reliable::Outbox) cannot be loaded.
    #[error("cannot load the outbox: {0}")]
    Outbox(io::Error),
    /// A handler could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// `start` was called outside an actix arbiter. A tokio `LocalSet` alone is not enough.
    #[error("a node starts inside an actix system: use #[actix::main] or System::block_on")]
    NoArbiter,
    /// The node has [workers](crate::Builder::workers), and is started in the simulated network of
    /// [`SimNetwork::run`](crate::sim::SimNetwork::run). Threads have no virtual time, and what they
    /// do first depends on the machine.
    #[cfg(feature = "test-utils")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
    #[error("a node in a simulated network has no workers: start it with Builder::workers(0)")]
    WorkersInSimulation,
}

impl StartError {
    pub(crate) fn listen(address: Address, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse { address },
            io::ErrorKind::AddrNotAvailable => Self::AddressNotAvailable { address },
            _ => Self::Listen { address, source },
        }
    }
}

/// Why a step of the [`Builder`](crate::Builder) is refused, or a handler is not registered while
/// the node runs. Nothing was changed.
///
/// All steps that can fail return this error, so that a function that makes a builder, such as a
/// recipe of a `SimNetwork`, can use `?` on each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The code is not four bytes.
    #[error(transparent)]
    InvalidCode(#[from] InvalidTypeCode),
    /// The code belongs to the framework: it begins with `@` ([protocol](crate::protocol#codes)).
    #[error("the code {0} is reserved for the framework")]
    Reserved(TypeCode),
    /// The builder was given two handlers for one code. (While the node runs, a new handler
    /// replaces the old one.)
    #[error("there are two handlers for the code {0}")]
    Duplicate(TypeCode),
    /// The metadata given to `Builder::swim` is too long.
    #[cfg(feature = "swim")]
    #[cfg_attr(docsrs, doc(cfg(feature = "swim")))]
    #[error(transparent)]
    MetadataTooLong(#[from] crate::overlay::swim::MetadataTooLong),
    /// The name of the network given to `MdnsConfig` cannot be announced.
    #[cfg(feature = "mdns")]
    #[cfg_attr(docsrs, doc(cfg(feature = "mdns")))]
    #[error(transparent)]
    InvalidNetwork(#[from] crate::peer::mdns::InvalidNetwork),
}

impl From<std::convert::Infallible> for RegisterError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

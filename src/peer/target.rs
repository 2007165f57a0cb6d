//! Whom a message is for.

use std::net::SocketAddr;

use crate::{
    message::Outgoing,
    overlay::{Address, InvalidAddress, PeerId, PeerInfo},
};

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Whoever listens there, known or not.
    Address(Address),
    /// The known peer with this id.
    Peer(PeerId),
    /// The node with this id, known or not: the router picks the way, over several nodes when
    /// needed.
    Routed(PeerId),
}

/// A message that knows whom it is for.
pub(super) trait ForWhom: IntoTarget {
    fn for_whom(&self, message: Outgoing) -> Outgoing {
        match self.as_id() {
            Some(id) => message.only_to(id),
            None => message,
        }
    }
}

impl<T: IntoTarget> ForWhom for T {}

impl Target {
    /// The node with this id, by way of the router.
    #[must_use]
    pub const fn routed(id: PeerId) -> Self {
        Self::Routed(id)
    }
}

/// What can be taken for a [`Target`]: an address, an id, a peer, or text.
///
/// Text is an address when it can be one (`host:port`), else an id.
pub trait IntoTarget {
    /// The target.
    ///
    /// # Errors
    /// The text is neither an address nor an id.
    fn into_target(self) -> Result<Target, InvalidAddress>;

    /// The id of the node at the address, where it is known. A message goes to the node with this id
    /// or fails with [`RequestError::Identity`](crate::RequestError::Identity): the other side says its
    /// id in the hello of a link, or proves it (feature `tls`). In a classic exchange without a proof
    /// only the answer to `NAME` says who is there. `None` unless overridden.
    fn as_id(&self) -> Option<&PeerId> {
        None
    }

    /// The address, where there is nothing to look up or to read: to send over an open link without
    /// a copy of it. None unless overridden.
    fn as_address(&self) -> Option<&Address> {
        None
    }
}

macro_rules! into_target {
    ($( $from:ty, |$value:ident| $target:expr $(, $address:expr $(, $id:expr)?)?; )*) => {$(
        impl IntoTarget for $from {
            fn into_target(self) -> Result<Target, InvalidAddress> {
                let $value = self;
                $target
            }

            $(fn as_address(&self) -> Option<&Address> {
                let $value = self;
                Some($address)
            }

            $(fn as_id(&self) -> Option<&PeerId> {
                let $value = self;
                Some($id)
            })?)?
        }
    )*};
}

into_target! {
    Target, |target| Ok(target);
    Address, |address| Ok(Target::Address(address)), address;
    &Address, |address| Ok(Target::Address(address.clone())), address;
    SocketAddr, |address| Ok(Target::Address(address.into()));
    PeerId, |id| Ok(Target::Peer(id));
    &PeerId, |id| Ok(Target::Peer(id.clone()));
    PeerInfo, |peer| Ok(Target::Address(peer.address().clone())), peer.address(), peer.id();
    &PeerInfo, |peer| Ok(Target::Address(peer.address().clone())), peer.address(), peer.id();
    &str, |text| text.parse().map(Target::Address).or_else(|error| text.parse().map(Target::Peer).map_err(|_| error));
    &String, |text| text.as_str().into_target();
    String, |text| text.as_str().into_target();
}

//! The target of a message.

use std::net::SocketAddr;

use crate::{
    message::Outgoing,
    overlay::{Address, InvalidAddress, PeerId, PeerInfo},
};

/// The target of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// The node that listens at this address, known or not.
    Address(Address),
    /// The known peer with this id.
    Peer(PeerId),
    /// The node with this id, known or not. The router picks the path, over several nodes if
    /// needed.
    Routed(PeerId),
}

/// A target that can be recorded in a message.
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
    /// The node with this id, reached through the router.
    #[must_use]
    pub const fn routed(id: PeerId) -> Self {
        Self::Routed(id)
    }
}

/// A value that can be converted to a [`Target`]: an address, an id, a peer, or text.
///
/// Text is an address if it parses as one (`host:port`), otherwise an id.
pub trait IntoTarget {
    /// Converts the value to a target.
    ///
    /// # Errors
    /// The text is neither an address nor an id.
    fn into_target(self) -> Result<Target, InvalidAddress>;

    /// The id of the node at the address; `None` if it is not known, and unless overridden. A
    /// message goes to the node with this id or fails with
    /// [`RequestError::Identity`](crate::RequestError::Identity): the other node announces its id
    /// in the hello of a link, or proves it (feature `tls`). In a classic exchange without such a
    /// proof, only the answer to `NAME` shows which node is there.
    fn as_id(&self) -> Option<&PeerId> {
        None
    }

    /// The address, if it needs no look-up and no parsing; `None` otherwise, and unless overridden.
    /// It allows sending over an open link without a copy of the address.
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

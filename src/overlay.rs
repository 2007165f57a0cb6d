//! Layer 2: ids, the peer table, routing, joining and maintenance. Pure: no socket, no clock, no
//! actor.

/// Serialises as the text form.
macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

#[cfg(feature = "content")]
pub(crate) use serde_as_text;

mod address;
mod address_book;
mod ask_again;
mod contacts;
mod dice;
mod forward;
mod gap;
mod given_up;
mod id;
mod join;
#[cfg(feature = "kademlia")]
#[cfg_attr(docsrs, doc(cfg(feature = "kademlia")))]
pub mod kademlia;
mod list;
mod listing;
mod moves;
#[cfg(feature = "mdns")]
mod nearby;
pub(crate) mod options;
mod peer_entry;
mod peer_exchange;
mod ping_sweep;
mod policy;
pub mod router;
mod scope;
mod shares;
mod stabilizer;
#[cfg(feature = "swim")]
#[cfg_attr(docsrs, doc(cfg(feature = "swim")))]
pub mod swim;
#[cfg(feature = "gossip")]
#[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
pub mod topics;
#[cfg(feature = "gossip")]
#[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
pub mod trees;
mod verification;
#[cfg(any(feature = "gossip", feature = "kademlia", feature = "swim"))]
pub(crate) mod versioned;
#[cfg(feature = "gossip")]
#[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
pub mod views;

pub(crate) use self::gap::{LOOK_EVERY, is_gap, standstill};
#[cfg(feature = "mdns")]
pub(crate) use self::nearby::Nearby;
#[cfg(feature = "tls")]
pub(crate) use self::scope::is_loopback;
#[cfg(feature = "gossip")]
pub(crate) use self::shares::{address_of, network_of};
pub use self::{
    address::{Address, Host, InvalidAddress, InvalidHost},
    address_book::{AddressBook, BookEntry, DamagedBook, Origin},
    forward::{Envelope, Hop, RouteFault, RouteReason},
    given_up::GivenUp,
    id::{InvalidPeerId, InvalidPeerInfo, PeerId, PeerInfo},
    join::{
        JoinAnswer, JoinConfig, JoinEnd, JoinEvent, JoinFailure, JoinReport, JoinStep, JoinWalk,
    },
    list::{Added, PeerList},
    peer_entry::{Candidate, Learned, PeerEntry},
    peer_exchange::{MAX_HINTS, PeerExchange, PeersSeen},
    ping_sweep::PingSweep,
    policy::{ForwardPolicy, JoinPolicy, QuitPolicy},
    router::{Direct, FnRouter, Router},
    scope::Scope,
    shares::Shares,
    stabilizer::{AskFailure, Stabilizer, StabilizerAction, StabilizerEvent, View},
};
pub(crate) use self::{
    contacts::Contacts,
    dice::Dice,
    listing::{Introduced, Introductions, Listing, ListingReport},
    moves::Moves,
    peer_exchange::{PEX, is_question, seen_lately},
    policy::Claim,
    verification::{ASKED_AFTER, ASKED_LATER, Verdict, WITHIN, is_busy},
};

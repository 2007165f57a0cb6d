//! Kademlia (Maymounkov and Mazières, "Kademlia: A Peer-to-peer Information System Based on the XOR
//! Metric", 2002). Every node has a key in a space of 256-bit keys. It knows many nodes near its
//! key and a few of each region further away, and finds the nodes nearest to any key by asking ever
//! nearer ones.
//!
//! [`KBuckets`] is the table of one node, [`Lookup`] is one search. Both are pure: their driver
//! asks the questions and passes the results to them.
//! [`Builder::kademlia`](crate::Builder::kademlia) drives them in a node. [`message`] describes the
//! bytes on the wire.
//!
//! ```
//! use actix_peer::{PeerInfo, overlay::kademlia::{KBuckets, Key, Lookup, LookupConfig}};
//!
//! let me: PeerInfo = "ada 192.0.2.1 9000".parse()?;
//! let mut table = KBuckets::new(Key::of(me.id()), 20);
//! let bob: PeerInfo = "bob 192.0.2.2 9000".parse()?;
//! table.heard(bob.clone());
//!
//! let target = Key::of_bytes(b"a name that is looked for");
//! let mut lookup = Lookup::new(Key::of(me.id()), target, table.closest(target, 20), LookupConfig::default());
//! assert_eq!(lookup.next(), Some(bob.clone()));
//! // Bob is asked, and knows Eve, who does not answer.
//! let eve: PeerInfo = "eve 192.0.2.3 9000".parse()?;
//! lookup.answered(bob.id(), [eve.clone()]);
//! assert_eq!(lookup.next(), Some(eve.clone()));
//! lookup.failed(eve.id());
//! assert!(lookup.is_done());
//! assert_eq!(lookup.closest(), [bob]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod key;
mod lookup;
pub mod message;
mod nearest;
mod record;
mod store;
mod table;

#[cfg(test)]
mod tests;

pub(crate) use self::nearest::SharedTable;
pub use self::{
    key::{Distance, Key},
    lookup::{Lookup, LookupConfig},
    message::StoreRefusal,
    nearest::KademliaRouter,
    record::Record,
    store::{RecordStore, StoreLimits, chosen},
    table::{Heard, KBuckets},
};

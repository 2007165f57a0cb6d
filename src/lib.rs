//! A peer-to-peer node built as actix actors.
//!
//! A node listens, starts one actor per connection, reads frames (a four-byte code, a length, data)
//! and sends them to the actor that is registered for the code. It knows a bounded number of peers,
//! runs maintenance at intervals, and forwards messages with a router that the application
//! supplies. It speaks the protocol of PeerBase and btpeer (Nadeem Abdul Hamid, "A
//! lightweight framework for peer-to-peer programming", J. Comput. Sci. Coll. 22(5), 2007).
//!
//! ```
//! use actix::prelude::*;
//! use actix_peer::{HandlerActor, Incoming, Peer, Reply, frame::Frame};
//!
//! struct Echo;
//! impl Actor for Echo {
//!     type Context = Context<Self>;
//! }
//! impl Supervised for Echo {} // a panic in it costs one request
//! impl Handler<Incoming> for Echo {
//!     type Result = Reply;
//!     fn handle(&mut self, msg: Incoming, _: &mut Self::Context) -> Reply {
//!         Reply::one(msg.frame)
//!     }
//! }
//!
//! # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Peer::builder().listen("127.0.0.1:0").max_peers(16);
//! let peer = builder.handle("ECHO", Echo.start_supervised())?.start().await?;
//! let replies = peer.request(peer.info(), Frame::text("ECHO", "hello")).await?.collect().await?;
//! assert_eq!(replies, [Frame::text("ECHO", "hello")]);
//! peer.stop().await;
//! # Ok(()) }
//! ```
//!
//! # Where to read next
//!
//! [The guide](guide) leads from the first peer to a network in production, one idea per chapter.
//! The reference begins here:
//!
//! 1. [`Peer`] is the handle of a node: requests, one-way messages, typed messages, joining,
//!    stopping. [`Builder`] has its options.
//! 2. A handler receives an [`Incoming`] and answers with a [`Reply`]; [`handler`] turns a closure
//!    into an actor. [`Received`] and [`frame::Wire`] are the typed layer above.
//! 3. Messages go over a [`link`] if the other node speaks links, otherwise in a classic exchange;
//!    [`Outgoing::over`] selects one or the other.
//!    [`Peer::send_reliable`] survives broken links; [`delivery`] lists the guarantees,
//!    rule by rule.
//! 4. [`Config`] has every limit and time-out, with its default and its trade-off.
//! 5. [`RequestError`] and [`SendError`] say what went wrong, which side caused it, and whether the
//!    message may have been handled.
//! 6. [`PeerEvent`] and [`peer::Status`] report what the node does.
//! 7. With the feature `tls` the id of a node is its public key, and proven: `transport::tls`.
//! 8. [`Router`], [`Stabilizer`] and [`overlay`] define the topology of a network; [`transport`]
//!    is the layer below.
//! 9. [`protocol`] specifies every byte on the wire, for programs in other languages.
//! 10. [`limits`] and `content` are of use to applications: how often each sender may
//!     ask, and content that moves in parts with digests.
//!
//! [`mod@reference`] has the guarantees in full, the table of limits, threats and measurements.
//!
//! # Features
//!
//! `content`, `gossip` and `kademlia` are on by default.
//!
//! - `content`: content that moves in parts, with digests (`content`).
//! - `gossip`: neighbours, so that no node of a large network is left alone, broadcast over them
//!   (`overlay::views`, `overlay::trees`), and messages to those that subscribe (`topics`).
//! - `json`: typed messages as JSON.
//! - `kademlia`: k-buckets and look-ups (`overlay::kademlia`).
//! - `tls`: mutual TLS with keys as ids (`transport::tls`).
//! - `metrics`: counters and histograms for the `metrics` facade (`peer::metrics`).
//! - `mdns`: discovery of nodes in the local network (`peer::mdns`).
//! - `swim`: membership and failure detection (`overlay::swim`).
//! - `test-utils`: `sim`, networks of nodes in virtual time for tests, on `transport::memory`, a
//!   network inside the process.
//!
//! # What a node needs
//!
//! An actix arbiter (`#[actix::main]`, `#[actix::test]`), on which all its actors run; handlers may
//! run on any arbiter. With `panic = "abort"` a panic in a handler ends the process.
#![cfg_attr(docsrs, feature(doc_cfg))]
// .clippy.toml exempts plain numbers, so this finds arithmetic on times: `time` does that.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
// .clippy.toml lists what differs from process to process. Tests, examples and benches may use it.
#![warn(clippy::disallowed_types)]

mod bounded;
pub mod classic;
pub mod connection;
#[cfg(feature = "content")]
#[cfg_attr(docsrs, doc(cfg(feature = "content")))]
pub mod content;
#[doc = include_str!("delivery.md")]
pub mod delivery {}
pub mod dispatch;
mod fault_points;
pub mod frame;
pub mod guide;
pub mod limits;
pub mod link;
pub mod message;
pub mod node;
pub mod overlay;
pub mod peer;
pub mod prelude;
#[doc = include_str!("protocol.md")]
pub mod protocol {}
pub mod reference {
    //! What does not fit into the documentation of one item.

    #[doc = include_str!("reference/overview.md")]
    pub mod overview {}

    #[doc = include_str!("reference/promises.md")]
    pub mod promises {}

    #[doc = include_str!("reference/limits.md")]
    pub mod limits {}

    #[doc = include_str!("reference/threats.md")]
    pub mod threats {}

    #[doc = include_str!("reference/measurements.md")]
    pub mod measurements {}
}
pub mod reliable;
pub mod session;
mod sync;
mod time;
pub mod transport;

#[cfg(feature = "test-utils")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
pub use self::peer::sim;
#[cfg(feature = "gossip")]
#[cfg_attr(docsrs, doc(cfg(feature = "gossip")))]
pub use self::peer::topics;
pub use self::{
    dispatch::{HandlerActor, PeerMessage, Received, handler},
    message::{
        Body, Incoming, IncomingBatch, Outgoing, Over, Replies, Reply, RequestError, SendError,
    },
    node::{Child, Config, Events, PeerEvent, Refusal},
    overlay::{JoinPolicy, PeerId, PeerInfo, PingSweep, QuitPolicy, Router, Stabilizer, router},
    peer::{Builder, Peer, Peers, StartError, Target, messages},
};

/// The README's programs, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

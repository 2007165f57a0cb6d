//! The guide: from the first peer to a network in production, one idea a chapter.
//!
//! It is written for a reader who knows Rust and has read one page about actix: what an actor, a
//! message and an address are. It needs no knowledge of peer-to-peer networks. Each chapter has a
//! program that is complete and short. The programs are compiled and run as tests of this crate,
//! and each assertion in them checks what the text says.
//!
//! To try one, make a package with these dependencies, and put the program into `src/main.rs`:
//!
//! ```toml
//! [dependencies]
//! actix = "0.13"
//! actix-peer = { path = "../actix-peer" }
//! futures = "0.3"
//! serde = { version = "1", features = ["derive"] }
//! tokio = { version = "1", features = ["io-util", "macros", "signal", "sync"] }
//! ```
//!
//! A chapter that needs a feature of this crate, or another crate, says so at its beginning.
//!
//! # A network from nothing
//!
//! The path of the tutorial for peer-to-peer programming that this crate grew from:
//!
//! 1. [Peer-to-peer](ch01_peer_to_peer): what it is, what it is not, and which problems it brings.
//! 2. [A peer](ch02_a_peer): a node listens, and serves many connections at once.
//! 3. [Messages and handlers](ch03_messages): a code, a length and data; the code picks the actor.
//! 4. [Connections and replies](ch04_connections): how a reply goes back; acknowledge, then work.
//! 5. [Known peers and joining](ch05_joining): one address is enough to find the others.
//! 6. [Routing](ch06_routing): a message for a node that is not a neighbour.
//! 7. [Stabilizing](ch07_stabilizing): the table stays true while nodes come and go.
//! 8. [File sharing](ch08_file_sharing): a protocol of three messages, written from nothing.
//!
//! # What an application needs besides
//!
//! 9. [Typed messages](ch09_typed): Rust types in place of text.
//! 10. [Delivery and failure](ch10_delivery): what an error says, and what may be sent again.
//! 11. [Identity](ch11_identity): who is at the other end, proven.
//! 12. [Large networks](ch12_large_networks): look-ups where no node knows all the others.
//! 13. [Testing](ch13_testing): a whole network in one test, in virtual time.
//! 14. [In production](ch14_production): limits, metrics, logs, and what to watch.
//! 15. [Inside actix-web](ch15_actix_web): one process with a web server and a node.
//! 16. [Hostile networks](ch16_hostile_networks): your own actors in hundreds of lives full of faults.
//! 17. [News](ch17_news): messages for all nodes, and for those that subscribe.
//!
//! [`mod@crate::reference`] has the promises, the limits and the measurements of the crate.
//! [`delivery`](crate::delivery) has the rules of delivery, one by one.

#[doc = include_str!("guide/ch01_peer_to_peer.md")]
pub mod ch01_peer_to_peer {}

#[doc = include_str!("guide/ch02_a_peer.md")]
pub mod ch02_a_peer {}

#[doc = include_str!("guide/ch03_messages.md")]
pub mod ch03_messages {}

#[doc = include_str!("guide/ch04_connections.md")]
pub mod ch04_connections {}

#[doc = include_str!("guide/ch05_joining.md")]
pub mod ch05_joining {}

#[doc = include_str!("guide/ch06_routing.md")]
pub mod ch06_routing {}

#[doc = include_str!("guide/ch07_stabilizing.md")]
pub mod ch07_stabilizing {}

#[doc = include_str!("guide/ch08_file_sharing.md")]
pub mod ch08_file_sharing {}

#[doc = include_str!("guide/ch09_typed.md")]
pub mod ch09_typed {}

#[doc = include_str!("guide/ch10_delivery.md")]
pub mod ch10_delivery {}

#[cfg_attr(feature = "tls", doc = include_str!("guide/ch11_identity.md"))]
#[cfg_attr(not(feature = "tls"), doc = "Identity: shown with the feature `tls`.")]
pub mod ch11_identity {}

#[cfg_attr(feature = "kademlia", doc = include_str!("guide/ch12_large_networks.md"))]
#[cfg_attr(not(feature = "kademlia"), doc = "Large networks: shown with the feature `kademlia`.")]
pub mod ch12_large_networks {}

#[cfg_attr(feature = "test-utils", doc = include_str!("guide/ch13_testing.md"))]
#[cfg_attr(not(feature = "test-utils"), doc = "Testing: shown with the feature `test-utils`.")]
pub mod ch13_testing {}

#[doc = include_str!("guide/ch14_production.md")]
pub mod ch14_production {}

#[doc = include_str!("guide/ch15_actix_web.md")]
pub mod ch15_actix_web {}

#[cfg_attr(feature = "test-utils", doc = include_str!("guide/ch16_hostile_networks.md"))]
#[cfg_attr(
    not(feature = "test-utils"),
    doc = "Hostile networks: shown with the feature `test-utils`."
)]
pub mod ch16_hostile_networks {}

#[cfg_attr(feature = "gossip", doc = include_str!("guide/ch17_news.md"))]
#[cfg_attr(not(feature = "gossip"), doc = "News: shown with the feature `gossip`.")]
pub mod ch17_news {}

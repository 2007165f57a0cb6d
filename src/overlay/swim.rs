//! Membership and failure detection by SWIM with suspicion (Das, Gupta and Motivala, "SWIM:
//! Scalable Weakly-consistent Infection-style Process Group Membership Protocol", 2002), with the
//! engine [`foca`].
//!
//! Each node probes one member after the other, and asks other members to probe for it. Its probes
//! also carry its updates to other members.
//!
//! Plain SWIM believes what members say. [`Membership`] believes less: hearsay leads to a question
//! of this node, and only what a member says about itself, or the answer to the question, counts
//! (see [`Membership::receive`]). A node that was blocked, or that receives nothing, does not
//! conclude that other nodes have failed.
//!
//! Limits: a member that lies within these rules can still cause questions. That a member is down
//! is a suspicion, not a proof. Both sides of a partition keep running.
//!
//! ```
//! use actix_peer::{PeerInfo, overlay::swim::{MemberState, Membership, SwimConfig}};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut now = tokio::time::Instant::now().into_std();
//! let (ada, bob): (PeerInfo, PeerInfo) = ("ada 192.0.2.1 9000".parse()?, "bob 192.0.2.2 9000".parse()?);
//! let mut a = Membership::new(ada.clone(), 1, SwimConfig::fast(), 42, now);
//! let mut b = Membership::new(bob.clone(), 1, SwimConfig::fast(), 43, now);
//! a.set_contacts([bob.clone()]);
//! for _ in 0..100 {
//!     now += std::time::Duration::from_millis(10);
//!     a.tick(now);
//!     b.tick(now);
//!     while let Some((_, data)) = a.next_send() {
//!         b.receive(ada.id(), &data, now)?;
//!     }
//!     while let Some((_, data)) = b.next_send() {
//!         a.receive(bob.id(), &data, now)?;
//!     }
//! }
//! assert_eq!(a.members()[0].state(), MemberState::Up);
//! assert_eq!(b.members()[0].info(), &ada);
//! # Ok(()) }
//! ```

mod check;
mod config;
mod filter;
mod identity;
mod machine;
mod member;
mod timers;
mod wire;

#[cfg(test)]
mod tests;

pub use self::{
    config::SwimConfig,
    identity::{MAX_METADATA, MetadataTooLong},
    machine::{Membership, SwimCounts},
    member::{Member, MemberEvent, MemberState},
    wire::SwimRefused,
};

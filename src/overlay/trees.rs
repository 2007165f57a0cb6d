//! Plumtree broadcast (Leitão, Pereira, Rodrigues, "Epidemic broadcast trees", SRDS 2007).
//!
//! A node sends a message at once to its *eager* neighbours, and only its id to the *lazy* ones. A
//! neighbour that sends a duplicate is made lazy (`Prune`), so that the eager links become a tree.
//! A node that has the id of a message and not the message fetches it (`Graft`), which makes the
//! link eager again.
//!
//! [`Trees`] is pure. Its driver passes in messages, the neighbours' coming and going and the time,
//! and carries out what [`Trees::poll`] returns. One instance is one tree: that of the broadcast to
//! all nodes, or that of a topic. The neighbours are those of [`views`](crate::overlay::views).
//!
//! Differences from the paper:
//!
//! - A message is identified by author, incarnation and sequence. Equal payloads are two messages.
//! - Only the messages of one author at a time shape the tree: the lowest of those heard lately. If
//!   the duplicates of all authors did, two of them could cut one cycle at two places, and half of
//!   it would depend on grafts.
//! - An author sends its messages to all its neighbours. They enter the tree at several places,
//!   which saves hops. A duplicate of such a message is no reason to report its sender.
//! - A lost neighbour that brought messages is replaced with a lazy one at once.
//! - A new neighbour is told the ids of the messages that this node still keeps. What one survivor
//!   of a failure has reaches all others.
//! - A node that cannot answer a `Graft` says so (`Refuse`), and the asking node turns to the next
//!   one at once.
//! - Messages of an author are delivered in order, as far as that is possible within
//!   [`TreesConfig::order_wait`].

mod author;
mod config;
mod events;
mod kept;
mod lazy;
mod machine;
mod message;
mod missing;
mod neighbor;
mod order;
mod receive;
mod shape;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use self::wire::signed;
pub use self::{
    config::TreesConfig,
    events::{Delivery, Gap, Offence, PublishError, TreesEvent, TreesOutput},
    machine::{Trees, TreesSize},
    message::{Announced, MessageId, Span, TreesMessage},
    wire::{BCC, BCP, MAX_FRAME, MAX_PAYLOAD},
};

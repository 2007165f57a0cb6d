//! Topics: how nodes that take part in one find each other.
//!
//! The nodes that take part in a topic have [views](crate::overlay::views) and
//! [trees](crate::overlay::trees) of their own, which are those of the network with another name.
//! This module is how a node finds the first of them ([protocol](crate::protocol#topics)):
//!
//! - Neighbours of the network tell each other in which topics they take part
//!   ([`TopicsMessage::Takes`]).
//! - A node that takes part in a topic and knows no other asks the whole network, by a broadcast
//!   ([`TopicsMessage::Ask`]). Those that take part answer ([`TopicsMessage::Here`]) along the path
//!   by which the question came. No node is dialled for an answer, and no node passes on more than
//!   [`MAX_ANSWERS`] to one question, so that a question in the name of another node does not flood
//!   that node.
//! - One of the nodes of a topic asks again about twice a minute: each that has not heard a question of
//!   another one for some time. Two groups that have formed apart from each other become one this way.

mod finder;
mod wire;

pub(crate) use self::finder::{Finder, Move};
pub use self::wire::{MAX_ANSWERS, MAX_TOPICS, TPC, TopicHash, TopicsMessage};

//! The messages between the nodes of the chat.

use actix::prelude::Message;
use actix_peer::frame::{TypeCode, Wire};
use serde::{Deserialize, Serialize};

use crate::text::RoomName;

/// The number of lines that a room keeps for newcomers.
pub(crate) const HISTORY: usize = 100;

/// The topic with the lines of a room.
pub(crate) fn lines_of(room: &RoomName) -> String {
    format!("chat/{room}")
}

/// The topic in which people tell that they are in a room. It is another one, so that these
/// messages do not push lines out of the history.
pub(crate) fn presence_of(room: &RoomName) -> String {
    format!("chat-who/{room}")
}

/// A line of a room. The node of the author signs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) nick: String,
    /// Milliseconds since 1970, by the clock of the author.
    pub(crate) at: i64,
    pub(crate) text: String,
}

impl Wire for Said {
    const CODE: TypeCode = TypeCode::new(b"CHSA");
}

/// Tells that a person is in a room, or has left it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Presence {
    Here {
        nick: String,
        /// Whether the others are asked to tell the same: the author has just entered.
        asks: bool,
    },
    Gone,
}

impl Wire for Presence {
    const CODE: TypeCode = TypeCode::new(b"CHPR");
}

/// A line for one person.
#[derive(Debug, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub(crate) struct Whisper {
    pub(crate) nick: String,
    /// The address of the author, for an answer.
    pub(crate) listens: String,
    pub(crate) text: String,
}

impl Wire for Whisper {
    const CODE: TypeCode = TypeCode::new(b"CHWH");
}

/// Offers a file to one person. The result is false if too many offers wait there.
#[derive(Debug, Message, Serialize, Deserialize)]
#[rtype(result = "bool")]
pub(crate) struct Offer {
    pub(crate) nick: String,
    pub(crate) listens: String,
    /// The number of the offer at the node that makes it.
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

impl Wire for Offer {
    const CODE: TypeCode = TypeCode::new(b"CHOF");
}

/// Asks for a file that was offered. The reply is its content.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fetch {
    pub(crate) number: u64,
}

impl Wire for Fetch {
    const CODE: TypeCode = TypeCode::new(b"CHFE");
}

/// The end of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Taken,
    Declined,
    Failed,
}

/// Tells the node that made an offer what became of it.
#[derive(Debug, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub(crate) struct Ended {
    pub(crate) number: u64,
    pub(crate) outcome: Outcome,
}

impl Wire for Ended {
    const CODE: TypeCode = TypeCode::new(b"CHEN");
}

/// Asks a node whether it has a line of the one that asks. The number is that of the line among
/// those of its author in the room.
#[derive(Debug, Message, Serialize, Deserialize)]
#[rtype(result = "bool")]
pub(crate) struct HasHeard {
    pub(crate) room: String,
    pub(crate) sequence: u64,
}

impl Wire for HasHeard {
    const CODE: TypeCode = TypeCode::new(b"CHHH");
}

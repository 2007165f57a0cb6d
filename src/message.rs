//! Layer 7: requests, replies and one-way messages, as applications and handlers see them.

pub(crate) mod assembler;
mod batch;
pub(crate) mod body;
pub(crate) mod credit;
pub(crate) mod error;
pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod payload;
pub(crate) mod replies;
pub(crate) mod reply;
pub(crate) mod source;

pub(crate) use self::incoming::MessageGuard;
pub use self::{
    batch::IncomingBatch,
    body::Body,
    error::{Cause, ReadError, RequestError, SendError},
    incoming::{Identity, Incoming, Sender, Via},
    outgoing::{Outgoing, Over},
    replies::Replies,
    reply::Reply,
};

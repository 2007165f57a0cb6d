//! Requests, replies and one-way messages, as applications and handlers see them.

mod batch;
pub(crate) mod body;
pub(crate) mod error;
pub(crate) mod incoming;
pub(crate) mod replies;
pub(crate) mod reply;
pub(crate) mod source;

pub(crate) use self::incoming::Token;
pub use self::{
    batch::IncomingBatch,
    body::Body,
    error::{Cause, RequestError, SendError},
    incoming::{Identity, Incoming, Sender, Via},
    replies::Replies,
    reply::Reply,
};

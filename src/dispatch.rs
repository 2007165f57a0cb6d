//! Layer 8: routes messages by code to their handlers, and turns answers into replies.

#[cfg(any(test, feature = "test-utils"))]
mod collector;
pub mod handler;
pub(crate) mod reply;
pub(crate) mod routes;
#[cfg(feature = "test-utils")]
mod test_utils;
pub(crate) mod typed;

#[cfg(any(feature = "gossip", feature = "swim"))]
pub(crate) use self::routes::{AtOnce, Take};
pub(crate) use self::routes::{Batched, Intake, Notified, Route, Routes, Serve};
pub use self::{
    handler::{FnHandler, HandlerActor},
    typed::{PeerMessage, Received},
};

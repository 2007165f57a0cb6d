//! Layer 8: routes messages by code to their handlers, and turns answers into replies.

pub mod handler;
pub(crate) mod reply;
pub(crate) mod routes;
pub(crate) mod typed;

pub(crate) use self::routes::{Batched, Intake, Notified, Route, Routes, Serve};
pub use self::{
    handler::{FnHandler, HandlerActor},
    typed::{PeerMessage, Received},
};

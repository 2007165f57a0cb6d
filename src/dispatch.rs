//! Layer 8: from the code of a message to its handler, and from the answer to a reply.

pub mod handler;
pub(crate) mod routes;
pub(crate) mod typed;

pub(crate) use self::routes::{Batched, Intake, Route, Routes, Serve, Told};
pub use self::{
    handler::{FnHandler, HandlerActor},
    typed::{PeerMessage, Received},
};

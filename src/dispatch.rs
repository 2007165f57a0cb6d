//! Layer 8: From the code of a message to the actor that handles it, and from what the actor answers to a
//! reply.

pub mod handler;
pub(crate) mod routes;
pub(crate) mod typed;

pub(crate) use self::routes::{Batched, Intake, Route, Routes, Serve, Told};
pub use self::{
    handler::{FnHandler, HandlerActor},
    typed::{PeerMessage, Received},
};

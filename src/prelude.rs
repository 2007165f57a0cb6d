//! The names that most applications use. Import it beside `actix::prelude`: no name is in both.
//!
//! ```
//! use actix::prelude::*;
//! use actix_peer::prelude::*;
//!
//! # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let echo = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame));
//! let node = Peer::builder().config(Config::local()).handle("ECHO", echo.start())?.start().await?;
//! let replies = node.request(node.info(), Frame::text("ECHO", "hello")).await?.collect().await?;
//! assert_eq!(replies, [Frame::text("ECHO", "hello")]);
//! node.stop().await;
//! # Ok(()) }
//! ```

pub use crate::{
    Body, Builder, Config, HandlerActor, Incoming, IncomingBatch, Outgoing, Over, Peer, PeerEvent,
    PeerId, PeerInfo, PeerMessage, PingSweep, Received, Replies, Reply, RequestError, SendError,
    Stabilizer, StartError,
    frame::{Frame, TypeCode, Wire},
    handler,
    link::AckLevel,
    message::{Identity, Via},
    overlay::Address,
    router,
};

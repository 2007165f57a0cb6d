//! Messages and replies of handlers, for tests of handlers without a node.

use crate::{
    dispatch::{
        Received,
        collector::Collector,
        reply::{ReplyStop, send_reply},
    },
    frame::Frame,
    message::{Reply, Sender},
    node::Refusal,
};

#[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
impl Reply {
    /// The frames that the caller would receive, for tests of handlers without a node (feature
    /// `test-utils`). A body is buffered whole, as one frame.
    ///
    /// # Errors
    /// The refusal that the caller would receive: [`Refusal::HandlerFailed`] if the handler
    /// panicked, sent a code of the framework, or returned a body whose reader failed or ended
    /// early; [`Refusal::HandlerLate`] if a stream returned no frame in the default
    /// [`Config::handler_timeout`](crate::Config::handler_timeout).
    ///
    /// # Examples
    /// ```
    /// use actix::prelude::*;
    /// use actix_peer::{Incoming, Reply, frame::Frame, handler};
    ///
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let upper = handler::from_fn(async |msg: Incoming| {
    ///     let text = msg.frame.as_str().unwrap_or_default().to_uppercase();
    ///     Reply::one(Frame::text("REPL", text))
    /// });
    /// let from: actix_peer::overlay::Address = "127.0.0.1:9000".parse()?;
    /// let message = Incoming::for_tests(Frame::text("UPPR", "hello"), from);
    /// let frames = upper.start().send(message).await?.into_frames().await.unwrap();
    /// assert_eq!(frames, [Frame::text("REPL", "HELLO")]);
    /// # Ok(()) }
    /// ```
    pub async fn into_frames(self) -> Result<Vec<Frame>, Refusal> {
        let mut collector = Collector::default();
        match send_reply(&mut collector, self, false).await {
            Ok(()) => Ok(collector.frames),
            Err(ReplyStop::Refused(refusal)) => Err(refusal),
            Err(ReplyStop::Failed(_)) => Err(Refusal::HandlerFailed),
        }
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
impl<M> Received<M> {
    /// A typed message as a handler receives it, for tests of handlers without a node (feature
    /// `test-utils`).
    ///
    /// # Examples
    /// ```
    /// use actix::prelude::*;
    /// use actix_peer::{Received, frame::{TypeCode, Wire}, message::{Identity, Sender}};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Message, Serialize, Deserialize)]
    /// #[rtype(result = "bool")]
    /// struct Open(u32);
    ///
    /// impl Wire for Open {
    ///     const CODE: TypeCode = TypeCode::new(b"OPEN");
    /// }
    ///
    /// /// Opens only for peers that have proved their id.
    /// struct Door;
    /// impl Actor for Door {
    ///     type Context = Context<Self>;
    /// }
    /// impl Handler<Received<Open>> for Door {
    ///     type Result = bool;
    ///     fn handle(&mut self, msg: Received<Open>, _: &mut Self::Context) -> bool {
    ///         msg.sender.proven().is_some()
    ///     }
    /// }
    ///
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let door = Door.start();
    /// let sender = |identity| Sender::for_tests("192.0.2.7:9000".parse().unwrap(), identity);
    /// let ada = Identity::Proven("ada".parse()?);
    /// assert!(door.send(Received::for_tests(Open(7), sender(ada))).await?);
    /// assert!(!door.send(Received::for_tests(Open(7), sender(Identity::Unknown))).await?);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn for_tests(message: M, from: impl Into<Sender>) -> Self {
        Self::new(message, from.into())
    }
}

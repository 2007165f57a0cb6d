//! Typed messages: the thin layer between [`Wire`] types and frames.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use actix::prelude::{Message, Recipient};
use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    dispatch::routes::{Notified, Serve, actor_id, call, enqueue},
    frame::{TypeCode, Wire},
    message::{Incoming, MessageGuard, Replies, Reply, RequestError, SendError, Sender},
    node::{
        Refusal,
        log::{LogKind, Sanitized, warn_some},
    },
};

/// A typed message from another node. An actor registered with `on::<M>` handles it.
///
/// Its result is `M::Result`, which is sent back in one `REPL` frame in the format of `M`.
#[non_exhaustive]
pub struct Received<M> {
    /// The message.
    pub message: M,
    /// What is known about the sender.
    pub sender: Sender,
    _guard: MessageGuard,
}

#[cfg(feature = "test-utils")]
impl<M> Received<M> {
    pub(super) fn new(message: M, sender: Sender) -> Self {
        Self { message, sender, _guard: MessageGuard::default() }
    }
}

impl<M: fmt::Debug> fmt::Debug for Received<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("message", &self.message)
            .field("sender", &self.sender)
            .finish()
    }
}

impl<M> Message for Received<M>
where
    M: Message + 'static,
{
    type Result = M::Result;
}

/// A message between nodes: an actix message with a code and a format, whose result can be sent as
/// well.
///
/// Implemented for every type that meets the bounds.
///
/// ```
/// use actix::prelude::*;
/// use actix_peer::{PeerMessage, frame::{TypeCode, Wire}};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Message, Serialize, Deserialize)]
/// #[rtype(result = "u64")]
/// struct Add(u64, u64);
///
/// impl Wire for Add {
///     const CODE: TypeCode = TypeCode::new(b"ADD_");
/// }
///
/// fn can_travel<M: PeerMessage>() {}
/// can_travel::<Add>();
/// ```
pub trait PeerMessage:
    Wire + Message<Result: Serialize + DeserializeOwned + Send> + Send + 'static
{
}

impl<M> PeerMessage for M where
    M: Wire + Message<Result: Serialize + DeserializeOwned + Send> + Send + 'static
{
}

/// Decodes a request, sends it to the actor, and encodes the result.
pub(crate) struct Typed<M: PeerMessage>(Recipient<Received<M>>);

impl<M: PeerMessage> Typed<M> {
    pub(crate) const fn new(recipient: Recipient<Received<M>>) -> Self {
        Self(recipient)
    }

    fn decode(incoming: Incoming) -> Result<Received<M>, Refusal> {
        let (frame, sender, guard) = incoming.into_parts();
        // The code of the frame may differ from `M::CODE` in case; the decoder ignores it.
        let decoded = catch_unwind(AssertUnwindSafe(|| M::FORMAT.decode(&frame)));
        let message = decoded.map_err(|_| Refusal::HandlerFailed)?.map_err(|error| {
            tracing::debug!(error = %Sanitized(error), "cannot decode a message");
            Refusal::BadMessage
        })?;
        Ok(Received { message, sender, _guard: guard })
    }
}

impl<M: PeerMessage> fmt::Debug for Typed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Typed").field(&std::any::type_name::<M>()).finish()
    }
}

impl<M: PeerMessage> Serve for Typed<M> {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        let asked = Self::decode(incoming).map(|received| call(&self.0, received));
        Box::pin(async move {
            let answer = asked?.await?;
            M::FORMAT.encode(TypeCode::REPL, &answer).map(Reply::one).map_err(|error| {
                warn_some!(LogKind::Answer, error = %Sanitized(error), "cannot encode an answer");
                Refusal::HandlerFailed
            })
        })
    }

    fn notify(&self, incoming: Incoming) -> Notified {
        Self::decode(incoming).and_then(|received| enqueue(&self.0, received)).into()
    }

    fn handler(&self) -> u64 {
        actor_id(&self.0)
    }
}

/// Decodes the answer to a typed message from its replies.
pub(crate) async fn answer<M: PeerMessage>(
    replies: Result<Replies, RequestError>,
) -> Result<M::Result, SendError> {
    let frames = replies?.collect().await?;
    match frames.first() {
        None => Err(SendError::NoReply),
        Some(frame) if frame.code() == TypeCode::ERRO => {
            Err(SendError::Refused { text: String::from_utf8_lossy(frame.data()).into_owned() })
        }
        Some(frame) => M::FORMAT.decode(frame).map_err(SendError::Decode),
    }
}

//! Several one-way messages delivered together.

use std::fmt;

use actix::prelude::Message;

use crate::{
    frame::{Frame, TypeCode},
    link::MessageBatch,
    message::incoming::{Incoming, MessageGuard, Sender},
};

/// One-way messages of one code that arrived over a link in one read, in the order in which they
/// were sent. An actor registered with [`Builder::handle_batch`](crate::Builder::handle_batch)
/// handles them.
///
/// The actor receives one message for the batch in place of one for each frame, which is faster for
/// short messages. The messages count against the link's window until the batch is dropped. All
/// other messages (requests, classic exchanges, messages of several frames) arrive as a batch of
/// one. A request is answered with an empty reply when the batch is handled.
///
/// ```
/// use actix::prelude::*;
/// use actix_peer::IncomingBatch;
///
/// struct Total(usize);
///
/// impl Actor for Total {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<IncomingBatch> for Total {
///     type Result = ();
///
///     fn handle(&mut self, batch: IncomingBatch, _: &mut Self::Context) {
///         self.0 += batch.iter().map(<[u8]>::len).sum::<usize>();
///     }
/// }
/// ```
pub struct IncomingBatch {
    messages: Messages,
    sender: Sender,
    _guard: MessageGuard,
}

enum Messages {
    One(Frame),
    Several(MessageBatch),
}

impl fmt::Debug for IncomingBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingBatch")
            .field("code", &self.code())
            .field("count", &self.count())
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}

impl Message for IncomingBatch {
    type Result = ();
}

impl IncomingBatch {
    pub(crate) const fn new(messages: MessageBatch, sender: Sender, guard: MessageGuard) -> Self {
        Self { messages: Messages::Several(messages), sender, _guard: guard }
    }

    pub(crate) fn of_one(incoming: Incoming) -> Self {
        let (frame, sender, guard) = incoming.into_parts();
        Self { messages: Messages::One(frame), sender, _guard: guard }
    }

    /// A batch as a handler receives it, for tests of handlers without a node (feature
    /// `test-utils`). `None` if `messages` is empty.
    ///
    /// # Examples
    /// ```
    /// # use actix_peer::{IncomingBatch, frame::TypeCode};
    /// let from: actix_peer::overlay::Address = "127.0.0.1:9000".parse().unwrap();
    /// let batch = IncomingBatch::for_tests(TypeCode::new(b"TICK"), [b"1", b"2"], from).unwrap();
    /// assert_eq!(batch.iter().collect::<Vec<_>>(), [b"1", b"2"]);
    /// ```
    #[cfg(feature = "test-utils")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
    #[must_use]
    pub fn for_tests(
        code: TypeCode,
        messages: impl IntoIterator<Item: AsRef<[u8]>>,
        from: impl Into<Sender>,
    ) -> Option<Self> {
        let messages = MessageBatch::of(code, messages)?;
        Some(Self::new(messages, from.into(), MessageGuard::default()))
    }

    /// The code of the messages, as it was sent.
    #[must_use]
    pub const fn code(&self) -> TypeCode {
        match &self.messages {
            Messages::One(frame) => frame.code(),
            Messages::Several(run) => run.code(),
        }
    }

    /// The number of messages: at least one.
    #[must_use]
    pub const fn count(&self) -> usize {
        match &self.messages {
            Messages::One(_) => 1,
            Messages::Several(run) => run.count(),
        }
    }

    /// The data of each message, in the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let (one, several) = self.parts();
        one.map(|frame| &frame.data()[..])
            .into_iter()
            .chain(several.map(MessageBatch::iter).into_iter().flatten())
    }

    /// Each message as a frame of its own, without a copy of its data. A frame that is kept keeps
    /// the whole batch in memory.
    pub fn frames(&self) -> impl Iterator<Item = Frame> {
        let (one, several) = self.parts();
        let payloads = several.map(MessageBatch::payloads).into_iter().flatten();
        one.cloned().into_iter().chain(payloads.map(|data| Frame::new(self.code(), data)))
    }

    const fn parts(&self) -> (Option<&Frame>, Option<&MessageBatch>) {
        match &self.messages {
            Messages::One(frame) => (Some(frame), None),
            Messages::Several(run) => (None, Some(run)),
        }
    }

    /// The sender of the messages.
    #[must_use]
    pub const fn sender(&self) -> &Sender {
        &self.sender
    }
}

//! Several one-way messages handed over together.

use actix::prelude::Message;

use crate::{
    connection::{Incoming, Sender, Token},
    frame::Frame,
};

/// One-way messages of one code that came over a link in one read, in the order in which they were
/// sent: what an actor registered with [`Builder::handle_batch`](crate::Builder::handle_batch)
/// handles.
///
/// One message to the actor in place of one for each frame: for those who count every nanosecond.
/// They count against the link's window until the batch is dropped. Whatever does not come as a
/// one-way message in one frame over a link comes as a batch of one; who asked gets an empty reply
/// when it is handled.
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
///         self.0 += batch.frames().iter().map(|frame| frame.data().len()).sum::<usize>();
///     }
/// }
/// ```
pub struct IncomingBatch {
    frames: Vec<Frame>,
    sender: Sender,
    _token: Token,
}

impl std::fmt::Debug for IncomingBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IncomingBatch")
            .field("frames", &self.frames.len())
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}

impl Message for IncomingBatch {
    type Result = ();
}

impl IncomingBatch {
    pub(crate) const fn new(frames: Vec<Frame>, sender: Sender, token: Token) -> Self {
        Self { frames, sender, _token: token }
    }

    pub(crate) fn of_one(incoming: Incoming) -> Self {
        let (frame, sender, token) = incoming.into_parts();
        Self::new(vec![frame], sender, token)
    }

    /// The messages. Never empty.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The messages, without a copy. Their part of the window is given back.
    #[must_use]
    pub fn into_frames(self) -> Vec<Frame> {
        self.frames
    }

    /// Who sent them.
    #[must_use]
    pub const fn sender(&self) -> &Sender {
        &self.sender
    }
}

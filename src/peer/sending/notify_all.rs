//! Sending many one-way messages to one node.

use std::collections::VecDeque;

use crate::{
    frame::Frame,
    message::{Outgoing, RequestError},
    peer::{IntoTarget, Peer, Target},
    session,
};

/// The number of messages that are taken from the iterator, and queued in the link's output, at a
/// time.
const AT_ONCE: usize = 64;

/// Some one-way messages were sent before one failed.
#[derive(Debug, thiserror::Error)]
#[error("failed after {sent} messages: {source}")]
pub struct NotAllSent {
    /// The number of messages before the one that failed. They are on their way.
    pub sent: u64,
    /// Why that message failed. The messages behind it were not sent.
    pub source: RequestError,
}

impl Peer {
    /// Sends one-way messages in order, each as [`notify`](Self::notify) does. Returns how many
    /// were sent.
    ///
    /// Over a link this halves the time for short messages: as many as the credit allows are queued
    /// in the link's output together.
    ///
    /// Over a link that does not break silently, each message is delivered to a handler or counted
    /// in a [`PeerEvent::NotifyRefused`](crate::PeerEvent::NotifyRefused);
    /// [`delivery`](crate::delivery) lists the exceptions. In a classic exchange a refusal is not
    /// reported.
    ///
    /// # Errors
    /// [`NotAllSent`]: how many messages are on their way, and why the next one failed.
    ///
    /// # Cancel safety
    /// When the future is dropped, some of the messages are on their way, in order and without a
    /// gap.
    ///
    /// # Examples
    /// ```
    /// # use actix_peer::{Incoming, Peer, Reply, frame::Frame, handler};
    /// # use actix::prelude::*;
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let tick = handler::from_fn(async |_: Incoming| Reply::none()).start();
    /// # let other = Peer::builder().handle("TICK", tick)?.start().await?;
    /// # let peer = Peer::builder().start().await?;
    /// let ticks = (0..1_000).map(|n| Frame::text("TICK", n.to_string()));
    /// assert_eq!(peer.notify_all(other.info(), ticks).await?, 1_000);
    /// # Ok(()) }
    /// ```
    pub async fn notify_all(
        &self,
        to: impl IntoTarget,
        messages: impl IntoIterator<Item = Frame>,
    ) -> Result<u64, NotAllSent> {
        let mut sent = 0;
        let whom = to.as_id().cloned();
        let to = to.into_target().map_err(|error| NotAllSent { sent, source: error.into() })?;
        let mut messages = messages.into_iter();
        let mut next = VecDeque::with_capacity(AT_ONCE);
        loop {
            // Taken before the link is locked: the caller's iterator may run arbitrary code.
            next.extend(messages.by_ref().take(AT_ONCE - next.len()));
            if next.is_empty() {
                return Ok(sent);
            }
            if let Target::Address(to) = &to {
                sent += session::try_notify_all(self.node(), (to, whom.as_ref()), &mut next);
            }
            // The remaining messages have to wait for a link, for credit or for room.
            if let Some(frame) = next.pop_front() {
                let message = Outgoing { whom: whom.clone(), ..Outgoing::from(frame) };
                let told = self.notify(to.clone(), message).await;
                told.map_err(|source| NotAllSent { sent, source })?;
                sent += 1;
            }
        }
    }
}

//! Reads the parts of one exchange of a link.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use crate::{
    fault_points::{Sometimes, reached},
    frame::Frame,
    link::Reason,
    message::{
        ReadError,
        source::{BodySource, Chunk},
    },
    session::{
        queue::{ExchangeBroken, InPart, NextPart, PartQueue},
        state::Session,
    },
};

/// Where the credit of read data is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CreditReturn {
    /// To the window of the link: data of messages.
    Window,
    /// To the exchange: data of replies.
    Exchange(u32),
}

/// The reader of a queue.
pub(crate) struct RecvStream {
    session: Arc<Session>,
    queue: Arc<PartQueue>,
    credit: CreditReturn,
    /// A piece that follows the head that was returned last.
    piece: Option<Bytes>,
    inside: bool,
    broken: Option<ExchangeBroken>,
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream").field("credit", &self.credit).finish_non_exhaustive()
    }
}

impl RecvStream {
    pub(crate) fn new(session: Arc<Session>, queue: Arc<PartQueue>, credit: CreditReturn) -> Self {
        Self { session, queue, credit, piece: None, inside: false, broken: None }
    }

    /// A stream whose head is known already.
    pub(crate) const fn inside(mut self) -> Self {
        self.inside = true;
        self
    }

    fn give_back(&self, cost: u32) {
        match self.credit {
            CreditReturn::Window => self.session.consumed(cost),
            CreditReturn::Exchange(exchange) => self.session.read(exchange, cost),
        }
    }
}

impl BodySource for RecvStream {
    fn is_link(&self) -> bool {
        true
    }

    fn was_sent(&self) -> bool {
        self.broken.is_none_or(|broken| broken.sent)
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>> {
        if let Some(data) = self.piece.take() {
            return Poll::Ready(Ok(Some(Chunk::Piece { data, last: false })));
        }
        match ready!(self.queue.poll_next(cx)) {
            NextPart::Part(InPart { code, data, last, cost }) => {
                self.give_back(cost);
                let begins = !std::mem::replace(&mut self.inside, !last);
                Poll::Ready(Ok(Some(match (begins, last) {
                    (true, true) => Chunk::Frame(Frame::new(code, data)),
                    (true, false) => {
                        self.piece = Some(data);
                        Chunk::Head { code, len: None }
                    }
                    (false, _) => Chunk::Piece { data, last },
                })))
            }
            NextPart::End(Ok(())) => Poll::Ready(Ok(None)),
            NextPart::End(Err(broken)) => {
                self.broken = Some(broken);
                Poll::Ready(Err(ReadError::Reset(broken.reason)))
            }
            NextPart::Late => {
                self.session.node.counters.errors_late.one();
                let config = &self.session.node.config;
                Poll::Ready(Err(ReadError::Late(match self.credit {
                    CreditReturn::Window => config.stall_timeout,
                    CreditReturn::Exchange(_) => {
                        reached(Sometimes::ReplyLate);
                        config.reply_timeout
                    }
                })))
            }
        }
    }
}

impl Drop for RecvStream {
    /// Returns the credit of unread data, and cancels an exchange whose replies are not complete.
    fn drop(&mut self) {
        let (unread, ended) = self.queue.abandon();
        match self.credit {
            CreditReturn::Window => self.session.consumed(unread),
            CreditReturn::Exchange(exchange) if !ended => {
                self.session.cancel_exchange(exchange, Reason::CANCELLED);
            }
            CreditReturn::Exchange(_) => {}
        }
    }
}

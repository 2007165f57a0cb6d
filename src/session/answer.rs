//! Sends replies over a link.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, stream::BoxStream};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::{
    frame::{Frame, TypeCode},
    link::{MAX_PAYLOAD, Refused},
    message::{Reply, reply::ReplyKind},
    node::Refusal,
    session::shared::{Session, State, Unsent},
};

/// Why a reply is not complete.
enum Stop {
    /// The other side has cancelled the exchange, or the link has ended.
    Over,
    /// The reply ends with this refusal.
    Refused(Refusal),
}

impl From<Unsent> for Stop {
    fn from(_: Unsent) -> Self {
        Self::Over
    }
}

/// Sends the reply to a request, or its refusal.
pub(super) async fn send(
    session: &Arc<Session>,
    (exchange, code): (u32, TypeCode),
    answer: Result<Reply, Refusal>,
    internal: bool,
) {
    let replying = Replying { session, exchange, internal };
    let sent = match answer {
        Ok(reply) => replying.reply(reply).await,
        Err(refusal) => Err(Stop::Refused(refusal)),
    };
    if let Err(Stop::Refused(refusal)) = sent {
        session.refuse(exchange, code, refusal);
    }
}

/// Sends a reply of one frame, if that is possible without waiting.
pub(super) fn try_one(session: &Session, exchange: u32, frame: &Frame, internal: bool) -> bool {
    if frame.data().len() > MAX_PAYLOAD || (frame.code().is_reserved() && !internal) {
        return false;
    }
    let reply =
        |state: &mut State| state.link.reply(exchange, frame.code(), frame.data(), false, true);
    // A cancelled exchange needs no reply.
    matches!(session.try_put(reply), Some(Ok(()) | Err(Refused::Over)))
}

struct Replying<'a> {
    session: &'a Session,
    exchange: u32,
    internal: bool,
}

impl Replying<'_> {
    async fn reply(&self, reply: Reply) -> Result<(), Stop> {
        match reply.0 {
            ReplyKind::Refused(refusal) => Err(Stop::Refused(refusal)),
            ReplyKind::One(frame) => self.frame(&frame, true).await,
            ReplyKind::Frames(frames) => {
                for (n, frame) in frames.iter().enumerate() {
                    self.frame(frame, n + 1 == frames.len()).await?;
                }
                if frames.is_empty() {
                    self.end();
                }
                Ok(())
            }
            ReplyKind::Stream(frames) => self.stream(frames).await,
            ReplyKind::Body { code, len, reader } => self.body(code, len, reader).await,
        }
    }

    fn end(&self) {
        self.session.with(|state| state.link.end(self.exchange));
    }

    /// Refuses a reply of a handler with a code of the framework: the handler failed.
    const fn check(&self, code: TypeCode) -> Result<(), Stop> {
        if code.is_reserved() && !self.internal {
            Err(Stop::Refused(Refusal::HandlerFailed))
        } else {
            Ok(())
        }
    }

    async fn frame(&self, frame: &Frame, end: bool) -> Result<(), Stop> {
        self.check(frame.code())?;
        let mut data: Bytes = frame.data().clone();
        loop {
            let part = data.split_to(data.len().min(MAX_PAYLOAD));
            let more = !data.is_empty();
            self.part(frame.code(), &part, more, end && !more).await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Sends a part of a reply. A slow reader is served to the end: only a stall counts.
    async fn part(&self, code: TypeCode, data: &[u8], more: bool, end: bool) -> Result<(), Stop> {
        let exchange = self.exchange;
        let put = self.session.put_reply(|state| state.link.reply(exchange, code, data, more, end));
        match timeout(self.session.endpoint.config.stall_timeout, put).await {
            Ok(put) => Ok(put?),
            Err(_) => {
                self.session.endpoint.counters.errors_stalled.one();
                Err(Stop::Refused(Refusal::HandlerLate))
            }
        }
    }

    async fn stream(&self, mut frames: BoxStream<'static, Frame>) -> Result<(), Stop> {
        let limit = self.session.endpoint.config.handler_timeout;
        loop {
            let next = match frames.next().now_or_never() {
                Some(next) => next,
                None => timeout(limit, frames.next())
                    .await
                    .map_err(|_| Stop::Refused(Refusal::HandlerLate))?,
            };
            match next {
                Some(frame) => self.frame(&frame, false).await?,
                None => {
                    self.end();
                    return Ok(());
                }
            }
        }
    }

    /// Sends `len` bytes of `source` as one message.
    async fn body(
        &self,
        code: TypeCode,
        len: u64,
        mut source: impl AsyncRead + Unpin,
    ) -> Result<(), Stop> {
        self.check(code)?;
        if len == 0 {
            return self.part(code, &[], false, true).await;
        }
        let limit = self.session.endpoint.config.handler_timeout;
        let failed = || Stop::Refused(Refusal::HandlerFailed);
        let (mut left, mut part) = (len, BytesMut::new());
        while left > 0 {
            part.clear();
            let want = left.min(MAX_PAYLOAD as u64);
            part.reserve(usize::try_from(want).unwrap_or(MAX_PAYLOAD));
            let mut source = (&mut source).take(want);
            let n = timeout(limit, source.read_buf(&mut part)).await.map_err(|_| failed())?;
            match n {
                Ok(n) if n > 0 => left = left.saturating_sub(n as u64),
                _ => return Err(failed()),
            }
            self.part(code, &part, left > 0, left == 0).await?;
        }
        Ok(())
    }
}

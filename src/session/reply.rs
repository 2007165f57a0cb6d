//! Sends the reply to a request over a link.

use std::{io, sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    dispatch::reply::{ReplySink, ReplyStop, may_send, send_reply},
    fault_points::{FaultPoint, fault_point},
    frame::{Frame, TypeCode},
    link::{MAX_PAYLOAD, Refused},
    message::{
        Reply,
        error::WriteError,
        payload::{DataReader, Payload},
    },
    node::Refusal,
    session::{
        exchange::InExchange,
        state::{Session, SessionState, Unsent},
    },
};

/// Sends the reply to a request, or its refusal.
pub(super) async fn send(
    session: &Arc<Session>,
    exchange: InExchange,
    answer: Result<Reply, Refusal>,
    internal: bool,
) {
    let sent = match answer {
        Ok(reply) => {
            send_reply(&mut LinkReply { session, exchange: exchange.id }, reply, internal).await
        }
        Err(refusal) => Err(ReplyStop::Refused(refusal)),
    };
    let refusal = match sent {
        Ok(()) => return,
        Err(ReplyStop::Refused(refusal)) => refusal,
        Err(ReplyStop::Failed(WriteError::Source { .. })) => Refusal::HandlerFailed,
        Err(ReplyStop::Failed(WriteError::Stalled(_))) => {
            session.node.counters.errors_stalled.one();
            Refusal::HandlerLate
        }
        // The other side has cancelled the exchange, or the link has ended.
        Err(ReplyStop::Failed(WriteError::Io(_))) => return,
    };
    session.refuse(exchange, refusal);
}

/// Sends a reply of one frame, if that is possible without waiting.
pub(super) fn try_one(session: &Session, exchange: u32, frame: &Frame, internal: bool) -> bool {
    let is_apart = || frame.data().len() > MAX_PAYLOAD || !may_send(frame.code(), internal);
    if is_apart() || fault_point(FaultPoint::ReplyNotAtOnce) {
        return false;
    }
    let reply = |state: &mut SessionState| {
        state.link.reply(exchange, frame.code(), frame.data(), false, true)
    };
    // A cancelled exchange needs no reply.
    matches!(session.try_enqueue(reply), Some(Ok(()) | Err(Refused::Over)))
}

/// The reply of one exchange.
struct LinkReply<'a> {
    session: &'a Session,
    exchange: u32,
}

impl LinkReply<'_> {
    /// Sends a message in as many parts as it needs. If it is the `last` one, it ends the reply.
    async fn send(&self, code: TypeCode, mut data: Payload, last: bool) -> Result<(), ReplyStop> {
        loop {
            let part = data.next(MAX_PAYLOAD).await?;
            let more = data.left() > 0;
            self.send_part(code, &part, more, last && !more).await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// A slow reader is served to the end: only a stall counts.
    async fn send_part(
        &self,
        code: TypeCode,
        data: &[u8],
        more: bool,
        last: bool,
    ) -> Result<(), ReplyStop> {
        let enqueue =
            |state: &mut SessionState| state.link.reply(self.exchange, code, data, more, last);
        let limit = self.session.node.config.stall_timeout;
        let sent = timeout(limit, self.session.enqueue_reply(enqueue)).await;
        let over = |_: Unsent| WriteError::Io(io::ErrorKind::BrokenPipe.into());
        Ok(sent.map_err(|_| WriteError::Stalled(limit))?.map_err(over)?)
    }
}

impl ReplySink for LinkReply<'_> {
    fn handler_timeout(&self) -> Duration {
        self.session.node.config.handler_timeout
    }

    fn abort(&self) -> Option<&CancellationToken> {
        None
    }

    async fn send_frame(&mut self, frame: &Frame, last: bool) -> Result<(), ReplyStop> {
        self.send(frame.code(), Payload::Whole(frame.data().clone()), last).await
    }

    async fn send_body(
        &mut self,
        code: TypeCode,
        len: u64,
        reader: DataReader,
    ) -> Result<(), ReplyStop> {
        self.send(code, Payload::body(reader, len, self.handler_timeout()), true).await
    }

    async fn send_buffered(&mut self) -> Result<(), ReplyStop> {
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), ReplyStop> {
        self.session.with(|state| state.link.end(self.exchange));
        Ok(())
    }
}

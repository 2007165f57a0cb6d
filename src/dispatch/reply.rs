//! Waits for the answer of a handler, and sends it to the caller.

use std::time::Duration;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    frame::{Frame, TypeCode},
    message::{Reply, body::Progress, error::WriteError, payload::DataReader, reply::ReplyKind},
    node::Refusal,
};

/// Waits for the answer of a handler, at most for `limit`. If the handler reads its request as a
/// stream, progress of the stream renews the limit.
pub(crate) async fn answered(
    limit: Duration,
    mut answer: BoxFuture<'static, Result<Reply, Refusal>>,
    progress: Option<Progress>,
) -> Result<Reply, Refusal> {
    loop {
        let before = progress.as_ref().map(Progress::get);
        match timeout(limit, &mut answer).await {
            Ok(answer) => return answer.and_then(Reply::into_result),
            Err(_) if before < progress.as_ref().map(Progress::get) => {}
            Err(_) => return Err(Refusal::HandlerLate),
        }
    }
}

/// The receiver of a reply: a connection, or an exchange on a link.
pub(crate) trait ReplySink: Send {
    /// The time-out of the wait for the next frame of a stream.
    fn handler_timeout(&self) -> Duration;

    /// Ends a reply that waits for its next frame. `None` on a link, which ends all its exchanges
    /// itself.
    fn abort(&self) -> Option<&CancellationToken>;

    /// Sends a frame. If it is the `last` one, it ends the reply.
    fn send_frame(
        &mut self,
        frame: &Frame,
        last: bool,
    ) -> impl Future<Output = Result<(), ReplyStop>> + Send;

    /// Sends `len` bytes of `reader`, which end the reply.
    fn send_body(
        &mut self,
        code: TypeCode,
        len: u64,
        reader: DataReader,
    ) -> impl Future<Output = Result<(), ReplyStop>> + Send;

    /// Sends the frames that are buffered, before the wait for the next one.
    fn send_buffered(&mut self) -> impl Future<Output = Result<(), ReplyStop>> + Send;

    /// Ends a reply after its last frame, or without one.
    fn finish(&mut self) -> impl Future<Output = Result<(), ReplyStop>> + Send;
}

/// Why a reply was not sent in full.
#[derive(Debug)]
pub(crate) enum ReplyStop {
    /// This refusal takes the place of the rest.
    Refused(Refusal),
    /// The rest could not be sent. Without a refusal, because the other side expects data.
    Failed(WriteError),
}

impl From<WriteError> for ReplyStop {
    fn from(error: WriteError) -> Self {
        Self::Failed(error)
    }
}

/// Whether a handler may send a frame with this code. Only an `internal` one may use the codes of
/// the framework.
pub(crate) const fn may_send(code: TypeCode, internal: bool) -> bool {
    internal || !code.is_reserved()
}

/// Sends a reply. A handler that sends a code that it [may not send](may_send) has failed.
pub(crate) async fn send_reply<S: ReplySink>(
    sink: &mut S,
    reply: Reply,
    internal: bool,
) -> Result<(), ReplyStop> {
    let check = |code| {
        let failed = ReplyStop::Refused(Refusal::HandlerFailed);
        if may_send(code, internal) { Ok(()) } else { Err(failed) }
    };
    match reply.0 {
        ReplyKind::Refused(refusal) => Err(ReplyStop::Refused(refusal)),
        ReplyKind::One(frame) => {
            check(frame.code())?;
            sink.send_frame(&frame, true).await
        }
        ReplyKind::Frames(frames) => {
            for (n, frame) in frames.iter().enumerate() {
                check(frame.code())?;
                sink.send_frame(frame, n + 1 == frames.len()).await?;
            }
            if frames.is_empty() { sink.finish().await } else { Ok(()) }
        }
        ReplyKind::Stream(mut frames) => {
            while let Some(frame) = next_frame(sink, &mut frames).await? {
                check(frame.code())?;
                sink.send_frame(&frame, false).await?;
            }
            sink.finish().await
        }
        ReplyKind::Body { code, len, reader } => {
            check(code)?;
            sink.send_body(code, len, reader).await
        }
    }
}

/// The next frame of a stream. `None` at its end.
async fn next_frame<S: ReplySink>(
    sink: &mut S,
    frames: &mut BoxStream<'static, Frame>,
) -> Result<Option<Frame>, ReplyStop> {
    if let Some(next) = frames.next().now_or_never() {
        return Ok(next);
    }
    sink.send_buffered().await?;
    let next = timeout(sink.handler_timeout(), frames.next());
    let next = match sink.abort() {
        Some(abort) => {
            let aborted = ReplyStop::Refused(Refusal::Stopping);
            abort.run_until_cancelled(next).await.ok_or(aborted)?
        }
        None => next.await,
    };
    next.map_err(|_| ReplyStop::Refused(Refusal::HandlerLate))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use futures::stream;

    use super::*;
    use crate::dispatch::collector::Collector;

    /// The frames of a reply that are sent, whether it ended, and why it stopped.
    async fn sent(reply: Reply, internal: bool) -> (Vec<Frame>, bool, Option<ReplyStop>) {
        let mut sink = Collector::default();
        let stop = send_reply(&mut sink, reply, internal).await.err();
        (sink.frames, sink.ended, stop)
    }

    fn frames() -> Vec<Frame> {
        ["1", "2"].map(|text| Frame::text("REPL", text)).into()
    }

    #[tokio::test]
    async fn each_kind_of_reply_is_sent_in_full_and_ended() {
        for (reply, expected) in [
            (Reply::none(), Vec::new()),
            (Reply::one(frames().remove(0)), vec![frames().remove(0)]),
            (Reply::many(frames()), frames()),
            (Reply::stream(stream::iter(frames())), frames()),
            (Reply::stream(stream::empty()), Vec::new()),
            (Reply::body("REPL", 1, Cursor::new("123")), vec![Frame::text("REPL", "1")]),
        ] {
            let name = format!("{reply:?}");
            let (sent, ended, stop) = sent(reply, false).await;
            assert_eq!((sent, ended), (expected, true), "{name}");
            assert!(stop.is_none(), "{name}: {stop:?}");
        }
    }

    #[tokio::test]
    async fn only_an_internal_handler_sends_a_code_of_the_framework() {
        let mixed = || [frames().remove(0), Frame::text("@ANY", "")];
        let replies = || {
            [
                (Reply::one(Frame::text("@ANY", "")), 0),
                (Reply::many(mixed()), 1),
                (Reply::stream(stream::iter(mixed())), 1),
                (Reply::body("@ANY", 0, Cursor::new("")), 0),
            ]
        };
        for (reply, before) in replies() {
            let (sent, ended, stop) = sent(reply, false).await;
            assert_eq!((sent.len(), ended), (before, false));
            assert!(matches!(stop, Some(ReplyStop::Refused(Refusal::HandlerFailed))));
        }
        for (reply, before) in replies() {
            let (sent, ended, stop) = sent(reply, true).await;
            assert_eq!((sent.len(), ended), (before + 1, true));
            assert!(stop.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_returns_no_frame_in_time_is_refused_after_the_frames_before() {
        let frames = stream::iter(frames()).chain(stream::pending());
        let (sent, ended, stop) = sent(Reply::stream(frames), false).await;
        assert_eq!((sent.len(), ended), (2, false));
        assert!(matches!(stop, Some(ReplyStop::Refused(Refusal::HandlerLate))));
    }

    #[tokio::test]
    async fn a_body_whose_reader_ends_early_fails() {
        let (sent, ended, stop) = sent(Reply::body("REPL", 4, Cursor::new("123")), false).await;
        assert_eq!((sent.len(), ended), (0, false));
        assert!(matches!(stop, Some(ReplyStop::Failed(WriteError::Source { got: 3, .. }))));
    }
}

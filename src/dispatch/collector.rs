//! A receiver of a reply that keeps its frames, for tests.

use std::time::Duration;

use bytes::BytesMut;
use tokio_util::sync::CancellationToken;

use crate::{
    dispatch::reply::{ReplySink, ReplyStop},
    frame::{Frame, TypeCode},
    message::payload::{DataReader, Payload},
    node::Config,
};

/// The longest part of a body that is read at once.
const BODY_STEP: usize = 64 << 10; // bytes

/// Keeps the frames of a reply, as its caller would receive them.
#[derive(Default)]
pub(super) struct Collector {
    pub(super) frames: Vec<Frame>,
    /// Whether the reply was marked as complete.
    pub(super) ended: bool,
}

impl ReplySink for Collector {
    fn handler_timeout(&self) -> Duration {
        Config::default().handler_timeout
    }

    fn abort(&self) -> Option<&CancellationToken> {
        None
    }

    async fn send_frame(&mut self, frame: &Frame, last: bool) -> Result<(), ReplyStop> {
        self.frames.push(frame.clone());
        self.ended |= last;
        Ok(())
    }

    async fn send_body(
        &mut self,
        code: TypeCode,
        len: u64,
        reader: DataReader,
    ) -> Result<(), ReplyStop> {
        let mut payload = Payload::body(reader, len, self.handler_timeout());
        let mut data = BytesMut::new();
        while payload.left() > 0 {
            data.extend_from_slice(&payload.next(BODY_STEP).await?);
        }
        self.send_frame(&Frame::new(code, data.freeze()), true).await
    }

    async fn send_buffered(&mut self) -> Result<(), ReplyStop> {
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), ReplyStop> {
        self.ended = true;
        Ok(())
    }
}

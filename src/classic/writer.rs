//! Writes frames to the write half of a connection, with few writes, no copy of large data, and a
//! time-out for stalls.

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use crate::{
    dispatch::reply::{ReplySink, ReplyStop},
    frame::{Frame, FrameHead, HEADER_LEN, TypeCode},
    message::{
        error::WriteError,
        payload::{BodyReader, DataReader},
    },
    node::{Node, Refusal},
    transport::WriteHalf,
};

/// Data up to this length is copied behind its header, so that both are written at once. Longer
/// data is not copied.
const COPY_UP_TO: usize = 64 << 10; // bytes

/// Frames are gathered up to this length before they are written.
const GATHER_UP_TO: usize = 64 << 10; // bytes

/// The step in which a body is read and written. Larger steps save system calls, but on loopback
/// cache misses outweigh the gain beyond this size.
const BODY_STEP: usize = 32 << 10; // bytes

pub(crate) struct FrameWriter {
    half: WriteHalf,
    /// Bytes that were written to the transport.
    written: u64,
    buffer: BytesMut,
    node: Arc<Node>,
}

impl FrameWriter {
    pub(crate) fn new(half: WriteHalf, node: Arc<Node>) -> Self {
        Self { half, written: 0, buffer: BytesMut::new(), node }
    }

    /// The write half. Unflushed data is discarded.
    pub(crate) fn into_half(self) -> WriteHalf {
        self.half
    }

    /// Whether the first header was written: a streaming handler may have been called.
    pub(crate) const fn has_begun(&self) -> bool {
        self.written >= HEADER_LEN as u64
    }

    /// Buffers a frame. It is written by the next `flush`, or when enough is buffered.
    pub(crate) async fn feed(&mut self, frame: &Frame) -> Result<(), WriteError> {
        let data = frame.data();
        let head = FrameHead::new(frame.code(), u32::try_from(data.len()).unwrap_or(u32::MAX));
        self.node.counters.frames_out.one();
        self.buffer.reserve(HEADER_LEN + if data.len() <= COPY_UP_TO { data.len() } else { 0 });
        self.buffer.extend_from_slice(&head.to_bytes());
        if data.len() <= COPY_UP_TO {
            self.buffer.extend_from_slice(data);
            if self.buffer.len() >= GATHER_UP_TO {
                self.flush().await?;
            }
            return Ok(());
        }
        let mut both = self.buffer.split().chain(data.clone());
        Self::write((&mut self.half, &mut self.written), &self.node, &mut both).await
    }

    /// Writes the buffered frames.
    pub(crate) async fn flush(&mut self) -> Result<(), WriteError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let half = (&mut self.half, &mut self.written);
        let result = Self::write(half, &self.node, &mut self.buffer).await;
        self.buffer.clear();
        result
    }

    async fn write(
        (half, sum): (&mut WriteHalf, &mut u64),
        node: &Node,
        bytes: &mut impl Buf,
    ) -> Result<(), WriteError> {
        let limit = node.config.stall_timeout;
        while bytes.has_remaining() {
            let written = tokio::time::timeout(limit, half.write_buf(bytes))
                .await
                .map_err(|_| WriteError::Stalled(limit))??;
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            *sum += written as u64;
            node.counters.bytes_out.add(written as u64);
        }
        // A transport that encrypts may buffer a part.
        tokio::time::timeout(limit, half.flush())
            .await
            .map_err(|_| WriteError::Stalled(limit))??;
        Ok(())
    }

    /// Writes `len` bytes of `reader` as one frame, or as several full ones if one cannot hold
    /// them.
    pub(crate) async fn body(
        &mut self,
        code: TypeCode,
        len: u64,
        reader: DataReader,
    ) -> Result<(), WriteError> {
        let mut body = BodyReader::new(reader, len, self.node.config.handler_timeout);
        loop {
            let frame = u32::try_from(body.left()).unwrap_or(u32::MAX);
            let behind = body.left() - u64::from(frame);
            self.node.counters.frames_out.one();
            self.buffer.extend_from_slice(&FrameHead::new(code, frame).to_bytes());
            while body.left() > behind {
                let left = usize::try_from(body.left() - behind).unwrap_or(usize::MAX);
                body.read(&mut self.buffer, left.min(BODY_STEP)).await?;
                self.flush().await?;
            }
            if behind == 0 {
                return self.flush().await;
            }
        }
    }

    /// Shuts the write half down.
    pub(crate) async fn shutdown(&mut self) -> Result<(), WriteError> {
        let limit = self.node.config.stall_timeout;
        tokio::time::timeout(limit, self.half.shutdown())
            .await
            .map_err(|_| WriteError::Stalled(limit))?
            .map_err(WriteError::Io)
    }
}

impl ReplySink for FrameWriter {
    fn handler_timeout(&self) -> Duration {
        self.node.config.handler_timeout
    }

    fn abort(&self) -> Option<&CancellationToken> {
        Some(&self.node.abort)
    }

    async fn send_frame(&mut self, frame: &Frame, last: bool) -> Result<(), ReplyStop> {
        self.feed(frame).await?;
        if last {
            self.flush().await?;
        }
        Ok(())
    }

    async fn send_body(
        &mut self,
        code: TypeCode,
        len: u64,
        reader: DataReader,
    ) -> Result<(), ReplyStop> {
        Ok(self.body(code, len, reader).await?)
    }

    async fn send_buffered(&mut self) -> Result<(), ReplyStop> {
        Ok(self.flush().await?)
    }

    async fn finish(&mut self) -> Result<(), ReplyStop> {
        Ok(self.flush().await?)
    }
}

/// The time-out for sending the reason of a refusal.
const EXPLAIN_TIME: Duration = Duration::from_millis(500);

/// Closes a connection whose request was not read, after sending the reason.
pub(crate) async fn explain(half: WriteHalf, refusal: Refusal, node: Arc<Node>) {
    let explains = node.explains();
    let mut writer = FrameWriter::new(half, node);
    let explain = async {
        if explains {
            writer.feed(&refusal.to_frame()).await?;
            writer.flush().await?;
        }
        writer.shutdown().await
    };
    // Best effort: dropped on time-out.
    tokio::time::timeout(EXPLAIN_TIME, explain).await.map(drop).ok();
}

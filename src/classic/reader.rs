//! Reads frames from the read half of a connection, with counters and time-outs.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::{codec::Decoder, io::poll_read_buf};

use crate::{
    classic::stall_timer::StallTimer,
    frame::{Frame, FrameCodec, FrameError, FrameHead, HEADER_LEN, Part},
    limits::{
        budget::{EXEMPT, Share},
        throttle::Throttle,
    },
    message::{
        ReadError,
        assembler::Assembler,
        source::{BodySource, Chunk},
    },
    node::{Node, revocable::Revocable},
    transport::ReadHalf,
};

/// Buffer space for one read if the codec has not requested more.
const READ_STEP: usize = 4 << 10; // bytes

/// Longer bodies are read in pieces, so that the receiver can decide, and memory is allocated only
/// for bytes that have arrived.
pub(crate) const WHOLE_UP_TO: u32 = 64 << 10; // bytes

/// Decodes a byte stream into parts of frames.
pub(crate) struct FrameReader {
    half: ReadHalf,
    codec: FrameCodec,
    buffer: BytesMut,
    ended: bool,
    stall_timer: StallTimer,
    throttle: Throttle,
    /// The share of the node's memory for a frame that is buffered whole, and its bytes so far.
    share: Option<(Share, usize)>,
    node: Arc<Node>,
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader")
            .field("buffered", &self.buffer.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl FrameReader {
    /// A reader with the bytes of `buffer`, which waits at most `stall_timer` for further bytes.
    pub(crate) fn new(
        half: ReadHalf,
        buffer: BytesMut,
        stall_timer: Duration,
        node: Arc<Node>,
    ) -> Self {
        let whole = WHOLE_UP_TO.min(node.config.max_frame_len);
        let codec = FrameCodec::new().max_in(u32::MAX).pieces_above(whole);
        let (stall_timer, throttle) = (StallTimer::new(stall_timer), Throttle::default());
        Self { half, codec, buffer, ended: false, stall_timer, throttle, share: None, node }
    }

    /// Limits the rate of reads with `throttle`.
    pub(crate) fn throttled(mut self, throttle: Throttle) -> Self {
        self.throttle = throttle;
        self
    }

    /// Closes the read half when the node aborts, even if nothing polls it.
    pub(crate) fn revocable(mut self) -> Self {
        let half = std::mem::replace(&mut self.half, Box::new(tokio::io::empty()));
        self.half = Box::new(Revocable::new(&self.node, half, None));
        self
    }

    /// Whether a request, of which the buffer has the first bytes, is within the rate of its
    /// source.
    pub(crate) fn is_within_rate(&self) -> bool {
        self.throttle.allows(self.buffer.len())
    }

    /// Prepares to buffer a frame of `len` bytes of data whole. Its bytes count as memory of the
    /// node until [`release_share`](Self::release_share).
    pub(crate) fn reserve_whole(&mut self, len: u32) {
        if len as usize > EXEMPT {
            let arrived = self.buffer.len().saturating_sub(HEADER_LEN);
            self.share = Some((self.node.partial.share(), arrived));
        }
    }

    /// Releases the memory of the frame that was buffered whole.
    pub(crate) fn release_share(&mut self) {
        self.share = None;
    }

    /// The header at the beginning of the buffer, without decoding it.
    pub(crate) fn peek_head(&self) -> Option<FrameHead> {
        FrameHead::peek(&self.buffer)
    }

    /// Returns a body in pieces, whatever its length.
    pub(crate) fn split_into_pieces(&mut self) {
        self.codec = FrameCodec::new().max_in(u32::MAX).pieces_above(0);
    }

    fn poll_frame_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>, ReadError>> {
        loop {
            let part = if self.ended {
                self.codec.decode_eof(&mut self.buffer)
            } else {
                self.codec.decode(&mut self.buffer)
            };
            match part {
                Ok(Some(part)) => {
                    self.stall_timer.reset();
                    self.count(&part);
                    return Poll::Ready(Ok(Some(part)));
                }
                Ok(None) if self.ended => return Poll::Ready(Ok(None)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            }
            let Poll::Ready(more) = self.poll_more(cx) else {
                // A reader that waits with an empty buffer frees it.
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                return Poll::Pending;
            };
            more?;
        }
    }

    /// Reads once, within the buffer space and the budget.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        if self.buffer.capacity() == self.buffer.len() {
            self.buffer.reserve(READ_STEP);
        }
        ready!(self.throttle.poll(cx));
        let room = match &mut self.share {
            Some((share, held)) => {
                ready!(share.poll_cover(*held + 1, cx));
                share.covers() - *held
            }
            None => usize::MAX,
        };
        let mut buffer = (&mut self.buffer).limit(room);
        match poll_read_buf(Pin::new(&mut self.half), cx, &mut buffer) {
            Poll::Ready(Ok(0)) => self.ended = true,
            Poll::Ready(Ok(n)) => {
                self.stall_timer.reset();
                if self.throttle.record(0, n) {
                    self.node.counters.reads_paused.one();
                }
                if let Some((_, held)) = &mut self.share {
                    *held += n;
                }
                self.node.counters.bytes_in.add(n as u64);
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(self.failed(FrameError::Io(error)))),
            Poll::Pending => {
                let limit = ready!(self.stall_timer.poll(cx));
                self.node.counters.errors_late.one();
                return Poll::Ready(Err(ReadError::Late(limit)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn count(&self, part: &Part) {
        if matches!(part, Part::Frame(_) | Part::Head(_)) {
            self.node.counters.frames_in.one();
        }
    }

    fn failed(&self, error: FrameError) -> ReadError {
        self.node.count_frame_error(&error);
        error.into()
    }

    /// The next part of a frame. `None` at a clean end. Cancel safe: the received bytes stay in the
    /// buffer.
    pub(crate) async fn part(&mut self) -> Result<Option<Part>, ReadError> {
        std::future::poll_fn(|cx| self.poll_frame_part(cx)).await
    }

    /// Reads and assembles the rest of a frame whose head was read. At most `head.len()` bytes.
    pub(crate) async fn rest(&mut self, head: FrameHead) -> Result<Frame, ReadError> {
        let mut whole = Assembler::new(head.code(), head.len());
        loop {
            match self.part().await? {
                Some(Part::Piece { data, last }) => {
                    if let Some(frame) = whole.push(&data, last)? {
                        return Ok(frame);
                    }
                }
                // Not reached: the codec returns pieces until the last one, or an error at an early
                // end.
                _ => return Err(whole.truncated(head.len()).into()),
            }
        }
    }

    /// Reads and discards what the other side still sends, until it closes or `bytes` have arrived.
    pub(crate) async fn drain(&mut self, mut bytes: usize) {
        self.buffer.clear();
        while !self.ended {
            self.buffer.reserve(READ_STEP);
            match std::future::poll_fn(|cx| {
                poll_read_buf(Pin::new(&mut self.half), cx, &mut self.buffer)
            })
            .await
            {
                Ok(n) if n > 0 && n <= bytes => bytes -= n,
                _ => return,
            }
            self.buffer.clear();
        }
    }
}

impl BodySource for FrameReader {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>> {
        self.poll_frame_part(cx).map_ok(|part| part.map(Chunk::from))
    }

    fn is_link(&self) -> bool {
        false
    }

    fn was_sent(&self) -> bool {
        true
    }
}

/// The size of the first read. A request of the well-known codes fits in. The buffer is on the
/// stack and exists only during a read, so that a silent connection takes no buffer.
const FIRST_READ: usize = 2 << 10; // bytes

/// Waits for the complete header of the first frame. Returns the received bytes: at least a header,
/// or, at the end of the stream, less than a header or nothing.
pub(crate) async fn first_bytes(half: &mut ReadHalf) -> std::io::Result<BytesMut> {
    let mut bytes = BytesMut::new();
    while bytes.len() < HEADER_LEN {
        let n = std::future::poll_fn(|cx| {
            let mut space = [0; FIRST_READ];
            let mut space = tokio::io::ReadBuf::new(&mut space);
            ready!(Pin::new(&mut *half).poll_read(cx, &mut space))?;
            bytes.extend_from_slice(space.filled());
            Poll::Ready(std::io::Result::Ok(space.filled().len()))
        })
        .await?;
        if n == 0 {
            break;
        }
    }
    Ok(bytes)
}

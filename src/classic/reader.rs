//! Frames out of the read half of a connection, counted and under a time limit.

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
    node::{Node, leash::Leash},
    transport::ReadHalf,
};

/// Room for one read when the codec has asked for nothing.
const READ_STEP: usize = 4 << 10; // bytes

/// Bodies above this are taken in pieces, so that the receiver can decide and memory follows what
/// has arrived.
pub(crate) const WHOLE_UP_TO: u32 = 64 << 10; // bytes

/// Cuts parts of frames out of a byte stream.
pub(crate) struct FrameReader {
    half: ReadHalf,
    codec: FrameCodec,
    buffer: BytesMut,
    ended: bool,
    stall_timer: StallTimer,
    throttle: Throttle,
    /// The part of the node's memory that the frame holds which is taken whole, and its bytes so far.
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
    /// A reader that has `buffer` already and waits at most `stall_timer` for the next bytes.
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

    /// Reads no faster than a source may send.
    pub(crate) fn braked(mut self, throttle: Throttle) -> Self {
        self.throttle = throttle;
        self
    }

    /// Is closed when the node is cut, even if nothing polls it.
    pub(crate) fn leashed(mut self) -> Self {
        let half = std::mem::replace(&mut self.half, Box::new(tokio::io::empty()));
        self.half = Box::new(Leash::new(&self.node, half, None));
        self
    }

    /// Whether a request of which so much has come as is in the buffer is within the pace.
    pub(crate) fn in_pace(&self) -> bool {
        self.throttle.takes(self.buffer.len())
    }

    /// The frame that comes is taken whole, with `len` bytes of data: what has come of it counts as
    /// memory of the node until [`let_go`](Self::let_go).
    pub(crate) fn holds(&mut self, len: u32) {
        if len as usize > EXEMPT {
            let come = self.buffer.len().saturating_sub(HEADER_LEN);
            self.share = Some((self.node.partial.share(), come));
        }
    }

    /// The frame that was taken whole is no longer the reader's.
    pub(crate) fn let_go(&mut self) {
        self.share = None;
    }

    /// What waits in the buffer, undecoded.
    pub(crate) fn peek_head(&self) -> Option<FrameHead> {
        FrameHead::peek(&self.buffer)
    }

    /// Hands out a body from the first byte on, however short it is.
    pub(crate) fn take_pieces(&mut self) {
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
                    self.stall_timer.moved();
                    self.count(&part);
                    return Poll::Ready(Ok(Some(part)));
                }
                Ok(None) if self.ended => return Poll::Ready(Ok(None)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            }
            let Poll::Ready(more) = self.poll_more(cx) else {
                // What waits for bytes keeps no room for them.
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                return Poll::Pending;
            };
            more?;
        }
    }

    /// Reads once, as much as there is room and budget for.
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
                self.stall_timer.moved();
                if self.throttle.came(0, n) {
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

    /// The next part of a frame; none at a clean end. Cancel safe: what has come stays in the
    /// buffer.
    pub(crate) async fn part(&mut self) -> Result<Option<Part>, ReadError> {
        std::future::poll_fn(|cx| self.poll_frame_part(cx)).await
    }

    /// The rest of a body of which the head was read, put together as it arrives. At most
    /// `head.len()` bytes.
    pub(crate) async fn rest(&mut self, head: FrameHead) -> Result<Frame, ReadError> {
        let mut whole = Assembler::new(head.code(), head.len());
        loop {
            match self.part().await? {
                Some(Part::Piece { data, last }) => {
                    if let Some(frame) = whole.push(&data, last)? {
                        return Ok(frame);
                    }
                }
                // The codec gives pieces until the last one, so nothing else can come; an end is an
                // error of its own.
                _ => return Err(whole.cut(head.len()).into()),
            }
        }
    }

    /// Reads and forgets what the other side still sends, until it closes, or `bytes` have come.
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

/// How much of the first segment is read at once. A request of the well-known codes fits in; the
/// buffer lives on the stack and only while it is being read into, so that a silent connection
/// costs no buffer.
const FIRST_READ: usize = 2 << 10; // bytes

/// Waits for the complete header of the first frame. Returns what has come: nothing, less than a
/// header at the end of the stream, or at least a header.
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

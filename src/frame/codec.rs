//! The codec of frames in a byte stream: `Decoder` and `Encoder` of tokio-util, with limits for
//! both directions and large bodies in pieces.

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::frame::{Frame, FrameError, FrameHead, HEADER_LEN};

/// The default for the longest frame that a codec decodes and encodes, in bytes of data.
pub const DEFAULT_MAX_FRAME_LEN: u32 = 1 << 20;

/// The longest piece of a body that is returned in pieces, and the buffer space for the next one.
///
/// Larger pieces need fewer system calls; on loopback the gain ends at about this size.
pub const PIECE_LEN: usize = 256 << 10; // bytes

/// The first allocation for a frame that is returned whole. Each further one is as large as the
/// received data, so that memory grows with the received bytes and not with the announced length.
const FIRST_ROOM: usize = 4 << 10; // bytes

/// An item that a codec decodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A whole frame.
    Frame(Frame),
    /// The header of a frame whose data follows in pieces.
    Head(FrameHead),
    /// A piece of its data, as it arrived.
    Piece {
        /// At least one byte, at most [`PIECE_LEN`].
        data: Bytes,
        /// Whether the frame ends with it.
        last: bool,
    },
}

/// Decodes frames from a byte stream, and encodes frames.
///
/// ```
/// use actix_peer::frame::{Frame, FrameCodec, Part};
/// use bytes::BytesMut;
/// use tokio_util::codec::{Decoder, Encoder};
///
/// let mut bytes = BytesMut::new();
/// FrameCodec::new().encode(&Frame::text("ECHO", "hi"), &mut bytes)?;
/// assert_eq!(&bytes[..], b"ECHO\0\0\0\x02hi");
/// assert_eq!(FrameCodec::new().decode(&mut bytes)?, Some(Part::Frame(Frame::text("ECHO", "hi"))));
/// # Ok::<(), actix_peer::frame::FrameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FrameCodec {
    max_in: u32,
    max_out: u32,
    pieces_above: u32,
    state: DecoderState,
}

#[derive(Clone, Copy, Debug)]
enum DecoderState {
    Header,
    Whole(FrameHead),
    Pieces { head: FrameHead, left: u32 },
}

impl Default for FrameCodec {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameCodec {
    /// A codec with [`DEFAULT_MAX_FRAME_LEN`] in both directions that returns every frame whole.
    #[must_use]
    pub const fn new() -> Self {
        let max = DEFAULT_MAX_FRAME_LEN;
        Self { max_in: max, max_out: max, pieces_above: u32::MAX, state: DecoderState::Header }
    }

    /// The longest data that is decoded, in bytes. The header of a longer frame is an error.
    #[must_use]
    pub const fn max_in(mut self, bytes: u32) -> Self {
        self.max_in = bytes;
        self
    }

    /// The longest data that is encoded, in bytes.
    #[must_use]
    pub const fn max_out(mut self, bytes: u32) -> Self {
        self.max_out = bytes;
        self
    }

    /// Data above this many bytes is returned in pieces, in bounded memory, instead of whole.
    #[must_use]
    pub const fn pieces_above(mut self, bytes: u32) -> Self {
        self.pieces_above = bytes;
        self
    }

    /// Changes the longest data that is decoded, from the next header on.
    pub const fn set_max_in(&mut self, bytes: u32) {
        self.max_in = bytes;
    }

    /// Changes the length above which data is returned in pieces, from the next header on.
    pub const fn set_pieces_above(&mut self, bytes: u32) {
        self.pieces_above = bytes;
    }

    #[inline]
    fn header(&mut self, src: &mut BytesMut) -> Result<Option<FrameHead>, FrameError> {
        let Some(head) = FrameHead::peek(src) else {
            src.reserve(HEADER_LEN - src.len());
            return Ok(None);
        };
        if head.len() > self.max_in {
            let (length, limit) = (u64::from(head.len()), u64::from(self.max_in));
            return Err(FrameError::TooLong { code: head.code(), length, limit });
        }
        drop(src.split_to(HEADER_LEN));
        Ok(Some(head))
    }

    /// Reserves space for the next of `left` missing bytes, at most `step`.
    #[inline]
    fn make_room(src: &mut BytesMut, left: u32, step: usize) {
        src.reserve(usize::try_from(left).unwrap_or(usize::MAX).min(step));
    }

    #[inline]
    fn whole(&mut self, head: FrameHead, src: &mut BytesMut) -> Option<Part> {
        let len = usize::try_from(head.len()).unwrap_or(usize::MAX);
        if src.len() < len {
            self.state = DecoderState::Whole(head);
            let arrived = u32::try_from(src.len()).unwrap_or(u32::MAX);
            let step = src.len().max(FIRST_ROOM);
            Self::make_room(src, head.len() - arrived, step);
            return None;
        }
        self.state = DecoderState::Header;
        Some(Part::Frame(Frame::new(head.code(), src.split_to(len).freeze())))
    }

    #[inline]
    fn piece(&mut self, head: FrameHead, left: u32, src: &mut BytesMut) -> Option<Part> {
        let len = src.len().min(usize::try_from(left).unwrap_or(usize::MAX)).min(PIECE_LEN);
        if len == 0 {
            Self::make_room(src, left, PIECE_LEN);
            return None;
        }
        let left = left - u32::try_from(len).unwrap_or(left);
        let last = left == 0;
        self.state = if last { DecoderState::Header } else { DecoderState::Pieces { head, left } };
        Some(Part::Piece { data: src.split_to(len).freeze(), last })
    }
}

impl Decoder for FrameCodec {
    type Item = Part;
    type Error = FrameError;

    #[inline]
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Part>, FrameError> {
        match self.state {
            DecoderState::Whole(head) => Ok(self.whole(head, src)),
            DecoderState::Pieces { head, left } => Ok(self.piece(head, left, src)),
            DecoderState::Header => match self.header(src)? {
                Some(head) if head.len() > self.pieces_above => {
                    self.state = DecoderState::Pieces { head, left: head.len() };
                    Ok(Some(Part::Head(head)))
                }
                Some(head) => Ok(self.whole(head, src)),
                None => Ok(None),
            },
        }
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Part>, FrameError> {
        if let Some(part) = self.decode(src)? {
            return Ok(Some(part));
        }
        let (head, got) = match self.state {
            DecoderState::Header if src.is_empty() => return Ok(None),
            DecoderState::Header => return Err(FrameError::TruncatedHeader { got: src.len() }),
            DecoderState::Whole(head) => (head, src.len() as u64),
            DecoderState::Pieces { head, left } => (head, u64::from(head.len() - left)),
        };
        Err(FrameError::TruncatedBody { code: head.code(), got, expected: u64::from(head.len()) })
    }
}

impl Encoder<&Frame> for FrameCodec {
    type Error = FrameError;

    /// Encodes header and data into one buffer, so that they are sent with one write.
    #[inline]
    fn encode(&mut self, frame: &Frame, dst: &mut BytesMut) -> Result<(), FrameError> {
        let len = u32::try_from(frame.data().len()).ok().filter(|len| *len <= self.max_out);
        let Some(len) = len else {
            let (length, limit) = (frame.data().len() as u64, u64::from(self.max_out));
            return Err(FrameError::TooLong { code: frame.code(), length, limit });
        };
        dst.reserve(frame.encoded_len());
        dst.extend_from_slice(&FrameHead::new(frame.code(), len).to_bytes());
        dst.extend_from_slice(frame.data());
        Ok(())
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = FrameError;

    #[inline]
    fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> Result<(), FrameError> {
        self.encode(&frame, dst)
    }
}

#[cfg(test)]
mod tests;

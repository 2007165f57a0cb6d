//! Splits the data of a read into frames.

use bytes::{Bytes, BytesMut};

use crate::{
    frame::{Frame, FrameHead, HEADER_LEN},
    link::{MAX_PAYLOAD, MessageBatch, Reason, header::EXCHANGE_HEADER_LEN},
};

/// The longest data of a frame of a link, in bytes.
pub const MAX_FRAME: usize = MAX_PAYLOAD + EXCHANGE_HEADER_LEN;

/// The complete frames at the beginning of a buffer.
///
/// They are split off in one piece; each frame is a reference to it.
#[derive(Debug)]
pub struct Frames {
    chunk: Bytes,
    at: usize,
    too_long: bool,
    wanted: usize,
}

impl Frames {
    /// Splits the complete frames off `buffer`.
    pub fn split(buffer: &mut BytesMut) -> Self {
        let (mut end, mut too_long, mut wanted) = (0, false, 0);
        while let Some(head) = buffer.get(end..).and_then(FrameHead::peek) {
            let len = head.len() as usize;
            if len > MAX_FRAME {
                too_long = true;
                break;
            }
            let next = end + HEADER_LEN + len;
            if next > buffer.len() {
                wanted = next - buffer.len();
                break;
            }
            end = next;
        }
        Self { chunk: buffer.split_to(end).freeze(), at: 0, too_long, wanted }
    }

    /// The missing bytes of the frame behind them; 0 if its header is not complete.
    #[must_use]
    pub const fn wanted(&self) -> usize {
        self.wanted
    }

    /// Whether there are no frames.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty()
    }

    /// The next one-way messages of one code, in one frame each, without consuming them. `None` if
    /// the next frame is another one.
    pub(super) fn one_ways(&self) -> Option<MessageBatch> {
        MessageBatch::at_front(&self.chunk, self.at)
    }

    /// Skips the messages that [`one_ways`](Self::one_ways) returned.
    pub(super) fn pass(&mut self, run: &MessageBatch) {
        self.at += run.encoded_len();
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, Reason>;

    /// The next frame. At the end, once, an error if the following frame is too long.
    fn next(&mut self) -> Option<Self::Item> {
        let Some(head) = self.chunk.get(self.at..).and_then(FrameHead::peek) else {
            return std::mem::take(&mut self.too_long).then_some(Err(Reason::TOO_LONG));
        };
        let begin = self.at + HEADER_LEN;
        self.at = begin + head.len() as usize;
        Some(Ok(Frame::new(head.code(), self.chunk.slice(begin..self.at))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_util::codec::Encoder;

    use super::*;
    use crate::frame::FrameCodec;

    proptest! {
        #[test]
        fn frames_are_unchanged_however_the_bytes_are_split(
            lens in proptest::collection::vec(0_usize..300, 0..20),
            step in 1_usize..200,
        ) {
            let frames: Vec<_> = lens.iter().map(|len| Frame::new("TEST", vec![7; *len])).collect();
            let mut bytes = BytesMut::new();
            frames.iter().for_each(|frame| FrameCodec::new().encode(frame.clone(), &mut bytes).unwrap());
            let (mut buffer, mut out) = (BytesMut::new(), Vec::new());
            for piece in bytes.chunks(step) {
                buffer.extend_from_slice(piece);
                out.extend(Frames::split(&mut buffer).map(Result::unwrap));
            }
            prop_assert_eq!(out, frames);
            prop_assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_frame_that_is_too_long_ends_it_after_those_before() {
        let mut bytes = BytesMut::from(&b"TEST\0\0\0\x01aTEST\0\x02\0\0"[..]);
        let mut frames = Frames::split(&mut bytes);
        assert_eq!(frames.next(), Some(Ok(Frame::text("TEST", "a"))));
        assert_eq!(frames.next(), Some(Err(Reason::TOO_LONG)));
        assert_eq!(frames.next(), None);
    }

    #[test]
    fn the_missing_length_of_the_next_frame_is_known_from_its_header_on() {
        for (bytes, wanted) in [(&b"TEST\0\0\0"[..], 0), (b"TEST\0\0\0\x05ab", 3)] {
            let mut buffer = BytesMut::from(bytes);
            let frames = Frames::split(&mut buffer);
            assert_eq!((frames.is_empty(), frames.wanted()), (true, wanted));
            assert_eq!(buffer.len(), bytes.len());
        }
    }
}

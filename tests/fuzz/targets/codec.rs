//! The frame codec with arbitrary chunks, compared with a decoder that has all bytes at once. The
//! faster codec of links is compared with the same decoder.

use actix_peer::{
    frame::{Frame, FrameCodec, FrameError, PIECE_LEN, Part},
    link::{Frames, MAX_FRAME},
};
use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::input::Input;

/// How a stream ends.
#[derive(Debug, PartialEq)]
enum End {
    Clean,
    TooLong,
    TruncatedHeader(usize),
    TruncatedBody(u64, u64),
}

/// Decodes as src/protocol.md#frames describes it, without any optimisation.
fn naive(mut stream: &[u8], limit: usize) -> (Vec<Frame>, End) {
    let mut frames = Vec::new();
    loop {
        if stream.is_empty() {
            return (frames, End::Clean);
        }
        let Some((header, rest)) = stream.split_at_checked(8) else {
            return (frames, End::TruncatedHeader(stream.len()));
        };
        let code: [u8; 4] = header[..4].try_into().unwrap();
        let len = u32::from_be_bytes(header[4..].try_into().unwrap()) as usize;
        if len > limit {
            return (frames, End::TooLong);
        }
        let Some((data, rest)) = rest.split_at_checked(len) else {
            return (frames, End::TruncatedBody(rest.len() as u64, len as u64));
        };
        frames.push(Frame::new(code, data.to_vec()));
        stream = rest;
    }
}

/// What a codec decodes from a stream, piece by piece.
struct Decoded {
    frames: Vec<Frame>,
    open: Option<(Frame, usize)>,
}

impl Decoded {
    fn take(&mut self, part: Part, pieces_above: u32) {
        match part {
            Part::Frame(frame) => {
                assert!(self.open.is_none(), "a frame begins inside of another");
                self.frames.push(frame);
            }
            Part::Head(head) => {
                assert!(self.open.is_none() && head.len() > pieces_above);
                self.open = Some((Frame::empty(head.code()), head.len() as usize));
            }
            Part::Piece { data, last } => {
                assert!(!data.is_empty() && data.len() <= PIECE_LEN);
                let (frame, len) = self.open.take().expect("a piece belongs to a frame");
                let data = Bytes::from([frame.data(), &data[..]].concat());
                assert_eq!(last, data.len() == len);
                let frame = Frame::new(frame.code(), data);
                if last {
                    self.frames.push(frame);
                } else {
                    self.open = Some((frame, len));
                }
            }
        }
    }
}

fn ended(error: &FrameError) -> End {
    match error {
        FrameError::TooLong { .. } => End::TooLong,
        FrameError::TruncatedHeader { got } => End::TruncatedHeader(*got),
        FrameError::TruncatedBody { got, expected, .. } => End::TruncatedBody(*got, *expected),
        error => panic!("{error}"),
    }
}

fn decode(stream: &[u8], limits: (u32, u32), chunks: &[u8]) -> (Vec<Frame>, End) {
    let (max_in, pieces_above) = limits;
    let mut codec = FrameCodec::new().max_in(max_in).pieces_above(pieces_above);
    let mut decoded = Decoded { frames: Vec::new(), open: None };
    let (mut buffer, mut stream, mut turn) = (BytesMut::new(), stream, 0);
    while !stream.is_empty() {
        let len = 1 + usize::from(chunks.get(turn % chunks.len().max(1)).copied().unwrap_or(255));
        turn += 1;
        let (chunk, rest) = stream.split_at(len.min(stream.len()));
        buffer.extend_from_slice(chunk);
        stream = rest;
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(part)) => decoded.take(part, pieces_above),
                Ok(None) => break,
                Err(error) => return (decoded.frames, ended(&error)),
            }
        }
        // Memory follows the received bytes, not the announced length.
        assert!(buffer.capacity() <= 4 * buffer.len().max(chunk.len()) + PIECE_LEN + (16 << 10));
    }
    loop {
        match codec.decode_eof(&mut buffer) {
            Ok(Some(part)) => decoded.take(part, pieces_above),
            Ok(None) => return (decoded.frames, End::Clean),
            Err(error) => return (decoded.frames, ended(&error)),
        }
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let max_in = 1_u32 << (input.byte() % 24);
    let pieces_above = match input.byte() {
        0 => u32::MAX,
        some => u32::from(some) * 16,
    };
    let chunks = usize::from(input.byte() % 8);
    let chunks = input.take(chunks);
    let stream = input.rest();

    let expected = naive(stream, max_in as usize);
    let got = decode(stream, (max_in, pieces_above), chunks);
    assert_eq!(got, expected);

    let mut again = BytesMut::new();
    for frame in got.0 {
        FrameCodec::new().max_out(u32::MAX).encode(frame, &mut again).unwrap();
    }
    assert_eq!(Some(&again[..]), stream.get(..again.len()), "encoding reverses decoding");

    let (expected, end) = naive(stream, MAX_FRAME);
    let (mut buffer, mut frames, mut failed) = (BytesMut::new(), Vec::new(), false);
    for chunk in stream.chunks(1 + chunks.iter().copied().map(usize::from).sum::<usize>()) {
        buffer.extend_from_slice(chunk);
        for frame in Frames::split(&mut buffer) {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(_) => failed = true,
            }
        }
        if failed {
            break;
        }
    }
    assert_eq!((frames, failed), (expected, end == End::TooLong));
}

use proptest::prelude::*;

use super::*;
use crate::frame::TypeCode;

fn frame() -> impl Strategy<Value = Frame> {
    (any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(code, data)| Frame::new(code, data))
}

fn encode(frames: &[Frame]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for frame in frames {
        FrameCodec::new().encode(frame, &mut bytes).unwrap();
    }
    bytes
}

/// Feeds `bytes` in chunks that end at `cuts` and returns every part, checking how much room is
/// reserved on the way.
fn decode(codec: &mut FrameCodec, bytes: &[u8], cuts: &[usize]) -> Result<Vec<Part>, FrameError> {
    let (mut buffer, mut parts, mut from) = (BytesMut::new(), Vec::new(), 0);
    let mut ends: Vec<_> =
        cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    for end in ends {
        buffer.extend_from_slice(&bytes[from..end]);
        from = end;
        while let Some(part) = codec.decode(&mut buffer)? {
            parts.push(part);
        }
        // The received bytes, the reserve of a vector, and one step.
        let step = PIECE_LEN.min(codec.max_in as usize);
        let most = 2 * (buffer.len() + FIRST_ROOM + step);
        assert!(buffer.capacity() <= most, "{} for {}", buffer.capacity(), buffer.len());
    }
    while let Some(part) = codec.decode_eof(&mut buffer)? {
        parts.push(part);
    }
    Ok(parts)
}

/// Puts frames that came in pieces together.
fn gather(parts: Vec<Part>) -> Vec<Frame> {
    let (mut frames, mut open) = (Vec::new(), None);
    for part in parts {
        match part {
            Part::Frame(frame) => frames.push(frame),
            Part::Head(head) => open = Some((head, Vec::new())),
            Part::Piece { data, last } => {
                let (head, mut gathered) = open.take().expect("a piece follows a head");
                assert!(!data.is_empty() && data.len() <= PIECE_LEN);
                gathered.extend_from_slice(&data);
                if last {
                    frames.push(Frame::new(head.code(), gathered));
                } else {
                    open = Some((head, gathered));
                }
            }
        }
    }
    assert!(open.is_none(), "the last piece says so");
    frames
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_frames(
        frames in proptest::collection::vec(frame(), 0..8),
        cuts in proptest::collection::vec(any::<usize>(), 0..40),
        pieces_above in 0_u32..250,
    ) {
        let bytes = encode(&frames);
        let mut whole = FrameCodec::new();
        prop_assert_eq!(gather(decode(&mut whole, &bytes, &cuts).unwrap()), frames.clone());
        let mut pieces = FrameCodec::new().pieces_above(pieces_above);
        prop_assert_eq!(gather(decode(&mut pieces, &bytes, &cuts).unwrap()), frames);
    }

    #[test]
    fn any_bytes_never_panic_and_never_reserve_more_than_a_step(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        cuts in proptest::collection::vec(any::<usize>(), 0..40),
        max_in in prop_oneof![0_u32..1000, Just(u32::MAX)],
        pieces_above in prop_oneof![0_u32..1000, Just(u32::MAX)],
    ) {
        let mut codec = FrameCodec::new().max_in(max_in).pieces_above(pieces_above);
        decode(&mut codec, &bytes, &cuts).ok();
    }

    #[test]
    fn an_encoded_value_decodes_to_itself(frame in frame()) {
        let mut bytes = encode(std::slice::from_ref(&frame));
        prop_assert_eq!(bytes.len(), frame.encoded_len());
        prop_assert_eq!(FrameCodec::new().decode(&mut bytes).unwrap(), Some(Part::Frame(frame)));
        prop_assert!(bytes.is_empty());
    }
}

#[test]
fn a_frame_is_its_code_its_length_and_its_data() {
    assert_eq!(&encode(&[Frame::text("REPL", "hello")])[..], b"REPL\x00\x00\x00\x05hello");
    assert_eq!(&encode(&[Frame::empty("PING")])[..], b"PING\x00\x00\x00\x00");
}

#[test]
fn a_frame_split_at_any_byte_is_still_one_frame() {
    let bytes = b"JOIN\0\0\0\x10a 127.0.0.1 9000";
    for cut in 0..=bytes.len() {
        let parts = decode(&mut FrameCodec::new(), bytes, &[cut]).unwrap();
        assert_eq!(parts, [Part::Frame(Frame::text("JOIN", "a 127.0.0.1 9000"))]);
    }
}

#[test]
fn a_truncation_at_every_byte_reports_the_part_and_the_received_length() {
    let bytes = b"ECHO\0\0\0\x05hello";
    for cut in 1..bytes.len() {
        for pieces_above in [0, u32::MAX] {
            let mut codec = FrameCodec::new().pieces_above(pieces_above);
            match decode(&mut codec, &bytes[..cut], &[]) {
                Err(FrameError::TruncatedHeader { got }) => assert!(cut < HEADER_LEN && got == cut),
                Err(FrameError::TruncatedBody { code, got, expected: 5 }) => {
                    assert_eq!((code, got), (TypeCode::new(b"ECHO"), (cut - HEADER_LEN) as u64));
                }
                other => panic!("cut after {cut}: {other:?}"),
            }
        }
    }
    assert_eq!(decode(&mut FrameCodec::new(), b"", &[]).unwrap(), []);
}

#[test]
fn a_length_over_the_limit_is_refused_on_the_header_before_anything_is_reserved() {
    let mut codec = FrameCodec::new().max_in(100);
    let mut buffer = BytesMut::from(&b"ECHO\xff\xff\xff\xff"[..]);
    let capacity = buffer.capacity();
    let error = codec.decode(&mut buffer).unwrap_err();
    assert!(
        matches!(error, FrameError::TooLong { length: 4_294_967_295, limit: 100, .. }),
        "{error}"
    );
    assert_eq!(buffer.capacity(), capacity);
    assert_eq!(error.to_string(), "ECHO is too long: 4294967295 bytes, at most 100 are allowed");
}

#[test]
fn a_header_alone_reserves_one_step_however_much_it_announces() {
    for pieces_above in [0, u32::MAX] {
        let mut codec = FrameCodec::new().max_in(u32::MAX).pieces_above(pieces_above);
        let mut buffer = BytesMut::from(&b"ECHO\xff\xff\xff\xff"[..]);
        while codec.decode(&mut buffer).unwrap().is_some() {}
        assert!(buffer.capacity() <= 2 * PIECE_LEN, "{}", buffer.capacity());
    }
}

#[test]
fn a_frame_over_the_limit_is_not_encoded() {
    let mut bytes = BytesMut::new();
    let error =
        FrameCodec::new().max_out(4).encode(Frame::text("ECHO", "hello"), &mut bytes).unwrap_err();
    assert!(matches!(error, FrameError::TooLong { length: 5, limit: 4, .. }), "{error}");
    assert!(bytes.is_empty());
}

#[test]
fn a_large_body_arrives_in_pieces_as_they_are_read() {
    let mut codec = FrameCodec::new().max_in(u32::MAX).pieces_above(10);
    let mut buffer = BytesMut::from(&b"BIG_\0\0\0\x0chello"[..]);
    assert!(
        matches!(codec.decode(&mut buffer).unwrap(), Some(Part::Head(head)) if head.len() == 12)
    );
    assert_eq!(
        codec.decode(&mut buffer).unwrap(),
        Some(Part::Piece { data: "hello".into(), last: false })
    );
    assert_eq!(codec.decode(&mut buffer).unwrap(), None);
    buffer.extend_from_slice(b", worldPING\0\0\0\0");
    assert_eq!(
        codec.decode(&mut buffer).unwrap(),
        Some(Part::Piece { data: ", world".into(), last: true })
    );
    assert_eq!(codec.decode(&mut buffer).unwrap(), Some(Part::Frame(Frame::empty("PING"))));
}

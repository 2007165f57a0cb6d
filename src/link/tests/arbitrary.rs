//! One side and arbitrary frames.

use super::*;

proptest! {
    #[test]
    fn the_frames_of_one_read_are_handled_as_if_each_arrived_alone(
        frames in proptest::collection::vec(
            (0_usize..3, prop_oneof![9 => Just(0_u32), 1 => 0_u32..4], prop_oneof![9 => Just(0_u8), 1 => 0_u8..8], 0_usize..60),
            0..60,
        ),
        at_once in 1_usize..900,
    ) {
        const CODES: [&[u8; 4]; 3] = [b"TEST", b"NEWS", b"@BYE"];
        let frame = |&(code, exchange, flags, len): &(usize, u32, u8, usize)| {
            frame(CODES[code], exchange, flags, &vec![7; len])
        };
        let frames: Vec<_> = frames.iter().map(frame).collect();
        let (mut one, _, now) = open(1_000, 2);
        frames.iter().for_each(|frame| one.handle(frame.clone(), now));
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| FrameCodec::new().encode(frame.clone(), &mut bytes).unwrap());
        let (mut all, _, _) = open(1_000, 2);
        let mut input = BytesMut::new();
        for piece in bytes.chunks(at_once) {
            input.extend_from_slice(piece);
            all.handle_all(Frames::split(&mut input), now);
        }
        let apart = |event| match event {
            LinkEvent::MessageBatch(messages) => {
                assert_eq!(messages.iter().count(), messages.count());
                let message = |data: Bytes| LinkEvent::Message {
                    exchange: 0,
                    code: messages.code(),
                    cost: Link::cost(u32::try_from(data.len()).unwrap()),
                    data,
                    first: true,
                    last: true,
                    request: false,
                    numbered: None,
                };
                messages.payloads().map(message).collect()
            }
            event => vec![event],
        };
        let events: Vec<_> = all.events().flat_map(apart).collect();
        prop_assert_eq!(one.events().collect::<Vec<_>>(), events);
        prop_assert_eq!(one.counts(), all.counts());
        prop_assert_eq!((one.phase(), one.credit(), one.held()), (all.phase(), all.credit(), all.held()));
        prop_assert_eq!(output(&mut one), output(&mut all));
    }

    #[test]
    fn any_frames_are_accepted_or_the_link_is_closed_with_a_reason(
        frames in proptest::collection::vec(
            (0_usize..11, 0_u32..8, prop_oneof![0_u8..8, any::<u8>()], 0_usize..400, any::<u8>()),
            0..60,
        ),
        leaving in any::<bool>(),
    ) {
        const CODES: [&[u8; 4]; 11] =
            [b"TEST", b"@RFS", b"@CRD", b"@PNG", b"@PON", b"@BYE", b"@END", b"@RST", b"@LNK", b"@XYZ", b"\0\0\0\0"];
        let (mut ada, _, now) = open(1_000, 2);
        assert_eq!(ada.begin(CODE, b"x", ExchangeKind::Request, true), Ok(1));
        if leaving {
            ada.bye();
        }
        for (code, exchange, flags, len, byte) in frames {
            ada.handle(frame(CODES[code], exchange, flags, &vec![byte; len]), now);
            let events: Vec<_> = ada.events().collect();
            let closed = events.iter().any(|event| matches!(event, LinkEvent::Closed { .. }));
            prop_assert!(ada.unconsumed() <= 1_000);
            prop_assert!(ada.open_exchanges() <= 3);
            if closed {
                prop_assert_eq!(ada.phase(), LinkPhase::Closed);
                break;
            }
        }
        prop_assert!(ada.output_len() <= 64 << 10);
    }
}

//! Every kind of frame, and the frames that break a rule.

use super::*;

#[test]
fn a_hello_is_json_and_unknown_members_are_ignored() {
    let mut hello = hello("ada", 4_096, 16);
    hello.features = vec!["x".into()];
    let text = r#"{"version":1,"id":"ada","host":"127.0.0.1","port":9000,"window":4096,"max_message":1048576,"max_open":16,"incarnation":7,"features":["x"]}"#;
    assert_eq!(hello.to_frame(), Frame::text("@LNK", text));
    assert_eq!(Hello::from_frame(&hello.to_frame()), Ok(hello.clone()));
    let more = text.replace("{\"version\"", "{\"new\":{\"deep\":[1,2]},\"version\"");
    assert_eq!(Hello::from_frame(&Frame::text("@LNK", more)), Ok(hello));
    let of = |text: &str| Hello::from_frame(&Frame::text("@LNK", text));
    assert_eq!(of("[]"), Err(InvalidHello::Syntax));
    assert_eq!(of(&text.replace(":1,\"id\"", ":2,\"id\"")), Err(InvalidHello::Version(2)));
    assert_eq!(of(&text.replace("9000", "0")), Err(InvalidHello::Member("port")));
    assert_eq!(of(&text.replace("4096", "4294967296")), Err(InvalidHello::Member("window")));
    assert_eq!(of(&text.replace("\"ada\"", "\"a b\"")), Err(InvalidHello::Member("id")));
}

#[test]
fn the_bytes_of_every_kind_of_frame_are_those_of_the_specification() {
    let (mut ada, mut bob, now) = open(1 << 20, 4);
    ada.one_way(CODE, b"hi").unwrap();
    assert_eq!(output(&mut ada), [frame(b"TEST", 0, 0, b"hi")]);
    assert_eq!(ada.begin(CODE, b"a", ExchangeKind::Request, false), Ok(1));
    assert_eq!(ada.begin(CODE, b"b", ExchangeKind::Request, true), Ok(3));
    ada.send_next(3, CODE, b"c", false).unwrap();
    assert_eq!(ada.begin(CODE, b"d", ExchangeKind::OneWay, true), Ok(5));
    ada.send_next(5, CODE, b"e", false).unwrap();
    let sent = output(&mut ada);
    let expected = [
        frame(b"TEST", 1, 0x03, b"a"),
        frame(b"TEST", 3, 0x05, b"b"),
        frame(b"TEST", 3, 0x02, b"c"),
        frame(b"TEST", 5, 0x04, b"d"),
        frame(b"TEST", 5, 0x02, b"e"),
    ];
    assert_eq!(sent, expected);
    sent.into_iter().for_each(|frame| bob.handle(frame, now));
    assert_eq!(bob.begin(CODE, b"", ExchangeKind::Request, false), Ok(2));
    bob.reply(1, CODE, b"r", false, false).unwrap();
    bob.end(1);
    bob.reply(3, CODE, b"s", false, true).unwrap();
    bob.tick(now + KEEP_ALIVE);
    bob.bye();
    let expected = [
        frame(b"TEST", 2, 0x03, b""),
        frame(b"TEST", 1, 0, b"r"),
        frame(b"@END", 1, 0x02, b""),
        frame(b"TEST", 3, 0x02, b"s"),
        frame(b"@PNG", 0, 0, &1_u64.to_be_bytes()),
        frame(b"@BYE", 0, 0, b""),
    ];
    assert_eq!(output(&mut bob), expected);
    ada.reset(3, Reason::CANCELLED);
    assert_eq!(output(&mut ada), [frame(b"@RST", 3, 0x08, b"\0\x07cancelled")]);
}

#[test]
fn a_frame_that_breaks_a_rule_ends_the_link_with_a_reason() {
    let protocol = Some(Reason::PROTOCOL);
    let rows = [
        ("a second hello", vec![hello("eve", 1, 1).to_frame()], protocol),
        ("no exchange header", vec![Frame::new(b"TEST", &b"\0\0\0\0"[..])], protocol),
        ("an unknown flag", vec![frame(b"TEST", 0, 0x20, b"")], protocol),
        ("too long", vec![frame(b"TEST", 0, 0, &[0; MAX_PAYLOAD + 1])], Some(Reason::TOO_LONG)),
        ("a number of the wrong parity", vec![frame(b"TEST", 2, 0x03, b"")], protocol),
        ("a reply to nothing", vec![frame(b"TEST", 2, 0x02, b"")], protocol),
        ("a reset of nothing", vec![frame(b"@RST", 9, 0x08, b"\0\x07")], protocol),
        ("a number again", vec![frame(b"TEST", 1, 3, b""), frame(b"TEST", 1, 3, b"")], protocol),
        ("a smaller number", vec![frame(b"TEST", 3, 3, b""), frame(b"TEST", 1, 3, b"")], protocol),
        ("after its end", vec![frame(b"TEST", 1, 3, b""), frame(b"TEST", 1, 2, b"")], protocol),
        ("credit exceeded", vec![frame(b"TEST", 0, 0, &[0; 996])], protocol),
        ("credit beyond the window", vec![frame(b"@CRD", 0, 0, &[0, 0, 0, 1])], protocol),
        ("credit of another length", vec![frame(b"@CRD", 0, 0, &[0])], protocol),
        ("a short ping", vec![frame(b"@PNG", 0, 0, &[0; 7])], protocol),
        ("a hundred empty frames", vec![frame(b"@CRD", 0, 0, &[0; 4]); 100], protocol),
        ("numbers without room", vec![frame(b"TEST", 1, 0x13, &[0; 16])], protocol),
        ("an unknown level", vec![frame(b"TEST", 1, 0x13, &[3; 17])], protocol),
        ("a numbered one-way message", vec![frame(b"TEST", 1, 0x12, &[1; 17])], protocol),
        (
            "new after BYE",
            vec![frame(b"TEST", 1, 3, b""), frame(b"@BYE", 0, 0, b""), frame(b"TEST", 0, 0, b"")],
            protocol,
        ),
        ("ninety-nine empty frames", vec![frame(b"@CRD", 0, 0, &[0; 4]); 99], None),
        ("within the credit", vec![frame(b"TEST", 0, 0, &[0; 995])], None),
    ];
    for (what, frames, expected) in rows {
        assert_eq!(reason(&frames), expected, "{what}");
    }
}

#[test]
fn data_beyond_the_credit_or_the_end_costs_no_more_than_its_length() {
    // It would grow with the square of that: minutes.
    let mut bytes = BytesMut::new();
    for _ in 0..400_000 {
        FrameCodec::new().encode(frame(b"TEST", 0, 0, b""), &mut bytes).unwrap();
    }
    for ended in [false, true] {
        let (_, mut bob, now) = open(1_000, 2);
        if ended {
            bob.fail(Reason::GOING_AWAY);
        }
        bob.handle_all(Frames::split(&mut bytes.clone()), now);
        assert_eq!(bob.phase(), LinkPhase::Closed);
    }
}

#[test]
fn a_request_beyond_the_limit_is_refused_as_busy_and_costs_no_credit() {
    let (mut ada, mut bob, now) = open(1_000, 2);
    for number in [1, 3] {
        bob.handle(frame(b"TEST", number, 3, &[0; 95]), now);
    }
    for number in [5, 7] {
        bob.handle(frame(b"TEST", number, 3, &[0; 295]), now);
    }
    let busy = |number| frame(b"@RST", number, 0x08, b"\0\x03busy");
    let credit = frame(b"@CRD", 0, 0, &600_u32.to_be_bytes());
    assert_eq!(output(&mut bob), [busy(5), busy(7), credit]);
    assert_eq!(bob.counts().refused, 2);
    // And this side does not even ask.
    assert_eq!(ada.begin(CODE, b"", ExchangeKind::Request, false), Ok(1));
    assert_eq!(ada.begin(CODE, b"", ExchangeKind::Request, false), Ok(3));
    assert_eq!(ada.begin(CODE, b"", ExchangeKind::Request, false), Err(Refused::TooMany));
}

#[test]
fn late_frames_of_an_exchange_that_was_given_up_are_dropped_and_counted() {
    let (mut ada, mut bob, now) = open(1_000, 2);
    assert_eq!(ada.begin(CODE, &[0; 600], ExchangeKind::Request, true), Ok(1));
    pass(&mut ada, &mut bob, now);
    bob.events();
    bob.consumed(605);
    bob.reset(1, Reason::TOO_LONG);
    pass(&mut bob, &mut ada, now);
    // The other side learns of it too late.
    bob.handle(frame(b"TEST", 1, 0x02, &[0; 595]), now);
    assert_eq!((bob.counts().late, bob.unconsumed(), bob.phase()), (1, 0, LinkPhase::Open));
    assert_eq!(ada.send_next(1, CODE, b"", false), Err(Refused::Over));
    assert_eq!(ada.open_exchanges(), 0);
}

#[test]
fn a_remote_that_requests_answers_and_does_not_read_is_disconnected() {
    let (_, mut bob, now) = open(1_000, 2);
    for _ in 0..20_000 {
        bob.handle(frame(b"@PNG", 0, 0, &[1; 8]), now);
    }
    assert_eq!(bob.phase(), LinkPhase::Closed);
    assert!(bob.output_len() < 300_000, "{}", bob.output_len());
}

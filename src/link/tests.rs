//! Two machines joined by a queue, and one machine against arbitrary frames.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio_util::codec::{Decoder, Encoder};

use super::*;
use crate::frame::{Frame, FrameCodec, Part, TypeCode};

const CODE: TypeCode = TypeCode::new(b"TEST");
const KEEP_ALIVE: Duration = Duration::from_secs(5);

fn hello(id: &str, window: u32, max_open: u32) -> Hello {
    Hello {
        info: format!("{id} 127.0.0.1 9000").parse().unwrap(),
        window,
        max_message: 1 << 20,
        max_open,
        incarnation: 7,
        features: vec![REFUSALS.into(), LENGTHS.into(), COUNTS.into()],
        lengths: Vec::new(),
    }
}

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn link(role: Role, window: u32, max_open: u32, now: Instant) -> Link {
    let hello = hello(if role == Role::Dialler { "ada" } else { "bob" }, window, max_open);
    Link::new(role, LinkConfig { hello, keep_alive: KEEP_ALIVE }, now)
}

/// The frames in the bytes that wait to be written.
fn output(link: &mut Link) -> Vec<Frame> {
    let mut bytes = BytesMut::new();
    link.take_output(&mut bytes);
    let mut frames = Vec::new();
    let mut codec = FrameCodec::new();
    while let Some(part) = codec.decode(&mut bytes).unwrap() {
        let Part::Frame(frame) = part else { panic!("{part:?}") };
        frames.push(frame);
    }
    assert!(bytes.is_empty());
    frames
}

fn pass(from: &mut Link, to: &mut Link, now: Instant) {
    for frame in output(from) {
        to.handle(frame, now);
    }
}

/// Two sides after their hellos, without events.
fn open(window: u32, max_open: u32) -> (Link, Link, Instant) {
    let now = start();
    let mut ada = link(Role::Dialler, window, max_open, now);
    let mut bob = link(Role::Acceptor, window, max_open, now);
    pass(&mut ada, &mut bob, now);
    pass(&mut bob, &mut ada, now);
    assert_eq!((ada.phase(), bob.phase()), (LinkPhase::Open, LinkPhase::Open));
    ada.events();
    bob.events();
    (ada, bob, now)
}

fn frame(code: &[u8; 4], exchange: u32, flags: u8, payload: &[u8]) -> Frame {
    Frame::new(code, [&exchange.to_be_bytes()[..], &[flags], payload].concat())
}

/// How a fresh side takes `frames` after the hellos: the reason why it closed, if it did.
fn reason(frames: &[Frame]) -> Option<Reason> {
    let (_, mut bob, now) = open(1_000, 2);
    for frame in frames {
        bob.handle(frame.clone(), now);
    }
    bob.events().find_map(|event| match event {
        LinkEvent::Closed { reason, remote: false } => Some(reason),
        _ => None,
    })
}

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
fn what_comes_beyond_the_credit_or_the_end_costs_no_more_than_its_length() {
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
fn refused_one_way_messages_are_told_once_for_each_code_and_reason() {
    const NEWS: TypeCode = TypeCode::new(b"NEWS");
    let (mut ada, mut bob, now) = open(10_000, 4);
    for _ in 0..3 {
        ada.one_way(CODE, b"hi").unwrap();
    }
    ada.one_way(NEWS, b"hi").unwrap();
    assert_eq!(ada.begin(NEWS, b"long", ExchangeKind::OneWay, true), Ok(1));
    pass(&mut ada, &mut bob, now);
    bob.refuse_one_ways(0, CODE, Reason::UNKNOWN_CODE, 1);
    bob.refuse_one_ways(0, NEWS, Reason::TOO_LONG, 1);
    bob.refuse_one_ways(0, CODE, Reason::UNKNOWN_CODE, 2);
    bob.refuse_one_ways(1, NEWS, Reason::TOO_LONG, 1);
    let waiting = bob.output_len();
    let said = output(&mut bob);
    let expected = [
        frame(b"@RST", 1, 0x08, b"\0\x02too long"),
        frame(b"@RFS", 0, 0, b"\0\0\0\x03TEST\0\x01unknown code"),
        frame(b"@RFS", 0, 0, b"\0\0\0\x02NEWS\0\x02too long"),
    ];
    assert_eq!(said, expected);
    assert_eq!(waiting, said.iter().map(Frame::encoded_len).sum::<usize>());
    said.into_iter().for_each(|frame| ada.handle(frame, now));
    let refused = |code, reason, messages| LinkEvent::Refused { code, reason, messages };
    let heard: Vec<_> = ada.events().collect();
    let expected = [
        LinkEvent::Reset { exchange: 1, reason: Reason::TOO_LONG },
        refused(CODE, Reason::UNKNOWN_CODE, 3),
        // The sender of the other one knows it from its exchange.
        refused(NEWS, Reason::TOO_LONG, 1),
    ];
    assert_eq!(heard, expected);
    // All that was sent is accounted for, and no more is believed.
    ada.handle(frame(b"@RFS", 0, 0, b"\0\0\0\x01TEST\0\x01"), now);
    assert_eq!((ada.events().count(), ada.counts().late), (0, 1));
    ada.handle(frame(b"@RFS", 0, 0, b"\0\0\0\x01TES"), now);
    assert_eq!(ada.phase(), LinkPhase::Closed);
}

#[test]
fn at_the_end_of_a_link_what_was_sent_is_handled_or_told() {
    const NEWS: TypeCode = TypeCode::new(b"NEWS");
    let (mut ada, mut bob, now) = open(10_000, 4);
    let refused = |code, reason, messages| LinkEvent::Refused { code, reason, messages };
    for _ in 0..3 {
        ada.one_way(CODE, b"hi").unwrap();
        ada.one_way(NEWS, b"hi").unwrap();
    }
    // One that is not complete at either side, and one that is complete at its sender.
    assert_eq!(ada.begin(NEWS, b"long", ExchangeKind::OneWay, true), Ok(1));
    assert_eq!(ada.begin(NEWS, b"long", ExchangeKind::OneWay, true), Ok(3));
    pass(&mut ada, &mut bob, now);
    ada.send_next(3, NEWS, b"end", false).unwrap();
    bob.fail(Reason::GOING_AWAY);
    // Refused after the end, and all the same before the last word.
    bob.refuse_one_ways(0, CODE, Reason::UNKNOWN_CODE, 2);
    bob.refuse_one_ways(3, NEWS, Reason::BUSY, 1);
    ada.one_way(CODE, b"under way").unwrap();
    let said = output(&mut bob);
    let codes: Vec<_> = said.iter().map(|frame| frame.code().to_string()).collect();
    assert_eq!(codes, ["@RFS", "@RFS", "@GOT", "@RST"]);
    said.into_iter().for_each(|frame| ada.handle(frame, now));
    let heard: Vec<_> = ada.events().collect();
    let expected = [
        refused(CODE, Reason::UNKNOWN_CODE, 2),
        refused(NEWS, Reason::BUSY, 1),
        refused(CODE, Reason::GOING_AWAY, 1),
        LinkEvent::Closed { reason: Reason::GOING_AWAY, remote: true },
    ];
    assert_eq!(heard, expected);
}

#[test]
fn a_long_one_way_message_beyond_what_may_be_open_is_told_to_be_refused() {
    let (mut ada, mut bob, now) = open(10_000, 2);
    for exchange in [1, 3, 5] {
        assert_eq!(ada.begin(CODE, b"long", ExchangeKind::OneWay, true), Ok(exchange));
    }
    // All of it has left before the refusal comes.
    ada.send_next(5, CODE, b"end", false).unwrap();
    pass(&mut ada, &mut bob, now);
    pass(&mut bob, &mut ada, now);
    let refused = LinkEvent::Refused { code: CODE, reason: Reason::BUSY, messages: 1 };
    assert!(ada.events().any(|event| event == refused));
    assert_eq!(bob.open_exchanges(), 2);
    let came = bob.events().filter(|event| matches!(event, LinkEvent::Message { .. })).count();
    assert_eq!(came, 2);
}

#[test]
fn a_goodbye_follows_the_refusals_of_what_came_before_it() {
    let (mut ada, mut bob, now) = open(10_000, 4);
    ada.one_way(CODE, b"hi").unwrap();
    ada.bye();
    pass(&mut ada, &mut bob, now);
    assert_eq!(bob.phase(), LinkPhase::Closed);
    bob.refuse_one_ways(0, CODE, Reason::UNKNOWN_CODE, 1);
    pass(&mut bob, &mut ada, now);
    let heard: Vec<_> = ada.events().collect();
    let refused = LinkEvent::Refused { code: CODE, reason: Reason::UNKNOWN_CODE, messages: 1 };
    let closed = LinkEvent::Closed { reason: Reason::GOING_AWAY, remote: false };
    assert_eq!(heard, [refused, LinkEvent::Leaving, closed]);
}

#[test]
fn lengths_by_code_are_told_in_the_hello_and_when_they_change() {
    let lower = TypeCode::new(b"test");
    let now = start();
    let side = |id, role, lengths: &[(TypeCode, u32)]| {
        let mut hello = hello(id, 10_000, 4);
        hello.lengths = lengths.to_vec();
        Link::new(role, LinkConfig { hello, keep_alive: KEEP_ALIVE }, now)
    };
    let mut ada = side("ada", Role::Dialler, &[]);
    let mut bob = side("bob", Role::Acceptor, &[(CODE, 5), (TypeCode::new(b"LONG"), u32::MAX)]);
    pass(&mut ada, &mut bob, now);
    pass(&mut bob, &mut ada, now);
    let limit = |ada: &Link, code, numbered| match ada.check_length(code, 5 << 30, numbered) {
        Err(crate::frame::FrameError::TooLong { limit, length, code: of }) => {
            assert_eq!((of, length), (code, 5 << 30));
            limit
        }
        other => panic!("{other:?}"),
    };
    // The code is found as the other side finds it, and the others take what the hello says.
    for code in [CODE, lower] {
        assert_eq!((ada.check_length(code, 5, false).is_ok(), limit(&ada, code, false)), (true, 5));
        assert!(ada.allows(code, 5) && !ada.allows(code, 6));
    }
    assert_eq!(limit(&ada, TypeCode::new(b"NEWS"), false), 1 << 20);
    // What is to be acknowledged comes whole.
    let long = TypeCode::new(b"LONG");
    assert_eq!((limit(&ada, long, false), limit(&ada, long, true)), (u32::MAX.into(), 1 << 20));
    // Only what has changed is told: here one length, and one that is the usual one again.
    bob.send_lengths(&[(CODE, 5), (lower, 7)]);
    let told = output(&mut bob);
    let expected =
        [frame(b"@LEN", 0, 0, b"LONG\0\x10\0\0"), frame(b"@LEN", 0, 0, b"test\0\0\0\x07")];
    assert_eq!(told, expected);
    told.into_iter().for_each(|frame| ada.handle(frame, now));
    assert_eq!((limit(&ada, CODE, false), limit(&ada, lower, false)), (5, 7));
    assert_eq!(limit(&ada, long, false), 1 << 20);
    // Of more codes than are kept nothing is known.
    for n in 0..=MAX_LENGTHS {
        let code = u32::try_from(n).unwrap().to_be_bytes();
        ada.handle(frame(b"@LEN", 0, 0, &[&code[..], &[0, 0, 0, 1]].concat()), now);
    }
    assert!(ada.check_length(CODE, 6, false).is_ok() && ada.allows(CODE, 6));
    assert!(ada.phase() == LinkPhase::Open);
    for payload in [&b"TEST\0\0\0"[..], b"TEST\0\0\0\0\0"] {
        assert_eq!(reason(&[frame(b"@LEN", 0, 0, payload)]), Some(Reason::PROTOCOL));
        assert_eq!(reason(&[frame(b"@GOT", 0, 0, payload)]), Some(Reason::PROTOCOL));
    }
}

#[test]
fn more_kinds_of_refusals_than_are_kept_are_told_all_the_same() {
    let (mut ada, mut bob, now) = open(10_000, 4);
    let code = |n: u8| TypeCode::new(&[b'N', b'E', b'W', n]);
    (0..50).for_each(|n| ada.one_way(code(n), b"").unwrap());
    pass(&mut ada, &mut bob, now);
    (0..50).for_each(|n| bob.refuse_one_ways(0, code(n), Reason::UNKNOWN_CODE, 1));
    pass(&mut bob, &mut ada, now);
    let heard: Vec<_> = ada.events().collect();
    let refused =
        |n| LinkEvent::Refused { code: code(n), reason: Reason::UNKNOWN_CODE, messages: 1 };
    assert_eq!(heard, (0..50).map(refused).collect::<Vec<_>>());
}

#[test]
fn who_does_not_know_of_refusals_is_not_told() {
    let now = start();
    let mut old = hello("old", 10_000, 4);
    old.features = vec!["else".into()];
    let mut old = Link::new(Role::Dialler, LinkConfig { hello: old, keep_alive: KEEP_ALIVE }, now);
    let mut bob = link(Role::Acceptor, 10_000, 4, now);
    pass(&mut old, &mut bob, now);
    pass(&mut bob, &mut old, now);
    old.one_way(CODE, b"hi").unwrap();
    pass(&mut old, &mut bob, now);
    bob.refuse_one_ways(0, CODE, Reason::UNKNOWN_CODE, 1);
    assert_eq!((bob.output_len(), output(&mut bob)), (0, vec![]));
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
fn a_numbered_message_is_a_request_that_is_acknowledged() {
    let (mut ada, mut bob, now) = open(1_000, 2);
    let numbered = Sequenced { incarnation: 7, series: 0, sequence: 258, level: AckLevel::Handled };
    assert_eq!(ada.begin(CODE, b"hi", ExchangeKind::Sequenced(numbered), false), Ok(1));
    let sent = output(&mut ada);
    let payload = b"\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\x01\x02\x02hi";
    assert_eq!(sent, [frame(b"TEST", 1, 0x13, payload)]);
    sent.into_iter().for_each(|frame| bob.handle(frame, now));
    let message = bob.events().next();
    assert!(
        matches!(&message, Some(LinkEvent::Message { numbered: Some(n), data, cost: 24, .. }) if *n == numbered && data == "hi"),
        "{message:?}"
    );
    bob.acknowledge(1, 258, AckLevel::Handled).unwrap();
    let sent = output(&mut bob);
    assert_eq!(sent, [frame(b"@ACK", 1, 0x02, b"\0\0\0\0\0\0\x01\x02\x02")]);
    sent.into_iter().for_each(|frame| ada.handle(frame, now));
    let acknowledged =
        LinkEvent::Acknowledged { exchange: 1, sequence: 258, level: AckLevel::Handled };
    assert_eq!(ada.events().collect::<Vec<_>>(), [acknowledged]);
    assert_eq!((ada.open_exchanges(), bob.open_exchanges()), (0, 0));
}

#[test]
fn the_series_of_a_number_goes_to_a_side_that_knows_it_and_to_no_other() {
    for (knows, other) in [(true, true), (true, false), (false, true)] {
        let now = start();
        let mut both = [(Role::Dialler, knows), (Role::Acceptor, other)].map(|(role, series)| {
            let mut hello = hello(if series { "ada" } else { "bob" }, 1_000, 2);
            hello.features.extend(series.then(|| SERIES.to_owned()));
            Link::new(role, LinkConfig { hello, keep_alive: KEEP_ALIVE }, now)
        });
        let [ada, bob] = &mut both;
        pass(ada, bob, now);
        pass(bob, ada, now);
        let numbered =
            Sequenced { incarnation: 7, series: 9, sequence: 1, level: AckLevel::Handled };
        ada.begin(CODE, b"hi", ExchangeKind::Sequenced(numbered), false).unwrap();
        let sent = output(ada);
        let agreed = knows && other;
        assert_eq!(ada.numbered_len(), if agreed { 25 } else { 17 });
        assert_eq!(sent[0].data().len(), 5 + ada.numbered_len() + 2);
        sent.into_iter().for_each(|frame| bob.handle(frame, now));
        let expected = Sequenced { series: if agreed { 9 } else { 0 }, ..numbered };
        let came = bob.events().any(|event| {
            matches!(event, LinkEvent::Message { numbered: Some(n), data, .. } if n == expected && data == "hi")
        });
        assert!(came, "{knows} {other}");
    }
}

#[test]
fn a_silent_link_is_asked_and_then_given_up() {
    let (mut ada, mut bob, now) = open(1_000, 2);
    ada.tick(now + KEEP_ALIVE);
    pass(&mut ada, &mut bob, now + KEEP_ALIVE);
    pass(&mut bob, &mut ada, now + KEEP_ALIVE + Duration::from_millis(3));
    assert_eq!(ada.round_trip(), Some(Duration::from_millis(3)));
    assert_eq!(ada.begin(CODE, b"", ExchangeKind::Request, false), Ok(1));
    for n in 2..4 {
        ada.tick(now + KEEP_ALIVE * n);
        assert_eq!(ada.phase(), LinkPhase::Open);
    }
    ada.tick(now + KEEP_ALIVE * 5);
    let closed = LinkEvent::Closed { reason: Reason::TIMED_OUT, remote: false };
    assert_eq!(ada.events().collect::<Vec<_>>(), [closed]);
}

#[test]
fn a_silent_link_is_given_up_three_intervals_after_the_last_word_and_no_later() {
    let (mut ada, mut bob, now) = open(1_000, 2);
    let last = now + KEEP_ALIVE / 10;
    bob.one_way(CODE, b"word").unwrap();
    pass(&mut bob, &mut ada, last);
    let given_up = loop {
        let wake = ada.next_wake();
        ada.tick(wake);
        if ada.phase() == LinkPhase::Closed {
            break wake;
        }
    };
    assert_eq!(given_up - last, KEEP_ALIVE * 3);
}

#[test]
fn after_bye_open_exchanges_are_finished_and_then_the_link_is_over() {
    let (mut ada, mut bob, now) = open(1_000, 2);
    assert_eq!(ada.begin(CODE, b"q", ExchangeKind::Request, false), Ok(1));
    ada.one_way(CODE, b"last").unwrap();
    ada.bye();
    assert_eq!(ada.one_way(CODE, b""), Err(Refused::NotOpen));
    pass(&mut ada, &mut bob, now);
    assert_eq!((bob.phase(), bob.open_exchanges()), (LinkPhase::Leaving, 1));
    assert_eq!(bob.begin(CODE, b"", ExchangeKind::Request, false), Err(Refused::NotOpen));
    bob.reply(1, CODE, b"r", false, true).unwrap();
    assert_eq!(bob.phase(), LinkPhase::Closed);
    pass(&mut bob, &mut ada, now);
    assert_eq!(ada.phase(), LinkPhase::Closed);
    let replies = ada.events().filter(|event| matches!(event, LinkEvent::Reply { .. })).count();
    assert_eq!(replies, 1);
}

#[test]
fn a_side_that_ends_an_exchange_before_its_message_has_come_hears_that_no_more_of_it_comes() {
    type End = fn(&mut Link, u32);
    let ends: [(ExchangeKind, Reason, End); 5] = [
        (ExchangeKind::Request, Reason::CANCELLED, |link, n| link.end(n)),
        (ExchangeKind::Request, Reason::CANCELLED, |link, n| {
            link.reply(n, CODE, b"", false, true).unwrap();
        }),
        (ExchangeKind::Request, Reason::BUSY, |link, n| link.reset(n, Reason::BUSY)),
        (ExchangeKind::OneWay, Reason::TIMED_OUT, |link, n| link.reset(n, Reason::TIMED_OUT)),
        (ExchangeKind::OneWay, Reason::HANDLER_GONE, |link, n| {
            link.refuse_one_ways(n, CODE, Reason::HANDLER_GONE, 1);
        }),
    ];
    for (kind, reason, end) in ends {
        for more in [true, false] {
            let (mut ada, mut bob, now) = open(1_000, 2);
            let exchange = ada.begin(CODE, b"x", kind, more).unwrap();
            pass(&mut ada, &mut bob, now);
            bob.events();
            end(&mut bob, exchange);
            let expected = more.then_some(LinkEvent::Abandoned { exchange, reason });
            assert_eq!(bob.events().next(), expected, "{kind:?} {reason:?}");
            assert_eq!(bob.open_exchanges(), 0);
        }
    }
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
fn a_remote_that_makes_this_side_answer_and_does_not_read_is_cut_off() {
    let (_, mut bob, now) = open(1_000, 2);
    for _ in 0..20_000 {
        bob.handle(frame(b"@PNG", 0, 0, &[1; 8]), now);
    }
    assert_eq!(bob.phase(), LinkPhase::Closed);
    assert!(bob.output_len() < 300_000, "{}", bob.output_len());
}

// Two machines and everything that can happen between them.

const WINDOW: u32 = 2_000;
const MAX_OPEN: u32 = 3;

#[derive(Clone, Debug)]
enum Op {
    OneWay { len: usize },
    Begin { request: bool, len: usize, more: bool },
    GoOn { which: usize, len: usize, more: bool },
    Reply { which: usize, len: usize, end: bool },
    Reset { which: usize },
    Consume { most: u32 },
    Refuse { most: u32 },
    Read { most: usize },
    Deliver { bytes: usize },
    Tick,
}

fn op() -> impl Strategy<Value = (usize, Op)> {
    let op = prop_oneof![
        4 => (0_usize..700).prop_map(|len| Op::OneWay { len }),
        4 => (any::<bool>(), 0_usize..700, any::<bool>())
            .prop_map(|(request, len, more)| Op::Begin { request, len, more }),
        3 => (0_usize..4, 0_usize..700, any::<bool>())
            .prop_map(|(which, len, more)| Op::GoOn { which, len, more }),
        4 => (0_usize..4, 0_usize..60_000, any::<bool>())
            .prop_map(|(which, len, end)| Op::Reply { which, len, end }),
        1 => (0_usize..4).prop_map(|which| Op::Reset { which }),
        4 => (0_u32..3_000).prop_map(|most| Op::Consume { most }),
        2 => (0_u32..5).prop_map(|most| Op::Refuse { most }),
        3 => (0_usize..5).prop_map(|most| Op::Read { most }),
        8 => prop_oneof![0_usize..40, 0_usize..3_000].prop_map(|bytes| Op::Deliver { bytes }),
        1 => Just(Op::Tick),
    ];
    (0_usize..2, op)
}

/// One side with what it believes.
struct Side {
    link: Link,
    /// Bytes on their way to the other side.
    wire: BytesMut,
    /// Bytes from the other side that are no frame yet.
    input: BytesMut,
    /// Marks of the messages and replies that it has sent, by stream: 0 for one-way messages and
    /// requests, else the exchange whose replies they are.
    sent: BTreeMap<u32, Vec<u32>>,
    got: BTreeMap<u32, Vec<u32>>,
    sending: Vec<u32>,
    serving: Vec<u32>,
    unconsumed: u32,
    /// One-way messages that came whole and were not refused.
    kept: u32,
    /// One-way messages that it has refused, and of which it has heard that they were.
    refused: (u32, u32),
    /// Long messages for which the other side had no place.
    busy: u64,
    unread: VecDeque<(u32, u32)>,
    /// Exchanges that either side has reset.
    given_up: Vec<u32>,
    /// Messages of the other side of which the rest is to come.
    incomplete: BTreeSet<u32>,
}

impl Side {
    fn speak(&mut self) {
        let mut bytes = BytesMut::new();
        self.link.take_output(&mut bytes);
        self.wire.unsplit(bytes);
    }
}

struct World {
    sides: [Side; 2],
    now: Instant,
    mark: u32,
}

impl World {
    fn new() -> Self {
        let (ada, bob, now) = open(WINDOW, MAX_OPEN);
        let side = |link| Side {
            link,
            wire: BytesMut::new(),
            input: BytesMut::new(),
            sent: BTreeMap::new(),
            got: BTreeMap::new(),
            sending: Vec::new(),
            serving: Vec::new(),
            unconsumed: 0,
            kept: 0,
            refused: (0, 0),
            busy: 0,
            unread: VecDeque::new(),
            given_up: Vec::new(),
            incomplete: BTreeSet::new(),
        };
        Self { sides: [side(ada), side(bob)], now, mark: 0 }
    }

    /// A payload that says which one it is.
    fn payload(&mut self, len: usize) -> (u32, Vec<u8>) {
        self.mark += 1;
        let mut payload = self.mark.to_be_bytes().to_vec();
        payload.resize(4 + len, 0);
        (self.mark, payload)
    }

    fn apply(&mut self, at: usize, op: &Op) {
        let (mark, payload) = match op {
            Op::OneWay { len }
            | Op::Begin { len, .. }
            | Op::GoOn { len, .. }
            | Op::Reply { len, .. } => self.payload(*len),
            _ => (0, Vec::new()),
        };
        let now = self.now;
        let Side {
            link, sent, sending, serving, unconsumed, kept, refused, unread, given_up, ..
        } = &mut self.sides[at];
        match *op {
            Op::OneWay { .. } => {
                if link.one_way(CODE, &payload).is_ok() {
                    sent.entry(0).or_default().push(mark);
                }
            }
            Op::Begin { request, more, .. } => {
                if let Ok(number) = link.begin(
                    CODE,
                    &payload,
                    if request { ExchangeKind::Request } else { ExchangeKind::OneWay },
                    more,
                ) {
                    sent.entry(0).or_default().push(mark);
                    if more {
                        sending.push(number);
                    }
                }
            }
            Op::GoOn { which, more, .. } if which < sending.len() => {
                match link.send_next(sending[which], CODE, &payload, more) {
                    Ok(()) => {
                        sent.entry(0).or_default().push(mark);
                        if !more {
                            sending.remove(which);
                        }
                    }
                    Err(Refused::Over) => drop(sending.remove(which)),
                    Err(_) => {}
                }
            }
            Op::Reply { which, end, .. } if which < serving.len() => {
                let number = serving[which];
                match link.reply(number, CODE, &payload, false, end) {
                    Ok(()) => sent.entry(number).or_default().push(mark),
                    Err(Refused::Full) => return,
                    Err(other) => panic!("{other}"),
                }
                if end {
                    serving.remove(which);
                }
            }
            Op::Reset { which } => {
                let number = serving.get(which).or_else(|| sending.get(which)).copied();
                if let Some(number) = number {
                    link.reset(number, Reason::CANCELLED);
                    given_up.push(number);
                    serving.retain(|n| *n != number);
                    sending.retain(|n| *n != number);
                }
            }
            Op::Consume { most } => {
                let bytes = most.min(*unconsumed);
                *unconsumed -= bytes;
                link.consumed(bytes);
            }
            Op::Refuse { most } => {
                let messages = most.min(*kept);
                *kept -= messages;
                refused.0 += messages;
                link.refuse_one_ways(0, CODE, Reason::UNKNOWN_CODE, messages);
            }
            Op::Read { most } => {
                for (number, cost) in unread.drain(..most.min(unread.len())) {
                    link.read(number, cost);
                }
            }
            Op::Deliver { bytes } => {
                let wire = &mut self.sides[at].wire;
                let arrived = wire.split_to(bytes.min(wire.len()));
                let other = &mut self.sides[1 - at];
                other.input.unsplit(arrived);
                other.link.handle_all(Frames::split(&mut other.input), now);
                self.heard(1 - at);
            }
            Op::Tick => {
                self.now += Duration::from_millis(1);
                self.sides[at].link.tick(now);
            }
            Op::GoOn { .. } | Op::Reply { .. } => {}
        }
        self.sides[at].speak();
    }

    fn heard(&mut self, at: usize) {
        let side = &mut self.sides[at];
        let events: Vec<_> = side.link.events().collect();
        for event in events {
            match event {
                LinkEvent::Message { exchange, data, first, last, request, cost, .. } => {
                    side.unconsumed += cost;
                    side.kept += u32::from(!request && first && last);
                    assert_eq!(side.incomplete.remove(&exchange), !first);
                    if !last {
                        side.incomplete.insert(exchange);
                    }
                    side.got.entry(0).or_default().push(mark_of(&data));
                    if first && request {
                        side.serving.push(exchange);
                    }
                }
                LinkEvent::MessageBatch(messages) => {
                    side.unconsumed += messages.cost();
                    side.kept += u32::try_from(messages.count()).unwrap();
                    let marks = messages.payloads().map(|data| mark_of(&data));
                    side.got.entry(0).or_default().extend(marks);
                }
                LinkEvent::Reply { exchange, data, cost, .. } => {
                    side.unread.push_back((exchange, cost));
                    side.got.entry(exchange).or_default().push(mark_of(&data));
                }
                LinkEvent::Abandoned { exchange, .. } => {
                    assert!(side.incomplete.remove(&exchange));
                }
                LinkEvent::Reset { exchange, .. } => {
                    side.incomplete.remove(&exchange);
                    side.given_up.push(exchange);
                    side.serving.retain(|n| *n != exchange);
                    side.sending.retain(|n| *n != exchange);
                }
                LinkEvent::Refused { code: CODE, reason: Reason::UNKNOWN_CODE, messages } => {
                    side.refused.1 += messages;
                }
                LinkEvent::Refused { code: CODE, reason: Reason::BUSY, messages } => {
                    side.busy += u64::from(messages);
                }
                LinkEvent::Ended { exchange } => side.sending.retain(|n| *n != exchange),
                LinkEvent::Granted { .. } | LinkEvent::ReplyGranted { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(side.link.unconsumed() <= WINDOW);
        side.speak();
    }

    /// Everything that is under way arrives, is worked off and answered.
    fn come_to_rest(&mut self) {
        for _ in 0..1_000 {
            for at in 0..2 {
                self.apply(at, &Op::Deliver { bytes: usize::MAX });
                self.apply(at, &Op::Consume { most: u32::MAX });
                self.apply(at, &Op::Read { most: usize::MAX });
                self.apply(at, &Op::GoOn { which: 0, len: 0, more: false });
                self.apply(at, &Op::Reply { which: 0, len: 0, end: true });
            }
            let quiet = |side: &Side| {
                let nothing_left = side.unconsumed == 0 && side.unread.is_empty();
                nothing_left && side.wire.is_empty() && side.link.open_exchanges() == 0
            };
            if self.sides.iter().all(quiet) {
                (0..2).for_each(|at| self.heard(at));
                return;
            }
        }
        panic!("it does not come to rest");
    }
}

fn mark_of(data: &Bytes) -> u32 {
    u32::from_be_bytes(*data.first_chunk().unwrap())
}

proptest! {
    #[test]
    fn nothing_is_lost_nothing_comes_twice_order_is_kept_and_every_run_comes_to_rest(
        ops in proptest::collection::vec(op(), 0..300),
    ) {
        let mut world = World::new();
        for (at, op) in &ops {
            world.apply(*at, op);
        }
        world.come_to_rest();
        let [ada, bob] = &world.sides;
        for (from, to) in [(ada, bob), (bob, ada)] {
            let given_up = |stream: &u32| from.given_up.contains(stream) || to.given_up.contains(stream);
            for (stream, sent) in &from.sent {
                let got = to.got.get(stream).map_or(&[][..], Vec::as_slice);
                if *stream == 0 || given_up(stream) {
                    // What came is what was sent, in order, perhaps without what was given up.
                    let mut sent = sent.iter();
                    prop_assert!(got.iter().all(|mark| sent.any(|s| s == mark)));
                } else {
                    prop_assert_eq!(sent, got);
                }
            }
            if ada.given_up.is_empty() && bob.given_up.is_empty() && to.link.counts().refused == 0 && to.link.counts().late == 0 {
                prop_assert_eq!(from.sent.get(&0), to.got.get(&0));
            }
            prop_assert!(from.link.credit() > WINDOW / 2, "{}", from.link.credit());
            prop_assert_eq!(from.link.phase(), LinkPhase::Open);
            prop_assert_eq!(from.refused.0, to.refused.1);
            prop_assert!(from.busy <= to.link.counts().refused);
            prop_assert!(from.incomplete.is_empty());
        }
    }

    #[test]
    fn all_that_a_read_brings_is_taken_as_if_each_frame_came_alone(
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

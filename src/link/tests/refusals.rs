//! Reports of refused and lost one-way messages.

use super::*;

#[test]
fn refused_one_way_messages_are_reported_once_for_each_code_and_reason() {
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
fn at_the_end_of_a_link_each_message_was_handled_or_is_reported() {
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
fn the_sender_learns_that_a_long_one_way_message_beyond_the_open_limit_is_refused() {
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
fn a_goodbye_follows_the_refusals_of_earlier_messages() {
    let (mut ada, mut bob, now) = open(10_000, 4);
    ada.one_way(CODE, b"hi").unwrap();
    ada.bye();
    pass(&mut ada, &mut bob, now);
    assert!(bob.is_finished());
    bob.refuse_one_ways(0, CODE, Reason::UNKNOWN_CODE, 1);
    bob.connection_lost();
    pass(&mut bob, &mut ada, now);
    ada.connection_lost();
    let heard: Vec<_> = ada.events().collect();
    let refused = LinkEvent::Refused { code: CODE, reason: Reason::UNKNOWN_CODE, messages: 1 };
    let closed = LinkEvent::Closed { reason: Reason::GOING_AWAY, remote: false };
    assert_eq!(heard, [refused, LinkEvent::Leaving, closed]);
}

#[test]
fn a_side_that_answers_a_goodbye_still_learns_which_messages_were_refused() {
    let (mut ada, mut bob, now) = open(10_000, 4);
    // The message crosses the goodbye.
    bob.bye();
    ada.one_way(CODE, b"hi").unwrap();
    pass(&mut bob, &mut ada, now);
    pass(&mut ada, &mut bob, now);
    assert!(ada.is_finished() && bob.is_finished());
    assert_eq!(ada.events().collect::<Vec<_>>(), [LinkEvent::Leaving]);
    ada.tick(now + KEEP_ALIVE);
    assert_eq!(ada.output_len(), 0);
    bob.refuse_one_ways(0, CODE, Reason::UNKNOWN_CODE, 1);
    pass(&mut bob, &mut ada, now);
    ada.connection_lost();
    let heard: Vec<_> = ada.events().collect();
    let refused = LinkEvent::Refused { code: CODE, reason: Reason::UNKNOWN_CODE, messages: 1 };
    let closed = LinkEvent::Closed { reason: Reason::GOING_AWAY, remote: false };
    assert_eq!(heard, [refused, closed]);
}

#[test]
fn refusals_beyond_the_kept_kinds_are_reported_as_well() {
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
fn a_peer_without_the_refusals_feature_receives_no_refusal_frame() {
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

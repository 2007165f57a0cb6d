//! The numbers of acknowledged messages.

use super::*;

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
fn the_series_is_sent_only_to_a_side_with_that_feature() {
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

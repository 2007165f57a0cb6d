//! Keepalives, and the end of a link or an exchange.

use super::*;

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
    assert!(bob.is_finished());
    pass(&mut bob, &mut ada, now);
    assert!(ada.is_finished());
    bob.connection_lost();
    ada.connection_lost();
    assert_eq!((bob.phase(), ada.phase()), (LinkPhase::Closed, LinkPhase::Closed));
    let replies = ada.events().filter(|event| matches!(event, LinkEvent::Reply { .. })).count();
    assert_eq!(replies, 1);
}

#[test]
fn a_side_that_ends_an_exchange_early_receives_the_end_of_its_message() {
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

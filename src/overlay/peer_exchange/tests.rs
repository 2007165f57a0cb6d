use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::{frame::Frame, overlay::Learned};

fn peer(n: usize) -> PeerInfo {
    format!("p{n} 10.0.{}.{} 9000", n / 200, n % 200 + 1).parse().unwrap()
}

fn table(n: usize, now: Instant) -> PeerList {
    let mut list = PeerList::new("me".parse().unwrap(), 128);
    for n in 0..n {
        list.add(peer(n), Learned::Manual, now);
    }
    list
}

fn told(text: String) -> StabilizerEvent {
    StabilizerEvent::Answered { peer: peer(0), replies: vec![Frame::text("@PEX", text)] }
}

#[test]
fn an_answer_has_at_most_sixteen_recently_seen_peers_and_others_each_time() {
    let now = tokio::time::Instant::now().into_std();
    let list = table(100, now);
    let seen: Vec<_> = seen_lately(&list, now, 1).into_iter().collect();
    assert_eq!(seen.len(), MAX_HINTS);
    assert_eq!(seen, seen_lately(&list, now, 1).into_iter().collect::<Vec<_>>());
    assert_ne!(seen, seen_lately(&list, now, 2).into_iter().collect::<Vec<_>>());
    assert_eq!(seen_lately(&list, now + LATELY, 1), PeersSeen::default());
}

#[test]
fn an_answer_with_ten_thousand_peers_is_ignored_and_one_with_sixteen_is_followed_in_part() {
    let now = tokio::time::Instant::now().into_std();
    let (me, list) = ("me 10.9.9.9 9000".parse().unwrap(), table(3, now));
    let view = View { me: &me, peers: &list, now };
    let lines = |n: usize| (10..10 + n).map(|n| format!("{} 0\n", peer(n))).collect::<String>();
    let mut exchange = PeerExchange::new().seed(1);
    assert_eq!(exchange.step(told(format!("1\n{}", lines(10_000))), &view), []);
    let mut followed = Vec::new();
    for _ in 0..9 {
        let actions = exchange.step(told(format!("1\n{}", lines(16))), &view);
        assert!(actions.len() <= 4);
        followed.extend(actions);
    }
    // Each was followed once.
    assert_eq!(followed.len(), 16);
    for n in 0..1_000 {
        exchange.step(told(format!("1\n{} 0\n", peer(n + 100))), &view);
    }
    assert_eq!(exchange.followed.len(), REMEMBERED);
}

#[test]
fn known_and_stale_peers_and_the_node_itself_are_not_followed() {
    let now = tokio::time::Instant::now().into_std();
    let (me, list) = ("me 10.9.9.9 9000".parse().unwrap(), table(3, now));
    let view = View { me: &me, peers: &list, now };
    let text = format!("1\n{} 0\nme 10.8.8.8 1 0\nx 10.9.9.9 9000 0\n{} 600\n", peer(1), peer(9));
    assert_eq!(PeerExchange::new().step(told(text), &view), []);
}

#[test]
fn one_verified_peer_is_asked_while_there_is_room() {
    let now = tokio::time::Instant::now().into_std();
    let me = "me 10.9.9.9 9000".parse().unwrap();
    for (known, asked) in [(0, 0), (1, 1), (127, 1), (128, 0)] {
        let list = table(known, now);
        let view = View { me: &me, peers: &list, now };
        assert_eq!(PeerExchange::new().step(StabilizerEvent::Tick, &view).len(), asked, "{known}");
    }
}

#[test]
fn a_peer_that_introduced_itself_is_asked_only_while_there_are_no_others() {
    let now = tokio::time::Instant::now().into_std();
    let me = "me 10.9.9.9 9000".parse().unwrap();
    let mut list = table(0, now);
    for n in 1..60 {
        list.add(peer(n), Learned::Joined, now);
        list.verify(peer(n).id(), now);
    }
    let mut exchange = PeerExchange::new();
    let mut asks =
        |list: &PeerList| exchange.step(StabilizerEvent::Tick, &View { me: &me, peers: list, now });
    assert_eq!(asks(&list).len(), 1);
    list.add(peer(0), Learned::Remembered, now);
    for _ in 0..20 {
        let asks = asks(&list);
        assert!(matches!(&asks[..], [StabilizerAction::Ask { peer: to, .. }] if *to == peer(0)));
    }
}

proptest! {
    #[test]
    fn an_answer_is_read_as_it_was_written(seen in proptest::collection::vec((0_usize..9_000, 0_u64..u64::MAX), 0..=16)) {
        let seen: PeersSeen =
            seen.into_iter().map(|(n, ago)| (peer(n), Duration::from_secs(ago))).collect();
        prop_assert_eq!(PeersSeen::decode(&seen.encode()), Some(seen));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for bytes in [bytes.clone(), [b"1\n", &bytes[..]].concat()] {
            if let Some(seen) = PeersSeen::decode(&Frame::new("@PEX", bytes)) {
                prop_assert_eq!(PeersSeen::decode(&seen.encode()), Some(seen));
            }
        }
    }
}

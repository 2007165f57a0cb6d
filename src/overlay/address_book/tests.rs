use proptest::prelude::*;

use super::*;

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
const NOW: u64 = 1_700_000_000;

fn peer(n: u32) -> PeerInfo {
    format!("p{n} 10.{}.{}.1 9000", n >> 8 & 255, n & 255).parse().unwrap()
}

fn book(limit: usize) -> AddressBook {
    AddressBook::new(limit, MONTH)
}

fn note(book: &mut AddressBook, peer: &PeerInfo, origin: Origin, now: u64) -> bool {
    book.note_alive(peer, peer.host(), origin, now)
}

fn ids(peers: &[PeerInfo]) -> Vec<&str> {
    peers.iter().map(|peer| peer.id().as_str()).collect()
}

#[test]
fn a_peer_is_forgotten_when_it_was_not_seen_for_thirty_days() {
    let mut book = book(8);
    note(&mut book, &peer(1), Origin::Own, NOW);
    book.forget_old(NOW + MONTH.as_secs() - 1);
    assert_eq!(book.len(), 1);
    book.forget_old(NOW + MONTH.as_secs());
    assert!(book.is_empty());
}

#[test]
fn a_peer_that_a_wrong_clock_has_dated_into_the_future_is_forgotten_like_others() {
    let mut book = book(8);
    note(&mut book, &peer(1), Origin::Own, u64::MAX);
    book.forget_old(NOW);
    book.forget_old(NOW + MONTH.as_secs());
    assert!(book.is_empty());
}

#[test]
fn one_address_and_one_network_have_at_most_their_share() {
    let mut book = book(1_024);
    for n in 0..2_000_u32 {
        let at_one: PeerInfo = format!("a{n} 192.0.2.1 {}", 1_000 + n).parse().unwrap();
        note(&mut book, &at_one, Origin::Joined, NOW + u64::from(n));
        let near: PeerInfo = format!("n{n} 198.51.100.{} 9000", n % 256).parse().unwrap();
        note(&mut book, &near, Origin::Joined, NOW + u64::from(n));
    }
    assert_eq!(book.len(), 8 + 64);
    assert!(book.get(&"a7".parse().unwrap()).is_some(), "the old ones stay");
    assert!(book.get(&"a8".parse().unwrap()).is_none());
}

#[test]
fn peers_on_this_machine_take_no_share_of_other_addresses_in_their_48() {
    let mut book = book(4);
    for n in 1..=2 {
        let here = format!("h{n} here 900{n}").parse().unwrap();
        assert!(book.note_alive(&here, &"::1".parse().unwrap(), Origin::Own, NOW));
    }
    let other = "o there 9000".parse().unwrap();
    assert!(book.note_alive(&other, &"::2".parse().unwrap(), Origin::Joined, NOW + 1));
}

#[test]
fn a_full_book_evicts_a_peer_that_does_not_answer_first_and_keeps_a_good_old_one() {
    let mut book = book(4);
    for n in 0..4 {
        assert!(note(&mut book, &peer(n), Origin::Own, NOW));
    }
    assert!(!note(&mut book, &peer(4), Origin::Joined, NOW + 1));
    for _ in 0..3 {
        book.note_failure(peer(2).id());
    }
    assert!(note(&mut book, &peer(5), Origin::Joined, NOW + 2));
    assert!(book.get(peer(2).id()).is_none() && book.get(peer(5).id()).is_some());
    // A peer that this node contacted is better than one that only joined.
    assert!(note(&mut book, &peer(6), Origin::Own, NOW + 3));
    assert!(book.get(peer(5).id()).is_none());
}

#[test]
fn the_anchors_are_the_last_good_peers_that_this_node_contacted_each_in_its_own_network() {
    let mut book = book(64);
    let near: PeerInfo = "near 10.0.1.2 9000".parse().unwrap();
    note(&mut book, &peer(9), Origin::Joined, NOW - 9);
    note(&mut book, &peer(1), Origin::Own, NOW - 8);
    note(&mut book, &near, Origin::Own, NOW - 7);
    note(&mut book, &peer(2), Origin::Own, NOW - 6);
    note(&mut book, &peer(3), Origin::Own, NOW - 7_000);
    assert_eq!(ids(&book.anchors(2)), ["p1", "p2"]);
    assert_eq!(ids(&book.anchors(9)), ["p1", "p2", "p9", "p3", "near"]);
    for _ in 0..3 {
        book.note_failure(peer(1).id());
    }
    assert_eq!(ids(&book.anchors(2)), ["near", "p2"]);
}

#[test]
fn old_peers_are_chosen_at_random_by_network_and_equally_for_the_same_seed() {
    let mut book = book(1_024);
    for n in 0..8 {
        note(&mut book, &peer(n), Origin::Own, NOW);
    }
    for n in 0..64_u32 {
        let evil: PeerInfo = format!("e{n} 192.0.2.{n} 9000").parse().unwrap();
        note(&mut book, &evil, Origin::Joined, NOW);
    }
    assert_eq!(book.pick_old(9, &[], 3), book.pick_old(9, &[], 3));
    let evil =
        |peers: &[PeerInfo]| peers.iter().filter(|p| p.id().as_str().starts_with('e')).count();
    for seed in 0..100 {
        let chosen = book.pick_old(4, &[peer(0)], seed);
        assert!(
            chosen.len() == 4 && evil(&chosen) <= 1 && !chosen.contains(&peer(0)),
            "{chosen:?}"
        );
    }
    assert_eq!(book.pick_old(1_000, &[], 1).len(), 72);
}

#[test]
fn a_text_that_was_truncated_or_changed_anywhere_is_refused_and_changes_nothing() {
    let mut good = book(8);
    for n in 0..3 {
        note(&mut good, &peer(n), Origin::Own, NOW);
    }
    let text = good.to_text();
    for at in 0..text.len() {
        let mut into = book(8);
        assert!(into.load(&text[..at], NOW).is_err(), "truncated at {at}");
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        if let Ok(changed) = String::from_utf8(changed) {
            assert!(into.load(&changed, NOW).is_err(), "changed at {at}");
        }
        assert!(into.is_empty());
    }
    assert_eq!(book(8).load(&text, NOW), Ok(3));
    assert_eq!(book(8).load(&text, NOW + MONTH.as_secs()), Ok(0));
}

#[test]
fn a_malformed_line_with_a_correct_checksum_is_refused() {
    for line in [
        "p1 10.0.0.1 9000 10.0.0.1 1 2 3 4",
        "p1 10.0.0.1 9000 10.0.0.1 1 2 3 4 own more",
        "p1 10.0.0.1 9000 10.0.0.1 2 1 3 4 own",
        "p1 10.0.0.1 0 10.0.0.1 1 2 3 4 own",
        "p1 10.0.0.1 9000 10.0.0.1 1 2 -3 4 own",
        "p1 10.0.0.1 9000 10.0.0.1 1 2 4294967296 4 own",
        "p1 10.0.0.1 9000 10.0.0.1 1 18446744073709551616 3 4 own",
        "p1  10.0.0.1 9000 10.0.0.1 1 2 3 4 own",
        "p1 10.0.0.1 9000 10.0.0.1 1 2 3 4 friend",
        "",
    ] {
        let body = format!("{line}\n");
        let sum = body.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let text = format!("actix-peer-address-book 1 1 {sum:016x}\n{body}");
        assert_eq!(book(8).load(&text, NOW), Err(DamagedBook::Line { line: 2 }), "{line:?}");
    }
}

proptest! {
    #[test]
    fn a_written_file_is_read_unchanged(
        notes in proptest::collection::vec((0_u32..600, 0_u64..5_000, any::<bool>()), 0..200),
        failures in proptest::collection::vec(0_u32..600, 0..50),
    ) {
        let mut written = book(32);
        for (n, at, own) in notes {
            let origin = if own { Origin::Own } else { Origin::Joined };
            note(&mut written, &peer(n), origin, NOW + at);
            prop_assert!(written.len() <= 32);
        }
        failures.into_iter().for_each(|n| written.note_failure(peer(n).id()));
        let mut read = book(32);
        prop_assert_eq!(read.load(&written.to_text(), NOW + 5_000), Ok(written.len()));
        for entry in written.iter() {
            prop_assert_eq!(read.get(entry.info().id()), Some(entry));
        }
        prop_assert_eq!(read.anchors(5), written.anchors(5));
        prop_assert_eq!(read.pick_old(5, &[], 7), written.pick_old(5, &[], 7));
    }

    #[test]
    fn any_text_is_a_book_within_its_limit_or_is_refused(text in ".{0,300}") {
        let mut book = book(4);
        if book.load(&text, NOW).is_err() {
            prop_assert!(book.is_empty());
        }
        prop_assert!(book.len() <= 4);
    }
}

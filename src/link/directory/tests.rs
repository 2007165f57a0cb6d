use proptest::prelude::*;

use super::*;

const CONFIG: PeerDirectoryConfig =
    PeerDirectoryConfig { max_links: 2, classic_for: Duration::from_secs(600) };

fn empty_directory(me: &str) -> (PeerDirectory, Instant) {
    (PeerDirectory::new(me.parse().unwrap(), CONFIG), tokio::time::Instant::now().into_std())
}

fn at(n: usize) -> Address {
    format!("10.0.{}.{}:9000", n / 250, n % 250).parse().unwrap()
}

fn id(id: &str) -> PeerId {
    id.parse().unwrap()
}

#[test]
fn one_dials_and_the_others_wait_until_the_link_is_there() {
    let (mut directory, now) = empty_directory("m");
    assert_eq!(directory.reach(&at(1), now), (Reach::Dial, None));
    assert_eq!(directory.reach(&at(1), now), (Reach::Wait, None));
    assert_eq!(directory.opened(7, &at(1), &id("p"), Role::Dialler, now), None);
    assert_eq!(directory.reach(&at(1), now), (Reach::Link(7), None));
    directory.closed(7);
    assert_eq!(directory.reach(&at(1), now), (Reach::Dial, None));
    directory.dial_cancelled(&at(1));
    assert_eq!(directory.reach(&at(1), now), (Reach::Dial, None));
}

#[test]
fn no_second_dial_begins_while_the_link_of_the_other_side_comes_and_goes() {
    let (mut directory, now) = empty_directory("m");
    assert_eq!(directory.reach(&at(1), now), (Reach::Dial, None));
    for link in [7, 8] {
        directory.opened(link, &at(1), &id("p"), Role::Acceptor, now);
        assert_eq!(directory.reach(&at(1), now), (Reach::Link(link), None));
        directory.leaves(link);
        assert_eq!(directory.reach(&at(1), now), (Reach::Wait, None));
        directory.closed(link);
    }
    // However the dial ends, another one may begin after the next link.
    directory.opened(9, &at(1), &id("p"), Role::Dialler, now);
    directory.closed(9);
    assert_eq!(directory.reach(&at(1), now), (Reach::Dial, None));
    directory.opened(10, &at(1), &id("p"), Role::Acceptor, now);
    directory.dial_failed(&at(1), now);
    assert_eq!(directory.reach(&at(1), now), (Reach::Link(10), None));
    directory.closed(10);
    assert_eq!(directory.reach(&at(1), now), (Reach::Dial, None));
    directory.opened(11, &at(1), &id("a"), Role::Acceptor, now);
    // The link that was dialled loses.
    assert_eq!(directory.opened(12, &at(1), &id("a"), Role::Dialler, now), Some(12));
    directory.closed(11);
    assert_eq!(directory.reach(&at(1), now), (Reach::Dial, None));
}

#[test]
fn a_dial_that_failed_is_repeated_after_pauses_that_double_up_to_a_limit() {
    let (mut directory, mut now) = empty_directory("m");
    let mut pauses = Vec::new();
    for _ in 0..10 {
        assert_eq!(directory.reach(&at(1), now), (Reach::Dial, None));
        let until = directory.dial_failed(&at(1), now);
        assert_eq!(directory.reach(&at(1), now), (Reach::NotBefore(until), None));
        pauses.push(until - now);
        now = until;
    }
    for (n, pause) in pauses.iter().enumerate() {
        let full = FIRST_PAUSE.saturating_mul(1 << n).min(LONGEST_PAUSE);
        assert!(*pause <= full && *pause >= full * 8 / 10, "{n}: {pause:?}");
    }
    // Another peer is not dialled in step with it, and a success forgets the failures.
    let others: Vec<_> = (2..9).map(|n| directory.dial_failed(&at(n), now)).collect();
    assert!(others.iter().any(|until| *until != others[0]));
    assert_eq!(directory.reach(&at(1), now).0, Reach::Dial);
    directory.opened(1, &at(1), &id("p"), Role::Dialler, now);
    directory.closed(1);
    assert_eq!(directory.reach(&at(1), now).0, Reach::Dial);
    assert!(directory.dial_failed(&at(1), now) - now <= FIRST_PAUSE);
}

#[test]
fn a_classic_peer_is_remembered_for_a_limited_time() {
    let (mut directory, now) = empty_directory("m");
    directory.reach(&at(1), now);
    directory.mark_classic(&at(1), ClassicSign::Answer, now);
    assert_eq!(directory.reach(&at(1), now + Duration::from_secs(599)).0, Reach::Classic);
    assert_eq!(directory.reach(&at(1), now + Duration::from_secs(600)).0, Reach::Dial);
    directory.mark_classic(&at(1), ClassicSign::Answer, now);
    directory.forget_classic(&at(1));
    assert_eq!(directory.reach(&at(1), now).0, Reach::Dial);
}

#[test]
fn a_peer_is_held_back_while_it_is_known_to_speak_no_links_or_its_last_dial_has_failed() {
    let (mut directory, now) = empty_directory("m");
    assert!(!directory.is_held_back(&at(1), now));
    directory.reach(&at(1), now);
    assert!(!directory.is_held_back(&at(1), now), "it is being dialled");
    directory.mark_classic(&at(1), ClassicSign::Answer, now);
    assert!(directory.is_held_back(&at(1), now + Duration::from_secs(599)));
    assert!(!directory.is_held_back(&at(1), now + Duration::from_secs(600)));
    directory.reach(&at(2), now);
    let until = directory.dial_failed(&at(2), now);
    assert!(directory.is_held_back(&at(2), now) && !directory.is_held_back(&at(2), until));
}

#[test]
fn a_silent_peer_is_soon_asked_for_a_link_again() {
    let (mut directory, now) = empty_directory("m");
    directory.reach(&at(1), now);
    directory.mark_classic(&at(1), ClassicSign::Silence, now);
    assert_eq!(directory.reach(&at(1), now).0, Reach::Classic);
    assert_eq!(directory.reach(&at(1), now + UNSURE_FOR).0, Reach::Dial);
}

#[test]
fn a_peer_that_ends_the_connection_is_asked_again_after_growing_pauses_up_to_ten_minutes() {
    let (mut directory, mut now) = empty_directory("m");
    for seconds in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
        assert_eq!(directory.reach(&at(1), now).0, Reach::Dial);
        directory.mark_classic(&at(1), ClassicSign::End, now);
        let just_before = now + Duration::from_secs(seconds) - Duration::from_millis(1);
        assert_eq!(directory.reach(&at(1), just_before).0, Reach::Classic, "{seconds}");
        now += Duration::from_secs(seconds);
    }
    // A link shows that the connections were broken, and not ended by the peer.
    directory.reach(&at(1), now);
    directory.opened(1, &at(1), &id("z"), Role::Dialler, now);
    directory.closed(1);
    directory.reach(&at(1), now);
    directory.mark_classic(&at(1), ClassicSign::End, now);
    assert_eq!(directory.reach(&at(1), now + UNSURE_FOR).0, Reach::Dial);
}

#[test]
fn of_two_links_the_one_opened_by_the_smaller_id_stays_in_either_order() {
    for (me, stays) in [("a", Role::Dialler), ("z", Role::Acceptor)] {
        for first in [Role::Dialler, Role::Acceptor] {
            let second = if first == Role::Dialler { Role::Acceptor } else { Role::Dialler };
            let (mut directory, now) = empty_directory(me);
            assert_eq!(directory.opened(1, &at(1), &id("m"), first, now), None);
            let ended = directory.opened(2, &at(1), &id("m"), second, now);
            let (kept, lost) = if first == stays { (1, 2) } else { (2, 1) };
            assert_eq!(ended, Some(lost));
            assert_eq!(directory.reach(&at(1), now).0, Reach::Link(kept));
            assert_eq!(directory.links(), 1);
            // The end of the other link has no effect.
            directory.closed(lost);
            assert_eq!(directory.reach(&at(1), now).0, Reach::Link(kept));
        }
    }
}

#[test]
fn a_peer_that_opens_a_second_link_has_lost_its_first() {
    let (mut directory, now) = empty_directory("m");
    directory.opened(1, &at(1), &id("z"), Role::Acceptor, now);
    assert_eq!(directory.opened(2, &at(1), &id("z"), Role::Acceptor, now), Some(1));
    assert_eq!(directory.reach(&at(1), now).0, Reach::Link(2));
}

#[test]
fn the_idle_link_that_was_used_longest_ago_makes_room_and_a_busy_one_never() {
    let (mut directory, now) = empty_directory("m");
    directory.opened(1, &at(1), &id("p"), Role::Dialler, now);
    directory.opened(2, &at(2), &id("q"), Role::Dialler, now);
    let later = now + Duration::from_secs(1);
    directory.reach(&at(1), later);
    assert_eq!(directory.reach(&at(3), later), (Reach::Dial, Some(2)));
    directory.busy(1, 1, later);
    assert_eq!(directory.reach(&at(4), later), (Reach::NoRoom, None));
}

#[test]
fn a_link_that_is_leaving_counts_until_it_is_over() {
    let (mut directory, now) = empty_directory("m");
    directory.opened(1, &at(1), &id("p"), Role::Dialler, now);
    directory.opened(2, &at(2), &id("q"), Role::Dialler, now);
    directory.busy(1, 1, now);
    directory.busy(2, 1, now);
    directory.leaves(1);
    assert_eq!((directory.links(), directory.leaving()), (1, 1));
    assert_eq!(directory.reach(&at(3), now), (Reach::NoRoom, None), "something is open on both");
    directory.busy(1, 0, now);
    assert_eq!(directory.reach(&at(3), now), (Reach::Dial, Some(1)));
    // A dial counts as one link.
    assert_eq!(directory.reach(&at(4), now), (Reach::NoRoom, None));
    directory.closed(1);
    assert_eq!((directory.links(), directory.leaving()), (1, 0));
    assert_eq!(directory.reach(&at(4), now), (Reach::NoRoom, None));
    directory.dial_cancelled(&at(3));
    assert_eq!(directory.reach(&at(4), now), (Reach::Dial, None));
    // The link that loses is being closed, too.
    directory.opened(3, &at(4), &id("z"), Role::Dialler, now);
    assert_eq!(directory.opened(4, &at(4), &id("z"), Role::Acceptor, now), Some(4));
    assert_eq!((directory.links(), directory.leaving()), (2, 1));
}

#[test]
fn a_link_that_ends_before_it_was_used_is_a_dial_that_failed() {
    let (mut directory, mut now) = empty_directory("m");
    for n in 0..10_u32 {
        assert_eq!(directory.reach(&at(1), now), (Reach::Dial, None));
        directory.opened(n.into(), &at(1), &id("p"), Role::Dialler, now);
        directory.unused(n.into(), now);
        let Reach::NotBefore(until) = directory.reach(&at(1), now).0 else {
            panic!("{n}: at once")
        };
        let full = FIRST_PAUSE.saturating_mul(1 << n).min(LONGEST_PAUSE);
        assert!(until - now >= full * 8 / 10, "{n}: {:?}", until - now);
        directory.closed(n.into());
        now = until;
    }
}

#[test]
fn a_sign_of_life_ends_the_pause_after_dials_that_failed() {
    let (mut directory, now) = empty_directory("m");
    for _ in 0..9 {
        directory.dial_failed(&at(1), now);
    }
    assert!(matches!(directory.reach(&at(1), now).0, Reach::NotBefore(_)));
    directory.mark_alive(&at(1));
    assert_eq!(directory.reach(&at(1), now).0, Reach::Dial);
    // There is no second dial while one is under way.
    directory.mark_alive(&at(1));
    assert_eq!(directory.reach(&at(1), now).0, Reach::Wait);
    assert!(directory.dial_failed(&at(1), now) - now <= FIRST_PAUSE, "the pauses begin anew");
}

#[test]
fn a_link_that_another_node_opens_ends_an_idle_one_when_there_are_too_many() {
    let (mut directory, now) = empty_directory("m");
    for (n, link) in [(1, 1), (2, 2)] {
        directory.opened(link, &at(n), &id("p"), Role::Acceptor, now);
        assert_eq!(directory.excess_link(link), None);
    }
    directory.busy(1, 1, now);
    directory.opened(3, &at(3), &id("r"), Role::Acceptor, now);
    assert_eq!(directory.excess_link(3), Some(2));
    directory.busy(3, 1, now);
    directory.opened(4, &at(4), &id("s"), Role::Acceptor, now);
    // All other links are in use, so the new one is accepted beyond the limit.
    assert_eq!((directory.excess_link(4), directory.links()), (None, 3));
}

proptest! {
    #[test]
    fn the_directory_is_bounded_and_permits_one_dial_for_each_peer(
        steps in proptest::collection::vec((0_usize..7, 0_usize..6, 0_u64..120), 0..200),
    ) {
        let (mut directory, mut now) = empty_directory("m");
        let (mut dialling, mut next) = (BTreeMap::new(), 0);
        for (what, n, seconds) in steps {
            now += Duration::from_secs(seconds);
            match what {
                0 => {
                    if let (Reach::Dial, after) = directory.reach(&at(n), now) {
                        prop_assert!(dialling.insert(n, after).is_none());
                    }
                }
                1 if dialling.contains_key(&n) => {
                    // It waits for the end of the link whose place it takes.
                    let after = dialling.remove(&n).flatten();
                    after.into_iter().for_each(|link| directory.closed(link));
                    next += 1;
                    directory.opened(next, &at(n), &id("z"), Role::Dialler, now);
                }
                2 if dialling.remove(&n).is_some() => drop(directory.dial_failed(&at(n), now)),
                3 if dialling.remove(&n).is_some() => directory.mark_classic(&at(n), ClassicSign::Answer, now),
                4 => directory.leaves(next - n as u64 % (next + 1)),
                5 => directory.closed(next - n as u64 % (next + 1)),
                _ => drop(directory.excess_link(next)),
            }
            prop_assert!(directory.occupied() <= CONFIG.max_links);
            prop_assert!(directory.links() + directory.leaving() <= CONFIG.max_links);
        }
    }
}

#[test]
fn the_memory_for_unknown_peers_is_bounded() {
    let mut directory =
        PeerDirectory::new(id("m"), PeerDirectoryConfig { max_links: 10, ..CONFIG });
    let now = tokio::time::Instant::now().into_std();
    for n in 0..1_200 {
        directory.reach(&at(n), now);
        directory.mark_classic(&at(n), ClassicSign::Answer, now);
    }
    assert_eq!((directory.unlinked.len(), directory.peers.len()), (MAX_REMEMBERED, 0));
}

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::overlay::{PeerId, PeerInfo};

const LIMIT: usize = 32;

fn candidate(id: u32, host: &str) -> Candidate {
    let info = format!("p{id} {host} {}", 9_000 + id % 1_000).parse().unwrap();
    Candidate::new(info, Learned::Joined)
}

fn id(n: u32) -> PeerId {
    format!("p{n}").parse().unwrap()
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn table() -> PeerList {
    let me: PeerInfo = "me 10.9.9.9 9000".parse().unwrap();
    PeerList::new(me.id().clone(), LIMIT).located(me.address().clone())
}

/// A share that other peers have exceeded; `None` if all hold.
fn exceeded(shares: &Shares, list: &PeerList, now: Instant) -> Option<&'static str> {
    let others = || list.iter().filter(|entry| !is_loopback(entry.seen_at()));
    let (mut addresses, mut networks, mut sources) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for entry in others() {
        if let Learned::Listed { by } = entry.learned() {
            *sources.entry(by).or_insert(0) += 1;
        }
        *addresses.entry(address_of(entry.seen_at())).or_insert(0) += 1;
        if let Some(network) = network_of(entry.seen_at()) {
            *networks.entry(network).or_insert(0) += 1;
        }
    }
    let unverified = others().filter(|entry| entry.verified().is_none()).count();
    let newcomers = others().filter(|entry| shares.is_newcomer(entry, now)).count();
    let limit = list.limit();
    [
        ("table", list.len(), limit),
        ("address", addresses.into_values().max().unwrap_or(0), Shares::of(shares.address, limit)),
        ("network", networks.into_values().max().unwrap_or(0), Shares::of(shares.network, limit)),
        ("source", sources.into_values().max().unwrap_or(0), Shares::of(shares.source, limit)),
        ("unverified", unverified, Shares::of(shares.unverified, limit)),
        ("newcomers", newcomers, Shares::of(shares.newcomers, limit)),
    ]
    .into_iter()
    .find_map(|(what, count, most)| (count > most).then_some(what))
}

/// One operation of a party that wants the whole table, derived from a random number.
fn operate(list: &mut PeerList, draw: u64, now: Instant) -> Added {
    let [what, a, b, c, d, e, f, g] = draw.to_le_bytes();
    let n = u32::from(u16::from_le_bytes([f, g])) % 64;
    let host = match a % 16 {
        0..=8 => format!("10.0.{}.{}", c % 2, d % 16),
        9 | 10 => format!("2001:db8:{:x}:{:x}::{:x}", b % 3, c % 3, d),
        11 => "127.0.0.1".to_owned(),
        12 => format!("n{}", b % 6),
        _ => "198.51.100.7".to_owned(),
    };
    match what % 8 {
        0..=2 => Shares::default().admit(list, candidate(n, &host), now),
        3 => Shares::default().admit(list, candidate(n, &host).verified(true), now),
        4 => {
            let listed =
                Candidate { learned: Learned::Listed { by: id(0) }, ..candidate(n, &host) };
            Shares::default().admit(list, listed.verified(e.is_multiple_of(2)), now)
        }
        5 => {
            list.verify(&id(n), now);
            Added::AlreadyKnown
        }
        _ => {
            list.remove(&id(n));
            Added::AlreadyKnown
        }
    }
}

#[test]
fn no_share_is_ever_exceeded_in_a_hundred_thousand_operations() {
    let (mut list, mut now) = (table(), now());
    let mut random = fastrand::Rng::with_seed(7);
    let mut outcomes = BTreeMap::new();
    for at in 0..100_000 {
        now += Duration::from_millis(random.u64(0..2_000));
        let outcome = operate(&mut list, random.u64(..), now);
        *outcomes.entry(format!("{outcome:?}")).or_insert(0) += 1;
        assert_eq!(exceeded(&Shares::default(), &list, now), None, "after {at} operations");
    }
    assert_eq!(outcomes.len(), 8, "each bound was met: {outcomes:?}");
}

proptest! {
    #[test]
    fn no_share_is_ever_exceeded(steps in proptest::collection::vec((any::<u64>(), 0_u64..100_000), 0..400)) {
        let (mut list, mut now) = (table(), now());
        for (draw, millis) in steps {
            now += Duration::from_millis(millis);
            let before = list.clone();
            let outcome = operate(&mut list, draw, now);
            prop_assert_eq!(exceeded(&Shares::default(), &list, now), None);
            if outcome == Added::Added {
                displaced_at_most_one(&before, &list)?;
            }
        }
    }
}

/// The number of unverified peers of each address, without those of the application.
fn unverified_by_address(list: &PeerList) -> BTreeMap<String, usize> {
    let mut addresses = BTreeMap::new();
    let others = list.iter().filter(|entry| !is_loopback(entry.seen_at()));
    for entry in others.filter(|entry| entry.verified().is_none()) {
        *addresses.entry(address_of(entry.seen_at()).to_string()).or_insert(0) += 1;
    }
    addresses
}

/// After a peer was added: at most one peer was displaced, and by the rule.
fn displaced_at_most_one(before: &PeerList, after: &PeerList) -> Result<(), TestCaseError> {
    let added = after.get_at(after.len() - 1).unwrap();
    let gone: Vec<_> = before.iter().filter(|entry| !after.contains(entry.info().id())).collect();
    prop_assert_eq!(before.len() + 1, after.len() + gone.len());
    let stayed = before.iter().filter(|entry| after.contains(entry.info().id()));
    prop_assert!(stayed.eq(after.iter().take(after.len() - 1)), "the others stay as they are");
    let Some(gone) = gone.first() else { return Ok(()) };
    prop_assert_eq!((gone.verified(), added.verified()), (None, None));
    prop_assert!(!is_loopback(gone.seen_at()) && !is_loopback(added.seen_at()));
    prop_assert!(before.unverified() >= LIMIT / 2, "there was no place");
    let count = |entry: &PeerEntry| {
        let address = address_of(entry.seen_at()).to_string();
        unverified_by_address(before).get(&address).copied().unwrap_or(0)
    };
    prop_assert_eq!(Some(count(gone)), unverified_by_address(before).into_values().max());
    prop_assert!(count(added) + 1 < count(gone), "{} for {}", count(added), count(gone));
    let older = before.iter().filter(|entry| {
        entry.verified().is_none()
            && address_of(entry.seen_at()) == address_of(gone.seen_at())
            && entry.added() < gone.added()
    });
    prop_assert_eq!(older.count(), 0, "the oldest goes");
    Ok(())
}

#[test]
fn the_oldest_unverified_peer_of_the_busiest_address_is_displaced_for_an_address_with_fewer() {
    let (mut list, added) = (table(), now());
    let (shares, mut now) = (Shares::default(), added);
    let mut join = |list: &mut PeerList, n, host: &str| {
        now += Duration::from_secs(1);
        let (added, gone) = shares.admit_for(list, candidate(n, host), now);
        (added, gone.map(|gone| gone.info().id().to_string()))
    };
    // The /64 counts as one address, whose oldest peer is verified.
    for n in 0..7 {
        join(&mut list, n, &format!("2001:db8::{n}"));
    }
    list.verify(&id(0), added);
    for n in 8..16 {
        join(&mut list, n, "10.0.0.1");
    }
    for n in 16..18 {
        assert_eq!(join(&mut list, n, &format!("10.0.{n}.1")).0, Added::Added);
    }
    assert_eq!(list.unverified(), 16);
    let mut gone = |n, host: &str| join(&mut list, n, host);
    assert_eq!(gone(20, "10.2.0.1"), (Added::Added, Some("p8".to_owned())));
    assert_eq!(gone(21, "10.3.0.1"), (Added::Added, Some("p9".to_owned())));
    // Six of each by now: the older one is displaced.
    assert_eq!(gone(22, "10.4.0.1"), (Added::Added, Some("p1".to_owned())));
    // Neither for the addresses that have the most, nor for one that would have as many.
    assert_eq!(gone(23, "10.0.0.1"), (Added::TooManyUnverified, None));
    assert_eq!(gone(23, "2001:db8::9"), (Added::TooManyUnverified, None));
    // Loopback needs no place, and displaces none.
    assert_eq!(gone(24, "127.0.0.1"), (Added::Added, None));
    assert!(list.contains(&id(0)));
}

#[test]
fn in_a_full_table_an_unverified_peer_is_displaced_and_a_verified_one_is_not() {
    let (mut list, now) = (table(), now());
    let shares = Shares::default();
    for n in 0..16 {
        list.add(candidate(n, &format!("10.{n}.0.1")).info, Learned::Manual, now);
    }
    for n in 16..32 {
        shares.admit(&mut list, candidate(n, if n < 24 { "11.0.0.1" } else { "12.0.0.1" }), now);
    }
    assert!(list.is_full());
    let newcomer = candidate(40, "13.0.0.1");
    assert_eq!(shares.admit(&mut list, newcomer.clone().verified(true), now), Added::Full);
    assert_eq!(shares.admit(&mut list, newcomer, now), Added::Added);
    assert!(!list.contains(&id(16)) && list.len() == LIMIT);
    assert!((0..16).all(|n| list.contains(&id(n))));
}

#[test]
fn a_table_without_a_limit_makes_room_like_others() {
    let (mut list, now) = (PeerList::new("me".parse().unwrap(), 0), now());
    let mut join = |n, host| Shares::default().admit_for(&mut list, candidate(n, host), now);
    assert!((0..1_024).all(|n| join(n, "127.0.0.1").0 == Added::Added));
    let (added, gone) = join(1_024, "10.0.0.1");
    assert_eq!((added, gone.map(|gone| gone.info().id().clone())), (Added::Added, Some(id(0))));
}

#[test]
fn one_address_gets_a_quarter_and_one_network_a_half() {
    let (mut list, now) = (table(), now());
    let shares = Shares { unverified: 100, newcomers: 100, ..Shares::default() };
    let mut join = |n, host: &str| shares.admit(&mut list, candidate(n, host), now);
    for n in 0..8 {
        assert_eq!(join(n, "10.0.0.1"), Added::Added);
    }
    for host in ["10.0.0.1", "::ffff:10.0.0.1"] {
        assert_eq!(join(8, host), Added::TooManyOfAddress);
    }
    for n in 8..16 {
        assert_eq!(join(n, &format!("10.0.0.{n}")), Added::Added);
    }
    assert_eq!(join(16, "10.0.0.99"), Added::TooManyOfNetwork);
    for n in 16..24 {
        assert_eq!(join(n, &format!("2001:db8:0:1::{n:x}")), Added::Added);
    }
    assert_eq!(join(24, "2001:db8:0:1:f::9"), Added::TooManyOfAddress);
    assert_eq!(join(24, "2001:db8:1:1::9"), Added::Added);
}

#[test]
fn a_host_name_does_not_evade_the_share_of_an_address() {
    let (mut list, now) = (table(), now());
    let mut join = |n: u32| {
        let named = candidate(n, &format!("n{n}.example"));
        Shares::default().admit(&mut list, named.seen_at("10.0.0.1".parse().unwrap()), now)
    };
    for n in 0..8 {
        assert_eq!(join(n), Added::Added);
    }
    assert_eq!(join(8), Added::TooManyOfAddress);
}

#[test]
fn the_last_quarter_is_for_peers_that_stayed_long_or_were_contacted_by_this_node() {
    let (mut list, mut now) = (table(), now());
    let shares = Shares::default();
    for n in 0..24 {
        let newcomer = candidate(n, &format!("10.{n}.0.1")).verified(true);
        assert_eq!(shares.admit(&mut list, newcomer, now), Added::Added);
    }
    let flood = |list: &mut PeerList, n, now| {
        shares.admit(list, candidate(n, &format!("11.{n}.0.1")).verified(true), now)
    };
    assert_eq!(flood(&mut list, 24, now), Added::TooManyNewcomers);
    let own_way =
        Candidate { learned: Learned::Contact, ..candidate(25, "12.0.0.1").verified(true) };
    assert_eq!(shares.admit(&mut list, own_way, now), Added::Added);
    let manual = Candidate { learned: Learned::Manual, ..candidate(26, "12.0.0.1") };
    assert_eq!(shares.admit(&mut list, manual, now), Added::Added);
    now += Duration::from_secs(600);
    assert_eq!(flood(&mut list, 24, now), Added::Added);
}

#[test]
fn unverified_peers_take_half_and_displace_no_verified_one() {
    let (mut list, now) = (table(), now());
    let shares = Shares::default();
    for n in 0..16 {
        assert_eq!(
            shares.admit(&mut list, candidate(n, &format!("10.{n}.0.1")), now),
            Added::Added
        );
    }
    let next = candidate(16, "10.99.0.1");
    assert_eq!(shares.admit(&mut list, next.clone(), now), Added::TooManyUnverified);
    assert!(list.verify(&id(3), now));
    assert_eq!(shares.admit(&mut list, next, now), Added::Added);
    assert!(list.contains(&id(3)));
}

#[test]
fn loopback_has_no_share_and_a_node_never_enters_its_own_table() {
    let (mut list, now) = (table(), now());
    let shares = Shares::default();
    for own in ["me 10.0.0.1 9000", "other 10.9.9.9 9000"] {
        for learned in [Learned::Joined, Learned::Manual, Learned::Contact] {
            let own = Candidate::new(own.parse().unwrap(), learned).verified(true);
            assert_eq!(shares.admit(&mut list, own, now), Added::Own);
        }
        assert_eq!(list.add(own.parse().unwrap(), Learned::Manual, now), Added::Own);
    }
    for n in 0..32 {
        assert_eq!(shares.admit(&mut list, candidate(n, "127.0.0.1"), now), Added::Added);
    }
    assert_eq!(shares.admit(&mut list, candidate(32, "127.0.0.1"), now), Added::Full);
}

#[test]
fn a_table_without_a_limit_has_at_most_1024_unverified_peers() {
    let (mut list, now) = (PeerList::new("me".parse().unwrap(), 0), now());
    let mut join = |n| Shares::default().admit(&mut list, candidate(n, "127.0.0.1"), now);
    assert!((0..1_024).all(|n| join(n) == Added::Added));
    assert_eq!(join(1_024), Added::TooManyUnverified);
}

#[test]
fn a_known_peer_that_is_vouched_for_at_the_same_address_is_verified() {
    let (mut list, now) = (table(), now());
    let mut admit = |candidate| Shares::default().admit(&mut list, candidate, now);
    assert_eq!(admit(candidate(1, "10.0.0.1")), Added::Added);
    let vouched =
        |host| Candidate { learned: Learned::Manual, ..candidate(1, host).verified(true) };
    assert_eq!(admit(vouched("10.0.0.2")), Added::AlreadyKnown);
    assert_eq!(list.unverified(), 1);
    let mut admit = |candidate| Shares::default().admit(&mut list, candidate, now);
    assert_eq!(admit(vouched("10.0.0.1")), Added::AlreadyKnown);
    assert_eq!(list.unverified(), 0);
}

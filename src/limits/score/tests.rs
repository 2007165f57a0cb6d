use proptest::prelude::*;

use super::*;
use crate::time::now;

const SECOND: Duration = Duration::from_secs(1);

const CONFIG: ScoreConfig =
    ScoreConfig { at: 100, half_life: SECOND, first: SECOND, longest: Duration::from_secs(10) };

fn who(n: u32) -> Offender {
    IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n)).into()
}

fn offend(scores: &mut PeerScores, times: u32, now: Instant) -> Option<Duration> {
    (0..times).find_map(|_| scores.offend(&who(1), Misbehavior::TooLong, now))
}

#[test]
fn enough_points_at_once_are_a_ban_that_ends_by_itself() {
    let (mut scores, now) = (PeerScores::new(CONFIG), now());
    assert_eq!(offend(&mut scores, 19, now), None);
    assert!(!scores.is_banned(&who(1), now));
    assert_eq!(offend(&mut scores, 1, now), Some(SECOND));
    assert!(scores.is_banned(&who(1), now) && !scores.is_banned(&who(2), now));
    let ban = Ban { whom: who(1), why: Misbehavior::TooLong, left: SECOND };
    assert_eq!((scores.bans(now), scores.next_end()), (vec![ban], Some(now + SECOND)));
    assert_eq!(scores.end(now + SECOND / 2), []);
    assert!(!scores.is_banned(&who(1), now + SECOND));
    assert_eq!(scores.end(now + SECOND), [(who(1), Misbehavior::TooLong)]);
    assert_eq!((scores.end(now + SECOND), scores.next_end()), (vec![], None));
}

#[test]
fn points_fade_so_that_rare_misbehavior_is_never_a_ban() {
    let (mut scores, mut now) = (PeerScores::new(CONFIG), now());
    for _ in 0..1_000 {
        assert_eq!(offend(&mut scores, 9, now), None);
        now += SECOND;
    }
}

#[test]
fn each_ban_is_twice_as_long_up_to_the_longest_and_old_bans_are_forgotten() {
    let (mut scores, mut now) = (PeerScores::new(CONFIG), now());
    for seconds in [1, 2, 4, 8, 10, 10] {
        let time = Duration::from_secs(seconds);
        assert_eq!(offend(&mut scores, 20, now), Some(time));
        now += time;
        scores.end(now);
    }
    now += CONFIG.longest + SECOND;
    assert_eq!(offend(&mut scores, 20, now), Some(SECOND));
}

#[test]
fn a_ban_by_the_application_replaces_another_one_and_can_be_ended() {
    let (mut scores, now) = (PeerScores::new(CONFIG), now());
    offend(&mut scores, 20, now);
    assert!(scores.ban(&who(1), Duration::MAX, now));
    assert!(scores.is_banned(&who(1), now + CONFIG.longest));
    assert_eq!(scores.unban(&who(1)), Some(Misbehavior::ByHand));
    assert!(!scores.is_banned(&who(1), now));
    assert_eq!(scores.unban(&who(1)), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn scores_stay_bounded_and_every_ban_ends_within_the_longest(
        steps in proptest::collection::vec((0_u32..1_500, 0_usize..10, 0_u64..200), 0..2_000),
    ) {
        let config = ScoreConfig { at: 20, ..CONFIG };
        let (mut scores, mut now) = (PeerScores::new(config), now());
        let mut begun = 0;
        for (n, what, millis) in steps {
            now += Duration::from_millis(millis / 20);
            if let Some(time) = scores.offend(&who(n), Misbehavior::ALL[what], now) {
                prop_assert!(time >= config.first && time <= config.longest);
                prop_assert!(scores.is_banned(&who(n), now));
                begun += 1;
            }
            begun -= scores.end(now).len();
            prop_assert_eq!(scores.bans(now).len(), begun);
            prop_assert!(scores.known.len() <= MAX_KNOWN);
            prop_assert!(scores.known.values().all(|record| record.points >= 0.0));
        }
        scores.end(now + config.longest);
        prop_assert_eq!(scores.next_end(), None);
    }
}

#[test]
fn a_flood_of_offenders_ends_no_ban() {
    let (mut scores, now) = (PeerScores::new(CONFIG), now());
    offend(&mut scores, 20, now);
    for n in 2..3_000 {
        scores.offend(&who(n), Misbehavior::Truncated, now);
    }
    assert!(scores.is_banned(&who(1), now));
    for n in 2..3_000 {
        scores.ban(&who(n), SECOND, now);
    }
    assert!(scores.is_banned(&who(1), now));
    assert_eq!(scores.bans(now).len(), MAX_KNOWN);
    assert_eq!(scores.offend(&who(9_999), Misbehavior::Truncated, now), None);
    assert_eq!(scores.end(now + SECOND).len(), MAX_KNOWN);
}

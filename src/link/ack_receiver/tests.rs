use super::*;
use crate::link::AckLevel;

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn ada() -> PeerId {
    "ada".parse().unwrap()
}

fn numbered(incarnation: u64, sequence: u64) -> Sequenced {
    Sequenced { incarnation, series: 0, sequence, level: AckLevel::Handled }
}

#[test]
fn a_message_of_an_earlier_incarnation_is_refused_and_a_later_one_starts_anew() {
    let mut seen = AckReceiver::default();
    let mut note =
        |incarnation, sequence| seen.note(&ada(), numbered(incarnation, sequence), now());
    assert_eq!(note(4, 10), ReceiveOutcome::New);
    assert_eq!(note(5, 9), ReceiveOutcome::New);
    assert_eq!(note(5, 9), ReceiveOutcome::Repeated);
    assert_eq!(note(4, 10), ReceiveOutcome::Superseded);
    assert_eq!(note(4, 11), ReceiveOutcome::Superseded);
    assert_eq!(note(6, 1), ReceiveOutcome::New);
    assert_eq!(note(5, 10), ReceiveOutcome::Superseded);
}

#[test]
fn an_incarnation_after_a_clock_change_starts_anew_beside_the_known_one() {
    let mut seen = AckReceiver::default();
    let note = |seen: &mut AckReceiver, incarnation, sequence| {
        seen.note(&ada(), numbered(incarnation, sequence), now())
    };
    assert_eq!(note(&mut seen, 100, 7), ReceiveOutcome::New);
    for sequence in 1..=9 {
        assert_eq!(note(&mut seen, 50, sequence), ReceiveOutcome::New);
        assert_eq!(note(&mut seen, 50, sequence), ReceiveOutcome::Repeated);
    }
    // A failure in one incarnation is none in the other.
    seen.failed(&ada(), numbered(50, 7), Reason::BUSY);
    assert_eq!(note(&mut seen, 50, 7), ReceiveOutcome::Failed(Reason::BUSY));
    // No message of either is delivered again, and both continue.
    assert_eq!(note(&mut seen, 100, 7), ReceiveOutcome::Repeated);
    assert_eq!(note(&mut seen, 100, 8), ReceiveOutcome::New);
    // The next life ends those below it, and no other.
    assert_eq!(note(&mut seen, 60, 1), ReceiveOutcome::New);
    assert_eq!(note(&mut seen, 50, 10), ReceiveOutcome::Superseded);
    assert_eq!(note(&mut seen, 100, 8), ReceiveOutcome::Repeated);
    // Lives without end take no memory without end.
    for life in 0..1_000 {
        let sequence = numbered(2_000 - life, 1);
        assert_eq!(seen.note(&ada(), sequence, now()), ReceiveOutcome::New);
        seen.failed(&ada(), sequence, Reason::BUSY);
        assert!(
            seen.senders[&(ada(), 0)].len() <= MAX_INCARNATIONS
                && seen.failures <= MAX_INCARNATIONS
        );
    }
}

#[test]
fn a_failed_message_fails_again_and_is_never_acknowledged_later() {
    let mut seen = AckReceiver::default();
    for sequence in 1..=4_096 {
        seen.note(&ada(), numbered(1, sequence), now());
        seen.failed(&ada(), numbered(1, sequence), Reason::BUSY);
    }
    let busy = ReceiveOutcome::Failed(Reason::BUSY);
    assert_eq!(seen.note(&ada(), numbered(1, 1), now()), busy);
    // Sixteen like it fill what is remembered of all: each further one costs its own sender.
    for n in 0..16 {
        let other: PeerId = format!("n{n}").parse().unwrap();
        for sequence in 1..=4_096 {
            seen.note(&other, numbered(1, sequence), now());
            seen.failed(&other, numbered(1, sequence), Reason::HANDLER_FAILED);
        }
    }
    assert_eq!(seen.note(&ada(), numbered(1, 1), now()), busy);
    let last: PeerId = "n15".parse().unwrap();
    assert_eq!(seen.note(&last, numbered(1, 1), now()), ReceiveOutcome::Forgotten);
    // A new life of one makes room.
    seen.note(&ada(), numbered(2, 1), now());
    assert_eq!(seen.note(&ada(), numbered(2, 1), now()), ReceiveOutcome::Repeated);
}

#[test]
fn the_memory_is_bounded_and_keeps_recently_active_senders() {
    let (mut seen, begun) = (AckReceiver::default(), now());
    let name = |n: u32| -> PeerId { format!("n{n}").parse().unwrap() };
    for n in 0..4_096 {
        let at = begun + Duration::from_millis(n.into());
        assert_eq!(seen.note(&name(n), numbered(1, 1), at), ReceiveOutcome::New);
    }
    let soon = begun + Duration::from_secs(599);
    assert_eq!(seen.note(&name(5_000), numbered(1, 1), soon), ReceiveOutcome::NoRoom);
    assert_eq!(seen.note(&name(0), numbered(1, 1), soon), ReceiveOutcome::Repeated);
    let later = begun + Duration::from_secs(601);
    assert_eq!(seen.note(&name(5_000), numbered(1, 1), later), ReceiveOutcome::New);
    assert_eq!(seen.note(&name(0), numbered(1, 1), later), ReceiveOutcome::Repeated);
    assert!(seen.senders() <= 4_096);
}

#[test]
fn a_message_that_found_no_room_is_never_acknowledged_when_a_later_one_has_found_some() {
    let (mut seen, begun) = (AckReceiver::default(), now());
    let name = |n: u32| -> PeerId { format!("n{n}").parse().unwrap() };
    for n in 0..4_096 {
        assert_eq!(seen.note(&name(n), numbered(1, 1), begun), ReceiveOutcome::New);
    }
    let soon = begun + Duration::from_secs(599);
    assert_eq!(seen.note(&ada(), numbered(1, 7), soon), ReceiveOutcome::NoRoom);
    let later = begun + Duration::from_secs(601);
    assert_eq!(seen.note(&ada(), numbered(1, 8), later), ReceiveOutcome::New);
    assert_eq!(seen.note(&ada(), numbered(1, 7), later), ReceiveOutcome::Forgotten);
    assert_eq!(seen.note(&ada(), numbered(1, 8), later), ReceiveOutcome::Repeated);
}

#[test]
fn a_series_is_not_disturbed_by_another_one_of_the_same_id() {
    let mut seen = AckReceiver::default();
    let of =
        |series, incarnation, sequence| Sequenced { series, ..numbered(incarnation, sequence) };
    assert_eq!(seen.note(&ada(), of(1, 7, 5), now()), ReceiveOutcome::New);
    // By another address, or of a node that claims the id: later, with higher numbers, and failed.
    assert_eq!(seen.note(&ada(), of(2, u64::MAX, u64::MAX), now()), ReceiveOutcome::New);
    assert_eq!(seen.note(&ada(), of(3, 7, 6), now()), ReceiveOutcome::New);
    seen.failed(&ada(), of(3, 7, 6), Reason::BUSY);
    assert_eq!(seen.note(&ada(), of(1, 7, 5), now()), ReceiveOutcome::Repeated);
    assert_eq!(seen.note(&ada(), of(1, 7, 6), now()), ReceiveOutcome::New);
    assert_eq!(seen.note(&ada(), of(3, 7, 6), now()), ReceiveOutcome::Failed(Reason::BUSY));
}

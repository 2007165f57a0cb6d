//! The sender and the receiver of acknowledged messages.

use super::*;
use crate::overlay::PeerId;

mod model;

fn ada() -> PeerId {
    "ada".parse().unwrap()
}

fn message(n: usize) -> Frame {
    Frame::text("TEST", n.to_string())
}

fn sender() -> AckSender {
    AckSender::new(1, 0, AckSenderLimits::default())
}

fn push(sender: &mut AckSender, n: usize) -> Result<u64, AckSenderFull> {
    sender.push(message(n), AckLevel::Handled, OnRestart::Report)
}

fn numbered(incarnation: u64, sequence: u64) -> Sequenced {
    Sequenced { incarnation, series: 0, sequence, level: AckLevel::Handled }
}

#[test]
fn a_sender_is_full_at_its_limits_and_takes_one_message_of_any_length() {
    let mut sender = sender();
    for n in 0..1_024 {
        push(&mut sender, n).unwrap();
    }
    assert_eq!(push(&mut sender, 0), Err(AckSenderFull));
    assert!(sender.done(7) && !sender.done(7));
    assert_eq!(push(&mut sender, 0), Ok(1_025));
    let limits = AckSenderLimits { bytes: 1_000, ..AckSenderLimits::default() };
    let mut sender = AckSender::new(1, 0, limits);
    let long = Frame::new("TEST", vec![0; 5 << 20]);
    sender.push(long, AckLevel::Handled, OnRestart::Report).unwrap();
    assert_eq!(push(&mut sender, 0), Err(AckSenderFull));
}

#[test]
fn messages_sent_to_an_earlier_run_of_the_peer_are_unknown_and_the_others_continue() {
    let mut sender = sender();
    for n in 0..4 {
        let on_restart = if n == 1 { OnRestart::Resend } else { OnRestart::Report };
        sender.push(message(n), AckLevel::Handled, on_restart).unwrap();
    }
    assert!(!sender.was_opened() && sender.opened(7).is_empty() && sender.was_opened());
    for sequence in 1..=4 {
        assert_eq!(sender.next_unsent().unwrap().0.sequence, sequence);
    }
    // The link was over before the last one had begun.
    sender.not_sent(4);
    assert_eq!((sender.tries(3), sender.tries(4), sender.tries(9)), (Some(1), Some(0), None));
    assert_eq!(sender.opened(8), [1, 3]);
    assert_eq!(sender.sequences().collect::<Vec<_>>(), [2, 4]);
    assert_eq!(sender.next_unsent().unwrap().0.sequence, 2);
    assert_eq!(sender.next_unsent().unwrap().0.sequence, 4);
    assert_eq!(sender.next_unsent(), None);
}

#[test]
fn nothing_waits_for_longer_than_the_receiver_remembers() {
    let (mut sender, mut receiver) = (sender(), AckReceiver::default());
    let first = push(&mut sender, 0).unwrap();
    receiver.note(&ada(), numbered(1, first), start());
    // All others are acknowledged at once; one handler takes its time.
    let mut last = first;
    while let Ok(next) = push(&mut sender, 1) {
        receiver.note(&ada(), numbered(1, next), start());
        sender.done(next);
        last = next;
    }
    assert_eq!((last - first, sender.len()), (REMEMBERED - 1, 1));
    assert_eq!(receiver.note(&ada(), numbered(1, first), start()), ReceiveOutcome::Repeated);
    // A message that a sender repeats out of order is forgotten, and is not acknowledged unseen.
    receiver.note(&ada(), numbered(1, last + 1), start());
    assert_eq!(receiver.note(&ada(), numbered(1, first), start()), ReceiveOutcome::Forgotten);
}

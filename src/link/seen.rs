//! Numbered messages that were handed over already, at the receiver.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{link::Numbered, overlay::PeerId};

/// Senders that are remembered.
const MAX_SENDERS: usize = 4_096;

/// How long a sender is remembered after its last message.
const MEMORY: Duration = Duration::from_secs(600);

/// What a numbered message is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It is to be handed over.
    New,
    /// It was handed over before: acknowledged again, not handed over again.
    Repeated,
    /// It is of an earlier life of its sender: refused.
    Outlived,
}

/// Remembers, for each sender, which numbers have come. As messages come in the order of their
/// numbers, also when they are sent again, the highest number says it all.
#[derive(Debug, Default)]
pub struct Seen {
    senders: HashMap<PeerId, Sender>,
}

#[derive(Clone, Copy, Debug)]
struct Sender {
    incarnation: u64,
    highest: u64,
    at: Instant,
}

impl Seen {
    /// Notes a message and says what it is.
    pub fn note(&mut self, from: &PeerId, numbered: Numbered, now: Instant) -> Novelty {
        let Numbered { incarnation, sequence, .. } = numbered;
        if let Some(sender) = self.senders.get_mut(from) {
            if incarnation < sender.incarnation {
                return Novelty::Outlived;
            }
            sender.at = now;
            if incarnation == sender.incarnation && sequence <= sender.highest {
                return Novelty::Repeated;
            }
            (sender.incarnation, sender.highest) = (incarnation, sequence);
            return Novelty::New;
        }
        self.make_room(now);
        self.senders.insert(from.clone(), Sender { incarnation, highest: sequence, at: now });
        Novelty::New
    }

    /// Senders that are remembered.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.senders.len()
    }

    /// Forgets whom nothing was heard of for long, and the one of whom longest, when it is full.
    fn make_room(&mut self, now: Instant) {
        if self.senders.len() < MAX_SENDERS {
            return;
        }
        self.senders.retain(|_, sender| now.saturating_duration_since(sender.at) < MEMORY);
        if self.senders.len() >= MAX_SENDERS {
            let oldest = self.senders.iter().min_by_key(|(_, sender)| sender.at);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.senders.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        frame::Frame,
        link::{AckLevel, Outbox, OutboxFull},
    };

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn ada() -> PeerId {
        "ada".parse().unwrap()
    }

    fn message(n: usize) -> Frame {
        Frame::text("TEST", n.to_string())
    }

    #[test]
    fn an_outbox_is_full_at_its_limits_and_takes_one_message_of_any_length() {
        let mut outbox = Outbox::new(1, 0);
        for n in 0..1_024 {
            outbox.push(message(n), AckLevel::Handled).unwrap();
        }
        assert_eq!(outbox.push(message(0), AckLevel::Handled), Err(OutboxFull));
        assert!(outbox.done(7) && !outbox.done(7));
        assert_eq!(outbox.push(message(0), AckLevel::Handled), Ok(1_025));
        let mut outbox = Outbox::new(1, 0);
        outbox.push(Frame::new("TEST", vec![0; 5 << 20]), AckLevel::Handled).unwrap();
        assert_eq!(outbox.push(message(0), AckLevel::Handled), Err(OutboxFull));
    }

    #[test]
    fn what_was_sent_to_an_earlier_life_of_the_peer_is_unknown_and_the_rest_goes_on() {
        let mut outbox = Outbox::new(1, 0);
        for n in 0..3 {
            outbox.push(message(n), AckLevel::Handled).unwrap();
        }
        assert!(outbox.opened(7).is_empty());
        assert_eq!(outbox.next_unsent().unwrap().0.sequence, 1);
        assert_eq!(outbox.next_unsent().unwrap().0.sequence, 2);
        assert_eq!(outbox.opened(8), [1, 2]);
        assert_eq!(outbox.next_unsent().unwrap().0.sequence, 3);
        assert_eq!(outbox.next_unsent(), None);
    }

    #[test]
    fn a_message_of_an_earlier_life_is_refused_and_a_later_life_begins_anew() {
        let mut seen = Seen::default();
        let of =
            |incarnation, sequence| Numbered { incarnation, sequence, level: AckLevel::Handled };
        assert_eq!(seen.note(&ada(), of(5, 9), now()), Novelty::New);
        assert_eq!(seen.note(&ada(), of(5, 9), now()), Novelty::Repeated);
        assert_eq!(seen.note(&ada(), of(4, 10), now()), Novelty::Outlived);
        assert_eq!(seen.note(&ada(), of(6, 1), now()), Novelty::New);
        assert_eq!(seen.note(&ada(), of(5, 10), now()), Novelty::Outlived);
    }

    #[test]
    fn the_memory_is_bounded_and_lets_go_of_the_oldest() {
        let (mut seen, begun) = (Seen::default(), now());
        for n in 0..5_000_u32 {
            let numbered = Numbered { incarnation: 1, sequence: 1, level: AckLevel::HandedOver };
            let at = begun + Duration::from_millis(n.into());
            seen.note(&format!("n{n}").parse().unwrap(), numbered, at);
        }
        assert_eq!(seen.senders(), 4_096);
    }

    /// One step of a life with links that break.
    #[derive(Clone, Debug)]
    enum Op {
        Push,
        Deliver(usize),
        Acknowledge(usize),
        Cut,
    }

    proptest! {
        #[test]
        fn every_message_is_handed_over_exactly_once_and_in_order_however_links_break(
            ops in proptest::collection::vec(prop_oneof![
                4 => Just(Op::Push),
                4 => (0_usize..6).prop_map(Op::Deliver),
                2 => (0_usize..6).prop_map(Op::Acknowledge),
                1 => Just(Op::Cut),
            ], 0..200),
        ) {
            let (mut outbox, mut seen) = (Outbox::new(3, 0), Seen::default());
            let (mut wire, mut acks, mut got, mut pushed) = (Vec::new(), Vec::new(), Vec::new(), 0);
            outbox.opened(1);
            let ends = [Op::Cut, Op::Deliver(usize::MAX), Op::Acknowledge(usize::MAX)];
            for op in ops.into_iter().chain(ends) {
                match op {
                    Op::Push => {
                        outbox.push(message(pushed), AckLevel::HandedOver).unwrap();
                        pushed += 1;
                    }
                    Op::Deliver(most) => {
                        wire.extend(std::iter::from_fn(|| outbox.next_unsent()));
                        for (numbered, frame) in wire.drain(..most.min(wire.len())) {
                            if seen.note(&ada(), numbered, now()) == Novelty::New {
                                got.push(frame);
                            }
                            acks.push(numbered.sequence);
                        }
                    }
                    Op::Acknowledge(most) => {
                        for sequence in acks.drain(..most.min(acks.len())) {
                            prop_assert!(outbox.done(sequence));
                        }
                    }
                    // What is under way in either direction is lost.
                    Op::Cut => {
                        wire.clear();
                        acks.clear();
                        prop_assert!(outbox.opened(1).is_empty());
                    }
                }
            }
            prop_assert_eq!(got, (0..pushed).map(message).collect::<Vec<_>>());
            prop_assert!(outbox.is_empty());
        }
    }
}

//! The sender's window and the receiver's memory, against a model.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::{
    frame::Frame,
    link::{AckLevel, AckSender, AckSenderFull, AckSenderLimits, OnRestart},
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

fn outbox() -> AckSender {
    AckSender::new(1, 0, AckSenderLimits::default())
}

fn push(outbox: &mut AckSender, n: usize) -> Result<u64, AckSenderFull> {
    outbox.push(message(n), AckLevel::Handled, OnRestart::Report)
}

fn numbered(incarnation: u64, sequence: u64) -> Sequenced {
    Sequenced { incarnation, series: 0, sequence, level: AckLevel::Handled }
}

#[test]
fn an_outbox_is_full_at_its_limits_and_takes_one_message_of_any_length() {
    let mut outbox = outbox();
    for n in 0..1_024 {
        push(&mut outbox, n).unwrap();
    }
    assert_eq!(push(&mut outbox, 0), Err(AckSenderFull));
    assert!(outbox.done(7) && !outbox.done(7));
    assert_eq!(push(&mut outbox, 0), Ok(1_025));
    let limits = AckSenderLimits { bytes: 1_000, ..AckSenderLimits::default() };
    let mut outbox = AckSender::new(1, 0, limits);
    let long = Frame::new("TEST", vec![0; 5 << 20]);
    outbox.push(long, AckLevel::Handled, OnRestart::Report).unwrap();
    assert_eq!(push(&mut outbox, 0), Err(AckSenderFull));
}

#[test]
fn nothing_waits_for_longer_than_the_receiver_remembers() {
    let (mut outbox, mut seen) = (outbox(), AckReceiver::default());
    let first = push(&mut outbox, 0).unwrap();
    seen.note(&ada(), numbered(1, first), now());
    // All others are acknowledged at once; one handler takes its time.
    let mut last = first;
    while let Ok(next) = push(&mut outbox, 1) {
        seen.note(&ada(), numbered(1, next), now());
        outbox.done(next);
        last = next;
    }
    assert_eq!((last - first, outbox.len()), (REMEMBERED - 1, 1));
    assert_eq!(seen.note(&ada(), numbered(1, first), now()), ReceiveOutcome::Repeated);
    // What a sender that keeps no such order sends again is not acknowledged unseen.
    seen.note(&ada(), numbered(1, last + 1), now());
    assert_eq!(seen.note(&ada(), numbered(1, first), now()), ReceiveOutcome::Forgotten);
}

#[test]
fn what_was_sent_to_an_earlier_life_of_the_peer_is_unknown_and_the_rest_goes_on() {
    let mut outbox = outbox();
    for n in 0..4 {
        let on_restart = if n == 1 { OnRestart::Resend } else { OnRestart::Report };
        outbox.push(message(n), AckLevel::Handled, on_restart).unwrap();
    }
    assert!(!outbox.was_opened() && outbox.opened(7).is_empty() && outbox.was_opened());
    for sequence in 1..=4 {
        assert_eq!(outbox.next_unsent().unwrap().0.sequence, sequence);
    }
    // The link was over before the last one had begun.
    outbox.not_sent(4);
    assert_eq!((outbox.tries(3), outbox.tries(4), outbox.tries(9)), (Some(1), Some(0), None));
    assert_eq!(outbox.opened(8), [1, 3]);
    assert_eq!(outbox.sequences().collect::<Vec<_>>(), [2, 4]);
    assert_eq!(outbox.next_unsent().unwrap().0.sequence, 2);
    assert_eq!(outbox.next_unsent().unwrap().0.sequence, 4);
    assert_eq!(outbox.next_unsent(), None);
}

#[test]
fn a_message_of_an_earlier_life_is_refused_and_a_later_life_begins_anew() {
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
fn a_life_whose_clock_was_set_back_begins_anew_and_takes_nothing_from_the_known_one() {
    let mut seen = AckReceiver::default();
    let note = |seen: &mut AckReceiver, incarnation, sequence| {
        seen.note(&ada(), numbered(incarnation, sequence), now())
    };
    assert_eq!(note(&mut seen, 100, 7), ReceiveOutcome::New);
    for sequence in 1..=9 {
        assert_eq!(note(&mut seen, 50, sequence), ReceiveOutcome::New);
        assert_eq!(note(&mut seen, 50, sequence), ReceiveOutcome::Repeated);
    }
    // What failed in one of them has not failed in the other.
    seen.failed(&ada(), numbered(50, 7), Reason::BUSY);
    assert_eq!(note(&mut seen, 50, 7), ReceiveOutcome::Failed(Reason::BUSY));
    // Nothing that was handed over of either is handed over again, and both go on.
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
fn what_failed_fails_again_and_is_never_acknowledged_once_that_is_forgotten() {
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
fn the_memory_is_bounded_and_nobody_who_was_heard_of_lately_is_forgotten_for_another() {
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

/// One step of two lives with links that break.
#[derive(Clone, Debug)]
enum Op {
    Push(OnRestart),
    /// The sender uses the link.
    Send(usize),
    /// So many come out of the link with this number, among those that are not over.
    Deliver(usize, usize),
    Acknowledge(usize, usize),
    /// The sender takes another link; what is on the old one may still come.
    Switch,
    /// What is under way on a link is lost.
    Break(usize),
    GiveUp(usize),
    ReceiverRestarts,
    SenderRestarts,
}

/// A link, as it is between the two: `None` in the middle are acknowledgements that are lost.
#[derive(Default)]
struct Wire {
    to: VecDeque<(Sequenced, Frame)>,
    back: VecDeque<u64>,
    /// Whose lives it joins.
    lives: (u64, u64),
}

/// What the model knows of a message.
#[derive(Debug, Default)]
struct Fate {
    /// In which lives of the receiver it was handed over.
    handed: Vec<u64>,
    acknowledged: bool,
    unknown: bool,
    given_up: bool,
    stored: bool,
    resend: bool,
}

/// A sender, a receiver, and links between them.
struct World {
    outbox: AckSender,
    seen: AckReceiver,
    wires: Vec<Wire>,
    lives: (u64, u64),
    fates: BTreeMap<String, Fate>,
    numbers: BTreeMap<u64, String>,
    /// What each life of the receiver got of each life of the sender.
    got: BTreeMap<(u64, u64), Vec<u64>>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            outbox: outbox(),
            seen: AckReceiver::default(),
            wires: Vec::new(),
            lives: (1, 1),
            fates: BTreeMap::new(),
            numbers: BTreeMap::new(),
            got: BTreeMap::new(),
        };
        world.switch();
        world
    }

    fn post(&mut self, text: &str, on_restart: OnRestart) {
        let pushed = self.outbox.push(Frame::text("TEST", text), AckLevel::Handled, on_restart);
        self.numbers.insert(pushed.unwrap(), text.to_owned());
    }

    fn push(&mut self, on_restart: OnRestart) {
        let text = self.fates.len().to_string();
        let resend = on_restart == OnRestart::Resend;
        // What is sent to the next life, too, is what the sender stores.
        let fate = Fate { resend, stored: resend, ..Fate::default() };
        self.fates.insert(text.clone(), fate);
        self.post(&text, on_restart);
    }

    fn switch(&mut self) {
        self.wires.push(Wire { lives: self.lives, ..Wire::default() });
        for unknown in self.outbox.opened(self.lives.1) {
            let text = &self.numbers[&unknown];
            self.fates.get_mut(text).unwrap().unknown = true;
        }
    }

    fn send(&mut self, most: usize) {
        let sent = std::iter::from_fn(|| self.outbox.next_unsent()).take(most);
        self.wires.last_mut().unwrap().to.extend(sent);
    }

    fn deliver(&mut self, wire: usize, most: usize) {
        let count = self.wires.len();
        let wire = &mut self.wires[wire % count];
        let most = most.min(wire.to.len());
        for (numbered, frame) in wire.to.drain(..most) {
            match self.seen.note(&ada(), numbered, now()) {
                ReceiveOutcome::New => {
                    let fate = self.fates.get_mut(frame.as_str().unwrap()).unwrap();
                    fate.handed.push(self.lives.1);
                    let lives = (numbered.incarnation, self.lives.1);
                    self.got.entry(lives).or_default().push(numbered.sequence);
                }
                ReceiveOutcome::Repeated => {}
                ReceiveOutcome::Superseded => continue,
                other => panic!("{other:?}"),
            }
            wire.back.push_back(numbered.sequence);
        }
    }

    fn acknowledge(&mut self, wire: usize, most: usize) {
        let count = self.wires.len();
        let wire = &mut self.wires[wire % count];
        let most = most.min(wire.back.len());
        for sequence in wire.back.drain(..most) {
            if self.outbox.done(sequence) {
                let fate = self.fates.get_mut(&self.numbers[&sequence]).unwrap();
                fate.acknowledged = true;
                fate.stored = false;
            }
        }
    }

    fn give_up(&mut self, which: usize) {
        let waiting: Vec<_> = self.outbox.sequences().collect();
        if let Some(sequence) = waiting.get(which) {
            self.outbox.done(*sequence);
            let fate = self.fates.get_mut(&self.numbers[sequence]).unwrap();
            fate.given_up = true;
            fate.stored = false;
        }
    }

    fn receiver_restarts(&mut self) {
        self.lives.1 += 1;
        self.seen = AckReceiver::default();
        self.wires.clear();
        self.switch();
    }

    /// Messages that were not stored are gone with the life that sent them; what was stored is sent
    /// again.
    fn sender_restarts(&mut self) {
        self.lives.0 += 1;
        self.outbox = AckSender::new(self.lives.0, 0, AckSenderLimits::default());
        self.numbers.clear();
        // Links of the old life may bring what was on them; nobody takes the acknowledgements.
        for wire in &mut self.wires {
            wire.back.clear();
        }
        let stored = self.fates.iter().filter(|(_, fate)| fate.stored);
        let stored: BTreeSet<usize> = stored.map(|(text, _)| text.parse().unwrap()).collect();
        for fate in self.fates.values_mut().filter(|fate| !fate.stored && !fate.acknowledged) {
            fate.given_up = true;
        }
        for text in stored {
            self.post(&text.to_string(), OnRestart::Resend);
        }
        self.switch();
    }

    fn act(&mut self, op: Op) {
        match op {
            Op::Push(on_restart) => self.push(on_restart),
            Op::Send(most) => self.send(most),
            Op::Deliver(wire, most) => self.deliver(wire, most),
            Op::Acknowledge(wire, most) => {
                let count = self.wires.len();
                // A link of an earlier life has nobody at its end.
                if self.wires[wire % count].lives.0 == self.lives.0 {
                    self.acknowledge(wire, most);
                }
            }
            Op::Switch => self.switch(),
            Op::Break(wire) => {
                let count = self.wires.len();
                let wire = &mut self.wires[wire % count];
                wire.to.clear();
                wire.back.clear();
                if self.wires.len() > 1 && wire_is_last(count) {
                    self.wires.remove(0);
                }
                self.switch();
            }
            Op::GiveUp(which) => self.give_up(which),
            Op::ReceiverRestarts => self.receiver_restarts(),
            Op::SenderRestarts => self.sender_restarts(),
        }
    }
}

/// Old links go in time.
const fn wire_is_last(count: usize) -> bool {
    count > 4
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let on_restart = prop_oneof![Just(OnRestart::Report), Just(OnRestart::Resend)];
    let op = prop_oneof![
        8 => on_restart.prop_map(Op::Push),
        8 => (0_usize..6).prop_map(Op::Send),
        8 => (0_usize..4, 0_usize..6).prop_map(|(wire, most)| Op::Deliver(wire, most)),
        6 => (0_usize..4, 0_usize..6).prop_map(|(wire, most)| Op::Acknowledge(wire, most)),
        2 => Just(Op::Switch),
        2 => (0_usize..4).prop_map(Op::Break),
        1 => (0_usize..4).prop_map(Op::GiveUp),
        1 => Just(Op::ReceiverRestarts),
        1 => Just(Op::SenderRestarts),
    ];
    proptest::collection::vec(op, 0..250)
}

proptest! {
    #[test]
    fn whatever_breaks_no_message_is_lost_doubled_or_out_of_turn_unless_that_was_said(ops in ops()) {
        let mut world = World::new();
        for op in ops {
            world.act(op);
        }
        // In the end nothing breaks any more.
        world.switch();
        world.send(usize::MAX);
        for wire in 0..world.wires.len() {
            world.deliver(wire, usize::MAX);
        }
        let last = world.wires.len() - 1;
        world.acknowledge(last, usize::MAX);
        prop_assert!(world.outbox.is_empty());
        for (text, fate) in &world.fates {
            let lives: BTreeSet<_> = fate.handed.iter().collect();
            if fate.acknowledged {
                prop_assert!(!fate.handed.is_empty(), "{text}: acknowledged unseen {fate:?}");
            } else {
                prop_assert!(fate.unknown || fate.given_up, "{text}: lost {fate:?}");
            }
            // Twice only in two lives, of the receiver or of a sender that stores, where that was
            // asked for.
            if !fate.resend {
                prop_assert!(fate.handed.len() <= 1, "{text}: doubled {fate:?}");
            } else if world.lives.0 == 1 {
                prop_assert_eq!(lives.len(), fate.handed.len(), "{}: doubled {:?}", text, fate);
            }
        }
        for got in world.got.values() {
            prop_assert!(got.is_sorted_by(|a, b| a < b), "out of turn: {got:?}");
        }
    }
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

//! A sender and a receiver, joined by links that break, and random operations on them.

use super::*;

/// One step of a sender and a receiver whose links break.
#[derive(Clone, Debug)]
enum Op {
    Push(OnRestart),
    /// The sender uses the link.
    Send(usize),
    /// This many messages arrive over the link with this number.
    Deliver(usize, usize),
    Acknowledge(usize, usize),
    /// The sender uses another link. Messages on the old one may still arrive.
    Switch,
    /// Loses the data in transit on a link.
    Break(usize),
    GiveUp(usize),
    ReceiverRestarts,
    SenderRestarts,
}

/// The data in transit on a link.
#[derive(Default)]
struct Wire {
    to: VecDeque<(Sequenced, Frame)>,
    back: VecDeque<u64>,
    /// The incarnations of the sender and the receiver that it connects.
    lives: (u64, u64),
}

/// The fate of a message.
#[derive(Debug, Default)]
struct Fate {
    /// The incarnations of the receiver to which it was delivered.
    handed: Vec<u64>,
    acknowledged: bool,
    unknown: bool,
    given_up: bool,
    stored: bool,
    resend: bool,
}

/// A sender, a receiver, and links between them.
struct World {
    sender: AckSender,
    receiver: AckReceiver,
    wires: Vec<Wire>,
    lives: (u64, u64),
    fates: BTreeMap<String, Fate>,
    numbers: BTreeMap<u64, String>,
    /// The messages that each incarnation of the receiver accepted, by that of the sender.
    got: BTreeMap<(u64, u64), Vec<u64>>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            sender: sender(),
            receiver: AckReceiver::default(),
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
        let pushed = self.sender.push(Frame::text("TEST", text), AckLevel::Handled, on_restart);
        self.numbers.insert(pushed.unwrap(), text.to_owned());
    }

    fn push(&mut self, on_restart: OnRestart) {
        let text = self.fates.len().to_string();
        let resend = on_restart == OnRestart::Resend;
        // The sender stores the messages that it also sends to the next incarnation.
        let fate = Fate { resend, stored: resend, ..Fate::default() };
        self.fates.insert(text.clone(), fate);
        self.post(&text, on_restart);
    }

    fn switch(&mut self) {
        self.wires.push(Wire { lives: self.lives, ..Wire::default() });
        for unknown in self.sender.opened(self.lives.1) {
            let text = &self.numbers[&unknown];
            self.fates.get_mut(text).unwrap().unknown = true;
        }
    }

    fn send(&mut self, most: usize) {
        let sent = std::iter::from_fn(|| self.sender.next_unsent()).take(most);
        self.wires.last_mut().unwrap().to.extend(sent);
    }

    fn deliver(&mut self, wire: usize, most: usize) {
        let count = self.wires.len();
        let wire = &mut self.wires[wire % count];
        let most = most.min(wire.to.len());
        for (numbered, frame) in wire.to.drain(..most) {
            match self.receiver.note(&ada(), numbered, start()) {
                ReceiveOutcome::New => {
                    let fate = self.fates.get_mut(frame.as_str().unwrap()).unwrap();
                    fate.handed.push(self.lives.1);
                    let lives = (numbered.incarnation, self.lives.1);
                    self.got.entry(lives).or_default().push(numbered.sequence);
                }
                ReceiveOutcome::Repeated => {}
                ReceiveOutcome::Superseded => continue,
                // It arrives behind a later one, over an earlier link.
                ReceiveOutcome::Forgotten => {
                    let fate = &self.fates[frame.as_str().unwrap()];
                    assert!(fate.given_up || fate.unknown, "{} is refused", numbered.sequence);
                    continue;
                }
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
            if self.sender.done(sequence) {
                let fate = self.fates.get_mut(&self.numbers[&sequence]).unwrap();
                fate.acknowledged = true;
                fate.stored = false;
            }
        }
    }

    fn give_up(&mut self, which: usize) {
        let waiting: Vec<_> = self.sender.sequences().collect();
        if let Some(sequence) = waiting.get(which) {
            self.sender.done(*sequence);
            let fate = self.fates.get_mut(&self.numbers[sequence]).unwrap();
            fate.given_up = true;
            fate.stored = false;
        }
    }

    fn receiver_restarts(&mut self) {
        self.lives.1 += 1;
        self.receiver = AckReceiver::default();
        self.wires.clear();
        self.switch();
    }

    /// Messages that were not stored are lost with their sender. Stored ones are sent again.
    fn sender_restarts(&mut self) {
        self.lives.0 += 1;
        self.sender = AckSender::new(self.lives.0, 0, AckSenderLimits::default());
        self.numbers.clear();
        // Links of the old incarnation may still deliver. Their acknowledgements are lost.
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
                // A link of an earlier incarnation has no sender.
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

/// Whether there are more links than the model keeps.
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
        // At the end no link breaks.
        world.switch();
        world.send(usize::MAX);
        for wire in 0..world.wires.len() {
            world.deliver(wire, usize::MAX);
        }
        let last = world.wires.len() - 1;
        world.acknowledge(last, usize::MAX);
        prop_assert!(world.sender.is_empty());
        for (text, fate) in &world.fates {
            let lives: BTreeSet<_> = fate.handed.iter().collect();
            if fate.acknowledged {
                prop_assert!(!fate.handed.is_empty(), "{text}: acknowledged unseen {fate:?}");
            } else {
                prop_assert!(fate.unknown || fate.given_up, "{text}: lost {fate:?}");
            }
            // A message is delivered twice only to two incarnations, of the receiver or of a sender
            // that stores, and only if it asked for that.
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

//! Two sides, joined by a queue, and random operations on them.

use super::*;

const WINDOW: u32 = 2_000;
const MAX_OPEN: u32 = 3;

#[derive(Clone, Debug)]
enum Op {
    OneWay { len: usize },
    Begin { request: bool, len: usize, more: bool },
    GoOn { which: usize, len: usize, more: bool },
    Reply { which: usize, len: usize, end: bool },
    Reset { which: usize },
    Consume { most: u32 },
    Refuse { most: u32 },
    Read { most: usize },
    Deliver { bytes: usize },
    Tick,
}

fn op() -> impl Strategy<Value = (usize, Op)> {
    let op = prop_oneof![
        4 => (0_usize..700).prop_map(|len| Op::OneWay { len }),
        4 => (any::<bool>(), 0_usize..700, any::<bool>())
            .prop_map(|(request, len, more)| Op::Begin { request, len, more }),
        3 => (0_usize..4, 0_usize..700, any::<bool>())
            .prop_map(|(which, len, more)| Op::GoOn { which, len, more }),
        4 => (0_usize..4, 0_usize..60_000, any::<bool>())
            .prop_map(|(which, len, end)| Op::Reply { which, len, end }),
        1 => (0_usize..4).prop_map(|which| Op::Reset { which }),
        4 => (0_u32..3_000).prop_map(|most| Op::Consume { most }),
        2 => (0_u32..5).prop_map(|most| Op::Refuse { most }),
        3 => (0_usize..5).prop_map(|most| Op::Read { most }),
        8 => prop_oneof![0_usize..40, 0_usize..3_000].prop_map(|bytes| Op::Deliver { bytes }),
        1 => Just(Op::Tick),
    ];
    (0_usize..2, op)
}

/// One side with what it believes.
struct Side {
    link: Link,
    /// Bytes on their way to the other side.
    wire: BytesMut,
    /// Bytes from the other side that are no frame yet.
    input: BytesMut,
    /// Marks of the messages and replies that it has sent, by stream: 0 for one-way messages and
    /// requests, else the exchange whose replies they are.
    sent: BTreeMap<u32, Vec<u32>>,
    got: BTreeMap<u32, Vec<u32>>,
    sending: Vec<u32>,
    serving: Vec<u32>,
    unconsumed: u32,
    /// One-way messages that came whole and were not refused.
    kept: u32,
    /// One-way messages that it has refused, and of which it has heard that they were.
    refused: (u32, u32),
    /// Long messages for which the other side had no place.
    busy: u64,
    unread: VecDeque<(u32, u32)>,
    /// Exchanges that either side has reset.
    given_up: Vec<u32>,
    /// Messages of the other side of which the rest is to come.
    incomplete: BTreeSet<u32>,
}

impl Side {
    /// Resets an exchange of the other side, or one of its own.
    fn reset(&mut self, which: usize) {
        let number = self.serving.get(which).or_else(|| self.sending.get(which)).copied();
        if let Some(number) = number {
            self.link.reset(number, Reason::CANCELLED);
            self.given_up.push(number);
            self.serving.retain(|n| *n != number);
            self.sending.retain(|n| *n != number);
        }
    }

    /// Processes, refuses or reads a part of what has arrived.
    fn process(&mut self, op: &Op) {
        match *op {
            Op::Consume { most } => {
                let bytes = most.min(self.unconsumed);
                self.unconsumed -= bytes;
                self.link.consumed(bytes);
            }
            Op::Refuse { most } => {
                let messages = most.min(self.kept);
                self.kept -= messages;
                self.refused.0 += messages;
                self.link.refuse_one_ways(0, CODE, Reason::UNKNOWN_CODE, messages);
            }
            Op::Read { most } => {
                for (number, cost) in self.unread.drain(..most.min(self.unread.len())) {
                    self.link.read(number, cost);
                }
            }
            _ => {}
        }
    }

    fn speak(&mut self) {
        let mut bytes = BytesMut::new();
        self.link.take_output(&mut bytes);
        self.wire.unsplit(bytes);
    }
}

struct World {
    sides: [Side; 2],
    now: Instant,
    mark: u32,
}

impl World {
    fn new() -> Self {
        let (ada, bob, now) = open(WINDOW, MAX_OPEN);
        let side = |link| Side {
            link,
            wire: BytesMut::new(),
            input: BytesMut::new(),
            sent: BTreeMap::new(),
            got: BTreeMap::new(),
            sending: Vec::new(),
            serving: Vec::new(),
            unconsumed: 0,
            kept: 0,
            refused: (0, 0),
            busy: 0,
            unread: VecDeque::new(),
            given_up: Vec::new(),
            incomplete: BTreeSet::new(),
        };
        Self { sides: [side(ada), side(bob)], now, mark: 0 }
    }

    /// A payload that says which one it is.
    fn payload(&mut self, len: usize) -> (u32, Vec<u8>) {
        self.mark += 1;
        let mut payload = self.mark.to_be_bytes().to_vec();
        payload.resize(4 + len, 0);
        (self.mark, payload)
    }

    fn apply(&mut self, at: usize, op: &Op) {
        let now = self.now;
        match *op {
            Op::OneWay { .. } | Op::Begin { .. } | Op::GoOn { .. } | Op::Reply { .. } => {
                self.send(at, op);
            }
            Op::Deliver { bytes } => {
                let wire = &mut self.sides[at].wire;
                let arrived = wire.split_to(bytes.min(wire.len()));
                let other = &mut self.sides[1 - at];
                other.input.unsplit(arrived);
                other.link.handle_all(Frames::split(&mut other.input), now);
                self.heard(1 - at);
            }
            Op::Tick => {
                self.now += Duration::from_millis(1);
                self.sides[at].link.tick(now);
            }
            Op::Reset { which } => self.sides[at].reset(which),
            Op::Consume { .. } | Op::Refuse { .. } | Op::Read { .. } => self.sides[at].process(op),
        }
        self.sides[at].speak();
    }

    /// Sends a message, a reply, or a part of one.
    fn send(&mut self, at: usize, op: &Op) {
        let (Op::OneWay { len }
        | Op::Begin { len, .. }
        | Op::GoOn { len, .. }
        | Op::Reply { len, .. }) = *op
        else {
            return;
        };
        let (mark, payload) = self.payload(len);
        let Side { link, sent, sending, serving, .. } = &mut self.sides[at];
        match *op {
            Op::OneWay { .. } => {
                let accepted = link.one_way(CODE, &payload).is_ok();
                if accepted {
                    sent.entry(0).or_default().push(mark);
                }
            }
            Op::Begin { request, more, .. } => {
                let kind = if request { ExchangeKind::Request } else { ExchangeKind::OneWay };
                if let Ok(number) = link.begin(CODE, &payload, kind, more) {
                    sent.entry(0).or_default().push(mark);
                    sending.extend(more.then_some(number));
                }
            }
            Op::GoOn { which, more, .. } if which < sending.len() => {
                match link.send_next(sending[which], CODE, &payload, more) {
                    Ok(()) => {
                        sent.entry(0).or_default().push(mark);
                        if !more {
                            sending.remove(which);
                        }
                    }
                    Err(Refused::Over) => drop(sending.remove(which)),
                    Err(_) => {}
                }
            }
            Op::Reply { which, end, .. } if which < serving.len() => {
                let number = serving[which];
                match link.reply(number, CODE, &payload, false, end) {
                    Ok(()) => sent.entry(number).or_default().push(mark),
                    Err(Refused::Full) => return,
                    Err(other) => panic!("{other}"),
                }
                if end {
                    serving.remove(which);
                }
            }
            _ => {}
        }
    }

    fn heard(&mut self, at: usize) {
        let side = &mut self.sides[at];
        let events: Vec<_> = side.link.events().collect();
        for event in events {
            match event {
                LinkEvent::Message { exchange, data, first, last, request, cost, .. } => {
                    side.unconsumed += cost;
                    side.kept += u32::from(!request && first && last);
                    assert_eq!(side.incomplete.remove(&exchange), !first);
                    if !last {
                        side.incomplete.insert(exchange);
                    }
                    side.got.entry(0).or_default().push(mark_of(&data));
                    if first && request {
                        side.serving.push(exchange);
                    }
                }
                LinkEvent::MessageBatch(messages) => {
                    side.unconsumed += messages.cost();
                    side.kept += u32::try_from(messages.count()).unwrap();
                    let marks = messages.payloads().map(|data| mark_of(&data));
                    side.got.entry(0).or_default().extend(marks);
                }
                LinkEvent::Reply { exchange, data, cost, .. } => {
                    side.unread.push_back((exchange, cost));
                    side.got.entry(exchange).or_default().push(mark_of(&data));
                }
                LinkEvent::Abandoned { exchange, .. } => {
                    assert!(side.incomplete.remove(&exchange));
                }
                LinkEvent::Reset { exchange, .. } => {
                    side.incomplete.remove(&exchange);
                    side.given_up.push(exchange);
                    side.serving.retain(|n| *n != exchange);
                    side.sending.retain(|n| *n != exchange);
                }
                LinkEvent::Refused { code: CODE, reason: Reason::UNKNOWN_CODE, messages } => {
                    side.refused.1 += messages;
                }
                LinkEvent::Refused { code: CODE, reason: Reason::BUSY, messages } => {
                    side.busy += u64::from(messages);
                }
                LinkEvent::Ended { exchange } => side.sending.retain(|n| *n != exchange),
                LinkEvent::Granted { .. } | LinkEvent::ReplyGranted { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(side.link.unconsumed() <= WINDOW);
        side.speak();
    }

    /// Everything that is under way arrives, is worked off and answered.
    fn come_to_rest(&mut self) {
        for _ in 0..1_000 {
            for at in 0..2 {
                self.apply(at, &Op::Deliver { bytes: usize::MAX });
                self.apply(at, &Op::Consume { most: u32::MAX });
                self.apply(at, &Op::Read { most: usize::MAX });
                self.apply(at, &Op::GoOn { which: 0, len: 0, more: false });
                self.apply(at, &Op::Reply { which: 0, len: 0, end: true });
            }
            let quiet = |side: &Side| {
                let nothing_left = side.unconsumed == 0 && side.unread.is_empty();
                nothing_left && side.wire.is_empty() && side.link.open_exchanges() == 0
            };
            if self.sides.iter().all(quiet) {
                (0..2).for_each(|at| self.heard(at));
                return;
            }
        }
        panic!("it does not come to rest");
    }
}

fn mark_of(data: &Bytes) -> u32 {
    u32::from_be_bytes(*data.first_chunk().unwrap())
}

proptest! {
    #[test]
    fn no_message_is_lost_repeated_or_reordered_and_every_run_ends(
        ops in proptest::collection::vec(op(), 0..300),
    ) {
        let mut world = World::new();
        for (at, op) in &ops {
            world.apply(*at, op);
        }
        world.come_to_rest();
        let [ada, bob] = &world.sides;
        for (from, to) in [(ada, bob), (bob, ada)] {
            let given_up = |stream: &u32| from.given_up.contains(stream) || to.given_up.contains(stream);
            for (stream, sent) in &from.sent {
                let got = to.got.get(stream).map_or(&[][..], Vec::as_slice);
                if *stream == 0 || given_up(stream) {
                    // Messages arrive in the order sent. Those that were given up may be missing.
                    let mut sent = sent.iter();
                    prop_assert!(got.iter().all(|mark| sent.any(|s| s == mark)));
                } else {
                    prop_assert_eq!(sent, got);
                }
            }
            if ada.given_up.is_empty() && bob.given_up.is_empty() && to.link.counts().refused == 0 && to.link.counts().late == 0 {
                prop_assert_eq!(from.sent.get(&0), to.got.get(&0));
            }
            prop_assert!(from.link.credit() > WINDOW / 2, "{}", from.link.credit());
            prop_assert_eq!(from.link.phase(), LinkPhase::Open);
            prop_assert_eq!(from.refused.0, to.refused.1);
            prop_assert!(from.busy <= to.link.counts().refused);
            prop_assert!(from.incomplete.is_empty());
        }
    }
}

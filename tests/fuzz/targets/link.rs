//! The state machine of a link: bytes of a remote peer, and the actions of this side meanwhile.
//!
//! Two machines run every input. One reads frame by frame, the other reads several frames at once.
//! Both must end in the same state.

use std::time::{Duration, Instant};

use actix_peer::{
    frame::{Frame, FrameCodec, TypeCode},
    link::{
        AckLevel, ExchangeKind, Frames, Hello, Link, LinkConfig, LinkEvent, LinkPhase, Reason,
        Role, Sequenced,
    },
};
use bytes::{Bytes, BytesMut};
use tokio_util::codec::Encoder;

use super::input::Input;

const CODE: TypeCode = TypeCode::new(b"TEST");
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const CODES: [&[u8; 4]; 12] = [
    b"TEST",
    b"NEWS",
    b"@CRD",
    b"@PNG",
    b"@PON",
    b"@BYE",
    b"@END",
    b"@RST",
    b"@LNK",
    b"@ACK",
    b"@XYZ",
    b"\0\0\0\0",
];

/// Credit and exchanges that both sides grant.
const WINDOW: u32 = 2_000;
const MAX_OPEN: u32 = 3;

fn hello(id: &str) -> Hello {
    Hello {
        info: format!("{id} 127.0.0.1 9000").parse().unwrap(),
        window: WINDOW,
        max_message: 1 << 20,
        max_open: MAX_OPEN,
        incarnation: 7,
        features: ["refusals", "lengths", "counts"].map(str::to_owned).to_vec(),
        lengths: vec![(CODE, 1_500)],
    }
}

/// Splits one-way messages that arrived together.
fn apart(event: LinkEvent) -> Vec<LinkEvent> {
    let LinkEvent::MessageBatch(messages) = event else { return vec![event] };
    assert_eq!(messages.iter().count(), messages.count());
    let message = |data: Bytes| LinkEvent::Message {
        exchange: 0,
        code: messages.code(),
        cost: Link::cost(u32::try_from(data.len()).unwrap()),
        data,
        first: true,
        last: true,
        request: false,
        numbered: None,
    };
    messages.payloads().map(message).collect()
}

/// One machine, and its output.
struct Side {
    link: Link,
    events: Vec<LinkEvent>,
    closed: usize,
    output: BytesMut,
    input: BytesMut,
}

impl Side {
    fn new(role: Role, now: Instant) -> Self {
        let link = Link::new(role, LinkConfig { hello: hello("ada"), keep_alive: KEEP_ALIVE }, now);
        Self {
            link,
            events: Vec::new(),
            closed: 0,
            output: BytesMut::new(),
            input: BytesMut::new(),
        }
    }

    /// Passes the bytes of the remote peer to the machine, frame by frame or together.
    fn hears(&mut self, bytes: &[u8], together: bool, now: Instant) {
        self.input.extend_from_slice(bytes);
        let frames = Frames::split(&mut self.input);
        if together {
            self.link.handle_all(frames, now);
        } else {
            for frame in frames {
                match frame {
                    Ok(frame) => self.link.handle(frame, now),
                    Err(reason) => self.link.fail(reason),
                }
            }
        }
    }

    /// Collects the output and checks all bounds.
    fn settle(&mut self, written: bool) {
        let events: Vec<_> = self.link.events().flat_map(apart).collect();
        let closed = |event: &&LinkEvent| matches!(event, LinkEvent::Closed { .. });
        self.closed += events.iter().filter(closed).count();
        self.events.extend(events);
        if written {
            let mut output = BytesMut::new();
            self.link.take_output(&mut output);
            self.output.extend_from_slice(&output);
        }
        assert!(self.link.unconsumed() <= WINDOW && self.link.held() <= self.link.unconsumed());
        // Requests of both sides, and one-way messages in parts, which the credit bounds.
        assert!(self.link.open_exchanges() <= 2 * MAX_OPEN as usize + WINDOW as usize / 5);
        // A remote peer that does not read makes this side keep at most 256 KiB of control frames.
        assert!(self.link.output_len() <= 320 << 10, "{}", self.link.output_len());
        assert_eq!(self.closed, usize::from(self.link.phase() == LinkPhase::Closed));
        assert!(self.closed == 0 || self.link.open_exchanges() == 0);
    }
}

/// An action of this side, the same on both machines. The machine refuses actions that are not
/// allowed.
fn act(link: &mut Link, what: u8, input: &mut Input<'_>, now: &mut Instant) {
    let (number, len, more) = (u32::from(input.byte() % 16), input.short() % 700, what >= 128);
    let data = vec![b'x'; len];
    let numbered = Sequenced { incarnation: 7, series: 0, sequence: 1, level: AckLevel::Handled };
    match what % 12 {
        0 => drop(link.one_way(CODE, &data)),
        1 => drop(link.begin(CODE, &data, ExchangeKind::Request, more)),
        2 => drop(link.begin(CODE, &data, ExchangeKind::OneWay, more)),
        3 => drop(link.begin(CODE, &data, ExchangeKind::Sequenced(numbered), more)),
        4 => drop(link.send_next(number, CODE, &data, more)),
        5 => drop(link.reply(number, CODE, &data, more, !more)),
        6 => drop(link.acknowledge(number, 1, AckLevel::Delivered)),
        7 if more => link.end(number),
        7 => link.reset(number, Reason::CANCELLED),
        8 if more => {
            let (reason, messages) = (len % 40, u32::try_from(len % 3).unwrap());
            let reason = Reason::new(u16::try_from(reason).unwrap());
            link.refuse_one_ways(number, CODE, reason, messages);
        }
        8 => link.consumed(u32::try_from(len).unwrap()),
        9 => link.read(number, u32::try_from(len).unwrap()),
        10 => {
            *now += Duration::from_millis(10 * len as u64);
            link.tick(*now);
        }
        _ if len == 699 => link.bye(),
        _ => link.shrink(),
    }
}

/// The next bytes of the remote peer: an almost valid frame, or anything.
fn speech(input: &mut Input<'_>) -> Vec<u8> {
    let what = input.byte();
    if what >= 240 {
        let len = input.short() % 300;
        return input.take(len).to_vec();
    }
    // The codes stay at these numbers, so that kept inputs keep their meaning.
    let code = match what {
        236.. => b"@RFS",
        233.. => b"@LEN",
        230.. => b"@GOT",
        _ => CODES[usize::from(what) % CODES.len()],
    };
    let (exchange, flags, len) =
        (u32::from(input.byte() % 16), input.byte(), input.short() % 1_200);
    let payload = match len {
        // Short input is passed on unchanged.
        ..32 => input.take(len).to_vec(),
        _ => vec![input.byte(); len],
    };
    let data = [&exchange.to_be_bytes()[..], &[flags], &payload].concat();
    let mut bytes = BytesMut::new();
    FrameCodec::new().encode(Frame::new(code, data), &mut bytes).unwrap();
    bytes.to_vec()
}

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    #[expect(clippy::disallowed_methods, reason = "only differences matter")]
    let mut now = Instant::now();
    let begin = input.byte();
    let role = if begin.is_multiple_of(2) { Role::Dialler } else { Role::Acceptor };
    let (mut one, mut all) = (Side::new(role, now), Side::new(role, now));
    if begin & 2 == 0 {
        let mut greeting = BytesMut::new();
        FrameCodec::new().encode(hello("bob").to_frame(), &mut greeting).unwrap();
        one.hears(&greeting, false, now);
        all.hears(&greeting, true, now);
    }
    // Nothing happens after the end of the link; a few steps suffice to check that.
    let mut behind = 0;
    while !input.is_empty() && behind < 4 {
        behind += one.closed;
        let what = input.byte();
        if what.is_multiple_of(2) {
            // The bytes of one read.
            let said: Vec<u8> = (0..=what % 8).flat_map(|_| speech(&mut input)).collect();
            one.hears(&said, false, now);
            all.hears(&said, true, now);
        } else {
            let (mut again, mut then) = (input, now);
            act(&mut one.link, what / 2, &mut input, &mut now);
            act(&mut all.link, what / 2, &mut again, &mut then);
        }
        for side in [&mut one, &mut all] {
            side.settle(what % 16 < 12);
        }
        assert_eq!(one.link.counts(), all.link.counts());
        assert_eq!(one.link.phase(), all.link.phase());
        assert_eq!((one.link.credit(), one.link.held()), (all.link.credit(), all.link.held()));
    }
    for side in [&mut one, &mut all] {
        side.settle(true);
    }
    assert_eq!(one.events, all.events);
    assert_eq!(one.output, all.output);
}

//! The page `src/protocol.md` matches the code: its examples are decoded, and its tables are
//! compared with the code in both directions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use actix_peer::{
    Config, Peer, PeerInfo, Refusal,
    frame::{Frame, FrameCodec, Part, TypeCode},
    link::{
        AckLevel, ExchangeKind, Hello, Link, LinkConfig, LinkEvent, LinkPhase, MAX_FRAME,
        MAX_PAYLOAD, Reason, Role, Sequenced,
    },
    overlay::{Envelope, Hop, PeerId, PeersSeen, RouteFault, RouteReason, router},
};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::codec::Decoder;

use crate::{
    blocks::{Block, block, blocks},
    common::{frames::shown, sources::rust_files},
    incoming::{connect, say},
};

type Set = BTreeSet<String>;

const FEATURES: [&str; 5] = ["refusals", "listing", "counts", "series", "lengths"];
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const ECHO: TypeCode = TypeCode::new(b"ECHO");
const NEWS: TypeCode = TypeCode::new(b"NEWS");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(root().join("src/protocol.md")).unwrap()
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn bytes(name: &str) -> Vec<u8> {
    block(name).bytes()
}

/// Decodes bytes into frames, without a rest.
fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut buffer = BytesMut::from(bytes);
    let mut frames = Vec::new();
    while let Some(part) = FrameCodec::new().decode(&mut buffer).unwrap() {
        let Part::Frame(frame) = part else { panic!("{part:?}") };
        frames.push(frame);
    }
    assert!(buffer.is_empty(), "{} bytes are left", buffer.len());
    frames
}

/// The only frame of an example.
fn frame(name: &str) -> Frame {
    let mut frames = frames(&bytes(name));
    assert_eq!(frames.len(), 1, "{name}");
    frames.remove(0)
}

fn varint(bytes: &[u8]) -> u64 {
    let sevens = bytes.iter().rev().map(|byte| u64::from(byte & 0x7f));
    let ends = bytes.iter().map(|byte| byte & 0x80 == 0).collect::<Vec<_>>();
    assert!(ends.iter().rev().skip(1).all(|end| !end) && ends.last() == Some(&true), "{bytes:?}");
    sevens.fold(0, |sum, seven| sum << 7 | seven)
}

/// Compares bytes with the text beside them, as far as the text can be compared.
fn compare(bytes: &[u8], meaning: &str) -> Result<(), String> {
    const FREE: [&str; 7] = [
        "the data of the file",
        "eight bytes of any value",
        "the same eight bytes",
        "key, 32 bytes",
        "BLAKE3 of \"bob\", 32 bytes",
        "prefix, the same for all keys",
        "key",
    ];
    let text = |meaning: &str| {
        let (text, end) = match meaning.strip_suffix(" and a line feed") {
            Some(text) => (text, "\n"),
            None => (meaning, ""),
        };
        let text = text.strip_prefix('"')?.strip_suffix('"')?;
        Some([text, end].concat().into_bytes())
    };
    let value = meaning.split_once(" = ").map(|(_, value)| value);
    let same = match value {
        _ if FREE.contains(&meaning) => true,
        None => text(meaning).is_some_and(|text| text == bytes),
        Some(value) if value.starts_with('"') => text(value).is_some_and(|text| text == bytes),
        Some(value) if meaning.starts_with("flags = ") => {
            let flags = ["OPEN", "END", "MORE", "RESET", "NUMBERED"];
            let bit = |name| flags.iter().position(|flag| *flag == name).map(|at| 1_u8 << at);
            let names = value.split(' ').filter(|name| *name != "none");
            bytes == [names.map(|name| bit(name).expect("a flag")).sum::<u8>()]
        }
        Some(value) => match value.strip_prefix("varint ") {
            Some(number) => number.parse() == Ok(varint(bytes)),
            None => {
                let sum = bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
                value.parse() == Ok(sum)
            }
        },
    };
    same.then_some(()).ok_or_else(|| format!("{bytes:02x?} is not {meaning}"))
}

// ---- examples ----

#[test]
fn every_example_matches_the_text_beside_it() {
    let all = blocks();
    let names: Set = all.iter().map(|block| block.name.clone()).collect();
    assert_eq!(names.len(), all.len(), "two examples have one name");
    for Block { name, fields } in &all {
        for (bytes, meaning) in fields {
            compare(bytes, meaning).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    for block in all.iter().filter(|block| !["public-key", "kad-key"].contains(&&*block.name)) {
        frames(&block.bytes());
    }
}

#[test]
fn every_framework_code_has_an_example() {
    let all = blocks().iter().map(Block::bytes).collect::<Vec<_>>();
    for code in codes_in_the_code() {
        let has = all.iter().any(|bytes| bytes.starts_with(code.as_bytes()));
        assert!(has, "no example of {code}");
    }
}

/// Checks that a node answers the first example with the others.
async fn answers(node: &Peer, conversation: &[(&str, &[&str])]) {
    for (request, replies) in conversation {
        let expected: Vec<u8> = replies.iter().flat_map(|reply| bytes(reply)).collect();
        assert_eq!(say(node, &bytes(request)).await, shown(&expected), "to {request}");
    }
}

#[actix::test]
async fn the_examples_of_classic_exchanges_match_the_answers_of_a_node() {
    let node = crate::incoming::ada().start().await.unwrap();
    let conversation: &[(&str, &[&str])] = &[
        ("name-request", &["name-reply"]),
        ("empty-frame", &["name-reply"]),
        ("join-request", &["join-reply"]),
        ("join-request", &["join-again"]),
        ("quit-request", &["quit-reply"]),
        ("quit-request", &["quit-again"]),
        ("ping-request", &["ping-reply"]),
        ("frame", &["refusal"]),
        ("query", &["refusal"]),
        ("fetch", &["refusal"]),
    ];
    answers(&node, conversation).await;
    for peer in ["bob 127.0.0.1 9001", "eve ::1 1"] {
        node.peers().add(peer.parse::<PeerInfo>().unwrap()).await.unwrap();
    }
    answers(&node, &[("list-request", &["list-reply"])]).await;
}

fn hello(id: &str, window: u32, features: &[&str]) -> Hello {
    Hello {
        info: format!("{id} 127.0.0.1 9000").parse().unwrap(),
        window,
        max_message: 1 << 20,
        max_open: 64,
        incarnation: 7,
        features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        lengths: Vec::new(),
    }
}

/// Both sides of a link, after their hellos.
struct Two {
    ada: Link,
    bob: Link,
    now: Instant,
}

fn output(link: &mut Link) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    link.take_output(&mut bytes);
    bytes.to_vec()
}

impl Two {
    fn open(window: u32, features: &[&str]) -> Self {
        let now = now();
        let side = |role, id| {
            let hello = hello(id, window, features);
            Link::new(role, LinkConfig { hello, keep_alive: KEEP_ALIVE }, now)
        };
        let mut two =
            Self { ada: side(Role::Dialler, "ada"), bob: side(Role::Acceptor, "bob"), now };
        two.pass();
        assert_eq!((two.ada.phase(), two.bob.phase()), (LinkPhase::Open, LinkPhase::Open));
        two
    }

    /// Checks that the output of the dialler equals these examples, and passes it to the acceptor.
    #[track_caller]
    fn ada_says(&mut self, names: &[&str]) {
        let said = output(&mut self.ada);
        assert_eq!(
            shown(&said),
            shown(&names.iter().flat_map(|name| bytes(name)).collect::<Vec<_>>())
        );
        frames(&said).into_iter().for_each(|frame| self.bob.handle(frame, self.now));
    }

    /// The same in the other direction.
    #[track_caller]
    fn bob_says(&mut self, names: &[&str]) {
        let said = output(&mut self.bob);
        assert_eq!(
            shown(&said),
            shown(&names.iter().flat_map(|name| bytes(name)).collect::<Vec<_>>())
        );
        frames(&said).into_iter().for_each(|frame| self.ada.handle(frame, self.now));
    }

    fn pass(&mut self) {
        for _ in 0..2 {
            for frame in frames(&output(&mut self.ada)) {
                self.bob.handle(frame, self.now);
            }
            for frame in frames(&output(&mut self.bob)) {
                self.ada.handle(frame, self.now);
            }
        }
    }

    /// Whether neither side has found an error.
    fn is_well(&mut self) -> bool {
        let failed = |event: LinkEvent| matches!(event, LinkEvent::Closed { .. });
        !self.ada.events().any(failed) && !self.bob.events().any(failed)
    }
}

#[test]
fn the_hello_in_the_examples_is_read_and_written() {
    let features = FEATURES;
    let expected =
        Hello { lengths: vec![(TypeCode::NAME, 1_024)], ..hello("ada", 2_098_176, &features) };
    assert_eq!(Hello::from_frame(&frame("hello")), Ok(expected.clone()));
    assert_eq!(shown(frame("hello").data()), shown(expected.to_frame().data()));
}

#[test]
fn the_examples_of_messages_over_a_link_match_what_its_two_sides_send() {
    let mut two = Two::open(1 << 20, &[]);
    two.ada.one_way(NEWS, b"hi").unwrap();
    two.ada_says(&["one-way"]);
    assert_eq!(two.ada.begin(NEWS, b"first part, ", ExchangeKind::OneWay, true), Ok(1));
    two.ada.send_next(1, NEWS, b"last part", false).unwrap();
    two.ada_says(&["one-way-first", "one-way-last"]);
    assert_eq!(two.ada.begin(ECHO, b"hello", ExchangeKind::Request, false), Ok(3));
    assert_eq!(two.ada.begin(ECHO, b"hel", ExchangeKind::Request, true), Ok(5));
    two.ada.send_next(5, ECHO, b"lo", false).unwrap();
    two.ada_says(&["request", "request-first", "request-last"]);
    two.bob.reply(3, TypeCode::REPL, b"one", false, false).unwrap();
    two.bob.reply(3, TypeCode::REPL, b"two", false, true).unwrap();
    two.bob_says(&["reply", "reply-last"]);
    two.ada.reset(5, Reason::CANCELLED);
    two.ada_says(&["cancel"]);
    let numbered = |sequence, level, series| {
        ExchangeKind::Sequenced(Sequenced { incarnation: 7, series, sequence, level })
    };
    let first = numbered(1, AckLevel::Delivered, 0);
    assert_eq!(two.ada.begin(ECHO, b"hello", first, false), Ok(7));
    two.ada_says(&["acked"]);
    two.bob.acknowledge(7, 1, AckLevel::Delivered).unwrap();
    two.bob_says(&["ack"]);
    assert!(two.is_well());

    let mut two = Two::open(1 << 20, &["series"]);
    for number in [1, 3, 5, 7] {
        assert_eq!(two.ada.begin(ECHO, b"", ExchangeKind::Request, false), Ok(number));
    }
    two.pass();
    let second = numbered(2, AckLevel::Handled, 0x0102_0304_0506_0708);
    assert_eq!(two.ada.begin(ECHO, b"hello", second, false), Ok(9));
    two.ada_says(&["acked-series"]);
    assert_eq!(two.ada.begin(TypeCode::PING, b"", ExchangeKind::Request, false), Ok(11));
    two.pass();
    two.bob.reply(11, TypeCode::PONG, b"ada", false, false).unwrap();
    two.bob.reply(11, TypeCode::PONG, b"elsewhere 192.0.2.9:9000", false, true).unwrap();
    two.bob_says(&["listing-pong", "listing"]);
    two.bob.end(3);
    two.bob_says(&["end"]);
    assert!(two.is_well());
}

#[test]
fn the_examples_of_control_frames_match_what_the_two_sides_of_a_link_send() {
    // Half of the window is granted again at once.
    let cost = 65_546;
    let mut two = Two::open(2 * cost, &FEATURES);
    two.ada.one_way(NEWS, &vec![0; MAX_PAYLOAD]).unwrap();
    two.ada.one_way(NEWS, b"").unwrap();
    two.pass();
    two.bob.consumed(cost);
    two.bob_says(&["credit"]);

    let mut two = Two::open(1 << 20, &FEATURES);
    for number in [1, 3] {
        assert_eq!(two.ada.begin(ECHO, b"", ExchangeKind::Request, false), Ok(number));
    }
    two.pass();
    for _ in 0..2 {
        two.bob.reply(3, TypeCode::REPL, &vec![0; MAX_PAYLOAD], false, false).unwrap();
    }
    two.pass();
    two.ada.read(3, 131_082);
    two.ada_says(&["reply-credit"]);
    two.bob.reset(3, Reason::BUSY);
    two.bob_says(&["reset"]);
    two.now += KEEP_ALIVE;
    two.ada.tick(two.now);
    two.ada_says(&["ping"]);
    two.bob_says(&["pong"]);
    for _ in 0..2 {
        two.ada.one_way(NEWS, b"").unwrap();
    }
    two.pass();
    two.bob.refuse_one_ways(0, NEWS, Reason::UNKNOWN_CODE, 2);
    two.bob_says(&["refused"]);
    two.bob.send_lengths(&[(ECHO, 2_048)]);
    two.bob_says(&["length"]);
    assert!(two.is_well());
    two.ada.bye();
    two.ada_says(&["bye"]);

    let mut two = Two::open(1 << 20, &FEATURES);
    for _ in 0..3 {
        two.ada.one_way(NEWS, b"").unwrap();
    }
    two.pass();
    two.bob.fail(Reason::PROTOCOL);
    two.bob_says(&["got", "close-link"]);
    let closed = two.ada.events().find(|event| matches!(event, LinkEvent::Closed { .. }));
    assert_eq!(closed, Some(LinkEvent::Closed { reason: Reason::PROTOCOL, remote: true }));
}

/// Passes frames of the dialler to a link. Returns the reason with which it ends, if it does.
fn ends_with(frames: &[Frame]) -> Option<u16> {
    let mut two = Two::open(4 * 65_541, &["series"]);
    frames.iter().for_each(|frame| two.bob.handle(frame.clone(), two.now));
    let last = self::frames(&output(&mut two.bob)).pop()?;
    let data = last.data();
    (last.code() == TypeCode::new(b"@RST") && data[..5] == [0, 0, 0, 0, 8])
        .then(|| u16::from_be_bytes([data[5], data[6]]))
}

fn link_frame(code: &[u8; 4], exchange: u32, flags: u8, payload: &[u8]) -> Frame {
    Frame::new(code, [&exchange.to_be_bytes()[..], &[flags], payload].concat())
}

// Flags of a frame on a link.
const OPEN: u8 = 1;
const END: u8 = 2;
const MORE: u8 = 4;
const NUMBERED: u8 = 16;

/// A one-way message with this many bytes of data.
fn one_way_message(len: usize) -> Frame {
    link_frame(b"NEWS", 0, 0, &vec![0; len])
}

#[test]
fn every_kind_of_bad_input_on_the_page_ends_a_link_with_its_reason() {
    let (frame, message) = (link_frame, one_way_message);
    let asked = || frame(b"ECHO", 1, OPEN | END, b"");
    let numbers = |level| [&[0; 16][..], &[level], &[0; 8]].concat();
    // The number of the row, and the input that it describes.
    let cases: &[(usize, &[Frame])] = &[
        (0, &[message(MAX_PAYLOAD + 1)]),
        (0, &[Frame::new("NEWS", vec![0; 4])]),
        (1, &[frame(b"NEWS", 0, 0x20, b"")]),
        (2, &[hello("ada", 1, &[]).to_frame()]),
        (3, &[frame(b"NEWS", 0, MORE, b"")]),
        (3, &[frame(b"NEWS", 0, END, b"")]),
        (4, &[frame(b"REPL", 2, END, b"")]),
        (5, &[asked(), asked()]),
        (5, &[frame(b"ECHO", 1, OPEN | MORE, b""), frame(b"ECHO", 1, NUMBERED, &numbers(1))]),
        (5, &[frame(b"ECHO", 1, NUMBERED, &numbers(1))]),
        (6, &[frame(b"ECHO", 1, OPEN | NUMBERED, &numbers(1)[1..])]),
        (6, &[frame(b"ECHO", 1, OPEN | NUMBERED, &numbers(3))]),
        (7, &[asked(), frame(b"ECHO", 1, END, b"")]),
        (8, &[message(65_536), message(65_536), message(65_536), message(65_536), message(0)]),
        (8, &[frame(b"@CRD", 0, 0, &[0; 3])]),
        (8, &[frame(b"@CRD", 0, 0, &[0, 0, 0, 1])]),
        (8, &[frame(b"@CRD", 2, 0, &[0, 0, 0, 1])]),
        (9, &[asked(), frame(b"@BYE", 0, 0, b""), message(0)]),
        (10, &[frame(b"@PNG", 0, 0, &[0; 7])]),
        (10, &[frame(b"@LEN", 0, 0, &[0; 9])]),
        (10, &[frame(b"@RFS", 1, 0, b"\0\0\0\x01NEWS\0\x01")]),
        (10, &[frame(b"@LEN", 1, 0, &[0; 8])]),
        (10, &[frame(b"@GOT", 1, 0, &[0; 12])]),
        (10, &[frame(b"@RFS", 0, 0, b"\0\0\0\0NEWS\0\x01")]),
        (10, &[frame(b"@GOT", 0, 0, &[0; 11])]),
        (11, &vec![frame(b"@CRD", 0, 0, &[0; 4]); 100]),
    ];
    let page = page();
    let section = page.split_once("\n## Bad input\n").unwrap().1.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("- ")).count();
    let named: BTreeSet<_> = cases.iter().map(|(line, _)| *line).collect();
    assert_eq!(named, (0..lines).collect());
    for (at, (line, frames)) in cases.iter().enumerate() {
        let expected = if at == 0 { 2 } else { 10 };
        assert_eq!(ends_with(frames), Some(expected), "line {line}: {frames:?}");
    }
}

#[test]
fn the_nearest_valid_input_to_the_bad_input_on_the_page_is_accepted() {
    let (frame, message) = (link_frame, one_way_message);
    let asked = frame(b"ECHO", 1, OPEN | END, b"");
    let parts = vec![frame(b"ECHO", 1, MORE, b""); 98];
    let good: &[&[Frame]] = &[
        &[message(MAX_PAYLOAD)],
        &[message(65_536), message(65_536), message(65_536), message(65_536)],
        &[asked, frame(b"@CRD", 1, 0, &[0; 4])],
        &[&[frame(b"ECHO", 1, OPEN | MORE, b"")], &parts[..], &[frame(b"ECHO", 1, END, b"")]]
            .concat(),
        &[frame(b"@XYZ", 0, 0, b"")],
        &[frame(b"@PON", 0, 0, b"")],
        &[frame(b"@BYE", 0, 0, b"")],
    ];
    for frames in good {
        assert_eq!(ends_with(frames), None, "{frames:?}");
    }
}

#[test]
fn the_examples_of_a_peer_exchange_are_read_and_written() {
    assert_eq!(frame("peers-question"), Frame::text("@PEX", "1"));
    let bob: PeerInfo = "bob 192.0.2.7 9000".parse().unwrap();
    let answer: PeersSeen = [(bob, Duration::from_secs(30))].into_iter().collect();
    assert_eq!(PeersSeen::decode(&frame("peers-answer")), Some(answer.clone()));
    assert_eq!(answer.encode(), frame("peers-answer"));
}

#[test]
fn the_examples_of_routed_messages_are_read_and_written() {
    let id = |text: &str| text.parse::<PeerId>().unwrap();
    let info = |text: &str| format!("{text} 192.0.2.1 9000").parse::<PeerInfo>().unwrap();
    let mut message = Envelope::new(id("cyd"), id("ada"), 8, Frame::text("ECHO", "hello"));
    for (me, next) in [("ada", "bob"), ("bob", "cyd")] {
        let next = info(next);
        let mut way = router::from_fn(move |_, _| Some(next.clone()));
        let peers = actix_peer::overlay::PeerList::new(id(me), 0);
        let Hop::Next(_, passed) = message.step(&id(me), &mut way, &peers) else { panic!("{me}") };
        message = passed;
    }
    assert_eq!(Envelope::decode(&frame("forward")), Some(message.clone()));
    assert_eq!(message.encode(), Some(frame("forward")));
    let fault = RouteFault::new(RouteReason::NoRoute, id("bob")).at_hop(1);
    assert_eq!(RouteFault::from_frame(&frame("forward-fault")), Some(fault.clone()));
    assert_eq!(fault.to_frame(), frame("forward-fault"));
}

#[cfg(feature = "gossip")]
#[test]
fn the_examples_of_neighbours_are_read_and_written() {
    use actix_peer::overlay::views::{Priority, ViewsMessage};

    let ada: PeerInfo = "ada 192.0.2.1 9000".parse().unwrap();
    let bob: PeerInfo = "bob 192.0.2.7 9000".parse().unwrap();
    let peers = vec![bob];
    for (name, message) in [
        ("nbr-join", ViewsMessage::Join),
        ("nbr-forward-join", ViewsMessage::ForwardJoin { joiner: ada.clone(), walk: 6 }),
        ("nbr-neighbor", ViewsMessage::Neighbor { priority: Priority::High }),
        ("nbr-accept", ViewsMessage::Accept { peers: peers.clone() }),
        ("nbr-refuse", ViewsMessage::Refuse { peers: Vec::new() }),
        ("nbr-disconnect", ViewsMessage::Disconnect { peers: Vec::new() }),
        ("nbr-leave", ViewsMessage::Leave),
        ("nbr-shuffle", ViewsMessage::Shuffle { origin: ada, token: 42, walk: 6, peers }),
        ("nbr-shuffle-reply", ViewsMessage::ShuffleReply { token: 42, peers: Vec::new() }),
    ] {
        assert_eq!(message.encode(""), Some(frame(name)), "{name}");
        assert_eq!(ViewsMessage::decode(&frame(name)), Some(("", message)), "{name}");
    }
}

#[cfg(feature = "gossip")]
#[test]
fn the_examples_of_broadcasts_are_read_and_written() {
    use actix_peer::overlay::trees::{Announced, MessageId, Span, TreesMessage};

    let author: PeerInfo = "ada 192.0.2.1 9000".parse().unwrap();
    let id = MessageId { author, incarnation: 7, sequence: 5 };
    let span = |count| Span { first: id.clone(), count };
    let payload = TreesMessage::Payload {
        id: id.clone(),
        hops: 2,
        age: 7,
        payload: "NEWShello".into(),
        proof: Vec::new().into(),
    };
    for (name, message) in [
        ("bcp-payload", payload),
        ("bcc-have", TreesMessage::IHave { announced: vec![Announced { span: span(2), hops: 3 }] }),
        ("bcc-graft", TreesMessage::Graft { spans: vec![span(1)] }),
        ("bcc-refuse", TreesMessage::Refuse { spans: vec![span(1)] }),
        ("bcc-prune", TreesMessage::Prune),
    ] {
        assert_eq!(message.encode(""), [frame(name)], "{name}");
        assert_eq!(TreesMessage::decode(&frame(name)), Some(("", message)), "{name}");
    }
}

#[cfg(feature = "gossip")]
#[test]
fn the_examples_of_topics_are_read_and_written() {
    use actix_peer::overlay::{
        topics::{TopicHash, TopicsMessage},
        trees::MessageId,
    };

    let author: PeerInfo = "ada 192.0.2.1 9000".parse().unwrap();
    let question = MessageId { author, incarnation: 7, sequence: 5 };
    let peers = vec!["bob 192.0.2.7 9000".parse().unwrap()];
    let topic = TopicHash::of("news");
    for (name, message) in [
        ("tpc-takes", TopicsMessage::Takes { topics: vec![topic] }),
        ("tpc-ask", TopicsMessage::Ask { topic }),
        ("tpc-here", TopicsMessage::Here { question, peers }),
    ] {
        assert_eq!(message.encode(), Some(frame(name)), "{name}");
        assert_eq!(TopicsMessage::decode(&frame(name)), Some(message), "{name}");
    }
}

#[cfg(feature = "kademlia")]
#[test]
fn the_examples_of_kademlia_are_read_and_written() {
    use actix_peer::overlay::kademlia::{
        Key, Record, StoreRefusal,
        message::{Answer, Question, Request, Response},
    };

    let key = Key::new(std::array::from_fn(|at| u8::try_from(at).unwrap()));
    let ada: PeerInfo = "ada 192.0.2.1 9000".parse().unwrap();
    let record = Record::new(key, ada.clone(), 7, 3_600, b"hi".to_vec());
    for (name, question) in [
        ("kad-ping", Question::Ping),
        ("kad-find-node", Question::FindNode(key)),
        ("kad-find-value", Question::FindValue(key)),
        ("kad-store", Question::Store(record.clone())),
    ] {
        let request = Request { from: ada.clone(), question };
        assert_eq!(request.encode(), Some(frame(name)), "{name}");
        assert_eq!(Request::decode(&frame(name)), Some(request), "{name}");
    }
    let me: PeerId = "bob".parse().unwrap();
    for (name, answer) in [
        ("kad-here", Answer::Here),
        ("kad-nodes", Answer::Nodes(vec![ada])),
        ("kad-records", Answer::Records(vec![record], Vec::new())),
        ("kad-kept", Answer::Kept),
        ("kad-refused", Answer::Refused(StoreRefusal::Full)),
    ] {
        let response = Response { me: me.clone(), answer };
        assert_eq!(response.encode(), Some(frame(name)), "{name}");
        assert_eq!(Response::decode(&frame(name)), Some(response), "{name}");
    }
    assert_eq!(shown(&bytes("kad-key")), shown(Key::of(&me).as_bytes()));
}

#[cfg(feature = "kademlia")]
#[test]
fn the_refusal_numbers_of_kademlia_match_the_table() {
    use actix_peer::overlay::kademlia::message::{Answer, Response};

    let rows = table("why");
    let refused = |number: u8| {
        let mut data = frame("kad-refused").data().to_vec();
        *data.last_mut().unwrap() = number;
        match Response::decode(&Frame::new("@KAD", data))?.answer {
            Answer::Refused(_) => Some(()),
            other => panic!("{other:?}"),
        }
    };
    for (number, row) in (0..).zip(&rows) {
        assert_eq!(row[1], number.to_string());
        assert!(refused(number).is_some(), "{number}");
    }
    assert!(
        refused(u8::try_from(rows.len()).unwrap()).is_none(),
        "a number beyond the table is unknown"
    );
}

#[cfg(feature = "swim")]
#[test]
fn the_examples_of_the_membership_match_the_answers_of_members() {
    use actix_peer::overlay::swim::{Membership, SwimConfig};

    fn member(info: &str, life: u64, now: Instant) -> Membership {
        Membership::new(info.parse().unwrap(), life, SwimConfig::lan(3), 1, now)
    }
    /// Checks the output of a member against an example, up to the updates of the datagram.
    fn sent(member: &mut Membership, name: &str) {
        let whole = bytes(name);
        let field = |(_, meaning): &(Vec<u8>, String)| !meaning.starts_with("updates = ");
        let until = block(name).fields.iter().take_while(|of| field(of)).map(|of| of.0.len()).sum();
        // After code, length, version, kind and the length of the datagram.
        let begin = if name == "swim-here" { 8 } else { 11 };
        let expected = &whole[begin..until];
        let sends: Vec<_> = std::iter::from_fn(|| member.next_send()).collect();
        let is_it = |data: &[u8]| data[begin - 8..].starts_with(expected);
        assert!(sends.iter().any(|(_, data)| is_it(data)), "{name}: {sends:02x?}");
    }
    let now = now();
    let data = |name: &str| frame(name).into_data();
    let [ada_info, bob_info] = ["ada 192.0.2.1 9000", "bob 192.0.2.7 9000"];
    let (ada, bob, cyd) =
        ("ada".parse().unwrap(), "bob".parse().unwrap(), "cyd".parse::<PeerId>().unwrap());
    let mut at_ada = member(ada_info, 0, now);
    at_ada.set_metadata(b"web", now).unwrap();
    at_ada.set_contacts([bob_info.parse().unwrap()]);
    let mut at_bob = member(bob_info, 2, now);
    let mut at_cyd = member("cyd 192.0.2.8 9000", 3, now);
    at_cyd.set_contacts([bob_info.parse().unwrap()]);

    assert_eq!(at_bob.receive(&ada, &data("swim-ask"), now), Ok(()));
    sent(&mut at_bob, "swim-here");
    at_ada.tick(now);
    sent(&mut at_ada, "swim-announce");
    assert_eq!(at_bob.receive(&ada, &data("swim-announce"), now), Ok(()));
    sent(&mut at_bob, "swim-feed");
    assert_eq!(at_bob.receive(&ada, &data("swim-ping"), now), Ok(()));
    sent(&mut at_bob, "swim-ack");
    at_cyd.tick(now);
    let (_, announce) = at_cyd.next_send().unwrap();
    assert_eq!(at_bob.receive(&cyd, &announce, now), Ok(()));
    assert_eq!(at_bob.receive(&ada, &data("swim-ping-request"), now), Ok(()));
    sent(&mut at_bob, "swim-indirect-ping");
    assert_eq!(at_cyd.receive(&bob, &data("swim-indirect-ping"), now), Ok(()));
    sent(&mut at_cyd, "swim-indirect-ack");
    assert_eq!(at_bob.receive(&cyd, &data("swim-indirect-ack"), now), Ok(()));
    sent(&mut at_bob, "swim-forwarded-ack");
    for name in ["swim-feed", "swim-ack", "swim-forwarded-ack", "swim-gossip", "swim-turn-undead"] {
        assert_eq!(at_ada.receive(&bob, &data(name), now), Ok(()), "{name}");
    }
    assert_eq!(at_ada.receive(&bob, &data("swim-here"), now), Ok(()));
}

#[cfg(feature = "tls")]
#[test]
fn the_example_key_is_that_of_rfc_8032_and_its_id_is_the_one_on_the_page() {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};

    use actix_peer::transport::tls::NodeIdentity;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rfc8032.pem");
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    file.as_mut().unwrap().write_all(pem.as_bytes()).unwrap();
    let id = NodeIdentity::load(&path).unwrap().id().to_string();
    assert!(page().contains(&format!("`{id}`:")));
    let example = block("public-key");
    let key = example.fields[1].0.iter().map(|byte| format!("{byte:02x}"));
    assert_eq!(key.collect::<String>(), id);
    assert_eq!(bytes("public-key").len(), 44);
}

// ---- tables ----

/// The rows of the table whose first column has this title.
fn table(first: &str) -> Vec<Vec<String>> {
    tables(first).into_iter().next().unwrap_or_else(|| panic!("no table of {first}"))
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The rows of each table whose first column has this title.
fn tables(first: &str) -> Vec<Vec<Vec<String>>> {
    let page = page();
    let lines: Vec<_> = page.lines().collect();
    let is_head = |at: &usize| {
        let under = lines.get(at + 1).is_some_and(|line| line.starts_with("|--"));
        under && cells(lines[*at]).first().is_some_and(|cell| cell == first)
    };
    let rows = |at: usize| {
        let rows = lines[at + 2..].iter().take_while(|line| line.starts_with('|'));
        rows.map(|line| cells(line)).collect()
    };
    (0..lines.len()).filter(is_head).map(rows).collect()
}

/// The text between backticks in a cell.
fn code(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// The sources of the crate without their tests.
fn sources() -> Vec<String> {
    let files = rust_files(&root().join("src"));
    let root = root();
    let is_test = |path: &&PathBuf| {
        let mut parts = path.strip_prefix(root).unwrap().iter();
        parts.any(|part| part == "tests" || part == "tests.rs")
    };
    let files = files.iter().filter(|path| !is_test(path));
    let code = files.map(|path| fs::read_to_string(path).unwrap());
    code.map(|text| text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()).collect()
}

/// The codes of the framework in the sources.
fn codes_in_the_code() -> BTreeSet<TypeCode> {
    let mut codes = BTreeSet::new();
    for text in sources() {
        for rest in text.split("b\"@").skip(1) {
            let word = rest.as_bytes().first_chunk::<3>().expect("a code");
            codes.insert(TypeCode::new(&[b'@', word[0], word[1], word[2]]));
        }
    }
    codes
}

#[test]
fn the_table_of_codes_lists_exactly_the_framework_codes() {
    let listed: Set = tables("code")
        .into_iter()
        .find(|rows| rows.iter().any(|row| row[0] == "`@LNK`"))
        .unwrap()
        .iter()
        .map(|row| code(&row[0]))
        .collect();
    let ours: Set = codes_in_the_code().iter().map(TypeCode::to_string).collect();
    let (theirs, others): (Set, Set) = listed.into_iter().partition(|code| code.starts_with('@'));
    assert_eq!(theirs, ours);
    let well_known = [
        TypeCode::NAME,
        TypeCode::LIST,
        TypeCode::JOIN,
        TypeCode::QUIT,
        TypeCode::PING,
        TypeCode::PONG,
        TypeCode::QUER,
        TypeCode::RESP,
        TypeCode::FGET,
        TypeCode::REPL,
        TypeCode::ERRO,
    ];
    assert_eq!(others, well_known.iter().map(TypeCode::to_string).collect());
}

#[test]
fn the_table_of_refusals_lists_exactly_the_refusals() {
    let rows = tables("text").into_iter().find(|rows| rows[0].len() == 4).unwrap();
    let row = |refusal: &Refusal| {
        let handled = if refusal.reason().may_have_been_handled() { "perhaps" } else { "no" };
        (refusal.text().to_owned(), (refusal.reason().number().to_string(), handled.to_owned()))
    };
    let expected: BTreeMap<_, _> = Refusal::ALL.iter().map(row).collect();
    let listed = rows.iter().map(|row| (code(&row[0]), (row[1].clone(), row[3].clone())));
    assert_eq!(listed.collect::<BTreeMap<_, _>>(), expected);
}

/// The string literals of a source.
fn literals(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

#[test]
fn the_table_of_texts_lists_exactly_those_of_the_well_known_messages() {
    let sources = sources();
    let text = sources.iter().find(|text| text.contains("\"Join: incorrect arguments\"")).unwrap();
    let code_lines: String =
        text.lines().filter(|line| !line.trim().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut ours = Set::new();
    for literal in literals(&code_lines) {
        if !literal.starts_with("Join: ") && !literal.starts_with("Quit: ") {
            continue;
        }
        let literal = literal.replace("{id}", "ID").replace("{}", "ID");
        if literal == "Join: {text}" {
            let texts = code_lines.split("refused(\"").skip(1);
            let text = |rest: &str| format!("Join: {}", rest.split('"').next().unwrap());
            ours.extend(texts.map(text));
        } else if literal.ends_with(": ") {
            ours.insert(literal + "ID");
        } else {
            ours.insert(literal);
        }
    }
    let rows = tables("answer").into_iter().flatten();
    let rows = rows.filter(|row| ["`REPL`", "`ERRO`"].contains(&row[0].as_str()));
    assert_eq!(rows.map(|row| code(&row[1])).collect::<Set>(), ours);
}

#[test]
fn every_other_error_text_is_on_the_page() {
    let page = page();
    let mut texts = 0;
    for source in sources() {
        for rest in source.split("Reply::error(\"").skip(1) {
            let text = rest.split('"').next().unwrap();
            texts += 1;
            assert!(page.contains(&format!("`{}", text.trim_end())), "{text:?}");
        }
    }
    assert!(texts >= 5, "only {texts} texts were found");
}

#[test]
fn the_table_of_reasons_lists_exactly_the_reasons() {
    let rows = tables("number").into_iter().find(|rows| rows[0].len() == 4).unwrap();
    let listed: BTreeMap<u16, (String, String)> = rows
        .iter()
        .map(|row| (row[0].parse().unwrap(), (row[1].clone(), row[3].clone())))
        .collect();
    let reason = |number: u16| {
        let reason = Reason::new(number);
        let handled = if reason.may_have_been_handled() { "yes" } else { "no" };
        Some((number, (reason.text()?.to_owned(), handled.to_owned())))
    };
    assert_eq!(listed, (0..=u16::MAX).filter_map(reason).collect());
}

#[test]
fn the_table_of_faults_lists_exactly_those_of_routed_messages() {
    let rows = tables("number").into_iter().find(|rows| rows[0].len() == 3).unwrap();
    let listed: BTreeMap<u16, (String, String)> = rows
        .iter()
        .map(|row| (row[0].parse().unwrap(), (row[1].clone(), row[2].clone())))
        .collect();
    let fault = |number: u16| {
        let data = [&number.to_be_bytes()[..], b"bob"].concat();
        let fault = RouteFault::from_frame(&Frame::new("@FWE", data)).unwrap();
        if matches!(fault.reason(), RouteReason::Other(_)) {
            return None;
        }
        let text = fault.to_string().strip_suffix(" at bob").unwrap().to_owned();
        let handled = if fault.may_have_been_handled() { "yes" } else { "no" };
        Some((number, (text, handled.to_owned())))
    };
    assert_eq!(listed, (0..=u16::MAX).filter_map(fault).collect());
}

/// Opens a link to the node as the peer bob with these features. Returns the stream and the node's
/// hello.
async fn greet(node: &Peer, features: &[&str]) -> (tokio::net::TcpStream, Hello) {
    let mut stream = connect(node).await;
    let hello = hello("bob", 1 << 20, features).to_frame();
    let text = hello.as_str().unwrap();
    stream.write_all(&crate::common::frames::frame(hello.code().as_bytes(), text)).await.unwrap();
    let theirs = Hello::from_frame(&hear(&mut stream).await).unwrap();
    (stream, theirs)
}

/// The next frame.
async fn hear(stream: &mut tokio::net::TcpStream) -> Frame {
    let mut whole = vec![0; 8];
    stream.read_exact(&mut whole).await.unwrap();
    let len = u32::from_be_bytes(*whole.last_chunk().unwrap());
    whole.resize(8 + len as usize, 0);
    stream.read_exact(&mut whole[8..]).await.unwrap();
    frames(&whole).remove(0)
}

#[actix::test]
async fn the_tables_of_the_hello_list_exactly_its_members_and_features() {
    let node = crate::incoming::ada().start().await.unwrap();
    let (_stream, theirs) = greet(&node, &[]).await;
    let text = theirs.to_frame();
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(text.data()).unwrap();
    let listed: Set = table("member").iter().map(|row| code(&row[0])).collect();
    assert_eq!(listed, members.keys().cloned().collect());
    let listed: Set = table("feature").iter().map(|row| code(&row[0])).collect();
    assert_eq!(listed, theirs.features.iter().cloned().collect());
    assert_eq!(listed, FEATURES.iter().map(|feature| (*feature).to_owned()).collect());
}

#[actix::test]
async fn a_pong_over_a_link_says_whether_the_caller_is_listed_if_both_support_listing() {
    let texts: Vec<_> = tables("text").into_iter().find(|rows| rows[0].len() == 2).unwrap();
    assert_eq!(
        texts.iter().map(|row| code(&row[0])).collect::<Vec<_>>(),
        ["listed", "unknown", "elsewhere HOST:PORT"]
    );
    let node = crate::incoming::ada().start().await.unwrap();
    let (mut stream, _) = greet(&node, &["listing"]).await;
    stream.write_all(b"PING\0\0\0\x05\0\0\0\x01\x03").await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let frame = hear(&mut stream).await;
        if frame.code() == TypeCode::PONG {
            heard.push(frame.data()[5..].to_vec());
        }
    }
    assert_eq!(heard, [b"ada".to_vec(), b"unknown".to_vec()]);
    let mut end = Vec::new();
    stream.shutdown().await.unwrap();
    stream.read_to_end(&mut end).await.unwrap();
}

#[test]
fn the_limits_on_the_page_are_the_defaults() {
    let config = Config::default();
    let defaults: BTreeMap<_, _> =
        config.entries().into_iter().map(|entry| (entry.option.to_owned(), entry.value)).collect();
    for row in table("option") {
        assert_eq!(defaults.get(&code(&row[0])), Some(&row[1]), "{}", row[0]);
    }
    let page = page();
    assert!(page.contains("at most 65,541 bytes") && MAX_FRAME == 65_541);
    assert!(page.contains("up to 65,536 bytes") && MAX_PAYLOAD == 65_536);
    assert!(page.contains("at most 16 peers") && actix_peer::overlay::MAX_HINTS == 16);
    for number in [actix_peer::link::REMEMBERED, actix_peer::link::REMEMBERED_FOR.as_secs()] {
        assert!([4_096, 600].contains(&number));
    }
    assert!(page.contains("remembers at least 4,096 numbers of each sender, for at least 600 s"));
}

// ---- references ----

/// The anchor of a heading on a page.
fn anchor(heading: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let text = heading.trim_start_matches('#').trim().to_ascii_lowercase().replace(' ', "-");
    text.chars().filter(|c| word(*c)).collect()
}

/// Each text between `begin` and the first character that cannot be in an anchor.
fn anchors_after<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    text.split(begin).skip(1).map(|rest| rest.split(is_end).next().unwrap()).collect()
}

#[test]
fn every_reference_to_the_page_leads_to_a_heading() {
    let page = page();
    let outside = page.split("\n```").step_by(2).collect::<Vec<_>>().join("\n");
    let headings: Vec<_> =
        outside.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    let unique: Set = headings.iter().cloned().collect();
    assert_eq!(unique.len(), headings.len(), "two headings have one anchor");
    for to in anchors_after(&page, "](#") {
        assert!(unique.contains(to), "no heading {to}");
    }
    let mut files = ["README.md", "CHANGELOG.md", "tests/threats/list.md", "src/delivery.md"]
        .map(|path| root().join(path))
        .to_vec();
    for folder in ["src", "tests", "examples", "benches"] {
        files.append(&mut rust_files(&root().join(folder)));
    }
    let mut references = 0;
    for path in files.iter().filter(|path| !path.ends_with("wire/document.rs")) {
        let text = fs::read_to_string(path).unwrap();
        let outside = ["WI", "RE.md"].concat();
        assert!(!text.contains(&outside), "{} names a page outside of the tree", path.display());
        for begin in ["protocol.md#", "crate::protocol#", "actix_peer::protocol#"] {
            for to in anchors_after(&text, begin) {
                references += 1;
                assert!(unique.contains(to), "{}: no heading {to}", path.display());
            }
        }
    }
    assert!(references > 20, "{references}");
}

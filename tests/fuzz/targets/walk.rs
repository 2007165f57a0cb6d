//! The walk of a join: replies of remote peers in any order and number.

use std::time::Instant;

use actix_peer::{
    frame::{Frame, TypeCode},
    overlay::{
        Added, JoinConfig, JoinEnd, JoinEvent, JoinFailure, JoinStep, JoinWalk, PeerInfo, PeerList,
    },
};

use super::input::Input;

const MAX_ASKS: usize = 8;
const FAN_OUT: usize = 3;
const LIMIT: usize = 4;

/// Typical replies of remote peers. The fuzzer makes up the others.
const TEXTS: [&str; 9] = [
    "bob",
    "me",
    "Join: peer added: me",
    "Join: too many peers",
    "Join: peer already inserted me",
    "Busy",
    "3",
    "bob 127.0.0.1 9001",
    "eve 127.0.0.1 9002",
];

fn reply(input: &mut Input<'_>) -> Frame {
    let what = input.byte();
    let code = if what % 8 == 7 { TypeCode::ERRO } else { TypeCode::REPL };
    match what % 3 {
        0 => Frame::text(code, TEXTS[usize::from(what / 3) % TEXTS.len()]),
        1 => {
            let n = u16::from(input.byte());
            Frame::text(code, format!("p{n} 127.0.0.1 {}", 9_000 + n))
        }
        _ => {
            let len = usize::from(input.byte());
            Frame::new(code, input.take(len).to_vec())
        }
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let me: PeerInfo = "me 127.0.0.1 9000".parse().unwrap();
    #[expect(clippy::disallowed_methods, reason = "only differences matter")]
    let now = Instant::now();
    let config = JoinConfig::new().hops(3).max_asks(MAX_ASKS).fan_out(FAN_OUT);
    let mut walk = JoinWalk::new(me.clone(), "127.0.0.1:9001".parse().unwrap(), config, now);
    let mut peers = PeerList::new(me.id().clone(), LIMIT);
    let (mut asks, mut joins, mut waited) = (0, Vec::new(), false);
    let mut event = JoinEvent::Start;
    for _ in 0..=5 * MAX_ASKS + LIMIT {
        event = match walk.step(event, &peers, now) {
            JoinStep::Ask { to, frame, .. } => {
                asks += 1;
                assert_ne!(&to, me.address(), "the node asks itself");
                if frame.code() == TypeCode::JOIN {
                    assert!(
                        waited || !joins.contains(&to),
                        "the walk joins a peer twice without a pause"
                    );
                    joins.push(to);
                }
                if input.byte() == 255 {
                    JoinEvent::Failed(JoinFailure::PortClosed)
                } else {
                    let count = input.byte() % 8;
                    JoinEvent::Replies((0..count).map(|_| reply(&mut input)).collect())
                }
            }
            JoinStep::Wait(pause) => {
                assert!(pause.as_secs() < 10, "{pause:?}");
                waited = true;
                JoinEvent::Waited
            }
            JoinStep::Add { info, learned } => {
                assert_ne!(info.id(), me.id(), "the node adds itself");
                let added = peers.add(info, learned, now);
                assert_ne!(added, Added::Own);
                JoinEvent::Added(added)
            }
            JoinStep::Done(report) => {
                assert!(asks <= MAX_ASKS && report.asked() == asks);
                assert!(peers.len() <= LIMIT && report.end() != JoinEnd::TimeUp);
                return;
            }
            step => panic!("{step:?}"),
        };
    }
    panic!("the walk does not end");
}

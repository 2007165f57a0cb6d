//! Two sides of a link, joined by their frames.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio_util::codec::{Decoder, Encoder};

use super::*;
use crate::frame::{Frame, FrameCodec, Part, TypeCode};

mod acknowledged;
mod arbitrary;
mod ending;
mod frames;
mod lengths;
mod model;
mod refusals;
mod sequenced;

const CODE: TypeCode = TypeCode::new(b"TEST");
const KEEP_ALIVE: Duration = Duration::from_secs(5);

fn hello(id: &str, window: u32, max_open: u32) -> Hello {
    Hello {
        info: format!("{id} 127.0.0.1 9000").parse().unwrap(),
        window,
        max_message: 1 << 20,
        max_open,
        incarnation: 7,
        features: vec![REFUSALS.into(), LENGTHS.into(), COUNTS.into()],
        lengths: Vec::new(),
    }
}

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn link(role: Role, window: u32, max_open: u32, now: Instant) -> Link {
    let hello = hello(if role == Role::Dialler { "ada" } else { "bob" }, window, max_open);
    Link::new(role, LinkConfig { hello, keep_alive: KEEP_ALIVE }, now)
}

/// The frames in the bytes that wait to be written.
fn output(link: &mut Link) -> Vec<Frame> {
    let mut bytes = BytesMut::new();
    link.take_output(&mut bytes);
    let mut frames = Vec::new();
    let mut codec = FrameCodec::new();
    while let Some(part) = codec.decode(&mut bytes).unwrap() {
        let Part::Frame(frame) = part else { panic!("{part:?}") };
        frames.push(frame);
    }
    assert!(bytes.is_empty());
    frames
}

fn pass(from: &mut Link, to: &mut Link, now: Instant) {
    for frame in output(from) {
        to.handle(frame, now);
    }
}

/// Two sides after their hellos, without events.
fn open(window: u32, max_open: u32) -> (Link, Link, Instant) {
    let now = start();
    let mut ada = link(Role::Dialler, window, max_open, now);
    let mut bob = link(Role::Acceptor, window, max_open, now);
    pass(&mut ada, &mut bob, now);
    pass(&mut bob, &mut ada, now);
    assert_eq!((ada.phase(), bob.phase()), (LinkPhase::Open, LinkPhase::Open));
    ada.events();
    bob.events();
    (ada, bob, now)
}

fn frame(code: &[u8; 4], exchange: u32, flags: u8, payload: &[u8]) -> Frame {
    Frame::new(code, [&exchange.to_be_bytes()[..], &[flags], payload].concat())
}

/// How a fresh side takes `frames` after the hellos: the reason why it closed, if it did.
fn reason(frames: &[Frame]) -> Option<Reason> {
    let (_, mut bob, now) = open(1_000, 2);
    for frame in frames {
        bob.handle(frame.clone(), now);
    }
    bob.events().find_map(|event| match event {
        LinkEvent::Closed { reason, remote: false } => Some(reason),
        _ => None,
    })
}

//! The caller's side: the bytes that a node writes to a foreign program, and how it reads the
//! answers (src/protocol.md#classic-exchanges).

use std::{rc::Rc, time::Duration};

use crate::originals::{
    Heard, Pair, Then, accept, ada, knows, line, port, python, read_frame, run, run_on,
};
use crate::{
    common::frames::{frame, shown},
    support::{Recording, to_the_end},
};
use actix_peer::{
    Config, Peer, PeerInfo, PingSweep, RequestError,
    frame::{Frame, FrameError, TypeCode},
    message::Cause,
    message::ReadError,
    overlay::{JoinConfig, JoinEnd, JoinFailure},
    peer::JoinError,
    transport::memory::{MemoryNetwork, StreamDirection},
};
use futures::{StreamExt, future::join};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};

const REPLY: &[u8] = b"REPL\0\0\0\x05hello";

fn hello() -> Frame {
    Frame::text("REPL", "hello")
}

// ---- writes ----

#[actix::test]
async fn every_request_is_one_frame_in_one_write() {
    let wires = MemoryNetwork::new(1);
    let (transport, writes) = Recording::new(&wires, "ada");
    let config = Config::default().links(false);
    let node = ada(&wires).transport(transport).config(config).start().await.unwrap();
    run(&wires, "py", &Heard::default(), python("py", &[])).await;
    let to = "py:9000";
    let said = |bytes: &[&[u8]]| bytes.iter().map(|bytes| shown(bytes)).collect::<Vec<_>>();

    node.request(to, Frame::text("ECHO", "hi")).await.unwrap().collect().await.unwrap();
    node.request(to, Frame::empty("echo")).await.unwrap().collect().await.unwrap();
    node.notify(to, Frame::new("TELL", vec![0, 255])).await.unwrap();
    assert_eq!(
        writes.take(),
        said(&[b"ECHO\0\0\0\x02hi", b"echo\0\0\0\0", b"TELL\0\0\0\x02\0\xff"])
    );
    let large = "x".repeat(60_000);
    node.notify(to, Frame::text("TELL", &large)).await.unwrap();
    assert_eq!(writes.take(), said(&[&frame(b"TELL", &large)]));
    let joining = said(&[b"NAME\0\0\0\0", b"JOIN\0\0\0\x0cada ada 9000", b"LIST\0\0\0\0"]);
    node.join(to).await.unwrap();
    assert_eq!(writes.take(), joining);
    assert_eq!(node.leave().await.unwrap(), 1);
    assert_eq!(writes.take(), said(&[b"QUIT\0\0\0\x03ada"]));
    node.join(to).await.unwrap();
    assert_eq!(writes.take(), joining);
    assert_eq!(node.stop().await.told, 1);
    assert_eq!(writes.take(), said(&[b"QUIT\0\0\0\x03ada"]));
}

#[actix::test]
async fn a_one_way_message_is_one_frame_and_the_end_of_file() {
    let config = Config::default().links(false);
    let node = Peer::builder().config(config).start().await.unwrap();
    let (listener, port) = port().await;
    for (message, expected) in [
        (Frame::text("TELL", "hi"), b"TELL\0\0\0\x02hi".as_slice()),
        (Frame::empty("TELL"), b"TELL\0\0\0\0"),
    ] {
        node.notify(format!("127.0.0.1:{port}"), message).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(to_the_end(&mut stream).await, shown(expected));
    }
}

#[actix::test]
async fn a_request_stays_open_for_writing_until_its_replies_end() {
    let mut pair = Pair::start(Config::default().links(false)).await;
    let program = async {
        let mut io = accept(&mut pair.program).await;
        assert_eq!(shown(&read_frame(&mut io.reader).await), shown(b"ASK_\0\0\0\0"));
        for _ in 0..3 {
            let silence = timeout(Duration::from_secs(30), io.reader.read_u8()).await;
            assert!(silence.is_err(), "{silence:?}: the request was half-closed");
            io.writer.write_all(REPLY).await.unwrap();
        }
        drop(io.writer);
        assert_eq!(to_the_end(&mut io.reader).await, "");
    };
    let asked = async { pair.node.request("py:9000", Frame::empty("ASK_")).await?.collect().await };
    let (replies, ()) = join(asked, program).await;
    assert_eq!(replies.unwrap(), [hello(), hello(), hello()]);
}

// ---- reads ----

#[actix::test]
async fn replies_are_the_same_wherever_they_are_split() {
    let mut pair = Pair::start(Config::default().links(false)).await;
    let both = b"REPL\0\0\0\x05helloREPL\0\0\0\0";
    let expected = [hello(), Frame::empty("REPL")];
    for at in 0..=both.len() {
        let (begin, rest) = both.split_at(at);
        assert_eq!(pair.answer([begin, rest], Then::Close).await.unwrap(), expected, "at {at}");
    }
    assert_eq!(pair.answer(both.chunks(1), Then::Close).await.unwrap(), expected);
}

#[actix::test]
async fn an_end_without_a_reply_is_an_empty_list_and_not_an_error() {
    let mut pair = Pair::start(Config::default().links(false)).await;
    assert_eq!(pair.answer([], Then::Close).await.unwrap(), []);
}

#[actix::test]
async fn the_error_of_a_truncated_reply_says_how_much_of_it_arrived() {
    let mut pair = Pair::start(Config::default().links(false)).await;
    for before in [b"".as_slice(), REPLY] {
        for bytes in 1..REPLY.len() {
            let cut = pair.answer([before, &REPLY[..bytes]], Then::Close).await.unwrap_err();
            assert_eq!((cut.cause(), cut.may_have_been_handled()), (Cause::Remote, true));
            match (bytes, cut) {
                (
                    ..8,
                    RequestError::Reply(ReadError::Frame(FrameError::TruncatedHeader { got })),
                ) => {
                    assert_eq!(got, bytes)
                }
                (
                    8..,
                    RequestError::Reply(ReadError::Frame(FrameError::TruncatedBody {
                        got,
                        expected: 5,
                        ..
                    })),
                ) => assert_eq!(got, bytes as u64 - 8),
                (_, other) => panic!("{other}"),
            }
        }
    }
    let counts = pair.node.status().await.counts;
    assert_eq!((counts.errors_truncated_header, counts.errors_truncated_body), (14, 10));
}

#[actix::test]
async fn a_reset_is_an_error_even_after_a_complete_reply() {
    let mut pair = Pair::start(Config::default().links(false)).await;
    for bytes in 1..=REPLY.len() {
        pair.wires.break_after(StreamDirection::ToDialler, bytes as u64);
        let reset = pair.answer([&REPLY[..bytes], b"more"], Then::Silence).await.unwrap_err();
        assert_eq!((reset.cause(), reset.may_have_been_handled()), (Cause::Transport, true));
    }
}

#[actix::test]
async fn a_too_long_reply_is_refused_on_its_header() {
    let mut pair = Pair::start(Config::default().links(false).max_frame_len(100)).await;
    let longest = frame(b"REPL", "x".repeat(100));
    assert_eq!(pair.answer([&longest[..]], Then::Close).await.unwrap()[0].data().len(), 100);
    let begun = Instant::now();
    for len in [101, 65_536, 65_537, 1 << 20, u32::MAX] {
        let header = [b"REPL".as_slice(), &len.to_be_bytes()].concat();
        let error = pair.answer([&header[..]], Then::Silence).await.unwrap_err();
        assert!(error.may_have_been_handled());
        let (length, limit) = match error {
            RequestError::Reply(ReadError::Frame(FrameError::TooLong {
                length, limit, ..
            })) => (length, limit),
            other => panic!("{len}: {other}"),
        };
        assert_eq!((length, limit), (len.into(), 100));
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "the header suffices for the refusal");
}

#[actix::test]
async fn a_reply_that_is_missing_or_stalls_is_late() {
    let limit = Duration::from_secs(35);
    let mut pair = Pair::start(Config::default().links(false)).await;
    for begin in [b"".as_slice(), b"REP", b"REPL\0\0\0\x05hel", REPLY] {
        let begun = Instant::now();
        let late = pair.answer([begin], Then::Silence).await.unwrap_err();
        assert_eq!((late.cause(), late.may_have_been_handled()), (Cause::Remote, true));
        assert!(matches!(late, RequestError::Reply(ReadError::Late(l)) if l == limit), "{late}");
        assert_eq!(begun.elapsed().as_secs(), limit.as_secs());
    }
}

#[actix::test]
async fn a_reply_that_arrives_byte_by_byte_is_awaited_as_long_as_it_progresses() {
    let mut pair = Pair::start(Config::default().links(false)).await;
    let answer = async {
        let mut io = accept(&mut pair.program).await;
        for byte in REPLY {
            sleep(Duration::from_secs(30)).await;
            io.writer.write_all(&[*byte]).await.unwrap();
        }
    };
    let ask = async { pair.node.request("py:9000", Frame::empty("ASK_")).await?.collect().await };
    let (replies, ()) = join(ask, answer).await;
    assert_eq!(replies.unwrap(), [hello()]);
}

#[actix::test]
async fn frames_that_arrived_before_a_broken_reply_can_be_read_one_by_one() {
    let wires = MemoryNetwork::new(1);
    let node = ada(&wires).start().await.unwrap();
    let answer = |_: &[u8]| [REPLY, b"REPL\0\0"].concat();
    run(&wires, "py", &Heard::default(), answer).await;
    let mut replies = node.request("py:9000", Frame::empty("ASK_")).await.unwrap();
    assert_eq!(replies.next().await.unwrap().unwrap(), hello());
    let cut = replies.next().await.unwrap().unwrap_err();
    assert_eq!(cut.to_string(), "cannot read the reply: truncated header: 6 of 8 bytes");
    assert!(replies.next().await.is_none());
}

// ---- joining and leaving ----

/// The requests that programs receive in a walk of the node `me`.
fn walk(steps: &[&str], me: &str) -> Vec<String> {
    let heard = |step: &&str| match step.split_once(' ').unwrap() {
        (who, "NAME") => line(who, b"NAME\0\0\0\0"),
        (who, "LIST") => line(who, b"LIST\0\0\0\0"),
        (who, _) => line(who, &frame(b"JOIN", me)),
    };
    steps.iter().map(heard).collect()
}

#[actix::test]
async fn a_join_walks_depth_first_through_programs_like_the_originals() {
    for (hops, steps, known) in [
        (1, "al NAME, al JOIN", "al"),
        (2, "al NAME, al JOIN, al LIST, bob NAME, bob JOIN, cy NAME, cy JOIN", "al bob cy"),
        (
            3,
            "al NAME, al JOIN, al LIST, bob NAME, bob JOIN, bob LIST, dan NAME, dan JOIN, cy NAME, cy JOIN, cy LIST",
            "al bob dan cy",
        ),
    ] {
        let node = Peer::builder().id("ada").start().await.unwrap();
        let me = node.info().to_string();
        let (al, bob, cy, dan) = (port().await, port().await, port().await, port().await);
        let heard = Heard::default();
        let wrong = ["", "x", "x y z", "x 127.0.0.1 0", "x 127.0.0.1 65536", "x ::1 1 1", "\0"];
        let (contact, al_is) = (format!("127.0.0.1:{}", al.1), format!("al 127.0.0.1 {}", al.1));
        let (bob_is, cy_is) =
            (format!("bob localhost {}", bob.1), format!("cy 127.0.0.1 {}", cy.1));
        let dan_is = format!("dan 127.0.0.1 {}", dan.1);
        let listed = wrong.map(str::to_owned).into_iter();
        let listed: Vec<_> = listed.chain([me.clone(), bob_is.clone(), cy_is.clone()]).collect();
        run_on(al.0, "al", &heard, python("al", &listed));
        run_on(bob.0, "bob", &heard, python("bob", &[al_is.clone(), dan_is.clone(), me.clone()]));
        run_on(cy.0, "cy", &heard, python("cy", std::slice::from_ref(&bob_is)));
        run_on(dan.0, "dan", &heard, python("dan", &[]));

        let config = JoinConfig::new().hops(hops);
        let report = node.join_with(contact.parse().unwrap(), config).await.unwrap();
        let steps: Vec<_> = steps.split(", ").collect();
        assert_eq!(*heard.borrow(), walk(&steps, &me));
        assert_eq!((report.end(), report.asked()), (JoinEnd::Complete, steps.len()));
        let all = [al_is, bob_is, cy_is, dan_is];
        let info = |id| all.iter().find(|peer| peer.split(' ').next() == Some(id)).unwrap().clone();
        assert_eq!(knows(&node).await, known.split(' ').map(info).collect::<Vec<_>>());
        assert_eq!(
            node.status().await.counts.connections_accepted,
            0,
            "the node does not ask itself"
        );
    }
}

#[actix::test]
async fn a_walk_continues_past_a_contact_that_refuses() {
    let rows: &[(&[u8], Option<&str>, &[&str])] = &[
        (b"ERRO\0\0\0\x14Join: too many peers", Some("Join: too many peers"), &["bob bob 9000"]),
        (b"ERRO\0\0\0\x0cWho are you?", Some("Who are you?"), &["bob bob 9000"]),
        (b"ERRO\0\0\0\x1fJoin: peer already inserted ada", None, &["al al 9000", "bob bob 9000"]),
    ];
    for (answer, refused, known) in rows {
        let wires = MemoryNetwork::new(1);
        let node = ada(&wires).start().await.unwrap();
        let heard = Heard::default();
        let listed = ["gone gone 9000", "mute mute 9000", "bob bob 9000"].map(str::to_owned);
        let al = python("al", &listed);
        let al = move |request: &[u8]| {
            if request.starts_with(b"JOIN") { answer.to_vec() } else { al(request) }
        };
        run(&wires, "al", &heard, al).await;
        run(&wires, "mute", &heard, |_: &[u8]| Vec::new()).await;
        run(&wires, "bob", &heard, python("bob", &[])).await;
        let report = node.join("al:9000").await.unwrap();
        let steps = ["al NAME", "al JOIN", "al LIST", "mute NAME", "bob NAME", "bob JOIN"];
        assert_eq!(*heard.borrow(), walk(&steps, "ada ada 9000"));
        assert_eq!(report.refused().first().and_then(|(_, why)| why.words()), *refused);
        let failed = report.failed().iter().map(|(to, why)| format!("{to} {why:?}"));
        assert_eq!(failed.collect::<Vec<_>>(), ["gone:9000 PortClosed", "mute:9000 NoReply"]);
        assert_eq!(knows(&node).await, *known);
    }
}

#[actix::test]
async fn a_contact_that_does_not_state_its_name_is_not_joined() {
    let malformed = || JoinFailure::Malformed { code: TypeCode::NAME };
    for (answer, why) in [
        (b"".as_slice(), JoinFailure::NoReply),
        (b"REPL", JoinFailure::NotThisProtocol),
        (b"REPL\0\0\0\x05al", JoinFailure::BrokeOff),
        (b"REPL\0\0\0\0", malformed()),
        (b"REPL\0\0\0\x09two words", malformed()),
        (b"REPL\0\0\0\x01\xff", malformed()),
        (b"ERRO\0\0\0\x02al", JoinFailure::Refused { words: "al".to_owned() }),
        (b"ERRO\0\0\0\x14Unknown message type", JoinFailure::NoHandler { code: TypeCode::NAME }),
    ] {
        let wires = MemoryNetwork::new(1);
        let node = ada(&wires).start().await.unwrap();
        let heard = Heard::default();
        let answer = move |_: &[u8]| answer.to_vec();
        run(&wires, "al", &heard, answer).await;
        let failed = node.join("al:9000").await.unwrap_err();
        assert!(!failed.is_tried_again(), "{failed}");
        let JoinError::ContactFailed { cause, report, .. } = failed else { panic!("{failed}") };
        assert_eq!((report.failed().len(), &cause), (1, &why));
        assert_eq!(*heard.borrow(), [line("al", b"NAME\0\0\0\0")]);
        assert!(knows(&node).await.is_empty());
    }
}

#[actix::test]
async fn a_join_asks_no_further_once_the_node_met_itself_or_filled_its_table() {
    let wires = MemoryNetwork::new(1);
    let node = ada(&wires).max_peers(1).start().await.unwrap();
    let heard = Heard::default();
    run(&wires, "al", &heard, python("al", &["bob bob 9000".to_owned()])).await;
    run(&wires, "mirror", &heard, python("ada", &[])).await;
    let itself = node.join("mirror:9000").await.unwrap_err();
    assert!(matches!(itself, JoinError::ContactIsSelf(_)), "{itself}");
    assert!(matches!(node.join("ada:9000").await.unwrap_err(), JoinError::ContactIsSelf(_)));
    assert_eq!(node.join("al:9000").await.unwrap().end(), JoinEnd::TableFull);
    assert_eq!(*heard.borrow(), walk(&["mirror NAME", "al NAME", "al JOIN"], "ada ada 9000"));
    let counts = node.status().await.counts;
    assert_eq!((counts.connections_accepted, counts.connections_dialled), (0, 3));
}

#[actix::test]
async fn quit_is_sent_to_every_known_peer_however_it_became_known() {
    for (joined, config, leaves) in [
        (true, Config::default().links(false), true),
        (true, Config::default().links(false).leave_on_stop(false), false),
        (false, Config::default().links(false), true),
    ] {
        let wires = MemoryNetwork::new(1);
        let node = ada(&wires).config(config).start().await.unwrap();
        let heard = Heard::default();
        run(&wires, "al", &heard, python("al", &[])).await;
        let not_found = |_: &[u8]| b"ERRO\0\0\0\x19Quit: peer not found: ada".to_vec();
        run(&wires, "bob", &heard, not_found).await;
        if joined {
            node.join("al:9000").await.unwrap();
        }
        for peer in ["al al 9000", "bob bob 9000", "gone gone 9000"] {
            node.peers().add(peer.parse::<PeerInfo>().unwrap()).await.unwrap();
        }
        heard.borrow_mut().clear();
        let told = node.stop().await.told;
        heard.borrow_mut().sort_unstable();
        let goodbyes = ["al", "bob"].map(|who| line(who, b"QUIT\0\0\0\x03ada"));
        assert_eq!(*heard.borrow(), if leaves { goodbyes.as_slice() } else { &[] });
        assert_eq!(told, if leaves { 2 } else { 0 });
    }
}

// ---- the ping sweep ----

/// How a peer answers successive pings (the last answer repeats), how it answers `NAME`, and
/// whether it is still known after some sweeps that remove a peer at the first miss.
type Sweeps = (&'static [&'static [u8]], &'static [u8], bool);

const SWEEPS: &[Sweeps] = &[
    // The originals.
    (&[b""], b"REPL\0\0\0\x02py", true),
    (&[b"RE"], b"REPL\0\0\0\x02py", true),
    (&[b""], b"REPL\0\0\0\x03eve", false),
    (&[b""], b"", false),
    // Nodes of this crate; the third stops answering, the last has another id.
    (&[b"PONG\0\0\0\x02py"], b"", true),
    (&[b"", b"PONG\0\0\0\x02py"], b"", true),
    (&[b"PONG\0\0\0\x02py", b"PONG\0\0\0\x02py", b""], b"REPL\0\0\0\x02py", false),
    (&[b"PONG\0\0\0\x03eve"], b"REPL\0\0\0\x03eve", false),
];

#[actix::test]
async fn an_original_is_alive_while_it_accepts_connections_and_a_node_while_it_answers_ping() {
    tokio::time::pause();
    for (n, (pongs, name, alive)) in SWEEPS.iter().enumerate() {
        let wires = MemoryNetwork::new(1);
        let heard = Heard::default();
        let so_far = Rc::clone(&heard);
        let answer = move |request: &[u8]| match request {
            b"NAME\0\0\0\0" => name.to_vec(),
            _ => pongs[so_far.borrow().len().min(pongs.len()) - 1].to_vec(),
        };
        run(&wires, "py", &heard, answer).await;
        let node = ada(&wires).stabilizer(PingSweep::new().misses(1)).start().await.unwrap();
        for peer in ["py py 9000", "gone gone 9000"] {
            node.peers().add(peer.parse::<PeerInfo>().unwrap()).await.unwrap();
        }
        sleep(Duration::from_secs(44)).await;
        let expected: &[_] = if *alive { &["py py 9000"] } else { &[] };
        assert_eq!(knows(&node).await, expected, "row {n}");
        if n == 0 {
            let heard = heard.borrow();
            let (ping, name) = (line("py", b"PING\0\0\0\0"), line("py", b"NAME\0\0\0\0"));
            let first = heard.iter().position(|line| *line == name).unwrap();
            assert_eq!(
                heard[first..first + 5],
                [&name, &ping, &ping, &ping, &name].map(Clone::clone)
            );
        }
    }
}

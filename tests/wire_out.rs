//! What a node writes to a foreign program, byte by byte, and what it makes of the answers (WIRE.md
//! parts 1 and 2).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod support;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use actix_peer::{
    Config, Peer, PeerInfo, PingSweep, RequestError,
    connection::ReadError,
    frame::{Frame, FrameError, TypeCode},
    overlay::{AskFailure, JoinConfig, JoinEnd, JoinReport},
    transport::memory::MemoryNetwork,
};
use support::{Callee, Noting, address, host, node};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};

async fn ada(wires: &MemoryNetwork) -> Peer {
    node(wires, "ada").well_known().start().await.unwrap()
}

/// Ada asks a foreign program that answers `reply` and closes.
async fn asked(reply: &[u8]) -> Result<Vec<Frame>, RequestError> {
    let wires = MemoryNetwork::new(1);
    let ada =
        node(&wires, "ada").config(Config::default().max_frame_len(1_000)).start().await.unwrap();
    let mut callee = Callee::listen(&wires, "old:9000").await;
    let ask = async { ada.request("old:9000", Frame::empty("NAME")).await?.collect().await };
    let (replies, request) = tokio::join!(ask, callee.answer(reply));
    assert_eq!(request, b"NAME\0\0\0\0");
    replies
}

#[actix::test]
async fn a_request_is_one_write_and_its_connection_stays_open_until_the_reply_is_over() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let noting = Noting::new(wires.transport(host("ada")));
    let ada = node(&wires, "ada").transport(noting.clone()).start().await.unwrap();
    let mut callee = Callee::listen(&wires, "old:9000").await;
    let answer = async {
        let (mut io, _) = callee.request().await;
        // Neither a second byte nor the end: some callees take a half-close for a goodbye.
        let more = timeout(Duration::from_secs(5), io.reader.read(&mut [0; 1])).await;
        assert!(more.is_err(), "{more:?}");
        io.writer.write_all(b"ECHO\0\0\0\x02hi").await.unwrap();
    };
    let ask = async {
        ada.request("old:9000", Frame::text("ECHO", "hi")).await.unwrap().collect().await.unwrap()
    };
    let (replies, ()) = tokio::join!(ask, answer);
    assert_eq!(replies, [Frame::text("ECHO", "hi")]);
    assert_eq!(noting.writes(), [b"ECHO\0\0\0\x02hi"]);
}

#[actix::test]
async fn a_message_that_is_not_waited_for_is_one_write_and_then_the_end() {
    let wires = MemoryNetwork::new(1);
    let noting = Noting::new(wires.transport(host("ada")));
    let ada = node(&wires, "ada").transport(noting.clone()).start().await.unwrap();
    let mut callee = Callee::listen(&wires, "old:9000").await;
    let read = async { support::rest(&mut callee.accept().await).await };
    let (sent, got) = tokio::join!(ada.notify("old:9000", Frame::text("RESP", "a b")), read);
    assert!(sent.is_ok());
    assert_eq!(got, b"RESP\0\0\0\x03a b");
    assert_eq!(noting.writes(), [b"RESP\0\0\0\x03a b"]);
}

#[actix::test]
async fn no_reply_is_an_empty_list_and_not_an_error() {
    assert_eq!(asked(b"").await.unwrap(), []);
}

#[actix::test]
async fn replies_may_come_in_any_pieces() {
    let wires = MemoryNetwork::new(1);
    let ada = ada(&wires).await;
    let mut callee = Callee::listen(&wires, "old:9000").await;
    let reply = b"REPL\0\0\0\x011REPL\0\0\0\x0bbob h1 9001";
    for at in 1..reply.len() {
        let answer = async {
            let (mut io, _) = callee.request().await;
            for piece in [&reply[..at], &reply[at..]] {
                io.writer.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let ask = async { ada.request("old:9000", Frame::empty("LIST")).await?.collect().await };
        let (replies, ()) = tokio::join!(ask, answer);
        let expected = [Frame::text("REPL", "1"), Frame::text("REPL", "bob h1 9001")];
        assert_eq!(replies.unwrap(), expected, "split at {at}");
    }
}

#[actix::test]
async fn a_reply_that_is_cut_says_where_and_that_the_request_may_have_been_handled() {
    let reply = b"REPL\0\0\0\x05hello";
    for at in 1..reply.len() {
        let error = asked(&reply[..at]).await.unwrap_err();
        assert!(error.may_have_been_handled());
        let RequestError::Reply(ReadError::Frame(error)) = error else { panic!("{error}") };
        match error {
            FrameError::CutHeader { got } => assert_eq!(got, at),
            FrameError::CutBody { code, got, expected } => {
                assert_eq!((code, got + 8, expected), (TypeCode::REPL, at as u64, 5));
            }
            other => panic!("{other}"),
        }
    }
}

#[actix::test]
async fn a_whole_reply_before_the_cut_one_is_read() {
    let wires = MemoryNetwork::new(1);
    let ada = ada(&wires).await;
    let mut callee = Callee::listen(&wires, "old:9000").await;
    let ask = async {
        let mut replies = ada.request("old:9000", Frame::empty("LIST")).await.unwrap();
        let first = futures::StreamExt::next(&mut replies).await.unwrap();
        (first, futures::StreamExt::next(&mut replies).await.unwrap())
    };
    let ((first, second), _) = tokio::join!(ask, callee.answer(b"REPL\0\0\0\x012REPL\0\0"));
    assert_eq!(first.unwrap(), Frame::text("REPL", "2"));
    assert!(matches!(
        second,
        Err(RequestError::Reply(ReadError::Frame(FrameError::CutHeader { got: 6 })))
    ));
}

#[actix::test]
async fn a_reply_over_the_limit_is_refused_before_it_is_read() {
    let error = asked(b"REPL\x00\x00\x03\xe9").await.unwrap_err();
    let RequestError::Reply(ReadError::Frame(error)) = error else { panic!("{error}") };
    assert!(matches!(error, FrameError::TooLong { length: 1_001, limit: 1_000, .. }), "{error}");
}

#[actix::test]
async fn bytes_that_are_no_frames_are_an_error_and_never_a_reply() {
    let error = asked(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap_err();
    assert!(matches!(error, RequestError::Reply(ReadError::Frame(FrameError::TooLong { .. }))));
}

#[actix::test]
async fn a_callee_that_says_nothing_is_given_up_in_time() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = ada(&wires).await;
    let mut callee = Callee::listen(&wires, "old:9000").await;
    let begun = Instant::now();
    let ask = async { ada.request("old:9000", Frame::empty("NAME")).await?.collect().await };
    let (replies, _held) = tokio::join!(ask, callee.request());
    let error = replies.unwrap_err();
    assert!(matches!(error, RequestError::Reply(ReadError::Late(_))), "{error}");
    assert_eq!(begun.elapsed().as_secs(), 35);
}

/// Foreign nodes by address, with what each answers to a code. Notes every request.
struct Originals {
    seen: Rc<RefCell<Vec<String>>>,
}

type Answers = &'static [(&'static str, &'static [u8])];

impl Originals {
    async fn listen(wires: &MemoryNetwork, nodes: &[(&'static str, Answers)]) -> Self {
        let seen = Rc::new(RefCell::new(Vec::new()));
        for (at, answers) in nodes {
            let mut callee = Callee::listen(wires, at).await;
            let answers: BTreeMap<_, _> = answers.iter().copied().collect();
            let (seen, at) = (Rc::clone(&seen), *at);
            actix_rt::spawn(async move {
                loop {
                    let (mut io, frame) = callee.request().await;
                    seen.borrow_mut().push(format!("{at} {}", frame.escape_ascii()));
                    let code = std::str::from_utf8(&frame[..4]).unwrap();
                    // Without an answer it closes without a word.
                    io.writer.write_all(answers.get(code).copied().unwrap_or(b"")).await.unwrap();
                }
            });
        }
        Self { seen }
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.borrow_mut())
    }
}

const ADDED: &[u8] = b"REPL\0\0\0\x15Join: peer added: ada";

async fn join(ada: &Peer, contact: &str, hops: u32) -> JoinReport {
    ada.join_with(address(contact), JoinConfig::new().hops(hops)).await.unwrap()
}

fn known(added: &[PeerInfo]) -> Vec<String> {
    added.iter().map(ToString::to_string).collect()
}

#[actix::test]
async fn joining_asks_name_join_and_list_depth_first_and_never_itself() {
    let wires = MemoryNetwork::new(1);
    let network = Originals::listen(
        &wires,
        &[
            (
                "h1:1",
                &[
                    ("NAME", b"REPL\0\0\0\x02n1"),
                    ("JOIN", ADDED),
                    ("LIST", b"REPL\0\0\0\x013REPL\0\0\0\x07n2 h2 2REPL\0\0\0\x0cada ada 9000REPL\0\0\0\x07n3 h3 3"),
                ],
            ),
            (
                "h2:2",
                &[
                    ("NAME", b"REPL\0\0\0\x02n2"),
                    ("JOIN", ADDED),
                    ("LIST", b"REPL\0\0\0\x012REPL\0\0\0\x07n1 h1 1REPL\0\0\0\x07n4 h4 4"),
                ],
            ),
            ("h3:3", &[("NAME", b"REPL\0\0\0\x02n3"), ("JOIN", ADDED), ("LIST", b"REPL\0\0\0\x010")]),
            ("h4:4", &[("NAME", b"REPL\0\0\0\x02n4"), ("JOIN", ADDED), ("LIST", b"REPL\0\0\0\x010")]),
        ],
    )
    .await;
    let ada = ada(&wires).await;
    let report = join(&ada, "h1:1", 4).await;
    assert_eq!(known(report.added()), ["n1 h1 1", "n2 h2 2", "n4 h4 4", "n3 h3 3"]);
    assert_eq!(report.end(), JoinEnd::Complete);
    let name = r"NAME\x00\x00\x00\x00";
    let join = r"JOIN\x00\x00\x00\x0cada ada 9000";
    let list = r"LIST\x00\x00\x00\x00";
    let of = |at: &str| [name, join, list].map(|frame| format!("{at} {frame}"));
    assert_eq!(network.seen(), ["h1:1", "h2:2", "h4:4", "h3:3"].map(of).concat());
}

#[actix::test]
async fn a_full_contact_refuses_and_the_walk_goes_on_from_its_list() {
    let wires = MemoryNetwork::new(1);
    let _network = Originals::listen(
        &wires,
        &[
            (
                "h1:1",
                &[
                    ("NAME", b"REPL\0\0\0\x02n1"),
                    ("JOIN", b"ERRO\0\0\0\x14Join: too many peers"),
                    ("LIST", b"REPL\0\0\0\x012REPL\0\0\0\x07n2 h2 2REPL\0\0\0\x07n3 h3 3"),
                ],
            ),
            // This one is back: its peer still knows it.
            (
                "h2:2",
                &[
                    ("NAME", b"REPL\0\0\0\x02n2"),
                    ("JOIN", b"ERRO\0\0\0\x1fJoin: peer already inserted ada"),
                    ("LIST", b"REPL\0\0\0\x010"),
                ],
            ),
            // And this one closes without a word, as the originals do when something is wrong.
            ("h3:3", &[("NAME", b"REPL\0\0\0\x02n3")]),
        ],
    )
    .await;
    let ada = ada(&wires).await;
    let report = join(&ada, "h1:1", 2).await;
    assert_eq!(known(report.added()), ["n2 h2 2"]);
    assert_eq!(report.refused(), [(address("h1:1"), "Join: too many peers".to_owned())]);
    assert_eq!(report.failed(), [(address("h3:3"), AskFailure::Broken)]);
}

#[actix::test]
async fn entries_that_are_no_peers_are_skipped() {
    let wires = MemoryNetwork::new(1);
    let network = Originals::listen(
        &wires,
        &[
            (
                "h1:1",
                &[
                    ("NAME", b"REPL\0\0\0\x02n1"),
                    ("JOIN", ADDED),
                    (
                        "LIST",
                        b"REPL\0\0\0\x019REPL\0\0\0\x07n2 h2 0REPL\0\0\0\x05\x1b[2J1REPL\0\0\0\0ERRO\0\0\0\x07n3 h3 3REPL\0\0\0\x07n4 h4 4",
                    ),
                ],
            ),
            ("h4:4", &[("NAME", b"REPL\0\0\0\x02n4"), ("JOIN", ADDED), ("LIST", b"")]),
        ],
    )
    .await;
    let ada = ada(&wires).await;
    let report = join(&ada, "h1:1", 2).await;
    assert_eq!(known(report.added()), ["n1 h1 1", "n4 h4 4"]);
    assert!(network.seen().iter().all(|line| line.starts_with("h1:1") || line.starts_with("h4:4")));
}

#[actix::test]
async fn a_contact_that_is_no_node_is_a_typed_error() {
    let wires = MemoryNetwork::new(1);
    let _network =
        Originals::listen(&wires, &[("h1:1", &[]), ("h2:2", &[("NAME", b"ERRO\0\0\0\0")])]).await;
    let ada = ada(&wires).await;
    for contact in ["h1:1", "h2:2", "h3:3"] {
        let error = ada.join(contact).await.unwrap_err();
        assert!(error.to_string().contains(contact), "{error}");
    }
    assert!(ada.peers().list().await.unwrap().is_empty());
}

#[actix::test]
async fn leaving_and_stopping_say_quit_with_the_own_id_to_every_peer() {
    let wires = MemoryNetwork::new(1);
    let quit: Answers = &[
        ("NAME", b"REPL\0\0\0\x02n1"),
        ("JOIN", ADDED),
        ("LIST", b"REPL\0\0\0\x010"),
        ("QUIT", b"REPL\0\0\0\x17Quit: peer removed: ada"),
    ];
    let network = Originals::listen(&wires, &[("h1:1", quit), ("h2:2", quit)]).await;
    let ada = ada(&wires).await;
    join(&ada, "h1:1", 1).await;
    ada.peers().add("n2 h2 2".parse().unwrap()).await.unwrap();
    network.seen();
    assert_eq!(ada.leave().await.unwrap(), 2);
    let mut seen = network.seen();
    seen.sort();
    assert_eq!(seen, [r"h1:1 QUIT\x00\x00\x00\x03ada", r"h2:2 QUIT\x00\x00\x00\x03ada"]);
    join(&ada, "h2:2", 1).await;
    network.seen();
    assert_eq!(ada.stop().await.told, 1);
    assert_eq!(network.seen(), [r"h2:2 QUIT\x00\x00\x00\x03ada"]);
}

#[actix::test]
async fn a_sweep_pings_and_asks_of_a_peer_what_it_has_shown_that_it_can() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    // The originals answer a ping with nothing: that they can be connected to is all that is asked.
    let network = Originals::listen(&wires, &[("h1:1", &[("NAME", b"REPL\0\0\0\x02n1")])]).await;
    let sweep = PingSweep::new().every(Duration::from_secs(5)).misses(2);
    let ada = node(&wires, "ada").stabilizer(sweep).start().await.unwrap();
    for peer in ["n1 h1 1", "n2 h2 2", "n3 h3 3"] {
        ada.peers().add(peer.parse().unwrap()).await.unwrap();
    }
    // This one answers PONG twice, and then only takes connections.
    let mut turncoat = Callee::listen(&wires, "h2:2").await;
    let pings = actix_rt::spawn(async move {
        let mut pings = Vec::new();
        for reply in [b"PONG\0\0\0\x02n2" as &[u8], b"PONG\0\0\0\x02n2", b"", b"", b"", b""] {
            pings.push(timeout(Duration::from_secs(60), turncoat.answer(reply)).await.ok());
        }
        pings
    });
    sleep(Duration::from_secs(120)).await;
    let list = ada.peers().list().await.unwrap();
    let left: Vec<_> = list.iter().map(|entry| entry.info().id().as_str()).collect();
    assert_eq!(left, ["n1"], "n2 broke its word, nobody listens at n3");
    let (ping, name) = (r"h1:1 PING\x00\x00\x00\x00", r"h1:1 NAME\x00\x00\x00\x00");
    assert_eq!(network.seen()[..8], [ping, ping, ping, name, ping, ping, ping, name]);
    let pings: Vec<_> = pings.await.unwrap().into_iter().flatten().collect();
    assert!(pings.len() >= 4 && pings.iter().all(|ping| ping == b"PING\0\0\0\0"), "{pings:?}");
}

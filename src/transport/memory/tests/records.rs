//! Records of frames and connections.

use std::sync::Mutex as StdMutex;

use super::*;
use crate::frame::{FrameHead, TypeCode};

/// What was recorded, in milliseconds and text.
type Lines = Arc<StdMutex<Vec<String>>>;

fn lines_of(network: &MemoryNetwork) -> (Lines, Recording) {
    let lines = Lines::default();
    let recorded = Arc::clone(&lines);
    let recording = network.record(move |event| {
        recorded.lock().unwrap().push(format!("{} {event}", event.at().as_millis()));
    });
    (lines, recording)
}

fn taken(lines: &Lines) -> Vec<String> {
    std::mem::take(&mut *lines.lock().unwrap())
}

fn frame(code: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let head = FrameHead::new(TypeCode::new(code), data.len().try_into().unwrap());
    [&head.to_bytes(), data].concat()
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_recorded_from_its_dial_to_its_end() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(5));
    let (lines, _recording) = lines_of(&network);
    let (mut here, mut there) = network.pair("ada", "bob").await;
    here.writer.write_all(&frame(b"PING", b"hi")).await.unwrap();
    sleep(ms(20)).await;
    there
        .writer
        .write_all(&[frame(b"PONG", b""), frame(b"MORE", b"foobar")].concat())
        .await
        .unwrap();
    drop(here);
    there.writer.shutdown().await.unwrap();
    drop(there);
    assert_eq!(
        taken(&lines),
        [
            "0 ada:32768 dials bob:9000",
            "5 ada:32768 -> bob:9000 #0 connected",
            "10 ada -> bob:9000 #0 PING 2 bytes 08ba5f07b55ec3da",
            "30 bob:9000 -> ada #0 PONG 0 bytes cbf29ce484222325",
            "30 bob:9000 -> ada #0 MORE 6 bytes 85944171f73967e8",
            "30 ada -> bob:9000 #0 finished",
            "30 ada -> bob:9000 #0 closed",
            "30 bob:9000 -> ada #0 finished",
            "30 bob:9000 -> ada #0 closed",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_frame_has_the_addresses_of_its_writer_and_reader() {
    let network = MemoryNetwork::new(1);
    let frames = Arc::new(StdMutex::new(Vec::new()));
    let recorded = Arc::clone(&frames);
    let _recording = network.record(move |event| {
        if let WireEvent::Frame(frame) = event {
            recorded.lock().unwrap().push(frame.clone());
        }
    });
    let (mut here, mut there) = network.pair("ada", "bob").await;
    here.writer.write_all(&frame(b"PING", b"")).await.unwrap();
    there.writer.write_all(&frame(b"PONG", b"")).await.unwrap();
    let ends = |frame: &FrameRecord| (frame.from().to_string(), frame.to().to_string());
    let (ada, bob) = ("ada:32768".to_owned(), "bob:9000".to_owned());
    let ends: Vec<_> = frames.lock().unwrap().iter().map(ends).collect();
    assert_eq!(ends, [(ada.clone(), bob.clone()), (bob, ada)]);
}

#[tokio::test(start_paused = true)]
async fn chaos_in_reads_and_writes_changes_no_recorded_frame() {
    let network = MemoryNetwork::new(1);
    let frames = [frame(b"ONE1", &[1; 300]), frame(b"TWO2", b""), frame(b"THR3", &[3; 9_000])];
    let sent = async |chaos| {
        let (lines, _recording) = lines_of(&network);
        network.chaos(chaos);
        let (mut here, mut there) = network.pair("ada", "bob").await;
        let bytes = frames.concat();
        let (_, got) = tokio::join!(here.writer.write_all(&bytes), read(&mut there, bytes.len()));
        assert_eq!(got, bytes);
        let frame = |line: &String| Some(line.split_once(" bytes ")?.1.to_owned());
        taken(&lines).iter().filter_map(frame).collect::<Vec<_>>()
    };
    let usual = sent(Chaos::none()).await;
    let wild = Chaos::none().short_reads(0.9).short_writes(0.9).pending_writes(0.9);
    assert_eq!(sent(wild).await, usual);
    assert_eq!(usual.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn refused_and_unanswered_dials_are_recorded() {
    let network = MemoryNetwork::new(1);
    let (lines, _recording) = lines_of(&network);
    network.dial_from("ada", "bob:9000").await.unwrap_err();
    network.crash(&host("bob"));
    assert_black_hole(&network, "ada", "bob:9000").await;
    assert_eq!(
        taken(&lines),
        [
            "0 ada:32768 dials bob:9000",
            "0 bob:9000 refuses ada:32768",
            "0 ada:32769 dials bob:9000",
            "0 bob:9000 never answers ada:32769",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_break_is_recorded_once_and_the_bytes_of_a_cut_frame_are_counted() {
    let network = MemoryNetwork::new(1);
    let (_here, _there) = network.pair("ada", "bob").await;
    let (lines, _recording) = lines_of(&network);
    let end = "0 ada -> cyd:9000 #1 finished after 11 bytes of a frame";
    let broken = "0 ada -> cyd:9000 #1 broken";
    network.break_after(StreamDirection::ToListener, 21);
    let (mut here, _there) = network.pair("ada", "cyd").await;
    let bytes = [frame(b"PING", b"hi"), frame(b"PING", b"hello")].concat();
    here.writer.write_all(&bytes).await.unwrap_err();
    assert!(!network.break_link(1));
    drop(here);
    assert_eq!(
        taken(&lines)[2..5],
        ["0 ada -> cyd:9000 #1 PING 2 bytes 08ba5f07b55ec3da", broken, end]
    );
    network.break_links_between(&host("ada"), &host("bob"));
    assert_eq!(taken(&lines), ["0 ada -> bob:9000 #0 broken"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_begins_with_a_tls_handshake_is_recorded_by_tls_record() {
    let network = MemoryNetwork::new(1);
    let (lines, _recording) = lines_of(&network);
    let (mut here, mut there) = network.pair("ada", "bob").await;
    here.writer.write_all(b"\x16\x03\x01\0\x03abc\x17\x03").await.unwrap();
    there.writer.write_all(b"\x15\x03\x03\0\x02no").await.unwrap();
    here.writer.shutdown().await.unwrap();
    assert_eq!(
        taken(&lines)[2..],
        [
            "0 ada -> bob:9000 #0 TLS 22 3 bytes",
            "0 bob:9000 -> ada #0 TLS 21 2 bytes",
            "0 ada -> bob:9000 #0 finished after 2 bytes of a frame",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn frames_are_recorded_only_on_connections_that_were_recorded_from_their_begin() {
    let network = MemoryNetwork::new(1);
    let (mut before, _before) = network.pair("ada", "bob").await;
    let (lines, recording) = lines_of(&network);
    let (mut during, _during) = network.pair("ada", "cyd").await;
    before.writer.write_all(&frame(b"PING", b"")).await.unwrap();
    assert_eq!(taken(&lines).len(), 2, "the dial and the connection of the second");
    during.writer.write_all(b"PI").await.unwrap();
    drop(recording);
    during.writer.write_all(b"NG\0\0").await.unwrap();
    let (later, _recording) = lines_of(&network);
    during.writer.write_all(b"\0\0").await.unwrap();
    during.writer.write_all(&frame(b"PING", b"")).await.unwrap();
    assert_eq!((taken(&lines), taken(&later)), (Vec::new(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_records_may_use_the_network() {
    let network = MemoryNetwork::new(1);
    let (inside, links) = (network.clone(), Arc::new(StdMutex::new(Vec::new())));
    let seen = Arc::clone(&links);
    let _recording = network.record(move |event| {
        seen.lock().unwrap().push(inside.connections());
        if let WireEvent::Frame(frame) = event {
            drop(inside.record(|_| {}));
            inside.break_link(frame.link.number());
        }
    });
    let (mut here, _there) = network.pair("ada", "bob").await;
    here.writer.write_all(&frame(b"PING", b"")).await.unwrap();
    assert_eq!(write_error(&mut here).await, Some(ErrorKind::ConnectionReset));
    network.crash(&host("bob"));
    assert_eq!(*links.lock().unwrap(), [0, 1, 1, 0]);
}

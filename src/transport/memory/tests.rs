use std::{fmt::Write as _, future::poll_fn, io::ErrorKind, time::Duration};

use futures::FutureExt as _;
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::transport::{Io, Listener, Transport, memory::pipe::CAPACITY};

/// Longer than anything that ever arrives.
const LONG: Duration = Duration::from_secs(3600);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn host(name: &str) -> Host {
    name.parse().unwrap()
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

impl MemoryNetwork {
    async fn listen_at(&self, at: &str) -> Box<dyn Listener> {
        let at = address(at);
        self.transport(at.host().clone()).listen(&at).await.unwrap()
    }

    async fn dial_from(&self, from: &str, to: &str) -> std::io::Result<Io> {
        self.transport(host(from)).dial(&address(to)).await
    }

    /// A connection that `a` dialled and `b` took.
    async fn pair(&self, a: &str, b: &str) -> (Io, Io) {
        let mut listener = self.listen_at(&format!("{b}:9000")).await;
        let here = self.dial_from(a, &format!("{b}:9000")).await.unwrap();
        (here, accept(&mut listener).await.unwrap())
    }
}

async fn accept(listener: &mut Box<dyn Listener>) -> std::io::Result<Io> {
    poll_fn(|cx| listener.poll_accept(cx)).await
}

/// What can be read until the end, and how it ends.
async fn read_all(io: &mut Io) -> (Vec<u8>, Option<ErrorKind>) {
    let mut got = Vec::new();
    let end = timeout(LONG, io.reader.read_to_end(&mut got)).await.expect("no end");
    (got, end.err().map(|error| error.kind()))
}

async fn read(io: &mut Io, len: usize) -> Vec<u8> {
    let mut got = vec![0; len];
    timeout(LONG, io.reader.read_exact(&mut got)).await.expect("nothing comes").unwrap();
    got
}

async fn assert_silent(io: &mut Io) {
    assert!(timeout(LONG, io.reader.read_u8()).await.is_err(), "something came");
}

async fn assert_black_hole(network: &MemoryNetwork, from: &str, to: &str) {
    assert!(timeout(LONG, network.dial_from(from, to)).await.is_err(), "an answer came");
}

async fn write_error(io: &mut Io) -> Option<ErrorKind> {
    io.writer.write_all(b"!").await.err().map(|error| error.kind())
}

// Listening and dialling.

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways() {
    let (mut here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    here.writer.write_all(b"there").await.unwrap();
    assert_eq!(read(&mut there, 5).await, b"there");
    there.writer.write_all(b"back").await.unwrap();
    assert_eq!(read(&mut here, 4).await, b"back");
}

#[test]
fn without_latency_no_timer_and_no_runtime_is_needed() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").now_or_never().unwrap();
    here.writer.write_all(b"there").now_or_never().unwrap().unwrap();
    assert_eq!(there.reader.read_u8().now_or_never().unwrap().unwrap(), b't');
}

#[tokio::test(start_paused = true)]
async fn each_side_is_told_the_others_address() {
    let (here, there) = MemoryNetwork::new(1).pair("a", "10.0.0.7").await;
    assert_eq!(here.remote, address("10.0.0.7:9000"));
    assert_eq!(there.remote, address("a:32768"));
}

#[tokio::test(start_paused = true)]
async fn port_0_is_the_lowest_free_port_from_49152() {
    let network = MemoryNetwork::new(1);
    let first = network.listen_at("a:0").await;
    let _fixed = network.listen_at("a:49153").await;
    let second = network.listen_at("a:0").await;
    assert_eq!(first.local_address(), address("a:49152"));
    assert_eq!(second.local_address(), address("a:49154"));
    assert_eq!(network.listen_at("b:0").await.local_address(), address("b:49152"));
    drop(first);
    assert_eq!(network.listen_at("a:0").await.local_address(), address("a:49152"));
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_is_in_use() {
    let network = MemoryNetwork::new(1);
    let _listener = network.listen_at("a:9000").await;
    let again = network.transport(host("a")).listen(&address("A:9000")).await;
    assert_eq!(again.err().unwrap().kind(), ErrorKind::AddrInUse);
}

#[tokio::test(start_paused = true)]
async fn only_the_own_host_can_be_listened_at() {
    let network = MemoryNetwork::new(1);
    let other = network.transport(host("a")).listen(&address("b:9000")).await;
    assert_eq!(other.err().unwrap().kind(), ErrorKind::AddrNotAvailable);
    let mut open = Vec::new();
    for at in ["0.0.0.0:0", "[::]:0", "localhost:0", "127.0.0.1:0", "[::1]:0", "a:0"] {
        let listener = network.transport(host("a")).listen(&address(at)).await.unwrap();
        assert_eq!(*listener.local_address().host(), host("a"), "{at}");
        open.push(listener);
    }
}

#[tokio::test(start_paused = true)]
async fn localhost_is_the_diallers_own_host() {
    let network = MemoryNetwork::new(1);
    let _listener = network.listen_at("a:9000").await;
    assert!(network.dial_from("a", "localhost:9000").await.is_ok());
    assert!(network.dial_from("b", "localhost:9000").await.is_err());
}

#[test]
fn the_own_host_is_the_transports_host() {
    let transport = MemoryNetwork::new(1).transport(host("a"));
    assert_eq!(transport.own_host(&address("0.0.0.0:9000")), host("a"));
}

#[tokio::test(start_paused = true)]
async fn a_dial_to_nobody_is_refused() {
    let network = MemoryNetwork::new(1);
    let refused = network.dial_from("a", "b:9000").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    drop(network.listen_at("b:9000").await);
    let refused = network.dial_from("a", "b:9000").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn port_0_cannot_be_dialled() {
    let error = MemoryNetwork::new(1).dial_from("a", "b:0").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn a_dial_waits_while_the_listeners_queue_is_full() {
    let network = MemoryNetwork::new(1);
    let mut listener = network.listen_at("b:9000").await;
    let mut open = Vec::new();
    while let Some(io) = network.dial_from("a", "b:9000").now_or_never() {
        open.push(io.unwrap());
        assert!(open.len() < 1000, "the queue has no bound");
    }
    let (late, _) = tokio::join!(network.dial_from("a", "b:9000"), accept(&mut listener));
    assert!(late.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_waits_is_refused_when_the_listener_goes() {
    let network = MemoryNetwork::new(1);
    let listener = network.listen_at("b:9000").await;
    let mut open = Vec::new();
    while let Some(io) = network.dial_from("a", "b:9000").now_or_never() {
        open.push(io.unwrap());
    }
    let (refused, ()) =
        tokio::join!(network.dial_from("a", "b:9000"), async move { drop(listener) });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn a_dial_given_up_halfway_is_a_connection_that_ends_at_once() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let mut listener = network.listen_at("b:9000").await;
    assert!(timeout(ms(15), network.dial_from("a", "b:9000")).await.is_err());
    let mut there = accept(&mut listener).await.unwrap();
    assert_eq!(read_all(&mut there).await, (Vec::new(), None));
}

#[tokio::test(start_paused = true)]
async fn dials_and_connections_are_counted() {
    let network = MemoryNetwork::new(1);
    network.dial_from("a", "b:9000").await.unwrap_err();
    let (here, there) = network.pair("a", "b").await;
    assert_eq!((network.dials(), network.connections()), (2, 1));
    let link = network.links().remove(0);
    assert_eq!((link.number(), link.from(), link.to()), (0, &there.remote, &here.remote));
    drop(here);
    assert_eq!(network.connections(), 1, "the other side still holds it");
    drop(there);
    assert_eq!((network.dials(), network.connections()), (2, 0));
}

// Streams.

#[tokio::test(start_paused = true)]
async fn a_slow_reader_slows_its_writer() {
    let (mut here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    let data = vec![7; CAPACITY + 1];
    assert!(timeout(LONG, here.writer.write_all(&data)).await.is_err());
    assert_eq!(read(&mut there, CAPACITY).await.len(), CAPACITY);
    let (written, got) = tokio::join!(here.writer.write_all(&data), read(&mut there, CAPACITY + 1));
    written.unwrap();
    assert_eq!(got, data);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_writer_ends_the_stream_behind_what_was_written() {
    let (mut here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    here.writer.write_all(b"last words").await.unwrap();
    drop(here.writer);
    assert_eq!(read_all(&mut there).await, (b"last words".to_vec(), None));
    there.writer.write_all(b"answer").await.unwrap();
    let mut answer = [0; 6];
    here.reader.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"answer");
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_nothing_can_be_written() {
    let (mut here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    here.writer.shutdown().await.unwrap();
    here.writer.shutdown().await.unwrap();
    assert_eq!(write_error(&mut here).await, Some(ErrorKind::BrokenPipe));
    assert_eq!(read_all(&mut there).await, (Vec::new(), None));
}

#[tokio::test(start_paused = true)]
async fn dropping_both_halves_closes_the_connection() {
    let (here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    drop(here);
    assert_eq!(read_all(&mut there).await, (Vec::new(), None));
    assert_eq!(write_error(&mut there).await, Some(ErrorKind::BrokenPipe));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_reader_alone_is_not_noticed() {
    let (here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    drop(here.reader);
    assert_eq!(write_error(&mut there).await, None);
    assert!(timeout(LONG, there.writer.write_all(&vec![0; CAPACITY])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_waits_hears_that_the_other_side_has_gone() {
    let (mut here, there) = MemoryNetwork::new(1).pair("a", "b").await;
    let data = vec![7; CAPACITY + 1];
    let (written, ()) = tokio::join!(here.writer.write_all(&data), async move { drop(there) });
    assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

// Latency.

#[tokio::test(start_paused = true)]
async fn a_dial_takes_a_round_trip_and_bytes_take_half_of_it() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let start = Instant::now();
    let (mut here, mut there) = network.pair("a", "b").await;
    assert_eq!(start.elapsed(), ms(20));
    here.writer.write_all(b"there").await.unwrap();
    assert_eq!(start.elapsed(), ms(20));
    read(&mut there, 5).await;
    assert_eq!(start.elapsed(), ms(30));
    there.writer.write_all(b"back").await.unwrap();
    drop(there);
    assert_eq!(read_all(&mut here).await.0, b"back");
    assert_eq!(start.elapsed(), ms(40));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_takes_a_round_trip() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let start = Instant::now();
    network.dial_from("a", "b:9000").await.unwrap_err();
    assert_eq!(start.elapsed(), ms(20));
}

#[tokio::test(start_paused = true)]
async fn latency_is_drawn_of_the_range_and_stays_for_the_connection() {
    let network = MemoryNetwork::new(7);
    network.latency(ms(10)..ms(100));
    let mut seen = Vec::new();
    for round in 0..5 {
        let (mut here, mut there) = network.pair("a", "b").await;
        let mut times = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            here.writer.write_all(b"!").await.unwrap();
            read(&mut there, 1).await;
            times.push(start.elapsed());
        }
        assert!(times.iter().all(|time| *time == times[0]), "round {round}: {times:?}");
        assert!((ms(10)..=ms(100)).contains(&times[0]), "round {round}: {times:?}");
        seen.push(times[0]);
    }
    seen.dedup();
    assert!(seen.len() > 1, "all the same: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_and_pieces_arrive_when_they_are_due() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let (mut here, mut there) = network.pair("a", "b").await;
    let start = Instant::now();
    let writing = async {
        for piece in [b"one ", b"two ", b"end "] {
            here.writer.write_all(piece).await.unwrap();
            sleep(ms(3)).await;
        }
        here.writer.shutdown().await.unwrap();
    };
    let reading = async {
        let mut seen = Vec::new();
        loop {
            let mut piece = vec![0; 100];
            let len = there.reader.read(&mut piece).await.unwrap();
            piece.truncate(len);
            seen.push((start.elapsed(), String::from_utf8(piece).unwrap()));
            if len == 0 {
                return seen;
            }
        }
    };
    let ((), seen) = tokio::join!(writing, reading);
    let expected = [(10, "one "), (13, "two "), (16, "end "), (19, "")];
    assert_eq!(seen, expected.map(|(at, piece)| (ms(at), piece.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_capacity_is_on_its_way() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let (mut here, mut there) = network.pair("a", "b").await;
    let start = Instant::now();
    let data = vec![7; 3 * CAPACITY];
    let (written, got) = tokio::join!(here.writer.write_all(&data), read(&mut there, data.len()));
    written.unwrap();
    assert_eq!(got, data);
    assert_eq!(start.elapsed(), ms(30));
}

// Breaks.

#[tokio::test(start_paused = true)]
async fn a_conversation_can_be_cut_at_every_byte_in_either_direction() {
    let data = b"0123456789";
    for ending in [Ending::Reset, Ending::Eof] {
        for latency in [ms(0), ms(10)] {
            for bytes in 0..=data.len() {
                for direction in [StreamDirection::ToListener, StreamDirection::ToDialler] {
                    let network = MemoryNetwork::new(1);
                    network.latency(latency..latency);
                    network.ending(ending);
                    network.break_after(direction, bytes as u64);
                    let (here, there) = network.pair("a", "b").await;
                    let (mut writer, mut reader) = match direction {
                        StreamDirection::ToListener => (here, there),
                        StreamDirection::ToDialler => (there, here),
                    };
                    let (read_end, write_end) = match ending {
                        Ending::Reset => {
                            (Some(ErrorKind::ConnectionReset), ErrorKind::ConnectionReset)
                        }
                        Ending::Eof => (None, ErrorKind::BrokenPipe),
                    };
                    let case = format!("{ending:?} {latency:?} {bytes} {direction:?}");
                    let written = writer.writer.write_all(data).await.err().map(|e| e.kind());
                    let all = bytes == data.len();
                    assert_eq!(written, (!all).then_some(write_end), "{case}");
                    assert_eq!(write_error(&mut writer).await, Some(write_end), "{case}");
                    let got = read_all(&mut reader).await;
                    assert_eq!(got, (data[..bytes].to_vec(), read_end), "{case}");
                    assert_eq!(write_error(&mut reader).await, Some(write_end), "{case}");
                    assert_eq!(read_all(&mut writer).await, (Vec::new(), read_end), "{case}");
                    assert_eq!(network.connections(), 0, "{case}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_next_connection_is_cut_after_so_many_bytes() {
    let network = MemoryNetwork::new(1);
    network.break_after(StreamDirection::ToListener, 3);
    network.dial_from("a", "b:9000").await.unwrap_err();
    let (mut first, _there) = network.pair("a", "b").await;
    assert!(first.writer.write_all(b"1234").await.is_err());
    let (mut second, _there) = network.pair("a", "b").await;
    second.writer.write_all(b"1234").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cut_wakes_readers_and_writers_that_wait() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    let data = vec![7; CAPACITY + 1];
    let cut = async { network.break_link(0) };
    let (written, read, cut) = tokio::join!(
        timeout(LONG, here.writer.write_all(&data)),
        timeout(LONG, here.reader.read_u8()),
        cut
    );
    assert!(cut);
    assert_eq!(written.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(read.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    let reset = Some(ErrorKind::ConnectionReset);
    assert_eq!(read_all(&mut there).await, (vec![7; CAPACITY], reset), "what had arrived");
    assert!(!network.break_link(0), "it was cut before");
    assert!(!network.break_link(1), "there never was one");
}

#[tokio::test(start_paused = true)]
async fn a_cut_loses_what_is_on_its_way() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let (mut here, mut there) = network.pair("a", "b").await;
    here.writer.write_all(b"arrived").await.unwrap();
    sleep(ms(10)).await;
    here.writer.write_all(b"lost").await.unwrap();
    network.break_link(0);
    let reset = Some(ErrorKind::ConnectionReset);
    assert_eq!(read_all(&mut there).await, (b"arrived".to_vec(), reset));
    assert_eq!(here.writer.shutdown().await.unwrap_err().kind(), ErrorKind::NotConnected);
}

#[tokio::test(start_paused = true)]
async fn all_connections_between_two_hosts_can_be_cut() {
    let network = MemoryNetwork::new(1);
    let (mut ab, _ab) = network.pair("a", "b").await;
    let (mut ba, _ba) = network.pair("b", "a").await;
    let (mut ac, _ac) = network.pair("a", "c").await;
    assert_eq!(network.break_links_between(&host("b"), &host("a")), 2);
    assert_eq!(write_error(&mut ab).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(write_error(&mut ba).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(write_error(&mut ac).await, None);
    assert_eq!(network.connections(), 1);
}

// Crashes.

#[tokio::test(start_paused = true)]
async fn a_crash_breaks_the_hosts_connections_on_both_sides_and_no_others() {
    let network = MemoryNetwork::new(1);
    let (mut out, mut taken) = network.pair("a", "b").await;
    let (mut other, _there) = network.pair("a", "c").await;
    network.crash(&host("b"));
    let reset = (Vec::new(), Some(ErrorKind::ConnectionReset));
    assert_eq!(read_all(&mut out).await, reset);
    assert_eq!(read_all(&mut taken).await, reset);
    assert_eq!(write_error(&mut other).await, None);
    assert_eq!(network.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crashed_hosts_listener_fails_once_and_is_silent_then() {
    let network = MemoryNetwork::new(1);
    let mut listener = network.listen_at("b:9000").await;
    let (failed, ()) = tokio::join!(timeout(LONG, accept(&mut listener)), async {
        network.crash(&host("b"));
    });
    assert_eq!(failed.unwrap().unwrap_err().kind(), ErrorKind::NetworkDown);
    assert!(timeout(LONG, accept(&mut listener)).await.is_err());
    let again = network.transport(host("b")).listen(&address("b:9000")).await;
    assert_eq!(again.err().unwrap().kind(), ErrorKind::NetworkDown);
}

#[tokio::test(start_paused = true)]
async fn dials_to_and_from_a_crashed_host_are_never_answered() {
    let network = MemoryNetwork::new(1);
    let _b = network.listen_at("b:9000").await;
    let _c = network.listen_at("c:9000").await;
    network.crash(&host("b"));
    assert_black_hole(&network, "a", "b:9000").await;
    assert_black_hole(&network, "b", "c:9000").await;
    assert!(network.dial_from("a", "c:9000").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_crashed_host_may_refuse_dials_instead() {
    let network = MemoryNetwork::new(1);
    let _b = network.listen_at("b:9000").await;
    network.crash(&host("b")).refuse();
    let refused = network.dial_from("a", "b:9000").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_a_dial_is_under_way_counts() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let _b = network.listen_at("b:9000").await;
    let dial = network.dial_from("a", "b:9000");
    let crash = async {
        sleep(ms(5)).await;
        network.crash(&host("b"));
    };
    let (dialled, ()) = tokio::join!(timeout(LONG, dial), crash);
    assert!(dialled.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_revived_host_starts_anew() {
    let network = MemoryNetwork::new(1);
    let (mut old, _there) = network.pair("a", "b").await;
    let gone = network.listen_at("b:9000").await;
    network.crash(&host("b"));
    network.revive(&host("b"));
    let refused = network.dial_from("a", "b:9000").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let _new = network.listen_at("b:9000").await;
    drop(gone);
    assert!(network.dial_from("a", "b:9000").await.is_ok(), "the old listener took the new away");
    assert_eq!(write_error(&mut old).await, Some(ErrorKind::ConnectionReset));
}

// Partitions.

#[tokio::test(start_paused = true)]
async fn a_partition_stalls_connections_until_it_is_healed() {
    for latency in [ms(0), ms(10)] {
        let network = MemoryNetwork::new(1);
        network.latency(latency..latency);
        let (mut here, mut there) = network.pair("a", "b").await;
        here.writer.write_all(b"before ").await.unwrap();
        sleep(latency).await;
        network.partition(&[host("a")], &[host("b"), host("c")]);
        assert_eq!(read(&mut there, 7).await, b"before ", "it had arrived");
        here.writer.write_all(b"during ").await.unwrap();
        there.writer.write_all(b"as well").await.unwrap();
        assert_silent(&mut there).await;
        assert_silent(&mut here).await;
        here.writer.write_all(b"end").await.unwrap();
        drop(here.writer);
        let (got, ()) = tokio::join!(read_all(&mut there), async {
            sleep(ms(1000)).await;
            network.heal();
        });
        assert_eq!(got, (b"during end".to_vec(), None));
        let mut back = [0; 7];
        here.reader.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"as well");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_hides_the_end_of_the_other_side() {
    let network = MemoryNetwork::new(1);
    let (here, mut there) = network.pair("a", "b").await;
    network.partition(&[host("a")], &[host("b")]);
    drop(here);
    assert_eq!(write_error(&mut there).await, None);
    assert_silent(&mut there).await;
    network.heal();
    assert_eq!(write_error(&mut there).await, Some(ErrorKind::BrokenPipe));
    assert_eq!(read_all(&mut there).await, (Vec::new(), None));
}

#[tokio::test(start_paused = true)]
async fn a_partition_hides_a_crash() {
    let network = MemoryNetwork::new(1);
    let (_here, mut there) = network.pair("a", "b").await;
    network.partition(&[host("b")], &[host("a")]);
    network.crash(&host("a"));
    assert_silent(&mut there).await;
    assert!(timeout(LONG, there.writer.write_all(b"!")).await.is_err());
    network.heal();
    assert_eq!(write_error(&mut there).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(read_all(&mut there).await, (Vec::new(), Some(ErrorKind::ConnectionReset)));
}

#[tokio::test(start_paused = true)]
async fn dials_across_a_partition_are_never_answered_and_others_are() {
    let network = MemoryNetwork::new(1);
    let _listeners = join_all(["a:9000", "b:9000", "c:9000"].map(|at| network.listen_at(at))).await;
    network.partition(&[host("a")], &[host("b"), host("c")]);
    assert_black_hole(&network, "a", "b:9000").await;
    assert_black_hole(&network, "c", "a:9000").await;
    assert!(network.dial_from("b", "c:9000").await.is_ok());
    network.heal();
    assert!(network.dial_from("a", "b:9000").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn partitions_add_up() {
    let network = MemoryNetwork::new(1);
    let _b = network.listen_at("b:9000").await;
    network.partition(&[host("a")], &[host("b")]);
    network.partition(&[host("c")], &[host("b")]);
    assert_black_hole(&network, "a", "b:9000").await;
    assert_black_hole(&network, "c", "b:9000").await;
}

// Seeds.

#[tokio::test(start_paused = true)]
async fn a_pair_of_hosts_may_have_a_latency_of_its_own() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(5));
    network.latency_between(&host("b"), &host("A"), ms(50));
    for (from, to, expected) in [("a", "b", 100), ("b", "a", 100), ("a", "c", 10)] {
        let at = format!("{to}:9000");
        let _listener = network.listen_at(&at).await;
        let begun = Instant::now();
        network.dial_from(from, &at).await.unwrap();
        assert_eq!(begun.elapsed(), ms(expected), "{from} {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_sends_so_many_bytes_in_a_second_and_its_connections_share_them() {
    let network = MemoryNetwork::new(1);
    network.bandwidth_of(&host("a"), NonZeroU64::new(10_000));
    let (mut one, mut theirs) = network.pair("a", "b").await;
    let (mut two, mut thirds) = network.pair("a", "c").await;
    let begun = Instant::now();
    one.writer.write_all(&[1; 10_000]).await.unwrap();
    two.writer.write_all(&[2; 10_000]).await.unwrap();
    assert_eq!(read(&mut theirs, 1_460).await.len(), 1_460);
    assert_eq!(begun.elapsed(), ms(146), "a packet comes when it has left");
    read(&mut theirs, 8_540).await;
    assert_eq!(begun.elapsed(), ms(1_000));
    read(&mut thirds, 10_000).await;
    assert_eq!(begun.elapsed(), ms(2_000), "behind what was sent before it");
    // The other direction is the other host's.
    theirs.writer.write_all(&[3; 10_000]).await.unwrap();
    read(&mut one, 10_000).await;
    assert_eq!(begun.elapsed(), ms(2_000));
    network.bandwidth_of(&host("a"), None);
    one.writer.write_all(&[4; 10_000]).await.unwrap();
    read(&mut theirs, 10_000).await;
    assert_eq!(begun.elapsed(), ms(2_000));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_waits_for_the_bandwidth_as_well() {
    let network = MemoryNetwork::new(1);
    network.bandwidth(NonZeroU64::new(1_000));
    let (mut here, mut there) = network.pair("a", "b").await;
    let begun = Instant::now();
    here.writer.write_all(&[1; 3_000]).await.unwrap();
    drop(here);
    let (got, error) = read_all(&mut there).await;
    assert_eq!((got.len(), error, begun.elapsed()), (3_000, None, ms(3_000)));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_host_is_silent_for_a_time_and_then_everything_is_there() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    let (mut other, mut third) = network.pair("a", "c").await;
    let begun = Instant::now();
    network.stall(&host("b"), ms(300));
    here.writer.write_all(b"to").await.unwrap();
    there.writer.write_all(b"fro").await.unwrap();
    other.writer.write_all(b"on").await.unwrap();
    assert_eq!(read(&mut third, 2).await, b"on");
    assert_eq!(begun.elapsed(), ms(0), "others go on");
    network.stall(&host("b"), ms(100));
    assert_eq!(read(&mut there, 2).await, b"to");
    assert_eq!(read(&mut here, 3).await, b"fro");
    assert_eq!(begun.elapsed(), ms(300));
    here.writer.write_all(b"again").await.unwrap();
    assert_eq!(read(&mut there, 5).await, b"again");
    assert_eq!(begun.elapsed(), ms(300));
}

#[tokio::test(start_paused = true)]
async fn dials_from_and_to_a_stalled_host_wait() {
    let network = MemoryNetwork::new(1);
    let _listeners = (network.listen_at("a:9000").await, network.listen_at("b:9000").await);
    let begun = Instant::now();
    for (from, to) in [("a", "b:9000"), ("b", "a:9000")] {
        network.stall(&host("b"), ms(200));
        network.dial_from(from, to).await.unwrap();
    }
    assert_eq!(begun.elapsed(), ms(400));
    network.stall(&host("b"), ms(200));
    assert_eq!(
        network.dial_from("a", "b:7").await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert_eq!(begun.elapsed(), ms(600));
}

#[tokio::test(start_paused = true)]
async fn one_connection_can_be_stalled() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    let (mut other, mut third) = network.pair("a", "c").await;
    assert!(network.stall_link(0, ms(100)));
    assert!(!network.stall_link(9, ms(100)));
    let begun = Instant::now();
    here.writer.write_all(b"late").await.unwrap();
    other.writer.write_all(b"on").await.unwrap();
    assert_eq!(read(&mut third, 2).await, b"on");
    assert_eq!(begun.elapsed(), ms(0));
    assert_eq!(read(&mut there, 4).await, b"late");
    assert_eq!(begun.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn a_cut_of_one_direction_loses_that_one_and_nobody_connects() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    network.partition_one_way(&[host("a")], &[host("b")]);
    here.writer.write_all(b"lost").await.unwrap();
    there.writer.write_all(b"heard").await.unwrap();
    assert_eq!(read(&mut here, 5).await, b"heard");
    assert_silent(&mut there).await;
    let _listeners = (network.listen_at("a:7").await, network.listen_at("b:7").await);
    assert_black_hole(&network, "a", "b:7").await;
    assert_black_hole(&network, "b", "a:7").await;
    network.heal();
    assert_eq!(read(&mut there, 4).await, b"lost");
    network.dial_from("a", "b:7").await.unwrap();
}

/// What every host sees, and when, while all of them talk to all and one of them crashes.
fn trace(seed: u64) -> String {
    const HOSTS: [&str; 6] = ["n0", "n1", "n2", "n3", "n4", "n5"];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let network = MemoryNetwork::new(seed);
        network.latency(ms(1)..ms(50));
        let start = Instant::now();
        let log = std::sync::Mutex::new(String::new());
        let note = |line: String| {
            writeln!(log.lock().unwrap(), "{:?} {line}", start.elapsed()).unwrap();
        };
        let serve = HOSTS.map(|me| {
            let (network, note) = (&network, &note);
            async move {
                let mut listener = network.listen_at(&format!("{me}:9000")).await;
                let mut echoes = Vec::new();
                while let Ok(Ok(mut io)) = timeout(ms(500), accept(&mut listener)).await {
                    note(format!("{me} took {}", io.remote));
                    #[expect(clippy::disallowed_methods, reason = "the test's own runtime")]
                    echoes.push(tokio::spawn(async move {
                        tokio::io::copy(&mut io.reader, &mut io.writer).await.ok();
                    }));
                }
                join_all(echoes).await;
            }
        });
        let ask = async |me: &'static str, to: &'static str| {
            let at = format!("{to}:9000");
            for _ in 0..3 {
                let dial = network.dial_from(me, &at);
                let Ok(Ok(mut io)) = timeout(ms(200), dial).await else {
                    note(format!("{me} cannot reach {to}"));
                    continue;
                };
                io.writer.write_all(me.as_bytes()).await.ok();
                io.writer.shutdown().await.ok();
                let got = read_all(&mut io).await;
                note(format!("{me} got {got:?} from {to}"));
            }
        };
        let asks = HOSTS.iter().flat_map(|me| HOSTS.map(|to| ask(me, to)));
        let fault = async {
            sleep(ms(60)).await;
            network.crash(&host("n3"));
            network.partition(&[host("n0")], &[host("n1")]);
            sleep(ms(60)).await;
            network.heal();
        };
        tokio::join!(join_all(serve), join_all(asks), fault);
        drop(network);
        log.into_inner().unwrap()
    })
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let first = trace(42);
    assert!(first.lines().count() > 100, "{first}");
    assert_eq!(first, trace(42));
    assert_ne!(first, trace(43));
}

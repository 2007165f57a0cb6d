//! Measures a node under attack: `cargo bench --bench hostile`, or some attacks with `-- NAME...`.
//!
//! The node under test runs in a process of its own, with default limits unless stated otherwise,
//! so that its memory, processor time and file descriptors are measured alone. This process runs
//! the hostile clients, and an honest client that sends requests in the meantime. The clients have
//! different source addresses in 127.0.0.0/8.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark may panic, and measures real time"
)]

mod support;
#[path = "../examples/support/test_handlers.rs"]
mod test_handlers;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{Config, Incoming, Peer, Reply, handler};
use futures::future::join_all;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpSocket, TcpStream},
    process::ChildStdout,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The length of a reply that is not read.
const LONG_REPLY: u64 = 64 << 20;

/// File descriptors of the node that runs out of them.
const FEW_DESCRIPTORS: &str = "256";

// ---------------------------------------------------------------------------
// The node under test

#[actix::main]
async fn serve(at: &str, connections: &str) {
    let connections = connections.parse().expect("a number");
    let mut config = Config::default().max_connections_per_source(connections);
    if connections > 1_024 {
        let long = Duration::from_secs(600);
        config =
            config.max_connections(connections).max_half_open(connections).header_timeout(long);
    }
    let long = handler::from_fn(async |_: Incoming| {
        Reply::body("REPL", LONG_REPLY, AsyncReadExt::take(tokio::io::repeat(7), LONG_REPLY))
    });
    let builder = Peer::builder().listen(at).config(config).well_known();
    let builder =
        test_handlers::register(builder).and_then(|builder| builder.handle("LONG", long.start()));
    let node = builder.expect("codes").start().await.expect("a node");
    println!("listening on {}", node.info().address());
    std::future::pending::<()>().await;
}

struct Node {
    child: Child,
    pid: String,
    address: SocketAddr,
}

impl Node {
    async fn start() -> Self {
        Self::start_with("127.0.0.1:0", "1024", support::ALL_DESCRIPTORS).await
    }

    async fn start_with(at: &str, connections: &str, descriptors: &str) -> Self {
        let mut child = support::again(descriptors, &["serve", at, connections])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // The messages of 100,000 panics are not printed.
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let out = ChildStdout::from_std(child.stdout.take().unwrap()).expect("its output");
        let mut lines: Lines<_> = BufReader::new(out).lines();
        let line = lines.next_line().await.expect("a line").expect("a line");
        let address = line.strip_prefix("listening on ").expect("an address").parse().unwrap();
        Self { pid: child.id().to_string(), child, address }
    }

    fn resident(&self) -> u64 {
        support::resident(&self.pid)
    }

    /// Its processor time, in the program and in the kernel.
    fn processor(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks: u64 =
            fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    async fn settled(&self) -> u64 {
        sleep(SECOND / 2).await;
        self.resident()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

// ---------------------------------------------------------------------------
// The clients

/// Connects from the source with this number.
async fn connect(to: SocketAddr, source: usize) -> io::Result<TcpStream> {
    let [.., high, low] = u32::try_from(source).unwrap().to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 1, high, low), 0).into())?;
    socket.connect(to).await
}

fn frame(code: &str, len: u64) -> Vec<u8> {
    let len = u32::try_from(len).unwrap();
    [code.as_bytes(), &len.to_be_bytes()].concat()
}

/// Sends one request and reads the answer to its end.
async fn ask(to: SocketAddr, source: usize, code: &str, data: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(to, source).await?;
    stream.write_all(&[&frame(code, data.len() as u64), data].concat()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Decrements the counter, unless it is 0.
fn one_more(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// The honest client: sends a request every few milliseconds until it is stopped.
struct Honest {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Vec<Duration>>,
}

impl Honest {
    fn start(to: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let asking = tokio::spawn(async move {
            let mut times = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let answer = timeout(10 * SECOND, ask(to, 60_000, "ECHO", b"honest")).await;
                let answer = answer.expect("an answer in time").expect("an answer");
                assert_eq!(answer, b"ECHO\0\0\0\x06honest", "the honest client is served");
                times.push(begun.elapsed());
                sleep(Duration::from_millis(2)).await;
            }
            times
        });
        Self { stop, asking }
    }

    async fn times(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.await.expect("the honest client was served")
    }
}

/// The time within which 99 % were answered.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
}

fn report(what: &str, measured: &str, aim: &str, reached: bool) {
    let verdict = support::verdict(reached);
    println!("{what:<54} {measured:>24}   aim {aim}: {verdict}");
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

// ---------------------------------------------------------------------------
// The attacks

async fn silent() {
    let node = Node::start().await;
    let mut stream = connect(node.address, 0).await.unwrap();
    let begun = Instant::now();
    stream.read_to_end(&mut Vec::new()).await.ok();
    let took = begun.elapsed().as_secs_f64();
    report(
        "a silent connection is closed after",
        &format!("{took:.2} s"),
        "10 s, 5 % more or less",
        (9.5..=10.5).contains(&took),
    );
}

async fn many() {
    const MANY: usize = 18_000;
    let node = Node::start_with("127.0.0.1:0", "18000", "20000").await;
    let (before, begun) = (node.settled().await, Instant::now());
    let mut held = Vec::with_capacity(MANY);
    for number in 0..MANY {
        held.push(connect(node.address, number / 1_000).await.expect("a connection"));
    }
    let took = begun.elapsed();
    let (after, used) = (node.settled().await, node.processor());
    sleep(2 * SECOND).await;
    let idle = node.processor() - used;
    let more = after.saturating_sub(before);
    report(
        "18,000 silent connections, opened in",
        &format!("{:.2} s", took.as_secs_f64()),
        "none",
        true,
    );
    report("  resident memory", &support::bytes(more), "30 MiB at most", more <= 30 * MIB);
    report("  processor time in 2 s", &ms(idle), "none", idle.is_zero());
}

async fn descriptors() {
    let node = Node::start_with("127.0.0.1:0", "1024", FEW_DESCRIPTORS).await;
    let opened = join_all((0..600).map(|number| connect(node.address, number))).await;
    let held: Vec<_> = opened.into_iter().flatten().collect();
    sleep(SECOND / 2).await;
    let used = node.processor();
    sleep(5 * SECOND).await;
    let used = node.processor() - used;
    drop(held);
    let begun = Instant::now();
    while !ask(node.address, 9, "ECHO", b"").await.is_ok_and(|answer| answer.starts_with(b"ECHO")) {
        assert!(begun.elapsed() < 20 * SECOND, "it recovers");
        sleep(Duration::from_millis(5)).await;
    }
    let back = begun.elapsed();
    report(
        "256 descriptors, 600 connections: processor in 5 s",
        &ms(used),
        "50 ms at most",
        used <= SECOND / 20,
    );
    report("  served again after they are closed", &ms(back), "500 ms at most", back <= SECOND / 2);
}

/// Connections that send only the beginning of a frame.
async fn beginnings(what: &str, count: usize, sent: usize, most: u64) {
    let node = Node::start().await;
    let before = node.settled().await;
    let beginning = [frame("ECHO", MIB), vec![7; sent]].concat();
    let mut held = Vec::new();
    for number in 0..count {
        let mut stream = connect(node.address, number).await.expect("a connection");
        // If the node stops to read, the rest stays in the buffers of the kernel.
        timeout(SECOND / 10, stream.write_all(&beginning)).await.ok();
        held.push(stream);
    }
    let more = node.settled().await.saturating_sub(before);
    let answer = ask(node.address, 60_000, "ECHO", b"").await.expect("an answer");
    assert!(answer.starts_with(b"ECHO"), "a short frame is served in the meantime");
    report(
        what,
        &format!("+{}", support::bytes(more)),
        &format!("+{} at most", support::bytes(most)),
        more <= most,
    );
}

async fn unread() {
    let node = Node::start().await;
    let before = node.settled().await;
    let mut held = Vec::new();
    for number in 0..60 {
        let mut stream = connect(node.address, number).await.expect("a connection");
        stream.write_all(&frame("LONG", 0)).await.unwrap();
        held.push(stream);
    }
    let more = node.settled().await.saturating_sub(before);
    report(
        "60 replies of 64 MiB that are not read",
        &format!("+{}", support::bytes(more)),
        "+4 MiB at most",
        more <= 4 * MIB,
    );
}

async fn resets() {
    const FLOOD: u64 = 20_000;
    let node = Node::start().await;
    let (honest, begun, to) = (Honest::start(node.address), Instant::now(), node.address);
    let left = Arc::new(AtomicU64::new(FLOOD));
    let flooding = (0..16).map(|_| {
        let left = Arc::clone(&left);
        tokio::spawn(async move {
            while one_more(&left) {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_zero_linger().unwrap();
                drop(socket.connect(to).await);
            }
        })
    });
    join_all(flooding).await;
    let (rate, p99) = (support::rate(FLOOD as f64, begun.elapsed()), p99(honest.times().await));
    report(
        "20,000 connections that are reset at once",
        &format!("{rate:.0}/s"),
        "12,000/s",
        rate >= 12_000.0,
    );
    report(
        "  an honest client in the meantime, p99",
        &ms(p99),
        "10 ms at most",
        p99 <= SECOND / 100,
    );
}

async fn garbage() {
    let node = Node::start().await;
    ask(node.address, 0, "ECHO", b"").await.unwrap();
    let before = node.settled().await;
    let (honest, begun, to) = (Honest::start(node.address), Instant::now(), node.address);
    let sent = Arc::new(AtomicU64::new(0));
    let garbage: Arc<[u8]> = [frame("ECHO", 1 << 31), vec![7; 64 << 10]].concat().into();
    let flooding = (0..8).map(|_| {
        let (sent, garbage) = (Arc::clone(&sent), Arc::clone(&garbage));
        tokio::spawn(async move {
            while begun.elapsed() < 20 * SECOND {
                let Ok(mut stream) = TcpStream::connect(to).await else { continue };
                if stream.write_all(&garbage).await.is_ok() {
                    sent.fetch_add(garbage.len() as u64, Ordering::Relaxed);
                }
                stream.read_to_end(&mut Vec::new()).await.ok();
            }
        })
    });
    join_all(flooding).await;
    let rate = support::rate(sent.load(Ordering::Relaxed) as f64 / 1e6, begun.elapsed());
    let (p99, more) = (p99(honest.times().await), node.resident().saturating_sub(before));
    report(
        "frames that are too long, with 64 KiB of garbage",
        &format!("{rate:.0} MB/s"),
        "600 MB/s",
        rate >= 600.0,
    );
    report(
        "  resident memory after 20 s",
        &format!("+{}", support::bytes(more)),
        "+8 MiB at most",
        more <= 8 * MIB,
    );
    report(
        "  an honest client in the meantime, p99",
        &ms(p99),
        "50 ms at most",
        p99 <= SECOND / 20,
    );
}

async fn panics() {
    const PANICS: u64 = 100_000;
    let node = Node::start().await;
    let (honest, to) = (Honest::start(node.address), node.address);
    let left = Arc::new(AtomicU64::new(PANICS));
    let asking = (0..8).map(|_| {
        let left = Arc::clone(&left);
        tokio::spawn(async move {
            while one_more(&left) {
                let answer = ask(to, 1, "BOO2", b"").await.expect("an answer");
                assert!(answer.starts_with(b"ERRO"), "a panic is an error");
            }
        })
    });
    let begun = Instant::now();
    for asked in join_all(asking).await {
        asked.expect("all are answered");
    }
    let (rate, times) = (support::rate(PANICS as f64, begun.elapsed()), honest.times().await);
    let measured = format!("{rate:.0}/s, {} honest", times.len());
    report("100,000 handlers that panic twice each", &measured, "no honest request lost", true);
    report("  an honest client in the meantime, p99", &ms(p99(times)), "none", true);
}

async fn overload() {
    let node = Node::start().await;
    let (honest, to) = (Honest::start(node.address), node.address);
    let asked = join_all((0..400).map(|number| async move {
        let begun = Instant::now();
        let answer = ask(to, number, "SLOW", b"").await.expect("an answer");
        (answer.starts_with(b"REPL"), begun.elapsed())
    }))
    .await;
    let served = asked.iter().filter(|(served, _)| *served).count();
    let refused: Vec<_> =
        asked.iter().filter(|(served, _)| !served).map(|(_, took)| *took).collect();
    let (late, p99_honest) = (p99(refused), p99(honest.times().await));
    report("400 requests that take 5 s at once: served", &served.to_string(), "64", served == 64);
    report(
        "  the others refused, p99 (busy after 50 ms)",
        &ms(late),
        "70 ms at most",
        late <= Duration::from_millis(70),
    );
    report(
        "  an honest client in the meantime, p99",
        &ms(p99_honest),
        "20 ms at most",
        p99_honest <= SECOND / 50,
    );
}

async fn replies() {
    const REPLIES: u64 = 1_000_000;
    let node = Node::start().await;
    let (to, data) = (node.address, Arc::<[u8]>::from(vec![7; 20 << 10]));
    let wanted: Arc<[u8]> = [frame("ECHO", 20 * KIB), data.to_vec()].concat().into();
    let left = Arc::new(AtomicU64::new(REPLIES));
    let wrong = Arc::new(AtomicU64::new(0));
    let asking = (0..16).map(|source| {
        let (left, wrong, data, wanted) =
            (Arc::clone(&left), Arc::clone(&wrong), Arc::clone(&data), Arc::clone(&wanted));
        tokio::spawn(async move {
            while one_more(&left) {
                let is_port_in_use =
                    |error: &io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
                match ask(to, source, "ECHO", &data).await {
                    Ok(answer) if answer == *wanted => {}
                    Err(error) if is_port_in_use(&error) => {
                        left.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => {
                        wrong.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        })
    });
    join_all(asking).await;
    let wrong = wrong.load(Ordering::Relaxed);
    report("1,000,000 replies of 20 KiB: truncated", &wrong.to_string(), "0", wrong == 0);
}

async fn restart() {
    let node = Node::start().await;
    ask(node.address, 0, "ECHO", b"").await.unwrap();
    let address = node.address;
    let begun = Instant::now();
    drop(node);
    let node = Node::start_with(&address.to_string(), "1024", "1024").await;
    let answer = ask(node.address, 0, "ECHO", b"").await.unwrap();
    let took = begun.elapsed();
    assert!(answer.starts_with(b"ECHO"));
    report(
        "killed, restarted at its port, and asked",
        &ms(took),
        "250 ms at most",
        took <= SECOND / 4,
    );
}

#[tokio::main(flavor = "current_thread")]
async fn attack(names: &[&str]) {
    let wanted = |name: &str| names.is_empty() || names.contains(&name);
    macro_rules! run {
        ($($name:literal: $what:expr;)*) => { $( if wanted($name) { println!("{}", $name); $what.await; } )* };
    }
    run! {
        "silent": silent();
        "many": many();
        "descriptors": descriptors();
        "bytes": beginnings("300 frames of 1 MiB that miss one byte", 300, (1 << 20) - 1, 72 * MIB);
        "claims": beginnings("500 frames of 1 MiB of which nothing comes", 500, 0, 2 * MIB);
        "unread": unread();
        "resets": resets();
        "garbage": garbage();
        "panics": panics();
        "overload": overload();
        "replies": replies();
        "restart": restart();
    }
}

fn main() {
    let arguments: Vec<_> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", at, connections] => serve(at, connections),
        ["attack", names @ ..] => attack(names),
        names => {
            let names = [&["attack"], names].concat();
            let status =
                support::again(support::ALL_DESCRIPTORS, &names).status().expect("a process");
            assert!(status.success(), "every attack was measured");
        }
    }
}

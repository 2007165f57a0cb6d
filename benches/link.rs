//! Compares links with the same work in bare tokio, between two processes: `cargo bench --bench
//! link`.
//!
//! The work and the code are those of the example `load`. Then it measures the resident memory of
//! 200 idle links in one process.
//!
//! # Parts of the cost
//!
//! Measured with `perf record` and `addr2line`, for one-way messages of 64 bytes on the machine of
//! the README, in nanoseconds per message. `Framed` needs 52 on the slower side.
//!
//! | receiving | ns | |
//! |---|---|---|
//! | mailbox of the handler | 48 | two allocations, four atomic operations: `do_send` to an idle actor, alone |
//! | system calls, and copies in them | 18 | |
//! | data as a slice of what was read | 10 | a count up and a count down |
//! | the message's share of the window | 10 | a count up and a count down |
//! | the state machine, the route, the handler | 30 | |
//!
//! A handler of batches avoids the first, third and fourth part. One message for each frame
//! therefore reaches at most 0.7 of `Framed` on this machine, even if the work of this crate cost
//! nothing. The ratio is better where system calls are slower: `Framed` makes one for every 8 KiB.
//!
//! | sending | ns | |
//! |---|---|---|
//! | system calls, and copies in them | 18 | |
//! | the caller's own reference to the data | 11 | the same for Framed |
//! | finding the link, and its lock | 18 | two uncontended locks; none with `notify_all` |
//! | credit, encoding, the future | 23 | |
#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark may panic, and measures real time"
)]

#[path = "../examples/load/bare.rs"]
mod bare;
#[path = "../examples/load/drive.rs"]
mod drive;
#[path = "../examples/support/memory.rs"]
mod memory;
#[path = "../examples/load/report.rs"]
mod report;
#[path = "../examples/load/serve.rs"]
mod serve;
mod support;
#[path = "../examples/load/work.rs"]
mod work;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use actix::Actor;
use actix_peer::{Config, Outgoing, Over, Peer, Reply, frame::Frame, handler, overlay::Address};
use futures::future::try_join_all;

use report::Report;
use work::{Flush, HandlerKind, Job, Mode};

const ROUNDS: u16 = 7;
const LINKS: usize = 200;
const AIM_IDLE: u64 = 16 << 10;

/// The work, and the aim of each ratio.
const AIMS: [(Mode, HandlerKind, usize, f64); 8] = [
    (Mode::Notify, HandlerKind::Each, 64, 0.6),
    (Mode::Notify, HandlerKind::Batch, 64, 1.0),
    (Mode::Notify, HandlerKind::Each, 1 << 10, 1.2),
    (Mode::Notify, HandlerKind::Each, 16 << 10, 1.0),
    (Mode::Request, HandlerKind::Each, 64, 1.2),
    (Mode::Pipeline, HandlerKind::Each, 64, 0.8),
    (Mode::Stream, HandlerKind::Each, 0, 0.6),
    (Mode::Notify, HandlerKind::Sleepy, 64, 0.0),
];

/// The other process.
#[actix::main]
async fn serve() {
    let node = serve::node("127.0.0.1:0", 0).await.expect("a node");
    let bare = serve::bare("127.0.0.1:0").await.expect("a bare server");
    println!("{} {bare}", node.info().address());
    std::future::pending().await
}

fn server() -> (Child, Address, SocketAddr) {
    let mut child = again(&["serve"]).stdout(Stdio::piped()).spawn().expect("another process");
    let mut line = String::new();
    let out = child.stdout.take().expect("its output");
    BufReader::new(out).read_line(&mut line).expect("a line");
    let (node, bare) = line.trim().split_once(' ').expect("two addresses");
    (child, node.parse().expect("an address"), bare.parse().expect("an address"))
}

/// In a task, like the work of an actix application.
#[actix::main]
async fn measure(to: Address, bare: SocketAddr) {
    actix_rt::spawn(async move { compare(&to, bare).await }).await.expect("the measurements");
}

async fn compare(to: &Address, bare: SocketAddr) {
    let peer = Peer::builder().start().await.expect("a node");
    for (mode, handler, size, aim) in AIMS {
        let sleepy = handler == HandlerKind::Sleepy;
        let (count, rounds) = if sleepy { (1_000_000, 1) } else { (mode.count(size), ROUNDS) };
        let job = Job { mode, handler, size, count, outstanding: 64, flush: Flush::Each };
        let report = Report::measure(&peer, (to, bare), job, rounds).await.expect("a measurement");
        report.print(false).expect("a report");
        let reached = if mode == Mode::Request { report.ratio <= aim } else { report.ratio >= aim };
        if !sleepy {
            let verdict = support::verdict(reached);
            println!("  aim          {aim:>9.2}: {verdict}");
        }
        println!();
    }
    peer.stop().await;
}

/// Both ends of every link are in this process: each end has half of the growth.
#[actix::main]
async fn idle(messages: usize) {
    let keep_alive = Duration::from_millis(200);
    let config = Config::default()
        .keep_alive(keep_alive)
        .max_links(2 * LINKS)
        .max_connections_per_source(2 * LINKS);
    let sink = handler::from_fn(async |_| Reply::none());
    let builder = Peer::builder().config(config.clone()).handle("SINK", sink.start());
    let hub = builder.expect("a code").start().await.expect("a node");
    let builder = || Peer::builder().config(config.clone());
    let nodes = try_join_all((0..LINKS).map(|_| builder().start())).await.expect("nodes");
    tokio::time::sleep(2 * keep_alive).await;
    let before = support::resident("self");
    for node in &nodes {
        for _ in 0..messages {
            let message = Outgoing::from(Frame::new("SINK", vec![7; 4 << 10])).over(Over::Link);
            node.notify(hub.info(), message).await.expect("a link");
        }
    }
    // Buffers are released after an interval of keep-alive without use.
    tokio::time::sleep(5 * keep_alive).await;
    assert_eq!(hub.status().await.links.len(), LINKS);
    let each = support::resident("self").saturating_sub(before) / (2 * LINKS as u64);
    println!("{LINKS} idle links, after {messages} messages of 4 KiB on each");
    println!("  resident     {:>9} per end", support::bytes(each));
    if messages == 1 {
        let verdict = support::verdict(each <= AIM_IDLE);
        println!("  aim          {:>9}: {verdict}", support::bytes(AIM_IDLE));
    }
}

/// Runs this program again, as another process.
fn again(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args(arguments);
    command
}

fn main() {
    let arguments: Vec<_> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve"] => serve(),
        ["idle", messages] => idle(messages.parse().expect("a number")),
        _ => {
            let (mut child, node, bare) = server();
            measure(node, bare);
            child.kill().and_then(|()| child.wait()).expect("the other process ends");
            for messages in ["1", "100"] {
                let status = again(&["idle", messages]).status();
                assert!(status.expect("another process").success());
            }
        }
    }
}

//! Measures the memory of an idle accepted connection: `cargo bench --bench idle`.
//!
//! One process runs the node, another one holds 5,000 connections to it: first silent ones, then
//! ones that have sent half a header, then ones with a request that its handler does not answer.
//! The result is the growth of resident memory of the node's process, divided by the connections.
//! The memory of the kernel for sockets is not counted.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark may panic, and measures real time"
)]

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::{Child, Stdio},
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{Config, Incoming, Peer, handler};

const CONNECTIONS: usize = 5_000;
const AIM: u64 = 12 << 10;
const LONG: Duration = Duration::from_secs(600);

/// The other process: opens connections, sends `bytes` on each, prints a line, and holds them until
/// its standard input is closed.
fn hold(to: &str, bytes: &str) {
    let open = |_| {
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(bytes.replace("0", "\0").as_bytes())?;
        Ok(stream)
    };
    let held: std::io::Result<Vec<_>> = (0..CONNECTIONS).map(open).collect();
    let held = held.expect("connections");
    println!("holding {}", held.len());
    std::io::stdin().read_line(&mut String::new()).expect("the end of the input");
}

async fn clients(to: &str, bytes: &str) -> Child {
    let mut child = support::again(support::ALL_DESCRIPTORS, &["hold", to, bytes])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("another process");
    let out = child.stdout.take().expect("its output");
    let first = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).map(|_| line)
    });
    let line = first.await.expect("a thread").expect("a line");
    assert_eq!(line.trim(), format!("holding {CONNECTIONS}"));
    child
}

#[actix::main]
async fn measure(what: &str, bytes: &str, handling: usize) {
    let waits = handler::from_fn(async |_: Incoming| std::future::pending().await);
    let config = Config::default()
        .max_connections(2 * CONNECTIONS)
        .max_connections_per_source(2 * CONNECTIONS)
        .max_half_open(2 * CONNECTIONS)
        .max_requests(2 * CONNECTIONS)
        .max_requests_per_code(2 * CONNECTIONS)
        .header_timeout(LONG)
        .body_timeout(LONG)
        .handler_timeout(LONG);
    let builder = Peer::builder().config(config).handle("WAIT", waits.start()).expect("a code");
    let node = builder.start().await.expect("a node");
    let before = support::resident("self");
    let mut child = clients(&node.info().address().to_string(), bytes).await;
    loop {
        let status = node.status().await;
        if status.connections == CONNECTIONS && status.counts.exchanges_in >= handling as u64 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let each = support::resident("self").saturating_sub(before) / CONNECTIONS as u64;
    let verdict = support::verdict(each <= AIM);
    println!(
        "{CONNECTIONS} connections, {what:<24} {:>9} each, aim {}: {verdict}",
        support::bytes(each),
        support::bytes(AIM)
    );
    node.abort().await;
    child.kill().and_then(|()| child.wait()).expect("the other process ends");
}

fn main() {
    let arguments: Vec<_> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["hold", to, bytes] => hold(to, bytes),
        ["measure", what, bytes, handling] => {
            measure(what, bytes, handling.parse().expect("a number"));
        }
        _ => {
            let all = CONNECTIONS.to_string();
            for (what, bytes, handling) in [
                ("silent", "", "0"),
                ("half a header", "WAIT", "0"),
                ("a request being handled", "WAIT\0\0\0\0", all.as_str()),
            ] {
                // An argument cannot contain a zero byte.
                let bytes = bytes.replace('\0', "0");
                let status =
                    support::again(support::ALL_DESCRIPTORS, &["measure", what, &bytes, handling])
                        .status();
                assert!(status.expect("another process").success(), "{what}");
            }
        }
    }
}

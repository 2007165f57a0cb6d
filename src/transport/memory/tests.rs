use std::{future::poll_fn, io::ErrorKind, time::Duration};

use futures::FutureExt as _;
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::transport::{Io, Listener, Transport, memory::pipe::CAPACITY};

mod breaks;
mod chaos;
mod clocks;
mod crashes;
mod dialling;
mod latency;
mod partitions;
mod records;
mod seeds;
mod stalls;
mod streams;

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

/// The bytes that can be read until the end, and the error at the end.
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

//! The number of connections, their sources and their cost.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use actix_peer::{
    Config, Peer,
    frame::Frame,
    overlay::{Address, Host},
    transport::{
        Io, Listener, Transport,
        memory::{MemoryNetwork, MemoryTransport},
    },
};
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::{
    common::{SECOND, nodes::counts},
    nodes::{BUSY, NAME, connect, heard, name, node, settle},
};

#[actix::test]
async fn too_many_connections_from_one_address_are_refused_and_others_are_served() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    let mut all = Vec::new();
    for _ in 0..64 {
        all.push(connect(&wires, "flood").await);
    }
    for _ in 0..10 {
        assert_eq!(heard(&mut connect(&wires, "flood").await).await, BUSY);
    }
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
    assert_eq!(counts(&node).await.connections_refused, 10);
    // A permit that is returned can be used again.
    assert_eq!(name(all.pop().unwrap()).await, NAME);
    settle().await;
    assert_eq!(name(connect(&wires, "flood").await).await, NAME);
}

#[actix::test]
async fn silent_connections_that_hold_every_permit_make_room_for_a_new_connection() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default().max_half_open(20)).await;
    let mut quiet = connect(&wires, "quiet").await;
    let mut flood = Vec::new();
    for _ in 0..19 {
        flood.push(connect(&wires, "flood").await);
    }
    settle().await;
    assert_eq!(node.status().await.half_open, 20);
    // The oldest connection of the busiest address is closed, and neither the new connection nor an
    // earlier one.
    let begun = Instant::now();
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
    assert_eq!(heard(&mut flood.remove(0)).await, BUSY);
    assert!(begun.elapsed() < SECOND);
    quiet.writer.write_all(b"NAME\0\0\0\0").await.unwrap();
    assert_eq!(heard(&mut quiet).await, NAME);
    let counts = counts(&node).await;
    assert_eq!((counts.connections_displaced, counts.connections_refused), (1, 0));
}

/// A transport whose listener has no file descriptors left for a while.
#[derive(Debug)]
struct Exhausted(MemoryTransport, Arc<AtomicUsize>);

struct ExhaustedListener(Box<dyn Listener>, Arc<AtomicUsize>);

impl Transport for Exhausted {
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let listener = ExhaustedListener(self.0.listen(at).await?, Arc::clone(&self.1));
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        self.0.dial(to)
    }
    fn own_host(&self, listening: &Address) -> Host {
        self.0.own_host(listening)
    }
}

impl Listener for ExhaustedListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>> {
        // Every second attempt fails, as in the system: one descriptor becomes free and is used up.
        let left = self.1.load(Ordering::SeqCst);
        if left > 0 {
            self.1.store(left - 1, Ordering::SeqCst);
            if left.is_multiple_of(2) {
                return Poll::Ready(Err(io::Error::from_raw_os_error(24)));
            }
        }
        self.0.poll_accept(cx)
    }
    fn local_address(&self) -> Address {
        self.0.local_address()
    }
}

#[actix::test]
async fn a_node_without_file_descriptors_refuses_connections_keeps_open_ones_and_recovers() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let left = Arc::new(AtomicUsize::new(0));
    let inner = wires.transport("node".parse::<Host>().unwrap());
    let builder = Peer::builder().transport(Exhausted(inner, Arc::clone(&left)));
    let node = builder.listen("node:9000").id("node").well_known().start().await.unwrap();
    let before = connect(&wires, "honest").await;
    settle().await;
    left.store(6, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(heard(&mut connect(&wires, "late").await).await, BUSY);
    }
    assert_eq!(name(before).await, NAME);
    assert_eq!(counts(&node).await.errors_accept, 3);
    let begun = Instant::now();
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
    assert!(begun.elapsed() < 5 * SECOND);
}

#[actix::test]
async fn a_flood_of_connections_is_closed_without_a_reply_and_others_are_served() {
    let wires = MemoryNetwork::new(1);
    let node = node(&wires, Config::default()).await;
    let mut served = 0;
    for _ in 0..1_000 {
        let mut io = connect(&wires, "flood").await;
        // A connection that the node has closed may refuse the request.
        io.writer.write_all(b"NAME\0\0\0\0").await.ok();
        let mut heard = Vec::new();
        let read = timeout(SECOND, io.reader.read_to_end(&mut heard))
            .await
            .expect("the connection ends in time");
        served += usize::from(read.is_ok() && heard == NAME.as_bytes());
    }
    // A burst of 400, and the connections that the rate allows meanwhile.
    assert!((400..500).contains(&served), "{served}");
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
    assert_eq!(counts(&node).await.connections_too_fast, 1_000 - served as u64);
    // One event per connection would flood a log, so only a counter records them.
    assert_eq!(counts(&node).await.connections_refused, 0);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(name(connect(&wires, "flood").await).await, NAME);
}

#[actix::test]
async fn dialled_and_accepted_connections_have_separate_permits() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().links(false).max_outgoing(4).max_connections(4);
    let node = node(&wires, config).await;
    let nowhere = wires.transport("mute".parse::<Host>().unwrap());
    let _listening = nowhere.listen(&"mute:9000".parse().unwrap()).await.unwrap();
    let mut asked = Vec::new();
    for _ in 0..4 {
        let frame = Frame::empty("NAME");
        asked.push(node.request("mute:9000", frame).await.unwrap());
    }
    assert_eq!(node.status().await.outgoing, 4);
    // All of its own exchanges wait, and callers are served.
    assert_eq!(name(connect(&wires, "honest").await).await, NAME);
    asked.clear();
    settle().await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(connect(&wires, "flood").await);
    }
    settle().await;
    assert_eq!(heard(&mut connect(&wires, "flood").await).await, BUSY);
    // All permits for callers are taken, and its own request is sent.
    let frame = Frame::empty("NAME");
    asked.push(node.request("mute:9000", frame).await.unwrap());
}

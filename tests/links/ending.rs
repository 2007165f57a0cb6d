//! After the end of a node nothing of it runs.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use actix::Actor;
use actix_peer::{
    Builder, Config, Incoming, Outgoing, Over, Peer, PeerEvent, PingSweep, Reply,
    frame::Frame,
    handler,
    link::AckLevel,
    overlay::{Address, Host},
    transport::{
        Io, Listener, Transport,
        memory::{MemoryNetwork, MemoryTransport},
    },
};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, LocalBoxFuture},
    stream::{self, FuturesUnordered},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, Sleep, timeout},
};

use crate::{
    SECOND, builder,
    common::{frames::encoded, nodes::host},
    fake::{self, Fake, listen},
    pass, transport, zeros,
};

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stop,
    Abort,
    /// The last handle is dropped.
    Drop,
}

const ENDS: [End; 3] = [End::Stop, End::Abort, End::Drop];

async fn end(node: Peer, how: End) -> Option<Peer> {
    match how {
        End::Stop => drop(node.stop().await),
        End::Abort => drop(node.abort().await),
        End::Drop => {
            drop(node);
            settle().await;
            return None;
        }
    }
    Some(node)
}

/// Runs every task that can continue without the passing of time.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// What is left of a node: its transport, while anything refers to the node, and halves of
/// connections.
struct Left {
    transport: Weak<()>,
    halves: Arc<()>,
}

impl Left {
    fn halves(&self) -> usize {
        // The transport holds one reference as well.
        Arc::strong_count(&self.halves) - 1 - self.transport.strong_count()
    }
}

/// A transport that counts what is left.
#[derive(Debug)]
struct Shown {
    inner: MemoryTransport,
    halves: Arc<()>,
    _node: Arc<()>,
}

impl Shown {
    fn io(&self, io: Io) -> Io {
        shown_io(io, &self.halves)
    }
}

fn shown_io(io: Io, halves: &Arc<()>) -> Io {
    let Io { reader, writer, remote, proven, .. } = io;
    let reader = Box::new(Half(reader, Arc::clone(halves)));
    let writer = Box::new(Half(writer, Arc::clone(halves)));
    Io { proven, ..Io::new(reader, writer, remote) }
}

struct Half<T>(T, #[expect(dead_code, reason = "counted")] Arc<()>);

impl<T: AsyncRead + Unpin> AsyncRead for Half<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Half<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct ShownListener(Box<dyn Listener>, Arc<()>);

impl Listener for ShownListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>> {
        self.0.poll_accept(cx).map_ok(|io| shown_io(io, &self.1))
    }
    fn local_address(&self) -> Address {
        self.0.local_address()
    }
}

impl Transport for Shown {
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let listener = self.inner.listen(at).await?;
            // Its half represents the lifetime of the listener.
            Ok(Box::new(ShownListener(listener, Arc::clone(&self.halves))) as Box<dyn Listener>)
        })
    }
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async { self.inner.dial(to).await.map(|io| self.io(io)) })
    }
    fn own_host(&self, listening: &Address) -> Host {
        self.inner.own_host(listening)
    }
}

fn shown(wires: &MemoryNetwork, name: &str) -> (Shown, Left) {
    let (node, halves) = (Arc::new(()), Arc::new(()));
    let left = Left { transport: Arc::downgrade(&node), halves: Arc::clone(&halves) };
    (Shown { inner: transport(wires, name), halves, _node: node }, left)
}

/// Adds handlers that never answer, that answer without an end, and that keep their message.
fn busy(builder: Builder) -> Builder {
    let never = handler::from_fn(async |msg: Incoming| {
        drop(msg);
        std::future::pending().await
    });
    let endless = handler::from_fn(async |_| {
        Reply::stream(stream::iter(0..).map(|_: u64| Frame::new("PART", vec![0; 1 << 10])))
    });
    let builder = builder.handle("NEVR", never.start()).unwrap();
    builder.handle("MORE", endless.start()).unwrap()
}

/// Work in progress for the node `of`. Each piece is held, and does not continue when the node
/// ends.
fn work<'a>(of: &'a Peer, with: &'a Peer) -> FuturesUnordered<LocalBoxFuture<'a, ()>> {
    let all = FuturesUnordered::new();
    let dead = "dead dead 9000";
    for over in [Over::Link, Over::Classic] {
        for code in ["ECHO", "NEVR", "MORE", "NONE"] {
            for (from, to) in [(of, with), (with, of)] {
                all.push(
                    async move {
                        let message = Outgoing::from(Frame::text(code, "x")).over(over);
                        let Ok(mut replies) = from.request(to.info(), message).await else {
                            return;
                        };
                        while let Some(Ok(_)) = replies.next().await {
                            pass(SECOND / 200).await;
                        }
                        // The message is kept.
                        std::future::pending::<()>().await;
                        drop(replies);
                    }
                    .boxed_local(),
                );
            }
        }
        for len in [300, 80_000, 2 << 20] {
            for (from, to) in [(of, with), (with, of)] {
                let slow = zeros(len / 3).chain(Slow::default()).chain(zeros(len));
                let body = Outgoing::body("SINK", len, slow).over(over);
                all.push(from.request(to.info(), body).map(drop).boxed_local());
                let body = Outgoing::body("SINK", len, zeros(len)).over(over);
                all.push(from.notify(to.info(), body).map(drop).boxed_local());
            }
        }
        let message = Outgoing::from(Frame::text("ECHO", "x")).over(over);
        all.push(of.request("dead:9000", message).map(drop).boxed_local());
    }
    for (from, to) in [(of, with), (with, of)] {
        for level in [AckLevel::Delivered, AckLevel::Handled] {
            for code in ["ECHO", "NEVR"] {
                let message = Frame::text(code, "x");
                all.push(from.notify_acked(to.info(), message, level).map(drop).boxed_local());
            }
        }
    }
    let message = Frame::text("ECHO", "x");
    let dead = dead.parse::<actix_peer::PeerInfo>().unwrap();
    all.push(of.send_reliable(dead, message, AckLevel::Handled).map(drop).boxed_local());
    all.push(of.join("dead:9000").map(drop).boxed_local());
    all.push(async move { of.join(&with.info().address().to_string()).await.map(drop).unwrap_or_default() }.boxed_local());
    all
}

/// A source that gives nothing for a while.
#[derive(Default)]
struct Slow(Option<Pin<Box<Sleep>>>);

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(SECOND / 10)));
        sleep.as_mut().poll(cx).map(Ok)
    }
}

/// Connections that have received only a part of the first frame.
async fn half_open(from: &MemoryTransport, to: &Peer) -> Vec<Io> {
    let mut all = Vec::new();
    for said in [&b""[..], b"ECH", b"@LNK\0\0\0\xff{", b"ECHO\0\0\0\x09abc", b"SINK\0\0\0\x09abc"] {
        let mut io = from.dial(to.info().address()).await.unwrap();
        io.writer.write_all(said).await.unwrap();
        all.push(io);
    }
    all
}

#[actix::test]
async fn a_node_that_ends_at_any_moment_leaves_nothing_running_and_nothing_open() {
    tokio::time::pause();
    for seed in 0..16_u64 {
        for how in ENDS {
            let wires = MemoryNetwork::new(seed);
            wires.latency(SECOND / 500..SECOND / 50);
            let _dead = wires.crash(&"dead".parse().unwrap());
            let (transport, left) = shown(&wires, "ada");
            let config = Config::default().drain_timeout(SECOND / 2);
            let ada = busy(builder(&wires, "ada")).transport(transport).config(config);
            let sweep = PingSweep::new().every(SECOND / 20);
            let ada = ada.stabilizer(sweep).start().await.unwrap();
            let bob = busy(builder(&wires, "bob")).start().await.unwrap();
            let from = host(&wires, "eve");
            let _half_open = half_open(&from, &ada).await;
            let holder = ada.clone();
            let mut under_way = work(&holder, &bob);
            // A prime, so that the moments differ from those of the timers.
            let after = Duration::from_micros(seed * 26_393 % 400_000);
            timeout(after, async { while under_way.next().await.is_some() {} }).await.ok();
            let at = format!("{how:?} after {after:?}");
            let begun = Instant::now();
            if how == End::Drop {
                drop(under_way);
                drop(holder);
                end(ada, how).await;
            } else {
                let ada = end(ada, how).await;
                assert_eq!(left.halves(), 0, "{at}");
                let refused = from.dial(&"ada:9000".parse().unwrap()).await;
                assert!(refused.is_err(), "{at}: the node still listens");
                drop(under_way);
                drop((ada, holder));
                settle().await;
            }
            // Aborted exchanges have half a second for a last frame.
            let within = if how == End::Stop { SECOND + SECOND / 10 } else { SECOND / 10 };
            assert!(begun.elapsed() < within, "{at}: {:?}", begun.elapsed());
            assert_eq!(left.halves(), 0, "{at}");
            assert!(left.transport.upgrade().is_none(), "{at}: something of the node is left");
            bob.abort().await;
        }
    }
}

#[actix::test]
async fn a_link_that_is_being_dialled_when_the_node_ends_is_never_opened() {
    tokio::time::pause();
    for how in ENDS {
        let wires = MemoryNetwork::new(1);
        let mut listener = listen(&wires, "eve").await;
        let (transport, left) = shown(&wires, "node");
        let config = Config::default().drain_timeout(SECOND);
        let node = builder(&wires, "node").transport(transport).config(config);
        let node = node.start().await.unwrap();
        let mut events = node.events();
        let asked = actix_rt::spawn({
            let message = Outgoing::from(Frame::text("ECHO", "x")).over(Over::Link);
            let node = node.clone();
            async move { node.request("eve:9000", message).await.map(drop) }
        });
        let mut eve = Fake::accept(&mut listener, "eve").await;
        pass(SECOND / 100).await;
        if how == End::Drop {
            asked.abort();
            settle().await;
        }
        let node = end(node, how).await;
        assert_eq!(left.halves(), 0, "{how:?}");
        // Only now the hello is read and answered.
        while eve.events().await.is_some() {}
        assert!(eve.came.iter().all(|code| code == "@LNK"), "{how:?}: {:?}", eve.came);
        while let Some(event) = events.next().now_or_never().flatten() {
            assert!(!matches!(event, PeerEvent::LinkOpened { .. }), "{how:?}: {event:?}");
        }
        if node.is_some() {
            let error = timeout(SECOND, asked).await.unwrap().unwrap().unwrap_err();
            assert!(!error.may_have_been_handled(), "{how:?}: {error:?}");
        }
    }
}

#[actix::test]
async fn a_link_with_a_partial_hello_when_the_node_ends_is_never_opened() {
    tokio::time::pause();
    for how in ENDS {
        let wires = MemoryNetwork::new(1);
        let (transport, left) = shown(&wires, "node");
        let config = Config::default().drain_timeout(SECOND);
        let node = builder(&wires, "node").transport(transport).config(config);
        let node = node.start().await.unwrap();
        let from = host(&wires, "eve");
        let mut io = from.dial(node.info().address()).await.unwrap();
        let hello = fake::hello("eve").to_frame();
        let hello = encoded(&hello);
        let (begin, rest) = hello.split_at(8 + 5);
        io.writer.write_all(begin).await.unwrap();
        pass(SECOND / 100).await;
        let _node = end(node, how).await;
        assert_eq!(left.halves(), 0, "{how:?}");
        io.writer.write_all(rest).await.ok();
        let mut heard = Vec::new();
        timeout(SECOND, io.reader.read_to_end(&mut heard)).await.unwrap().ok();
        assert_eq!(heard, b"", "{how:?}");
    }
}

#[actix::test]
async fn unread_replies_and_bodies_keep_no_connection_open() {
    tokio::time::pause();
    for how in [End::Stop, End::Abort] {
        let wires = MemoryNetwork::new(1);
        let (transport, left) = shown(&wires, "ada");
        let ada = busy(builder(&wires, "ada")).transport(transport);
        let ada = ada.config(Config::default().drain_timeout(SECOND));
        let (keep, kept) = tokio::sync::oneshot::channel();
        let keep = std::sync::Mutex::new(Some(keep));
        // A handler that keeps the body and does not read it.
        let keeps = handler::from_fn(async move |msg: Incoming| {
            keep.lock().unwrap().take().map(|keep| keep.send(msg.into_body()).ok());
            std::future::pending().await
        });
        let ada = ada.handle_stream("KEEP", keeps.start()).unwrap().start().await.unwrap();
        let bob = busy(builder(&wires, "bob")).start().await.unwrap();
        let more = Outgoing::from(Frame::empty("MORE")).over(Over::Classic);
        let replies = ada.request(bob.info(), more).await.unwrap();
        let long = Outgoing::body("SINK", 9, zeros(3).chain(Slow::default())).over(Over::Classic);
        let long = ada.request(bob.info(), long).await.unwrap();
        let body = Outgoing::body("KEEP", 1 << 20, zeros(1 << 20)).over(Over::Classic);
        let _asked = bob.request(ada.info(), body).await.unwrap();
        let mut body = kept.await.unwrap();
        assert!(left.halves() >= 6);
        let report = match how {
            End::Abort => ada.abort().await,
            _ => ada.stop().await,
        };
        assert_eq!(left.halves(), 0, "{how:?}");
        assert!(report.aborted.len() >= 2, "{how:?}: {report:?}");
        let error = replies.collect().await.unwrap_err();
        assert!(error.may_have_been_handled(), "{how:?}: {error:?}");
        assert!(long.collect().await.is_err());
        let rest = async { while let Some(Ok(_)) = body.next().await {} };
        timeout(SECOND, rest).await.expect("the connection ends in time");
        bob.abort().await;
    }
}

#[actix::test]
async fn a_refusal_in_progress_when_the_node_ends_is_aborted() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (transport, left) = shown(&wires, "ada");
    let config = Config::default().max_connections(1);
    let ada = builder(&wires, "ada").transport(transport).config(config).start().await.unwrap();
    let from = host(&wires, "eve");
    let _first = from.dial(ada.info().address()).await.unwrap();
    settle().await;
    // The caller gets the busy error, and nothing arrives there.
    wires.partition_one_way(&["ada".parse().unwrap()], &["eve".parse().unwrap()]);
    let _second = from.dial(ada.info().address()).now_or_never();
    ada.abort().await;
    assert_eq!(left.halves(), 0);
}

//! The nodes of a model, connected by pipes. Their links, drivers and exchanges are the real ones.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::BytesMut;
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf, duplex, split},
    time::Instant,
};

use crate::{
    classic::server::Server,
    dispatch::{
        Routes,
        routes::{Intake, Notified, Route, Serve},
    },
    frame::{Frame, FrameHead, HEADER_LEN, TypeCode},
    link::code,
    message::{Incoming, Reply},
    node::{
        Ambient, Config, EventBus, Node, Refusal, Threads,
        connections::{Host, Opened},
    },
    overlay::{self, Address, PeerInfo},
    session::{Endpoint, welcome},
    sync::model,
    transport::{Io, Listener, Simulated, Transport},
};

/// The code of all messages of the models.
pub(crate) const CODE: TypeCode = TypeCode::new(b"TEST");

/// The bytes that a pipe holds.
const PIPE: usize = 64 << 10; // bytes

/// A frame with this text.
pub(crate) fn message(text: &str) -> Frame {
    Frame::text(CODE, text)
}

/// The nodes of one schedule, by address, and the connections between them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    nodes: Arc<Mutex<BTreeMap<Address, Weak<Endpoint>>>>,
    /// Cloned into each end of an open connection.
    ends: Arc<()>,
    /// The nodes that were started, for their incarnations.
    started: Arc<AtomicU64>,
}

impl Network {
    /// Starts a node. Its handler notes the messages for [`CODE`], and answers requests with their
    /// data.
    pub(crate) fn start(&self, name: &str, config: Config) -> (Arc<Endpoint>, Arc<Echo>) {
        let at: Address = format!("{name}:9000").parse().unwrap();
        let me = PeerInfo::new(name.parse().unwrap(), at.clone()).unwrap();
        let wire = Wire { network: self.clone(), me: at.clone() };
        let threads = Threads::start(0).now_or_never().unwrap();
        let ambient = Ambient::simulated(Simulated::new(Instant::now(), 7));
        let events = EventBus::new(Vec::new());
        let node = Node::new(config, me, Arc::new(wire), events, threads, ambient);
        let endpoint = Endpoint::new(node, self.started.fetch_add(1, Ordering::Relaxed));
        endpoint.host.set(Arc::new(Tasks)).ok().unwrap();
        let echo = Arc::new(Echo::default());
        route(&endpoint.routes, &endpoint, &echo);
        self.nodes.lock().unwrap().insert(at, Arc::downgrade(&endpoint));
        (endpoint, echo)
    }

    /// The ends of connections that are open.
    pub(crate) fn open_ends(&self) -> usize {
        let started = usize::try_from(self.started.load(Ordering::Relaxed)).unwrap();
        Arc::strong_count(&self.ends) - 1 - started
    }

    fn end(&self, stream: DuplexStream, remote: Address) -> Io {
        let (reader, writer) = split(End { stream, _open: Arc::clone(&self.ends) });
        Io::new(reader, writer, remote)
    }
}

fn route(routes: &Routes, node: &Node, echo: &Arc<Echo>) {
    let route = Route {
        serve: Arc::new(Arc::clone(echo)),
        handler: 1,
        intake: Intake::Whole(node.config.max_frame_len),
        permits: Arc::new(tokio::sync::Semaphore::new(64)),
        internal: false,
        timer: node.metrics.times(CODE),
    };
    routes.insert(CODE, route);
}

/// Notes messages, and answers each request with its data after a point. Each message is dropped by
/// another task than the one that delivers it.
#[derive(Debug, Default)]
pub(crate) struct Echo(Mutex<BTreeMap<String, usize>>);

impl Echo {
    /// How often each text has arrived.
    pub(crate) fn heard(&self) -> BTreeMap<String, usize> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, incoming: &Incoming) {
        let text = incoming.frame.as_str().unwrap().to_owned();
        *self.0.lock().unwrap().entry(text).or_default() += 1;
    }
}

impl Serve for Arc<Echo> {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        self.note(&incoming);
        Box::pin(async move {
            shuttle::future::yield_now().await;
            Ok(Reply::one(Frame::new(CODE, incoming.frame.data().clone())))
        })
    }

    fn notify(&self, incoming: Incoming) -> Notified {
        self.note(&incoming);
        // The message holds its share of the window until another thread drops it.
        let handled = async move {
            shuttle::future::yield_now().await;
            drop(incoming);
        };
        assert!(model::spawn(handled).is_none());
        Notified::Delivered
    }

    fn handler(&self) -> u64 {
        1
    }
}

/// Runs each dialled connection as a task of the model.
#[derive(Debug)]
struct Tasks;

impl Host for Tasks {
    fn host(&self, _: &Arc<Node>, dialled: Opened) {
        assert!(model::spawn(dialled.run).is_none());
    }
}

/// The connections of one node.
#[derive(Debug)]
struct Wire {
    network: Network,
    me: Address,
}

impl Transport for Wire {
    fn listen<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            let found = self.network.nodes.lock().unwrap().get(to).and_then(Weak::upgrade);
            let Some(other) = found.filter(|other| !other.drain.is_cancelled()) else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            shuttle::future::yield_now().await;
            let (near, far) = duplex(PIPE);
            let far = self.network.end(far, self.me.clone());
            assert!(model::spawn(accept(other, far)).is_none());
            Ok(self.network.end(near, to.clone()))
        })
    }

    fn own_host(&self, listening: &Address) -> overlay::Host {
        listening.host().clone()
    }
}

/// Accepts a connection, as a listener and the actor of the connection do.
async fn accept(endpoint: Arc<Endpoint>, io: Io) {
    let Io { mut reader, writer, remote, .. } = io;
    let mut first = BytesMut::new();
    while first.len() < HEADER_LEN {
        if reader.read_buf(&mut first).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let abort = endpoint.abort.clone();
    let serve = async {
        if FrameHead::peek(&first).unwrap().code() == code::LNK {
            welcome(&endpoint, (reader, writer), first, (&remote, None)).await
        } else {
            let (node, routes) = (Arc::clone(&endpoint.node), Arc::clone(&endpoint.routes));
            let server = Server::new(reader, writer, first, remote, None, node, routes).unwrap();
            Box::new(server).run().await;
            None
        }
    };
    if let Some(Some(driver)) = abort.run_until_cancelled(serve).await {
        drop(endpoint);
        driver.run().await;
    }
}

/// One end of a connection.
struct End {
    stream: DuplexStream,
    _open: Arc<()>,
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

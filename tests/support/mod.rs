//! Foreign programs as scripts of literal bytes, on a network inside the process.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub)]

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use actix_peer::{
    Builder, Peer,
    overlay::{Address, Host},
    transport::{
        Io, Listener, Transport,
        memory::{MemoryNetwork, MemoryTransport},
    },
};
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub fn host(name: &str) -> Host {
    name.parse().unwrap()
}

pub fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// Options of a node called `name` on the host of that name, at port 9000.
pub fn node(wires: &MemoryNetwork, name: &str) -> Builder {
    Peer::builder().transport(wires.transport(host(name))).listen(format!("{name}:9000")).id(name)
}

/// A foreign program that calls.
pub async fn dial(wires: &MemoryNetwork, to: &str) -> Io {
    wires.transport(host("foreign")).dial(&address(to)).await.unwrap()
}

/// All that comes until the other side closes.
pub async fn rest(io: &mut Io) -> Vec<u8> {
    let mut bytes = Vec::new();
    io.reader.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// Writes `bytes`, leaves the connection open, and reads until the other side closes.
pub async fn say(wires: &MemoryNetwork, to: &str, bytes: &[u8]) -> Vec<u8> {
    let mut io = dial(wires, to).await;
    io.writer.write_all(bytes).await.unwrap();
    rest(&mut io).await
}

/// A foreign program that listens.
pub struct Callee(Box<dyn Listener>);

impl Callee {
    pub async fn listen(wires: &MemoryNetwork, at: &str) -> Self {
        let at = address(at);
        Self(wires.transport(at.host().clone()).listen(&at).await.unwrap())
    }

    pub async fn accept(&mut self) -> Io {
        poll_fn(|cx| self.0.poll_accept(cx)).await.unwrap()
    }

    /// Takes the next connection and reads one frame from it, as the originals do.
    pub async fn request(&mut self) -> (Io, Vec<u8>) {
        let mut io = self.accept().await;
        let mut frame = vec![0; 8];
        io.reader.read_exact(&mut frame).await.unwrap();
        let len = u32::from_be_bytes(frame[4..].try_into().unwrap());
        frame.resize(8 + len as usize, 0);
        io.reader.read_exact(&mut frame[8..]).await.unwrap();
        (io, frame)
    }

    /// Answers one request with `reply` and closes. Returns the request.
    pub async fn answer(&mut self, reply: &[u8]) -> Vec<u8> {
        let (mut io, frame) = self.request().await;
        io.writer.write_all(reply).await.unwrap();
        frame
    }
}

/// The memory transport, noting each write as it is handed to it.
#[derive(Debug, Clone)]
pub struct Noting {
    inner: MemoryTransport,
    writes: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Noting {
    pub fn new(inner: MemoryTransport) -> Self {
        Self { inner, writes: Arc::default() }
    }

    pub fn writes(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.writes.lock().unwrap())
    }
}

struct NotingWriter(Box<dyn AsyncWrite + Send + Unpin>, Arc<Mutex<Vec<Vec<u8>>>>);

impl AsyncWrite for NotingWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n)) = written {
            self.1.lock().unwrap().push(bytes[..n].to_vec());
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct NotingListener(Box<dyn Listener>, Arc<Mutex<Vec<Vec<u8>>>>);

fn noting(io: Io, writes: &Arc<Mutex<Vec<Vec<u8>>>>) -> Io {
    Io { writer: Box::new(NotingWriter(io.writer, Arc::clone(writes))), ..io }
}

impl Listener for NotingListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>> {
        self.0.poll_accept(cx).map_ok(|io| noting(io, &self.1))
    }

    fn local_address(&self) -> Address {
        self.0.local_address()
    }
}

impl Transport for Noting {
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = self.inner.listen(at).await?;
            Ok(Box::new(NotingListener(listener, Arc::clone(&self.writes))) as Box<dyn Listener>)
        })
    }

    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move { Ok(noting(self.inner.dial(to).await?, &self.writes)) })
    }

    fn own_host(&self, listening: &Address) -> Host {
        self.inner.own_host(listening)
    }
}

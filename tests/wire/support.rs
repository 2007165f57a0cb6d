//! Helpers of the tests of the wire: readable bytes, and a transport that keeps its writes.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use actix_peer::{
    overlay::{Address, Host},
    transport::{
        Io, Listener, Transport,
        memory::{MemoryNetwork, MemoryTransport},
    },
};
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::common::frames::shown;

/// Everything that arrives until a clean end of file.
pub(crate) async fn to_the_end(reader: &mut (impl AsyncRead + Unpin)) -> String {
    let mut heard = Vec::new();
    reader.read_to_end(&mut heard).await.expect("the connection ends cleanly, not by a reset");
    shown(&heard)
}

/// The writes of one node of a memory network. Each element is one call to the operating system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes(Arc<Mutex<Vec<String>>>);

impl Writes {
    /// The writes since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn watch(&self, io: Io) -> Io {
        Io { writer: Box::new(Watched(io.writer, self.clone())), ..io }
    }
}

/// The transport of a host whose writes are kept.
#[derive(Debug)]
pub(crate) struct Recording {
    inner: MemoryTransport,
    writes: Writes,
}

impl Recording {
    pub(crate) fn new(wires: &MemoryNetwork, host: &str) -> (Self, Writes) {
        let writes = Writes::default();
        let inner = wires.transport(host.parse::<Host>().unwrap());
        (Self { inner, writes: writes.clone() }, writes)
    }
}

impl Transport for Recording {
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let inner = self.inner.listen(at).await?;
            Ok(Box::new(Watching(inner, self.writes.clone())) as Box<dyn Listener>)
        })
    }
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async { Ok(self.writes.watch(self.inner.dial(to).await?)) })
    }
    fn own_host(&self, listening: &Address) -> Host {
        self.inner.own_host(listening)
    }
}

struct Watching(Box<dyn Listener>, Writes);

impl Listener for Watching {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>> {
        self.0.poll_accept(cx).map_ok(|io| self.1.watch(io))
    }
    fn local_address(&self) -> Address {
        self.0.local_address()
    }
}

struct Watched(Box<dyn AsyncWrite + Send + Unpin>, Writes);

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(cx, data);
        if let Poll::Ready(Ok(n)) = &written {
            self.1.0.lock().unwrap().push(shown(&data[..*n]));
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

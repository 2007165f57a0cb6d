//! The other side of a link, driven by a test: it does what a node never does.

use std::{future::poll_fn, time::Duration};

use actix_peer::{
    frame::{Frame, TypeCode},
    link::{Frames, Hello, Link, LinkConfig, LinkEvent, Role},
    overlay::Host,
    transport::{Io, Listener, Transport, memory::MemoryNetwork},
};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The hello that it sends.
pub(crate) fn hello(name: &str) -> Hello {
    Hello {
        info: format!("{name} {name} 9000").parse().unwrap(),
        window: 1 << 20,
        max_message: 1 << 16,
        max_open: 64,
        incarnation: 1,
        features: vec![],
        lengths: vec![],
    }
}

/// One end of a link that ignores `@BYE`. It answers everything else that the link itself asks.
pub(crate) struct Fake {
    pub(crate) io: Io,
    pub(crate) link: Link,
    /// The codes of the received frames.
    pub(crate) came: Vec<String>,
    /// Sends `@BYE` with its hello.
    pub(crate) says_goodbye: bool,
    buffer: BytesMut,
}

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// A listener on the host `name`.
pub(crate) async fn listen(wires: &MemoryNetwork, name: &str) -> Box<dyn Listener> {
    let transport = wires.transport(name.parse::<Host>().unwrap());
    transport.listen(&format!("{name}:9000").parse().unwrap()).await.unwrap()
}

impl Fake {
    pub(crate) fn on(io: Io, name: &str, role: Role) -> Self {
        let keep_alive = Duration::from_secs(3_600);
        let config = LinkConfig { hello: hello(name), keep_alive };
        let link = Link::new(role, config, now());
        Self { io, link, came: Vec::new(), says_goodbye: false, buffer: BytesMut::new() }
    }

    /// Accepts the next connection as one end of a link.
    pub(crate) async fn accept(listener: &mut Box<dyn Listener>, name: &str) -> Self {
        let io = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        Self::on(io, name, Role::Acceptor)
    }

    /// Opens a link to the node on the host `to`.
    pub(crate) async fn dial(wires: &MemoryNetwork, name: &str, to: &str) -> Self {
        let from = wires.transport(name.parse::<Host>().unwrap());
        let io = from.dial(&format!("{to}:9000").parse().unwrap()).await.unwrap();
        let mut fake = Self::on(io, name, Role::Dialler);
        fake.flush().await;
        while !fake.events().await.expect("a hello").contains(&LinkEvent::Opened) {}
        fake
    }

    /// Writes the pending output. Errors of a node that is gone are ignored.
    pub(crate) async fn flush(&mut self) {
        let mut out = BytesMut::new();
        self.link.take_output(&mut out);
        self.io.writer.write_all(&out).await.ok();
        self.io.writer.flush().await.ok();
    }

    /// Reads once. `None` at the end of the connection.
    pub(crate) async fn events(&mut self) -> Option<Vec<LinkEvent>> {
        if self.io.reader.read_buf(&mut self.buffer).await.ok()? == 0 {
            return None;
        }
        for frame in Frames::split(&mut self.buffer) {
            let frame: Frame = frame.ok()?;
            self.came.push(frame.code().to_string());
            if frame.code() != TypeCode::new(b"@BYE") {
                self.link.handle(frame, now());
            }
        }
        if self.says_goodbye {
            self.link.bye();
        }
        let events = self.link.events().collect();
        self.flush().await;
        Some(events)
    }

    /// The number of the next incoming request. Its data is consumed.
    pub(crate) async fn asked(&mut self) -> u32 {
        loop {
            for event in self.events().await.expect("a request") {
                if let LinkEvent::Message { exchange, request: true, cost, .. } = event {
                    self.link.consumed(cost);
                    return exchange;
                }
            }
        }
    }

    /// Answers every request with an empty reply, until the connection ends.
    pub(crate) async fn serve(mut self) {
        while let Some(events) = self.events().await {
            for event in events {
                if let LinkEvent::Message { exchange, request: true, cost, .. } = event {
                    self.link.consumed(cost);
                    self.link.end(exchange);
                }
            }
            self.flush().await;
        }
    }
}

/// Serves every link that is opened to the host `name`.
pub(crate) async fn host(wires: &MemoryNetwork, name: &str) {
    let (mut listener, name) = (listen(wires, name).await, name.to_owned());
    actix_rt::spawn(async move {
        loop {
            let fake = Fake::accept(&mut listener, &name).await;
            actix_rt::spawn(fake.serve());
        }
    });
}

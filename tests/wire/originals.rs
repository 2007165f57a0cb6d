//! Programs that behave like the originals, and one whose bytes a test decides.

use std::{
    cell::RefCell,
    future::{pending, poll_fn},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use actix_peer::{
    Builder, Config, Peer, RequestError,
    frame::Frame,
    overlay::Host,
    transport::{Io, Listener, Transport, memory::MemoryNetwork},
};
use futures::future::{Either, select};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    time::sleep,
};

use crate::common::frames::{frame, shown};

/// The requests that all programs of a test have received, in order: the program and the bytes.
pub(crate) type Heard = Rc<RefCell<Vec<String>>>;

/// One line of it.
pub(crate) fn line(who: &str, bytes: &[u8]) -> String {
    format!("{who} {}", shown(bytes))
}

/// Reads exactly one frame.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    stream.read_exact(&mut bytes).await.unwrap();
    let len = u32::from_be_bytes(bytes[4..].try_into().unwrap());
    bytes.resize(8 + len as usize, 0);
    stream.read_exact(&mut bytes[8..]).await.unwrap();
    bytes
}

/// A program like the originals: one frame from each connection, an answer of any bytes, then it
/// closes.
struct Program<F> {
    name: &'static str,
    heard: Heard,
    answer: F,
}

impl<F: Fn(&[u8]) -> Vec<u8>> Program<F> {
    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let request = read_frame(&mut stream).await;
        self.heard.borrow_mut().push(line(self.name, &request));
        // A caller that does not wait for replies may be gone.
        stream.write_all(&(self.answer)(&request)).await.ok();
    }
}

/// Runs a program on a socket of this machine.
pub(crate) fn run_on(
    listener: TcpListener,
    name: &'static str,
    heard: &Heard,
    answer: impl Fn(&[u8]) -> Vec<u8> + 'static,
) {
    let program = Program { name, heard: Rc::clone(heard), answer };
    actix::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            program.serve(stream).await;
        }
    });
}

/// Runs a program on the host `name`, port 9000, of a memory network.
pub(crate) async fn run(
    wires: &MemoryNetwork,
    name: &'static str,
    heard: &Heard,
    answer: impl Fn(&[u8]) -> Vec<u8> + 'static,
) {
    let program = Program { name, heard: Rc::clone(heard), answer };
    let mut listener = listen(wires, name).await;
    actix::spawn(async move {
        loop {
            let Io { reader, writer, .. } = accept(&mut listener).await;
            program.serve(tokio::io::join(reader, writer)).await;
        }
    });
}

/// The answers of the Python original. It answers nothing to `PING` and to unknown codes.
pub(crate) fn python(name: &str, entries: &[String]) -> impl Fn(&[u8]) -> Vec<u8> + 'static {
    let name = frame(b"REPL", name);
    let count = frame(b"REPL", entries.len().to_string());
    let entries = entries.iter().flat_map(|entry| frame(b"REPL", entry));
    let list: Vec<u8> = count.into_iter().chain(entries).collect();
    move |request| match &request[..4] {
        b"NAME" => name.clone(),
        b"LIST" => list.clone(),
        b"JOIN" => b"REPL\0\0\0\x15Join: peer added: ada".to_vec(),
        b"QUIT" => b"REPL\0\0\0\x17Quit: peer removed: ada".to_vec(),
        _ => Vec::new(),
    }
}

async fn listen(wires: &MemoryNetwork, host: &str) -> Box<dyn Listener> {
    let transport = wires.transport(host.parse::<Host>().unwrap());
    transport.listen(&format!("{host}:9000").parse().unwrap()).await.unwrap()
}

pub(crate) async fn accept(listener: &mut Box<dyn Listener>) -> Io {
    poll_fn(|cx| listener.poll_accept(cx)).await.unwrap()
}

/// A port of this machine on which a program will listen.
pub(crate) async fn port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A node named ada on a memory network, which calls programs on other hosts of it.
pub(crate) fn ada(wires: &MemoryNetwork) -> Builder {
    let host: Host = "ada".parse().unwrap();
    Peer::builder().id("ada").transport(wires.transport(host)).listen("ada:9000")
}

/// The entries of the node's table, as they would be listed.
pub(crate) async fn knows(node: &Peer) -> Vec<String> {
    let list = node.peers().list().await.unwrap();
    list.iter().map(|entry| entry.info().to_string()).collect()
}

/// A node and a program that answers its requests by hand, under a clock that advances only when
/// both wait.
pub(crate) struct Pair {
    pub(crate) node: Peer,
    pub(crate) program: Box<dyn Listener>,
    pub(crate) wires: MemoryNetwork,
}

/// What the program does after its answer.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    Close,
    Silence,
}

impl Pair {
    pub(crate) async fn start(config: Config) -> Self {
        tokio::time::pause();
        let wires = MemoryNetwork::new(1);
        let node = ada(&wires).config(config).start().await.unwrap();
        Self { node, program: listen(&wires, "py").await, wires }
    }

    /// The node's result for an answer that arrives in these pieces.
    pub(crate) async fn answer<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        then: Then,
    ) -> Result<Vec<Frame>, RequestError> {
        let program = async {
            let mut io = accept(&mut self.program).await;
            read_frame(&mut io.reader).await;
            for piece in pieces {
                io.writer.write_all(piece).await.ok();
                sleep(Duration::from_millis(1)).await;
            }
            let kept = (then == Then::Silence).then_some(io);
            pending::<()>().await;
            drop(kept);
        };
        let asked =
            async { self.node.request("py:9000", Frame::empty("ASK_")).await?.collect().await };
        match select(pin!(asked), pin!(program)).await {
            Either::Left((replies, _)) => replies,
            Either::Right(_) => panic!("the program never ends"),
        }
    }
}

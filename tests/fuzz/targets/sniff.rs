//! The first bytes of a connection to a node with TLS: a handshake, or plain frames.

use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use actix_peer::transport::{
    Io, Transport,
    tls::{NodeIdentity, Plain, TlsTransport},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf, sink},
    runtime::{Builder, Runtime},
};

use super::input::Input;

/// The first byte of a TLS record that is a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

static TRANSPORTS: LazyLock<[TlsTransport; 2]> = LazyLock::new(|| {
    let transport = TlsTransport::new(NodeIdentity::generate().unwrap());
    [transport.clone().plain(Plain::Served), transport.plain(Plain::Refused)]
});

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
}

/// A stream that arrives in pieces, with pauses between them.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
    paused: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.paused = !self.paused;
        if self.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let end = self.bytes.len().min(self.at + self.piece.min(into.remaining()));
        into.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (piece, which) = (usize::from(input.byte()) + 1, usize::from(input.byte() % 2));
    let stream = input.rest().to_vec();
    let pieces = Pieces { bytes: stream.clone(), at: 0, piece, paused: false };
    let io = Io::new(pieces, sink(), "127.0.0.1:1".parse().unwrap());
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let secured = TRANSPORTS[which].secure(io).await;
            if stream.first() == Some(&HANDSHAKE) {
                assert!(secured.is_err(), "a handshake without a proof succeeded");
                return;
            }
            let mut io = secured.expect("a plain connection is passed on to the node");
            assert!(io.proven.is_none());
            let mut all = Vec::new();
            io.reader.read_to_end(&mut all).await.unwrap();
            assert!(all == stream, "a byte was lost or duplicated");
        });
    });
}

//! A peer that a test drives frame by frame: the state machine of a link over a memory connection.

use actix_peer::{
    Peer,
    frame::TypeCode,
    link::{ExchangeKind, Frames, Hello, Link, LinkConfig, LinkEvent, Reason, Refused, Role},
    overlay::Host,
    transport::{Io, Transport, memory::MemoryNetwork},
};
use bytes::BytesMut;
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::SECOND;

/// The number of exchanges that the driven peer and the node each hold open.
pub(crate) const MAX_OPEN: u32 = 64;

pub(crate) struct ByHand {
    io: Io,
    link: Link,
    buffer: BytesMut,
    /// Exchanges that the other side has ended.
    pub(crate) ended: Vec<u32>,
    /// Whether the other side has sent `@BYE` and the link is over.
    pub(crate) left: bool,
}

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

impl ByHand {
    /// Opens a link to `to` as the peer `eve`.
    pub(crate) async fn dial(wires: &MemoryNetwork, to: &Peer) -> Self {
        let from = wires.transport("eve".parse::<Host>().unwrap());
        let io = from.dial(to.info().address()).await.unwrap();
        let hello = Hello {
            info: "eve eve 9000".parse().unwrap(),
            window: 1 << 20,
            max_message: 1 << 16,
            max_open: MAX_OPEN,
            incarnation: 1,
            features: vec![],
            lengths: vec![],
        };
        let link =
            Link::new(Role::Dialler, LinkConfig { hello, keep_alive: 3_600 * SECOND }, now());
        let mut by_hand =
            Self { io, link, buffer: BytesMut::new(), ended: Vec::new(), left: false };
        by_hand.flush().await;
        while by_hand.link.theirs().is_none() {
            by_hand.hear().await;
        }
        by_hand
    }

    /// Writes the pending output.
    pub(crate) async fn flush(&mut self) {
        let mut output = BytesMut::new();
        self.link.take_output(&mut output);
        self.io.writer.write_all(&output).await.unwrap();
        self.io.writer.flush().await.unwrap();
    }

    /// Reads once, and waits for data if there is none.
    pub(crate) async fn hear(&mut self) {
        let read = self.io.reader.read_buf(&mut self.buffer).await.unwrap();
        if read == 0 {
            assert!(self.link.is_finished(), "the link is open");
            self.link.connection_lost();
        }
        for frame in Frames::split(&mut self.buffer) {
            self.link.handle(frame.unwrap(), now());
        }
        for event in self.link.events() {
            match event {
                LinkEvent::Ended { exchange }
                | LinkEvent::Reset { exchange, .. }
                | LinkEvent::Acknowledged { exchange, .. } => self.ended.push(exchange),
                LinkEvent::Closed { reason, .. } => {
                    assert_eq!(reason, Reason::GOING_AWAY);
                    self.left = true;
                }
                _ => {}
            }
        }
        self.flush().await;
    }

    /// Reads what has arrived, without waiting.
    pub(crate) async fn hear_now(&mut self) {
        tokio::task::yield_now().await;
        while !self.left && self.hear().now_or_never().is_some() {}
    }

    /// Lets this many seconds pass, and answers the other side meanwhile.
    pub(crate) async fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            crate::pass(SECOND).await;
            self.hear_now().await;
        }
    }

    /// Begins a message as soon as there is credit and an exchange for it.
    pub(crate) async fn begin(
        &mut self,
        code: &str,
        data: &[u8],
        kind: ExchangeKind,
        more: bool,
    ) -> u32 {
        let code = TypeCode::try_from(code).unwrap();
        // The other side counts long one-way messages as exchanges as well.
        let most = self.link.theirs().unwrap().max_open as usize;
        while self.link.open_exchanges() >= most {
            self.flush().await;
            self.hear().await;
        }
        loop {
            match self.link.begin(code, data, kind, more) {
                Ok(exchange) => return exchange,
                Err(Refused::Full) => {
                    self.flush().await;
                    self.hear().await;
                }
                Err(refused) => panic!("{refused}"),
            }
        }
    }

    /// Sends a one-way message in one frame as soon as there is credit for it.
    pub(crate) async fn one_way(&mut self, code: &str, data: &[u8]) {
        let code = TypeCode::try_from(code).unwrap();
        while self.link.one_way(code, data) == Err(Refused::Full) {
            self.flush().await;
            self.hear().await;
        }
    }

    /// Sends the next part of a message, unless its exchange is over.
    pub(crate) async fn go_on(&mut self, exchange: u32, code: &str, data: &[u8], more: bool) {
        let code = TypeCode::try_from(code).unwrap();
        while self.link.send_next(exchange, code, data, more) == Err(Refused::Full) {
            self.flush().await;
            self.hear().await;
        }
    }

    /// Resets an exchange.
    pub(crate) fn reset(&mut self, exchange: u32) {
        self.link.reset(exchange, Reason::CANCELLED);
    }
}

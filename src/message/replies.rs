//! The replies to one request, as they arrive.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;
use tokio::sync::oneshot;

use crate::{
    frame::{Frame, FrameError, TypeCode},
    limits::budget::{STEP, Share},
    link::Reason,
    message::{
        ReadError,
        assembler::Assembler,
        body::Body,
        error::{RequestError, Unwritten},
        outgoing::{OutgoingHeld, Sending},
        source::{BodySource, Chunk, Lent},
    },
    node::{Node, Refusal, RequestTimer, log::Sanitized},
    overlay::{Address, PeerId, RouteFault},
    transport::IdentityFault,
};

/// The replies to one request: a stream of frames, read from the network as it is polled.
///
/// It ends when the other node closes the connection. An `ERRO` is an ordinary frame here, and the
/// application defines its meaning. One case is an exception: a handler that panicked is a
/// [`RequestError::Reset`], in a classic exchange as well as over a link.
///
/// Each frame may have up to [`Config::max_frame_len`](crate::Config::max_frame_len) bytes; longer
/// ones are read with [`next_body`](Self::next_body). The memory for incomplete frames is bounded
/// for all requests of this node together
/// ([`Config::max_partial_replies`](crate::Config::max_partial_replies)). An exchange for which
/// there is no room ends with [`RequestError::NoRoom`].
///
/// # Cancel safety
/// Dropping `next()` or `next_body()` before it is ready loses nothing. Dropping the replies closes
/// the connection: the rest is not received, and the request may have been handled.
pub struct Replies {
    open: Option<OpenExchange>,
    gather: Option<Box<(Assembler, BufferShare)>>,
    back: Option<oneshot::Receiver<Box<dyn BodySource>>>,
    remote: Address,
    code: TypeCode,
    routed: bool,
    /// The peer that was asked for its name, and its address.
    named: Option<(PeerId, Address)>,
    panics: bool,
    asking: Option<RequestTimer>,
}

/// The state of an open exchange.
struct OpenExchange {
    reader: Option<Box<dyn BodySource>>,
    sending: Sending,
    write_error: Option<Unwritten>,
    held: OutgoingHeld,
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies")
            .field("from", &self.remote)
            .field("code", &self.code)
            .field("ended", &self.open.is_none())
            .finish_non_exhaustive()
    }
}

/// The share of the node's memory for replies that an incomplete frame or collection holds.
struct BufferShare {
    share: Share,
    limit: usize,
}

impl BufferShare {
    fn of(node: &Node) -> Self {
        Self { share: node.partial_replies.share(), limit: node.config.max_partial_replies }
    }

    /// Grows the share to cover `bytes`. Every exchange may have up to one step without it.
    fn cover(&mut self, bytes: usize) -> Result<(), RequestError> {
        if bytes <= STEP || self.share.try_cover(bytes) {
            Ok(())
        } else {
            Err(RequestError::NoRoom { limit: self.limit })
        }
    }
}

/// The next item: a frame, or the head of one that is too long to be buffered whole.
enum Item {
    Frame(Frame),
    Long { code: TypeCode, len: Option<u32> },
}

impl Replies {
    pub(crate) fn new(
        reader: Box<dyn BodySource>,
        sent: (Sending, Option<Unwritten>),
        held: OutgoingHeld,
        remote: Address,
        code: TypeCode,
    ) -> Self {
        let (sending, write_error) = sent;
        let open = OpenExchange { reader: Some(reader), sending, write_error, held };
        Self {
            open: Some(open),
            gather: None,
            back: None,
            remote,
            code,
            routed: false,
            named: None,
            panics: false,
            asking: None,
        }
    }

    /// Converts reports of the framework about a routed message into errors.
    pub(crate) const fn routed(mut self) -> Self {
        self.routed = true;
        self
    }

    /// The replies of a peer that is expected at `at`: an answer to `NAME` with another id is an
    /// error.
    pub(crate) fn of_peer(mut self, whom: PeerId, at: &Address) -> Self {
        self.named = (self.code == TypeCode::NAME).then(|| (whom, at.clone()));
        self
    }

    /// Converts the report of a classic exchange that a handler panicked into the same error as on
    /// a link.
    pub(crate) const fn with_panics(mut self) -> Self {
        self.panics = true;
        self
    }

    /// Measures the time until the replies have ended.
    pub(crate) fn measured(mut self, mut asking: RequestTimer) -> Self {
        let reader = self.open.as_ref().and_then(|open| open.reader.as_ref());
        asking.over(reader.is_some_and(|reader| reader.is_link()));
        self.asking = Some(asking);
        self
    }

    fn node(&self) -> Option<&Node> {
        self.open.as_ref().map(|open| open.held.node())
    }

    /// Notes that the replies have ended, and whether they are complete.
    fn end(&mut self, answered: bool) -> Option<OpenExchange> {
        if let Some(asking) = self.asking.take() {
            asking.end(answered);
        }
        self.open.take()
    }

    /// The other end of the connection.
    #[must_use]
    pub const fn remote(&self) -> &Address {
        &self.remote
    }

    /// Collects all replies, up to [`Config::max_collected`](crate::Config::max_collected) bytes.
    /// An empty result means that the other node answered without a frame.
    ///
    /// # Errors
    /// As the stream's items, and [`RequestError::TooMuch`]. Collected frames count as memory for
    /// replies, too ([`Config::max_partial_replies`](crate::Config::max_partial_replies)).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the request may have been handled.
    pub async fn collect(self) -> Result<Vec<Frame>, RequestError> {
        let limit = self.node().map_or(0, |node| node.config.max_collected);
        self.collect_up_to(limit).await
    }

    /// Collects all replies, up to `limit` bytes.
    pub(crate) async fn collect_up_to(self, limit: usize) -> Result<Vec<Frame>, RequestError> {
        self.collect_or_part_up_to(limit).await.map_err(|(_, error)| error)
    }

    /// Collects all replies, up to `limit` bytes. On an error, also returns the replies before it.
    pub(crate) async fn collect_or_part_up_to(
        mut self,
        limit: usize,
    ) -> Result<Vec<Frame>, (Vec<Frame>, RequestError)> {
        let (mut frames, mut bytes) = (Vec::new(), 0);
        let mut room = self.node().map(BufferShare::of);
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_next(cx)).await {
            let frame = frame.and_then(|frame| {
                bytes += frame.encoded_len();
                if bytes > limit {
                    return Err(RequestError::TooMuch { limit });
                }
                room.as_mut().map_or(Ok(()), |room| room.cover(bytes))?;
                Ok(frame)
            });
            match frame {
                Ok(frame) => frames.push(frame),
                Err(error) => return Err((frames, error)),
            }
        }
        Ok(frames)
    }

    /// The next reply as a body of any length, read in bounded memory. The rest of a previous body
    /// that was not read to its end is discarded.
    ///
    /// # Errors
    /// As the stream's items.
    pub async fn next_body(&mut self) -> Result<Option<Body>, RequestError> {
        std::future::poll_fn(|cx| self.poll_body(cx)).await
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Body>, RequestError>> {
        let item = match ready!(self.poll_item(cx)) {
            Ok(Some(item)) => item,
            Ok(None) => return Poll::Ready(Ok(None)),
            Err(error) => return Poll::Ready(Err(error)),
        };
        Poll::Ready(Ok(match item {
            Item::Frame(frame) => Some(Body::whole(frame)),
            Item::Long { code, len } => {
                self.open.as_mut().and_then(|open| open.reader.take()).map(|reader| {
                    let (lender, back) = oneshot::channel();
                    self.back = Some(back);
                    Body::streamed(code, len, Box::new(Lent::new(reader, lender)))
                })
            }
        }))
    }

    /// The next part of a frame. `None` if the exchange has ended.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, RequestError>> {
        let Some(open) = self.open.as_mut() else {
            return Poll::Ready(Ok(None));
        };
        if let Some(back) = self.back.as_mut() {
            // The body returns the reader at its end or when it is dropped.
            open.reader = ready!(Pin::new(back).poll(cx)).ok();
            self.back = None;
        }
        let Some(reader) = open.reader.as_mut() else {
            return Poll::Ready(Ok(None));
        };
        reader.poll_part(cx).map_err(|error| self.broken(error))
    }

    /// The next part of the stream that begins a frame.
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Item>, RequestError>> {
        loop {
            return Poll::Ready(match ready!(self.poll_part(cx))? {
                Some(Chunk::Frame(frame)) => {
                    self.frame(frame).map(|frame| Some(Item::Frame(frame)))
                }
                Some(Chunk::Head { code, len }) => Ok(Some(Item::Long { code, len })),
                // The rest of a body that was not read to its end.
                Some(Chunk::Piece { .. }) => continue,
                None => ready!(self.poll_written(cx)).map_or(Ok(None), Err),
            });
        }
    }

    /// At the end of the replies: the error of the write, if the request was not written in full.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Option<RequestError>> {
        let Some(open) = self.open.as_mut() else {
            return Poll::Ready(None);
        };
        let error = match (open.write_error.take(), &mut open.sending) {
            (None, Sending::UnderWay { result, .. }) => {
                ready!(Pin::new(result).poll(cx)).ok().flatten()
            }
            (error, _) => error,
        };
        self.end(error.is_none());
        Poll::Ready(error.map(|error| RequestError::not_written(self.remote.clone(), error)))
    }

    /// Ends the exchange with an error. If the request was not written in full, the error of the
    /// write takes precedence, as it is more specific.
    fn broken(&mut self, error: ReadError) -> RequestError {
        let mut open = self.end(false);
        if let Some(open) = &open {
            tracing::debug!(parent: &open.held.span, error = %Sanitized(&error), "connection broken");
        }
        let reader = open.as_mut().and_then(|open| open.reader.take());
        let is_aborted = open.as_ref().is_some_and(|open| open.held.node().abort.is_cancelled());
        match open.and_then(|open| open.write_error) {
            Some(written) => RequestError::not_written(self.remote.clone(), written),
            // The abort of the node caused the read error.
            None if is_aborted => RequestError::Stopped { sent: true },
            None => match (error, reader) {
                (ReadError::Reset(reason), Some(reader)) => {
                    RequestError::Reset { reason, sent: reader.was_sent() }
                }
                (error, _) => error.into(),
            },
        }
    }

    fn frame(&mut self, frame: Frame) -> Result<Frame, RequestError> {
        if let Some(open) = &self.open {
            let (code, len) = (frame.code(), frame.data().len());
            tracing::trace!(parent: &open.held.span, %code, len, "reply");
        }
        if let Some(fault) = self.another_name(&frame) {
            self.end(false);
            return Err(RequestError::Identity(fault));
        }
        if let Some(fault) = self.routed.then(|| RouteFault::from_frame(&frame)).flatten() {
            self.end(false);
            return Err(RequestError::Route(fault));
        }
        if self.panics && frame == Refusal::HandlerFailed.to_frame() {
            self.end(false);
            return Err(RequestError::Reset { reason: Reason::HANDLER_FAILED, sent: true });
        }
        Ok(frame)
    }

    /// The fault if the peer that was asked for its name answered with another one.
    fn another_name(&mut self, reply: &Frame) -> Option<IdentityFault> {
        let (expected, at) = self.named.take()?;
        let name = reply.as_str().ok().filter(|_| reply.code() == TypeCode::REPL)?;
        let found: PeerId = name.trim().parse().ok()?;
        let node = self.node()?;
        (found != expected).then(|| node.found_another(&at, (&expected, &found)))
    }

    /// Assembles a frame that arrives in pieces.
    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, RequestError>> {
        loop {
            let part = ready!(self.poll_part(cx))?;
            let Some((gather, room)) = self.gather.as_deref_mut() else {
                return Poll::Ready(Ok(None));
            };
            let frame = match part {
                Some(Chunk::Piece { data, last }) => {
                    if let Err(error) = room.cover(gather.len() + data.len()) {
                        self.gather = None;
                        self.end(false);
                        return Poll::Ready(Err(error));
                    }
                    gather.push(&data, last)
                }
                _ => Err(gather.truncated(u32::MAX)),
            };
            match frame {
                Ok(None) => {}
                Ok(frame) => {
                    self.gather = None;
                    return Poll::Ready(Ok(frame));
                }
                Err(error) => return Poll::Ready(Err(self.broken(error.into()))),
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, RequestError>> {
        if self.gather.is_none() {
            let limit = self.node().map_or(u32::MAX, |node| node.config.max_frame_len);
            match ready!(self.poll_item(cx)) {
                Ok(Some(Item::Frame(frame))) => return Poll::Ready(Ok(Some(frame))),
                Ok(Some(Item::Long { code, len: Some(len) })) if len > limit => {
                    let (length, limit) = (u64::from(len), u64::from(limit));
                    let error = FrameError::TooLong { code, length, limit };
                    return Poll::Ready(Err(self.broken(error.into())));
                }
                Ok(Some(Item::Long { code, .. })) => {
                    let room = self.node().map(BufferShare::of);
                    self.gather = room.map(|room| Box::new((Assembler::new(code, limit), room)));
                }
                Ok(None) => return Poll::Ready(Ok(None)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.poll_gathered(cx)
    }
}

impl Stream for Replies {
    type Item = Result<Frame, RequestError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_frame(cx).map(Result::transpose)
    }
}

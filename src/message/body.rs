//! The data of one frame, streamed as it arrives.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use crate::{
    frame::{Frame, FrameError, TypeCode},
    message::{
        ReadError,
        source::{BodySource, Chunk},
    },
};

/// The data of one frame, streamed: pieces as they arrive, in bounded memory.
///
/// It ends after all the bytes that were sent (exactly [`len`](Self::len), if that is known), or
/// with an error: a truncated body is never mistaken for a complete one. The body reads from the
/// network only while it is polled, so that a slow reader slows the sender.
///
/// # Cancel safety
/// Dropping `next()` loses nothing. Dropping the body ends the read; the rest is not received.
pub struct Body {
    code: TypeCode,
    len: Option<u32>,
    received: Progress,
    data: BodyData,
}

/// The number of bytes of a body that were read so far, shared with a time-out that watches its
/// progress.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

enum BodyData {
    Whole(Option<Bytes>),
    Streamed(Box<dyn BodySource>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("code", &self.code)
            .field("len", &self.len)
            .field("got", &self.received())
            .finish_non_exhaustive()
    }
}

impl Body {
    pub(crate) fn whole(frame: Frame) -> Self {
        Self {
            code: frame.code(),
            len: u32::try_from(frame.data().len()).ok(),
            received: Progress::default(),
            data: BodyData::Whole(Some(frame.into_data()).filter(|data| !data.is_empty())),
        }
    }

    /// A body that is read from `source`, whose next part is its first piece. At its end, or when
    /// the body is dropped, the source is dropped.
    pub(crate) fn streamed(code: TypeCode, len: Option<u32>, source: Box<dyn BodySource>) -> Self {
        Self { code, len, received: Progress::default(), data: BodyData::Streamed(source) }
    }

    /// The code of the frame.
    #[must_use]
    pub const fn code(&self) -> TypeCode {
        self.code
    }

    /// The length of the data in bytes. `None` if it is not known in advance: on a link a long
    /// message arrives in parts, without a total length. In a classic exchange it is always known.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length from a header, not of a collection")]
    pub fn len(&self) -> Option<u64> {
        self.len.map(u64::from)
    }

    /// The number of bytes that were read from the body so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    pub(crate) fn progress(&self) -> Progress {
        self.received.clone()
    }

    /// The body as an `AsyncRead`. A truncated body is an error of kind `UnexpectedEof`.
    #[must_use]
    pub fn into_async_read(self) -> impl AsyncRead + Send + Unpin + 'static {
        StreamReader::new(self.map(|piece| piece.map_err(into_io)))
    }
}

/// Converts a read error into an [`std::io::Error`].
pub(crate) fn into_io(error: ReadError) -> std::io::Error {
    use std::io::ErrorKind;
    match error {
        ReadError::Frame(FrameError::Io(error)) => error,
        ReadError::Frame(
            error @ (FrameError::TruncatedHeader { .. } | FrameError::TruncatedBody { .. }),
        ) => std::io::Error::new(ErrorKind::UnexpectedEof, error),
        ReadError::Frame(error) => std::io::Error::new(ErrorKind::InvalidData, error),
        error @ ReadError::Late(_) => std::io::Error::new(ErrorKind::TimedOut, error),
        error @ ReadError::Reset(_) => std::io::Error::new(ErrorKind::ConnectionReset, error),
    }
}

impl Stream for Body {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let piece = match &mut this.data {
            BodyData::Whole(data) => data.take(),
            BodyData::Streamed(source) => match ready!(source.poll_part(cx)) {
                Ok(Some(Chunk::Piece { data, last })) => {
                    if last {
                        this.data = BodyData::Whole(None);
                    }
                    Some(data)
                }
                Ok(Some(Chunk::Frame(_) | Chunk::Head { .. }) | None) => {
                    this.data = BodyData::Whole(None);
                    let expected = u64::from(this.len.unwrap_or(u32::MAX));
                    let (code, got) = (this.code, this.received.get());
                    return Poll::Ready(Some(Err(FrameError::TruncatedBody {
                        code,
                        got,
                        expected,
                    }
                    .into())));
                }
                Err(error) => {
                    this.data = BodyData::Whole(None);
                    return Poll::Ready(Some(Err(error)));
                }
            },
        };
        let len = piece.as_ref().map_or(0, |piece| piece.len() as u64);
        this.received.0.fetch_add(len, Ordering::Relaxed);
        Poll::Ready(piece.map(Ok))
    }
}

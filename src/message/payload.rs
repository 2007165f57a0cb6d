//! The data of an outgoing message: in memory, or read from a reader while it is sent.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::message::error::WriteError;

/// The reader of a body.
pub(crate) type DataReader = Box<dyn AsyncRead + Send + Unpin>;

/// The data of a body that is sent while it is read: exactly `len` bytes, or an error.
pub(crate) struct BodyReader {
    reader: DataReader,
    len: u64,
    left: u64,
    /// The time-out of one read.
    limit: Duration,
}

impl BodyReader {
    pub(crate) const fn new(reader: DataReader, len: u64, limit: Duration) -> Self {
        Self { reader, len, left: len, limit }
    }

    /// The number of bytes that have not been read.
    pub(crate) const fn left(&self) -> u64 {
        self.left
    }

    /// Reads once and appends at most `most` bytes to `buffer`. Does nothing at the end of the
    /// body.
    ///
    /// # Errors
    /// [`WriteError::Source`] if the reader fails, ends early, or is late.
    pub(crate) async fn read(
        &mut self,
        buffer: &mut BytesMut,
        most: usize,
    ) -> Result<(), WriteError> {
        if self.left == 0 {
            return Ok(());
        }
        let want = self.left.min(most as u64);
        buffer.reserve(usize::try_from(want).unwrap_or(most));
        let mut reader = (&mut self.reader).take(want);
        let read = timeout(self.limit, reader.read_buf(buffer)).await;
        let source = match read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(0) => io::ErrorKind::UnexpectedEof.into(),
            Ok(n) => {
                self.left = self.left.saturating_sub(n as u64);
                return Ok(());
            }
            Err(error) => error,
        };
        Err(WriteError::Source { got: self.len - self.left, len: self.len, source })
    }
}

/// The data of a message that is sent in parts.
pub(crate) enum Payload {
    Whole(Bytes),
    /// The buffer is reused as soon as the part before has been sent.
    Body {
        body: BodyReader,
        buffer: BytesMut,
    },
}

impl Payload {
    /// The data of a body, whose reads have the time-out `limit`.
    pub(crate) fn body(reader: DataReader, len: u64, limit: Duration) -> Self {
        Self::Body { body: BodyReader::new(reader, len, limit), buffer: BytesMut::new() }
    }

    /// The number of bytes that [`next`](Self::next) has not returned.
    pub(crate) const fn left(&self) -> u64 {
        match self {
            Self::Whole(data) => data.len() as u64,
            Self::Body { body, .. } => body.left(),
        }
    }

    /// The next part, of at most `most` bytes. Empty at the end.
    ///
    /// # Errors
    /// As [`BodyReader::read`].
    pub(crate) async fn next(&mut self, most: usize) -> Result<Bytes, WriteError> {
        match self {
            Self::Whole(data) => Ok(data.split_to(data.len().min(most))),
            Self::Body { body, buffer } => {
                body.read(buffer, most).await?;
                Ok(buffer.split().freeze())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, task::Poll};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn payload(data: &'static [u8], len: u64) -> Payload {
        Payload::body(Box::new(Cursor::new(data)), len, LIMIT)
    }

    #[tokio::test]
    async fn a_body_and_a_whole_message_have_the_same_parts() {
        for mut data in [Payload::Whole(Bytes::from_static(b"abcde")), payload(b"abcdefgh", 5)] {
            let mut parts = Vec::new();
            while data.left() > 0 {
                parts.push(data.next(2).await.unwrap());
            }
            assert_eq!(parts, [&b"ab"[..], b"cd", b"e"]);
            assert!(data.next(2).await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn the_buffer_of_a_body_is_reused_for_each_part() {
        let mut data = payload(&[7; 64], 64);
        let first = data.next(16).await.unwrap().as_ptr();
        while data.left() > 0 {
            assert_eq!(data.next(16).await.unwrap().as_ptr(), first);
        }
    }

    #[tokio::test]
    async fn a_reader_that_ends_early_is_an_error_with_the_bytes_that_were_read() {
        let mut data = payload(b"abc", 5);
        data.next(16).await.unwrap();
        let error = data.next(16).await.unwrap_err();
        assert!(matches!(error, WriteError::Source { got: 3, len: 5, .. }), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_returns_nothing_in_time_is_an_error() {
        struct Silent;
        impl AsyncRead for Silent {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                _: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Poll::Pending
            }
        }
        let error = Payload::body(Box::new(Silent), 1, LIMIT).next(16).await.unwrap_err();
        let WriteError::Source { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    }
}

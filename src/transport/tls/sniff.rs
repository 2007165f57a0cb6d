//! Detects TLS or plain by the first byte of a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// The first byte of a TLS connection: a handshake record (RFC 8446, section 5.1). No code in use
/// begins with it, as it is not printable.
const HANDSHAKE: u8 = 0x16;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tls,
    Plain,
    /// Nothing: the other side has closed.
    Closed,
}

/// A reader that returns the byte that was read ahead once more. It is small, so that a silent
/// connection takes no buffer.
pub(super) struct Peeked<R> {
    byte: Option<u8>,
    /// An error of the read after it.
    failed: Option<io::Error>,
    inner: R,
}

/// Waits for the first byte, without consuming it.
pub(super) async fn sniff<R: AsyncRead + Unpin>(mut inner: R) -> io::Result<(Protocol, Peeked<R>)> {
    let mut byte = [0];
    let byte = (inner.read(&mut byte).await? > 0).then_some(byte[0]);
    let first = match byte {
        Some(HANDSHAKE) => Protocol::Tls,
        Some(_) => Protocol::Plain,
        None => Protocol::Closed,
    };
    Ok((first, Peeked { byte, failed: None, inner }))
}

impl<R: AsyncRead + Unpin> AsyncRead for Peeked<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let Some(byte) = self.byte.take() else {
            return Pin::new(&mut self.inner).poll_read(cx, into);
        };
        into.put_slice(&[byte]);
        // Also reads available data, so that a header is not split.
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.inner).poll_read(cx, into) {
            self.failed = Some(error);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    /// What the sniffing of a stream says, and what is read after it; the stream comes in pieces
    /// and is read in steps.
    fn sniffed(bytes: &[u8], piece: usize, step: usize) -> (Protocol, Vec<u8>) {
        run(async {
            let (mut to, from) = duplex(64);
            let write = async {
                for piece in bytes.chunks(piece) {
                    to.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                drop(to);
            };
            let read = async {
                let (first, mut reader) = sniff(from).await.unwrap();
                let (mut all, mut space) = (Vec::new(), vec![0; step]);
                loop {
                    match reader.read(&mut space).await.unwrap() {
                        0 => return (first, all),
                        n => all.extend_from_slice(&space[..n]),
                    }
                }
            };
            tokio::join!(write, read).1
        })
    }

    #[test]
    fn the_first_byte_tells_tls_from_all_codes_of_frames() {
        assert_eq!(sniffed(&[], 1, 8).0, Protocol::Closed);
        for byte in 0..=u8::MAX {
            let expected = if byte == 0x16 { Protocol::Tls } else { Protocol::Plain };
            assert_eq!(sniffed(&[byte, 3, 1], 3, 8).0, expected);
        }
    }

    #[test]
    fn an_error_behind_the_first_byte_is_not_lost() {
        struct Failing(bool);
        impl AsyncRead for Failing {
            fn poll_read(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                into: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                if std::mem::replace(&mut self.0, false) {
                    into.put_slice(b"E");
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
        run(async {
            let (first, mut reader) = sniff(Failing(true)).await.unwrap();
            assert_eq!(first, Protocol::Plain);
            let mut all = Vec::new();
            let error = reader.read_to_end(&mut all).await.unwrap_err();
            assert_eq!((all.as_slice(), error.kind()), (&b"E"[..], io::ErrorKind::ConnectionReset));
        });
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_doubled_however_they_come(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            piece in 1_usize..100, step in 1_usize..100,
        ) {
            let (first, all) = sniffed(&bytes, piece, step);
            prop_assert_eq!(&all, &bytes);
            let expected = match bytes.first() {
                Some(0x16) => Protocol::Tls,
                Some(_) => Protocol::Plain,
                None => Protocol::Closed,
            };
            prop_assert_eq!(first, expected);
        }
    }
}

//! A large body that is never in memory as a whole: generated while it is sent, checked while it
//! arrives.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use actix_peer::{Body, message::ReadError};
use futures::TryStreamExt;
use tokio::io::{AsyncRead, ReadBuf};

/// A checksum that detects bytes that are wrong, missing or out of order (FNV-1a over words).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    state: u64,
    word: u64,
    at: u64,
}

impl Sum {
    const fn new() -> Self {
        Self { state: 0xcbf2_9ce4_8422_2325, word: 0, at: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.word = self.word << 8 | u64::from(*byte);
            self.at += 1;
            if self.at.is_multiple_of(8) {
                self.state = (self.state ^ self.word).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }

    const fn value(self) -> u64 {
        self.state ^ self.word ^ self.at
    }
}

/// A reader of pseudo-random bytes from a seed.
#[derive(Debug)]
pub(crate) struct Generated {
    left: u64,
    state: u64,
    sum: Sum,
}

impl Generated {
    pub(crate) const fn new(len: u64, seed: u64) -> Self {
        Self { left: len, state: seed | 1, sum: Sum::new() }
    }

    /// The checksum of all its bytes.
    pub(crate) fn sum_of(len: u64, seed: u64) -> u64 {
        let mut body = Self::new(len, seed);
        while body.left > 0 {
            body.next();
        }
        body.sum.value()
    }

    fn next(&mut self) -> [u8; 4096] {
        let mut bytes = [0; 4096];
        for word in bytes.chunks_exact_mut(8) {
            // xorshift64 (Marsaglia 2003).
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            word.copy_from_slice(&self.state.to_le_bytes());
        }
        self.sum.add(&bytes);
        self.left -= 4096;
        bytes
    }
}

impl AsyncRead for Generated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left > 0 && space.remaining() >= 4096 {
            space.put_slice(&self.next());
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads a body to its end: its length and checksum.
pub(crate) async fn checksum(mut body: Body) -> Result<(u64, u64), ReadError> {
    let mut sum = Sum::new();
    while let Some(piece) = body.try_next().await? {
        sum.add(&piece);
    }
    Ok((sum.at, sum.value()))
}

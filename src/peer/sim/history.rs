//! The history of a network and its digest.

use std::{fmt, time::Duration};

use tokio::time::Instant;

/// The number of lines that are kept; later ones count only in the digest.
const LINES: usize = 1 << 16;

/// FNV-1a, 64 bits (draft-eastlake-fnv): the offset basis and the prime.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

#[derive(Debug)]
pub(super) struct History {
    begun: Option<Instant>,
    lines: Vec<String>,
    digest: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { begun: None, lines: Vec::new(), digest: BASIS }
    }
}

impl History {
    /// Starts the clock of the test.
    pub(super) fn begin(&mut self) {
        self.begun = Some(Instant::now());
    }

    /// The time since [`begin`](Self::begin), or since the first call.
    pub(super) fn elapsed(&mut self) -> Duration {
        self.begun.get_or_insert_with(Instant::now).elapsed()
    }

    pub(super) fn note(&mut self, who: &str, what: fmt::Arguments<'_>) {
        let at = self.elapsed();
        let line = format!("{at:?} {who}: {what}");
        for byte in line.bytes().chain([b'\n']) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        if self.lines.len() < LINES {
            self.lines.push(line);
        }
    }

    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.clone()
    }
}

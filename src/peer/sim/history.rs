//! What happened in a network, and a number made of it.

use std::{fmt, time::Duration};

use tokio::time::Instant;

/// Lines that are kept; later ones count in the digest alone.
const LINES: usize = 1 << 16;

/// FNV-1a, 64 bits (draft-eastlake-fnv): the beginning and the factor.
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
    /// The test begins now.
    pub(super) fn begin(&mut self) {
        self.begun = Some(Instant::now());
    }

    /// Time since it began, or since the first look at the time.
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

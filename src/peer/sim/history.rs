//! The history of a network and its digest.

use std::{
    fmt,
    hash::{Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use crate::transport::memory::{WireEvent, fnv::Fnv};

/// The number of lines of each kind that are kept; later ones count only in the digest.
const LINES: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct History {
    begun: Option<Instant>,
    lines: Vec<Line>,
    /// The number of notes and of wire events among the lines.
    notes: usize,
    wire_events: usize,
    digest: Fnv,
}

#[derive(Debug)]
enum Line {
    Note(String),
    Wire(WireEvent),
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
        self.digest.write(line.as_bytes());
        self.digest.write(b"\n");
        if self.notes < LINES {
            self.notes += 1;
            self.lines.push(Line::Note(line));
        }
    }

    /// Notes what happened on the wires. The text is made by [`lines`](Self::lines).
    pub(super) fn wire(&mut self, event: &WireEvent) {
        event.hash(&mut self.digest);
        if self.wire_events < LINES {
            self.wire_events += 1;
            self.lines.push(Line::Wire(event.clone()));
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let text = |line: &Line| match line {
            Line::Note(text) => text.clone(),
            Line::Wire(event) => format!("{:?} {event}", event.at()),
        };
        self.lines.iter().map(text).collect()
    }
}

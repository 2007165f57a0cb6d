//! The progress of one transfer, for the terminal.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    fs::File,
    io::{AsyncRead, ReadBuf},
    time::Instant,
};

use crate::view::{Event, Show, State, Transfer};

/// The minimum time between two reports of one transfer.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// Reports the progress of a transfer.
#[derive(Debug)]
pub(crate) struct Progress {
    transfer: Transfer,
    reported: Option<Instant>,
    show: Show,
}

impl Progress {
    pub(crate) fn new(number: u64, title: String, bytes: u64, show: Show) -> Self {
        let transfer = Transfer { number, title, done: 0, bytes, state: State::Runs };
        let mut progress = Self { transfer, reported: None, show };
        progress.add(0);
        progress
    }

    /// More bytes are done.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.transfer.done = self.transfer.done.saturating_add(bytes);
        let now = Instant::now();
        let is_due = |at: Instant| now.saturating_duration_since(at) >= REPORT_EVERY;
        if self.is_complete() || self.reported.is_none_or(is_due) {
            self.reported = Some(now);
            self.show.event(Event::Transfer(self.transfer.clone()));
        }
    }

    fn is_complete(&self) -> bool {
        self.transfer.done >= self.transfer.bytes
    }

    /// The transfer has ended: the text to show, or why it failed.
    pub(crate) fn end(&mut self, outcome: Result<String, String>) {
        self.transfer.state = match outcome {
            Ok(text) => State::Done(text),
            Err(why) => State::Failed(why),
        };
        self.show.event(Event::Transfer(self.transfer.clone()));
    }
}

/// A file that reports how far it was read. It is read as far as the network takes it.
#[derive(Debug)]
pub(crate) struct Counted {
    file: File,
    progress: Progress,
}

impl Counted {
    pub(crate) const fn new(file: File, progress: Progress) -> Self {
        Self { file, progress }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = space.filled().len();
        let read = Pin::new(&mut self.file).poll_read(cx, space);
        let bytes = space.filled().len().saturating_sub(before);
        if bytes > 0 {
            self.progress.add(bytes as u64);
        }
        read
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let outcome = if self.progress.is_complete() {
            Ok("sent".to_owned())
        } else {
            Err("it broke off".to_owned())
        };
        self.progress.end(outcome);
    }
}

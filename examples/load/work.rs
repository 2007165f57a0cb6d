//! The kinds of work.

use std::time::{Duration, Instant};

use actix_peer::frame::TypeCode;
use clap::ValueEnum;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

/// The size of a write, where nothing else determines it.
pub(crate) const PIECE: usize = 256 << 10; // bytes

/// The kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// One-way messages to a handler.
    Notify,
    /// Requests, one at a time.
    Request,
    /// Requests, many outstanding.
    Pipeline,
    /// One long body, with `--count` bytes.
    Stream,
    /// Requests with a connection for each.
    Classic,
}

impl Mode {
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Notify => "messages/s",
            Self::Request | Self::Pipeline | Self::Classic => "requests/s",
            Self::Stream => "bytes/s",
        }
    }

    /// A count that takes about a second.
    pub(crate) fn count(self, size: usize) -> u64 {
        let size = size.max(64) as u64;
        match self {
            Self::Notify => ((4 << 30) / size).clamp(50_000, 2_000_000),
            Self::Request => 20_000,
            Self::Pipeline => ((4 << 30) / size).clamp(10_000, 200_000),
            Self::Stream => 1 << 30,
            Self::Classic => 5_000,
        }
    }
}

/// The handler of one-way messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HandlerKind {
    /// An actor that gets one message for each frame.
    Each,
    /// An actor that gets batches, which are sent together.
    Batch,
    /// An actor that sleeps 10 ms after every 1,000 messages.
    Sleepy,
}

impl HandlerKind {
    /// The code of its messages, and the code of the request for their number.
    pub(crate) const fn codes(self) -> (TypeCode, TypeCode) {
        let (message, stat) = match self {
            Self::Each => (b"EACH", b"STAE"),
            Self::Batch => (b"BATC", b"STAB"),
            Self::Sleepy => (b"SLOW", b"STAS"),
        };
        (TypeCode::new(message), TypeCode::new(stat))
    }
}

/// When the bare side of [`Mode::Pipeline`] flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Flush {
    /// After each message, as in the documentation of `Framed`.
    Each,
    /// After all messages that can be sent at that time.
    Batch,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Job {
    pub(crate) mode: Mode,
    pub(crate) handler: HandlerKind,
    pub(crate) size: usize,
    pub(crate) count: u64,
    pub(crate) outstanding: usize,
    pub(crate) flush: Flush,
}

/// The time of a job.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) took: Duration,
    pub(crate) latencies: Vec<Duration>,
}

impl Done {
    pub(crate) fn new(begun: Instant) -> Self {
        Self { took: begun.elapsed(), latencies: Vec::new() }
    }

    pub(crate) fn with_latencies(mut self, mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        self.latencies = latencies;
        self
    }

    pub(crate) fn rate(&self, job: &Job) -> f64 {
        job.count as f64 / self.took.as_secs_f64()
    }

    /// The latency that `hundredths` of all requests stay below, in microseconds.
    pub(crate) fn percentile(&self, hundredths: usize) -> Option<f64> {
        let at = self.latencies.len() * hundredths / 100;
        Some(self.latencies.get(at)?.as_secs_f64() * 1e6)
    }
}

/// Runs `one` as often, and as often at once, as the job says.
pub(crate) async fn spread<F, E>(job: &Job, one: impl Fn() -> F) -> Result<Vec<Duration>, E>
where
    F: Future<Output = Result<Duration, E>>,
{
    stream::iter(0..job.count).map(|_| one()).buffer_unordered(job.outstanding).try_collect().await
}

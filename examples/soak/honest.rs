//! The messages between honest nodes, and their outcomes.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_peer::{
    Outgoing, Over, Peer, RequestError,
    frame::{Frame, TypeCode},
    link::AckLevel,
    overlay::Address,
};
use bytes::Bytes;
use futures::future::join_all;
use serde::Serialize;

use crate::{gauge::Latencies, ledger::Ledger};

/// The pause between two messages of one lane.
const PAUSE: Duration = Duration::from_millis(5);

/// The number of open messages on lanes that send again after a break.
const OUTSTANDING: u64 = 4;

/// The maximum length of a message, in bytes.
const MAX_LEN: usize = 2 << 10;

/// A way to send messages, with a code, numbers and a ledger of its own.
///
/// To add a way, add a lane with its code and its promise, and a line in [`Talk::send`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lane {
    /// Requests over the link.
    Request,
    /// Requests in classic exchanges.
    Classic,
    /// One-way messages over the link.
    OneWay,
    /// Acknowledged messages, over connections that break.
    Acked,
    /// Reliable messages, over connections that break.
    Reliable,
    /// Requests, over connections that break.
    Broken,
}

impl Lane {
    pub(crate) const ALL: [Self; 6] =
        [Self::Request, Self::Classic, Self::OneWay, Self::Acked, Self::Reliable, Self::Broken];

    pub(crate) const fn code(self) -> TypeCode {
        TypeCode::new(match self {
            Self::Request => b"REQU",
            Self::Classic => b"CLAS",
            Self::OneWay => b"ONEW",
            Self::Acked => b"ACKE",
            Self::Reliable => b"RELI",
            Self::Broken => b"BROK",
        })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Request => "requests over a link",
            Self::Classic => "classic requests",
            Self::OneWay => "one-way messages",
            Self::Acked => "acknowledged, breaks",
            Self::Reliable => "reliable, breaks",
            Self::Broken => "requests, breaks",
        }
    }

    /// Whether it goes through the proxy that breaks connections.
    pub(crate) const fn uses_proxy(self) -> bool {
        matches!(self, Self::Acked | Self::Reliable | Self::Broken)
    }

    /// Whether a message may fail: only because a connection breaks, which acknowledged and
    /// reliable messages survive.
    pub(crate) const fn may_fail(self) -> bool {
        matches!(self, Self::Broken)
    }

    /// Whether order is promised: not across two links.
    pub(crate) const fn is_ordered(self) -> bool {
        !matches!(self, Self::Broken)
    }
}

/// The outcomes of the messages of a lane.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) done: u64,
    /// Failed, and certainly not handled.
    pub(crate) not_handled: u64,
    /// Failed, and perhaps handled.
    pub(crate) unsure: u64,
    /// Succeeded, but not in the ledger.
    pub(crate) lost: u64,
    /// Reported as not handled, but in the ledger.
    pub(crate) misreported: u64,
    /// Answered with a wrong reply.
    pub(crate) wrong: u64,
    /// The last error.
    pub(crate) error: Option<String>,
    #[serde(skip)]
    pub(crate) latencies: Latencies,
}

/// The outcome of one message.
enum Sent {
    Done,
    Wrong,
    Failed { error: String, unsure: bool },
}

impl From<RequestError> for Sent {
    fn from(error: RequestError) -> Self {
        Self::Failed { unsure: error.may_have_been_handled(), error: error.to_string() }
    }
}

/// The sender of one lane.
pub(crate) struct Talk {
    pub(crate) lane: Lane,
    pub(crate) from: Peer,
    pub(crate) to: Address,
    pub(crate) ledger: Ledger,
    pub(crate) tally: Tally,
    pub(crate) rng: fastrand::Rng,
}

impl Talk {
    /// Sends messages until `stop` is set, and waits for the open ones.
    pub(crate) async fn run(mut self, stop: Rc<Cell<bool>>) -> (Lane, Tally, Ledger) {
        let sends_again = matches!(self.lane, Lane::Acked | Lane::Reliable);
        let outstanding = if sends_again { OUTSTANDING } else { 1 };
        while !stop.get() {
            let messages: Vec<_> =
                (0..outstanding).map(|n| self.message(self.tally.sent + n)).collect();
            self.tally.sent += outstanding;
            let sent = join_all(messages.into_iter().map(|(n, data)| self.timed(n, data))).await;
            for (number, sent, took) in sent {
                self.count(number, sent, took);
            }
            tokio::time::sleep(PAUSE).await;
        }
        if self.lane == Lane::OneWay {
            self.settle().await;
        }
        (self.lane, self.tally, self.ledger)
    }

    fn message(&mut self, number: u64) -> (u64, Bytes) {
        let mut data = number.to_be_bytes().to_vec();
        data.resize(data.len() + self.rng.usize(..MAX_LEN), self.rng.u8(..));
        (number, data.into())
    }

    async fn timed(&self, number: u64, data: Bytes) -> (u64, Sent, Duration) {
        let begun = Instant::now();
        let sent = self.send(data).await.unwrap_or_else(Sent::from);
        (number, sent, begun.elapsed())
    }

    async fn send(&self, data: Bytes) -> Result<Sent, RequestError> {
        let frame = Frame::new(self.lane.code(), data);
        let over = if self.lane == Lane::Classic { Over::Classic } else { Over::Link };
        let message = Outgoing::from(frame.clone()).over(over);
        match self.lane {
            Lane::OneWay => self.from.notify(&self.to, message).await?,
            Lane::Acked => self.from.notify_acked(&self.to, message, AckLevel::Handled).await?,
            Lane::Reliable => {
                let sent = self.from.send_reliable(&self.to, message, AckLevel::Handled).await;
                if let Err(error) = sent {
                    return Ok(Sent::Failed {
                        unsure: error.may_have_been_handled(),
                        error: error.to_string(),
                    });
                }
            }
            Lane::Request | Lane::Classic | Lane::Broken => {
                let replies = self.from.request(&self.to, message).await?.collect().await?;
                if replies != [frame] {
                    return Ok(Sent::Wrong);
                }
            }
        }
        Ok(Sent::Done)
    }

    fn count(&mut self, number: u64, sent: Sent, took: Duration) {
        // A one-way message has not arrived yet.
        let arrived = self.lane == Lane::OneWay || self.ledger.read(|record| record.has(number));
        match sent {
            Sent::Done => {
                self.tally.done += 1;
                self.tally.lost += u64::from(!arrived);
                self.tally.latencies.add(took);
            }
            Sent::Wrong => self.tally.wrong += 1,
            Sent::Failed { error, unsure } => {
                if unsure {
                    self.tally.unsure += 1;
                } else {
                    self.tally.not_handled += 1;
                    self.tally.misreported += u64::from(arrived && self.lane != Lane::OneWay);
                }
                self.tally.error = Some(error);
            }
        }
    }

    /// Waits until the one-way messages have arrived.
    async fn settle(&mut self) {
        let missing = || self.tally.done.saturating_sub(self.ledger.read(|record| record.handled));
        for _ in 0..100 {
            if missing() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.tally.lost = missing();
    }
}

//! The honest ones: what they say to each other, and what became of it.

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

/// Between two messages of one lane.
const REST: Duration = Duration::from_millis(5);

/// Messages that are under way at once where they are sent again after a cut.
const TOGETHER: u64 = 4;

/// The longest message, in bytes.
const LONGEST: usize = 2 << 10;

/// One way to talk, each with a code, numbers and a ledger of its own.
///
/// A further way to send is a further lane: its code, its promise, and one line in [`Talk::send`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lane {
    /// Requests over the link.
    Request,
    /// Requests in classic exchanges.
    Classic,
    /// One-way messages over the link.
    OneWay,
    /// Acknowledged messages, over a wire that is cut.
    Acked,
    /// Reliable messages, over a wire that is cut.
    Reliable,
    /// Requests, over a wire that is cut.
    Cut,
}

impl Lane {
    pub(crate) const ALL: [Self; 6] =
        [Self::Request, Self::Classic, Self::OneWay, Self::Acked, Self::Reliable, Self::Cut];

    pub(crate) const fn code(self) -> TypeCode {
        TypeCode::new(match self {
            Self::Request => b"REQU",
            Self::Classic => b"CLAS",
            Self::OneWay => b"ONEW",
            Self::Acked => b"ACKE",
            Self::Reliable => b"RELI",
            Self::Cut => b"CUTS",
        })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Request => "requests over a link",
            Self::Classic => "classic requests",
            Self::OneWay => "one-way messages",
            Self::Acked => "acknowledged, wire cut",
            Self::Reliable => "reliable, wire cut",
            Self::Cut => "requests, wire cut",
        }
    }

    /// Whether it goes over the wire that is cut.
    pub(crate) const fn is_aborted(self) -> bool {
        matches!(self, Self::Acked | Self::Reliable | Self::Cut)
    }

    /// Whether a message may fail: nothing but a cut is a reason, and an acknowledged or
    /// reliable message outlives it.
    pub(crate) const fn may_fail(self) -> bool {
        matches!(self, Self::Cut)
    }

    /// Whether order is promised: not between two links.
    pub(crate) const fn is_ordered(self) -> bool {
        !matches!(self, Self::Cut)
    }
}

/// What became of the messages of a lane.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) done: u64,
    /// Failed, and surely not handled.
    pub(crate) not_handled: u64,
    /// Failed, and perhaps handled.
    pub(crate) unsure: u64,
    /// Done, but not in the ledger.
    pub(crate) lost: u64,
    /// Said not to be handled, but in the ledger.
    pub(crate) lies: u64,
    /// Answered with something else.
    pub(crate) wrong: u64,
    /// The last error, as the caller saw it.
    pub(crate) error: Option<String>,
    #[serde(skip)]
    pub(crate) latencies: Latencies,
}

/// What happened to one message.
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

/// One lane at work.
pub(crate) struct Talk {
    pub(crate) lane: Lane,
    pub(crate) from: Peer,
    pub(crate) to: Address,
    pub(crate) ledger: Ledger,
    pub(crate) tally: Tally,
    pub(crate) rng: fastrand::Rng,
}

impl Talk {
    /// Talks until it is told to stop, and finishes what is under way.
    pub(crate) async fn talk(mut self, stop: Rc<Cell<bool>>) -> (Lane, Tally, Ledger) {
        let again = matches!(self.lane, Lane::Acked | Lane::Reliable);
        let together = if again { TOGETHER } else { 1 };
        while !stop.get() {
            let messages: Vec<_> =
                (0..together).map(|n| self.message(self.tally.sent + n)).collect();
            self.tally.sent += together;
            let sent = join_all(messages.into_iter().map(|(n, data)| self.timed(n, data))).await;
            for (number, sent, took) in sent {
                self.note(number, sent, took);
            }
            tokio::time::sleep(REST).await;
        }
        if self.lane == Lane::OneWay {
            self.settle().await;
        }
        (self.lane, self.tally, self.ledger)
    }

    fn message(&mut self, number: u64) -> (u64, Bytes) {
        let mut data = number.to_be_bytes().to_vec();
        data.resize(data.len() + self.rng.usize(..LONGEST), self.rng.u8(..));
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
            Lane::Request | Lane::Classic | Lane::Cut => {
                let replies = self.from.request(&self.to, message).await?.collect().await?;
                if replies != [frame] {
                    return Ok(Sent::Wrong);
                }
            }
        }
        Ok(Sent::Done)
    }

    fn note(&mut self, number: u64, sent: Sent, took: Duration) {
        // A one-way message has not arrived yet.
        let arrived = self.lane == Lane::OneWay || self.ledger.read(|page| page.has(number));
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
                    self.tally.lies += u64::from(arrived && self.lane != Lane::OneWay);
                }
                self.tally.error = Some(error);
            }
        }
    }

    /// Waits for the one-way messages that are on their way.
    async fn settle(&mut self) {
        let missing = || self.tally.done.saturating_sub(self.ledger.read(|page| page.handled));
        for _ in 0..100 {
            if missing() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.tally.lost = missing();
    }
}

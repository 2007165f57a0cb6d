//! The open exchanges of a link.

use std::sync::{Arc, OnceLock};

use crate::{
    frame::TypeCode,
    link::AckLevel,
    session::{
        queue::{ExchangeBroken, PartQueue},
        tick::Ticks,
    },
};

/// An exchange that the other side has begun. One-way messages of one frame share the id 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct InExchange {
    pub(super) id: u32,
    pub(super) code: TypeCode,
    pub(super) request: bool,
}

impl InExchange {
    /// One-way messages of one frame each.
    pub(super) const fn one_way(code: TypeCode) -> Self {
        Self { id: 0, code, request: false }
    }
}

/// Waits for the acknowledgement of a message that was sent on a link.
pub(crate) trait AckWaiter: Send {
    /// Whether the acknowledgement is for this message, at its level or a higher one.
    fn accepts(&self, acknowledged: Option<(u64, AckLevel)>) -> bool;

    /// Called when the exchange of the message has ended.
    fn end(self: Box<Self>, end: Result<(), ExchangeBroken>);
}

/// An open exchange of this side.
pub(crate) enum OutExchange {
    Request {
        code: TypeCode,
        queue: Arc<PartQueue>,
        /// The position in the output after the first frame of the request. When that many bytes
        /// are written, a streaming handler may have been called.
        begun: u64,
    },
    Sequenced(Box<dyn AckWaiter>),
    /// A one-way message of which not all parts are sent.
    OneWay {
        ended: Arc<OnceLock<ExchangeBroken>>,
        begun: u64,
    },
}

impl OutExchange {
    pub(crate) fn end(self, end: Result<(), ExchangeBroken>) {
        match self {
            Self::Request { queue, .. } => queue.end(end),
            Self::Sequenced(acked) => acked.end(end),
            Self::OneWay { ended, .. } => {
                if let Err(broken) = end {
                    // An exchange ends only once.
                    ended.set(broken).ok();
                }
            }
        }
    }

    /// Whether it holds a permit for an open request.
    pub(crate) const fn holds_permit(&self) -> bool {
        !matches!(self, Self::OneWay { .. })
    }

    /// Counts a tick of waiting for the reply.
    pub(crate) fn tick(&self, limit: Ticks) {
        match self {
            Self::Request { queue, .. } => queue.tick(limit),
            // Its sender has a time-out of its own, or none.
            Self::Sequenced(_) | Self::OneWay { .. } => {}
        }
    }

    /// Whether a handler may have been called, if `written` bytes of the output were written.
    pub(crate) const fn sent_before(&self, written: u64) -> bool {
        match self {
            Self::Request { begun, .. } | Self::OneWay { begun, .. } => *begun <= written,
            Self::Sequenced(_) => true,
        }
    }
}

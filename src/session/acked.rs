//! The acknowledged messages that have arrived at this node, over all its links.

use std::sync::MutexGuard;

use futures::future::{BoxFuture, Shared};
use indexmap::IndexMap;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    fault_points::{FaultPoint, Sometimes, fault_point, reached},
    link::{AckReceiver, Reason, ReceiveOutcome, Sequenced},
    node::Refusal,
    overlay::PeerId,
    session::turns::Turns,
    sync::Mutex,
    time::now,
};

/// The acknowledged messages that have arrived, and the permits for those that wait.
pub(super) struct AckedMessages {
    state: Mutex<AckedState>,
    /// Permits for bytes of messages that may wait for a handler after the end of their link.
    waiting: Semaphore,
}

impl Default for AckedMessages {
    fn default() -> Self {
        Self { state: Mutex::default(), waiting: Semaphore::new(MAX_WAITING) }
    }
}

impl AckedMessages {
    pub(super) fn lock(&self) -> MutexGuard<'_, AckedState> {
        self.state.lock()
    }

    /// A permit for a long wait of a message of this length. `None` if the bytes for longer waits
    /// are used up.
    pub(super) fn try_wait(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        if fault_point(FaultPoint::AckedWaitShort) {
            return None;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.waiting.try_acquire_many(bytes.saturating_add(1)).ok()
    }
}

/// The bytes of acknowledged messages of the whole node that may wait for their handlers for
/// `handler_timeout`, even after the end of their link. Further messages wait for `busy_after`,
/// like other messages.
const MAX_WAITING: usize = 16 << 20; // bytes

/// The name of a message: its sender, its series, the incarnation of its sender, and its number.
pub(super) type Name = (PeerId, u64, u64, u64);

/// The outcome of a message, for every link over which it arrives.
pub(super) type Outcome = Shared<BoxFuture<'static, Result<(), Refusal>>>;

/// The state of the messages that have arrived.
#[derive(Default)]
pub(super) struct AckedState {
    seen: AckReceiver,
    /// The pending outcomes. `seen` has the outcomes of all other messages.
    pub(super) outcomes: IndexMap<Name, Outcome>,
    /// The messages of each sender and series that wait for each handler, from all links.
    pub(super) turns: Turns<(PeerId, u64, u64)>,
}

/// How to process a message that arrived.
pub(super) enum AckedArrival {
    Reset(Reason),
    Acknowledge,
    Wait(Outcome),
    Deliver(Name),
}

impl AckedState {
    /// Notes the arrival of a message, and decides how to process it.
    pub(super) fn on_message(&mut self, from: &PeerId, sequenced: Sequenced) -> AckedArrival {
        let name = (from.clone(), sequenced.series, sequenced.incarnation, sequenced.sequence);
        let outcome = self.seen.note(from, sequenced, now());
        match outcome {
            ReceiveOutcome::New | ReceiveOutcome::Repeated => {}
            ReceiveOutcome::Failed(_) => reached(Sometimes::AckedFailedAgain),
            ReceiveOutcome::NoRoom => reached(Sometimes::AckedNoRoom),
            ReceiveOutcome::Superseded => reached(Sometimes::AckedSuperseded),
            ReceiveOutcome::Forgotten => reached(Sometimes::AckedForgotten),
        }
        match outcome {
            ReceiveOutcome::New => AckedArrival::Deliver(name),
            ReceiveOutcome::Repeated => self
                .outcomes
                .get(&name)
                .cloned()
                .map_or(AckedArrival::Acknowledge, AckedArrival::Wait),
            ReceiveOutcome::Failed(reason) => AckedArrival::Reset(reason),
            ReceiveOutcome::NoRoom => AckedArrival::Reset(Reason::BUSY),
            ReceiveOutcome::Superseded | ReceiveOutcome::Forgotten => {
                AckedArrival::Reset(Reason::NOT_ALLOWED)
            }
        }
    }

    /// Notes the outcome of a message.
    pub(super) fn settle(
        &mut self,
        name: &Name,
        sequenced: Sequenced,
        outcome: Result<(), Refusal>,
    ) {
        self.outcomes.swap_remove(name);
        if let Err(refusal) = outcome {
            self.seen.failed(&name.0, sequenced, refusal.reason());
        }
    }
}

//! Credit of a link: senders wait for it, handlers give it back.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use futures::future::{Either, select};
use tokio::sync::{SemaphorePermit, TryAcquireError};

use crate::connection::{
    Sender,
    links::{
        Line,
        line::{State, Unsent},
    },
};

/// A message that is longer than the other side may hold whole leaves this part of the window to
/// the others.
const SHARE_OF_OTHERS: u32 = 4;

/// The longest run of messages that count as consumed together: a small part of any window.
const MAX_RUN: u32 = 8 << 10; // bytes

/// Short messages take credit in pieces of this, as long as nobody waits for it.
const PREPAID: u32 = 8 << 10; // bytes

/// Counts somebody who waits, for as long as it lives.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Line {
    /// Takes credit for a message that is to be begun, if there is enough.
    pub(super) fn try_pay(&self, cost: u32) -> Option<SemaphorePermit<'_>> {
        self.credit.try_acquire_many(cost).ok()
    }

    /// Takes credit for a short message, from what was taken in advance where there is some: to take
    /// it for each alone is worth a tenth of its time.
    pub(super) fn pay_short(&self, state: &mut State, cost: u32) -> bool {
        if state.prepaid < cost {
            // Whoever waits comes first.
            if self.waiting.load(Ordering::Relaxed) > 0 {
                return false;
            }
            let take = |credit| self.try_pay(credit).map(SemaphorePermit::forget).map(|()| credit);
            match take(PREPAID.max(cost)).or_else(|| take(cost)) {
                Some(credit) => state.prepaid += credit,
                None => return false,
            }
        }
        state.prepaid -= cost;
        true
    }

    /// Somebody waits for credit from now on: what others took in advance is there for all.
    fn wait_for_credit(&self) -> Waits<'_> {
        let waits = Waits::new(&self.waiting);
        let prepaid = std::mem::take(&mut self.lock().prepaid);
        self.credit.add_permits(prepaid as usize);
        waits
    }

    /// Takes credit for a message that is to be begun; waits for it as long as it takes, in turn.
    pub(super) async fn pay(&self, cost: u32) -> Result<SemaphorePermit<'_>, Unsent> {
        match self.credit.try_acquire_many(cost) {
            Ok(paid) => Ok(paid),
            Err(TryAcquireError::Closed) => Err(Unsent::Gone),
            Err(TryAcquireError::NoPermits) => {
                let _waits = self.wait_for_credit();
                let left = self.left.notified();
                if !self.is_open() {
                    return Err(Unsent::Gone);
                }
                let paid = pin!(self.credit.acquire_many(cost));
                match select(paid, pin!(left)).await {
                    Either::Left((paid, _)) => paid.map_err(|_| Unsent::Gone),
                    Either::Right(_) => Err(Unsent::Gone),
                }
            }
        }
    }

    /// Takes credit for a part of a message that the other side does not hold whole. However slowly
    /// such messages are read there, they leave a share of the window to the others.
    pub(super) async fn pay_part(&self, cost: u32) -> Result<SemaphorePermit<'_>, Unsent> {
        let _waits = self.wait_for_credit();
        let enough = (self.limits.window / SHARE_OF_OTHERS).saturating_add(cost) as usize;
        loop {
            let changed = self.changed.notified();
            if self.credit.is_closed() {
                return Err(Unsent::Gone);
            }
            if self.credit.available_permits() >= enough
                && let Ok(paid) = self.credit.try_acquire_many(cost)
            {
                return Ok(paid);
            }
            changed.await;
        }
    }

    /// A place among the requests that the other side holds open.
    pub(super) async fn slot(&self) -> Result<SemaphorePermit<'_>, Unsent> {
        match self.slots.try_acquire() {
            Ok(slot) => Ok(slot),
            Err(TryAcquireError::Closed) => Err(Unsent::Gone),
            Err(TryAcquireError::NoPermits) => {
                let _waits = Waits::new(&self.waiting);
                self.slots.acquire().await.map_err(|_| Unsent::Gone)
            }
        }
    }
}

/// Bytes of a link's window that a handler holds.
pub(crate) struct Unconsumed(Held);

enum Held {
    One { line: Arc<Line>, cost: u32 },
    Run(Arc<Run>),
}

/// One-way messages that came one after the other for one handler: they count as consumed when it
/// has let go of all. One count for each message less is worth 4 % of a short one's time.
pub(super) struct Run {
    line: Arc<Line>,
    /// Only the link's task adds to it.
    cost: AtomicU32,
}

impl Run {
    pub(super) fn new(line: Arc<Line>) -> Arc<Self> {
        Arc::new(Self { line, cost: AtomicU32::new(0) })
    }

    /// Adds a message. None when the run is as long as it may be.
    pub(super) fn add(self: &Arc<Self>, cost: u32) -> Option<Unconsumed> {
        let sum = self.cost.load(Ordering::Relaxed).saturating_add(cost);
        if sum > MAX_RUN && sum != cost {
            return None;
        }
        self.cost.store(sum, Ordering::Relaxed);
        Some(Unconsumed(Held::Run(Arc::clone(self))))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.line.consumed(*self.cost.get_mut());
    }
}

impl Unconsumed {
    pub(super) const fn new(line: Arc<Line>, cost: u32) -> Self {
        Self(Held::One { line, cost })
    }

    /// Who sent it.
    pub(crate) fn sender(&self) -> &Sender {
        match &self.0 {
            Held::One { line, .. } => &line.sender,
            Held::Run(run) => &run.line.sender,
        }
    }
}

impl Drop for Unconsumed {
    fn drop(&mut self) {
        if let Held::One { line, cost } = &self.0 {
            line.consumed(*cost);
        }
    }
}

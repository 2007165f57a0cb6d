//! Credit of a link: senders wait for it, handlers give it back.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::{Either, select};
use tokio::sync::{SemaphorePermit, TryAcquireError};

use crate::connection::links::{Line, line::Unsent};

/// A message that is longer than the other side may hold whole leaves this part of the window to
/// the others.
const SHARE_OF_OTHERS: u32 = 4;

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

    /// Takes credit for a message that is to be begun; waits for it as long as it takes, in turn.
    pub(super) async fn pay(&self, cost: u32) -> Result<SemaphorePermit<'_>, Unsent> {
        match self.credit.try_acquire_many(cost) {
            Ok(paid) => Ok(paid),
            Err(TryAcquireError::Closed) => Err(Unsent::Gone),
            Err(TryAcquireError::NoPermits) => {
                let _waits = Waits::new(&self.waiting);
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
        let _waits = Waits::new(&self.waiting);
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
pub(crate) struct Unconsumed {
    line: Arc<Line>,
    cost: u32,
}

impl Unconsumed {
    pub(super) const fn new(line: Arc<Line>, cost: u32) -> Self {
        Self { line, cost }
    }
}

impl Drop for Unconsumed {
    fn drop(&mut self) {
        self.line.consumed(self.cost);
    }
}

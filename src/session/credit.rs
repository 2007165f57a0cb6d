//! The credit of a link: senders wait for it, and handlers return it.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use futures::future::{Either, select};
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit, TryAcquireError};

use crate::{
    message::{Sender, credit::Window},
    session::shared::{Session, State, Unsent},
};

/// A message that the other side does not buffer whole leaves one part in this many of the window
/// to other messages.
const SHARE_OF_OTHERS: u32 = 4;

/// The credit that short messages take in advance, if no sender waits for credit.
const PREPAID: u32 = 8 << 10; // bytes

/// The credit of a link, for which senders wait.
///
/// A window has up to 4 GiB, but where addresses have 32 bits a semaphore holds at most 512 MiB.
/// The excess is kept aside and added as soon as there is room.
#[derive(Debug)]
pub(crate) struct CreditPool {
    permits: Semaphore,
    beyond: AtomicU32,
    most: u32,
}

impl CreditPool {
    /// The maximum that can be taken at once. The semaphore can hold twice as much.
    #[expect(clippy::cast_possible_truncation, reason = "only where it is less")]
    pub(crate) const MOST: u32 = if Semaphore::MAX_PERMITS / 2 >= u32::MAX as usize {
        u32::MAX
    } else {
        (Semaphore::MAX_PERMITS / 2) as u32
    };

    pub(crate) fn new(credit: u32) -> Self {
        Self::with(credit, Self::MOST)
    }

    fn with(credit: u32, most: u32) -> Self {
        let pool = Self { permits: Semaphore::new(0), beyond: AtomicU32::new(0), most };
        pool.add_permits(credit);
        pool
    }

    pub(crate) fn add_permits(&self, credit: u32) {
        let add = |beyond: u32| Some(beyond.saturating_add(credit));
        self.beyond.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok();
        self.fill();
    }

    /// Adds the excess to the semaphore, as far as there is room. Two concurrent calls add at most
    /// twice the maximum, which the semaphore can hold.
    fn fill(&self) {
        if self.beyond.load(Ordering::Acquire) == 0 {
            return;
        }
        let there = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        let room = self.most.saturating_sub(there);
        let take = |beyond: u32| Some(beyond.saturating_sub(room));
        let before = self.beyond.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        let credit = before.unwrap_or_default().min(room);
        self.permits.add_permits(credit as usize);
    }

    pub(crate) fn try_acquire_many(
        &self,
        cost: u32,
    ) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        let paid = self.permits.try_acquire_many(cost);
        self.fill();
        paid
    }

    pub(crate) async fn acquire_many(
        &self,
        cost: u32,
    ) -> Result<SemaphorePermit<'_>, AcquireError> {
        let paid = self.permits.acquire_many(cost).await;
        self.fill();
        paid
    }

    pub(crate) fn available_permits(&self) -> usize {
        self.permits.available_permits()
    }

    pub(crate) fn close(&self) {
        self.permits.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }
}

/// Counts a waiting sender while it lives.
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

impl Session {
    /// Takes credit for a new message, if there is enough.
    pub(crate) fn try_pay(&self, cost: u32) -> Option<SemaphorePermit<'_>> {
        self.credit.try_acquire_many(cost).ok()
    }

    /// Takes credit for a short message, from the credit that was taken in advance if there is
    /// some. This saves a tenth of the time of a message.
    pub(crate) fn pay_short(&self, state: &mut State, cost: u32) -> bool {
        if state.prepaid < cost {
            // Senders that wait come first.
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

    /// Registers a sender that waits for credit, and returns the credit that was taken in advance.
    fn wait_for_credit(&self) -> Waits<'_> {
        let waits = Waits::new(&self.waiting);
        let prepaid = std::mem::take(&mut self.lock().prepaid);
        self.credit.add_permits(prepaid);
        waits
    }

    /// Takes credit for a new message. Waits for it without a time-out, in the order of the calls.
    pub(crate) async fn pay(&self, cost: u32) -> Result<SemaphorePermit<'_>, Unsent> {
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

    /// Takes credit for a part of a message that the other side does not buffer whole. Such
    /// messages leave a share of the window to other messages, however slowly they are read.
    pub(crate) async fn pay_part(&self, cost: u32) -> Result<SemaphorePermit<'_>, Unsent> {
        let _waits = self.wait_for_credit();
        // Where addresses have 32 bits, the semaphore may not hold a whole window.
        #[cfg_attr(target_pointer_width = "64", expect(clippy::unnecessary_min_or_max))]
        let window = self.limits.window.min(CreditPool::MOST);
        let enough = (window / SHARE_OF_OTHERS).saturating_add(cost) as usize;
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

    /// A permit to open a request, within the limit of the other side.
    pub(crate) async fn slot(&self) -> Result<SemaphorePermit<'_>, Unsent> {
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

impl Session {
    /// The window of this link, of which delivered messages hold shares.
    pub(super) fn window(self: &Arc<Self>) -> Arc<dyn Window> {
        Arc::<Self>::clone(self)
    }
}

impl Window for Session {
    fn sender(&self) -> &Sender {
        &self.sender
    }

    fn release(&self, bytes: u32) {
        self.consumed(bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_window_larger_than_a_semaphore_can_be_used_to_its_last_byte() {
        let pool = CreditPool::with(u32::MAX, 1 << 20);
        let mut spent = 0_u64;
        while let Some(Ok(paid)) = pool.acquire_many(1 << 20).now_or_never() {
            assert!(pool.available_permits() <= 2 << 20);
            paid.forget();
            spent += 1 << 20;
        }
        spent += pool.available_permits() as u64;
        assert_eq!(spent, u64::from(u32::MAX));
        pool.add_permits(7);
        assert_eq!(pool.beyond.load(Ordering::Relaxed), 6);
        assert!(pool.try_acquire_many(1 << 20).is_ok());
        assert_eq!(pool.beyond.load(Ordering::Relaxed), 0);
    }
}

//! The credit of a link, for which senders wait.

use tokio::sync::{AcquireError, SemaphorePermit, TryAcquireError};

use crate::sync::{
    Semaphore,
    atomic::{AtomicU32, Ordering},
};

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

    pub(super) fn with(credit: u32, most: u32) -> Self {
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

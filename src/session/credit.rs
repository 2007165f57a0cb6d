//! Credit of a link: senders wait for it, handlers give it back.

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

/// A message that is longer than the other side may hold whole leaves this part of the window to
/// the others.
const SHARE_OF_OTHERS: u32 = 4;

/// Short messages take credit in pieces of this, as long as nobody waits for it.
const PREPAID: u32 = 8 << 10; // bytes

/// The credit of a link, as senders wait for it.
///
/// A window has up to 4 GiB, and where addresses have 32 bits a semaphore counts no further than
/// 512 MiB: what is beyond is kept aside, and goes in as soon as there is room.
#[derive(Debug)]
pub(crate) struct CreditPool {
    permits: Semaphore,
    beyond: AtomicU32,
    most: u32,
}

impl CreditPool {
    /// The most that can be paid at once. Twice as much can be counted.
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
        let purse = Self { permits: Semaphore::new(0), beyond: AtomicU32::new(0), most };
        purse.add_permits(credit);
        purse
    }

    pub(crate) fn add_permits(&self, credit: u32) {
        let add = |beyond: u32| Some(beyond.saturating_add(credit));
        self.beyond.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok();
        self.fill();
    }

    /// Puts in what is beyond, as far as there is room. Two who do so at once put in twice the most
    /// at most, which can be counted.
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

impl Session {
    /// Takes credit for a message that is to be begun, if there is enough.
    pub(crate) fn try_pay(&self, cost: u32) -> Option<SemaphorePermit<'_>> {
        self.credit.try_acquire_many(cost).ok()
    }

    /// Takes credit for a short message, from what was taken in advance where there is some: to take
    /// it for each alone is worth a tenth of its time.
    pub(crate) fn pay_short(&self, state: &mut State, cost: u32) -> bool {
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
        self.credit.add_permits(prepaid);
        waits
    }

    /// Takes credit for a message that is to be begun; waits for it as long as it takes, in turn.
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

    /// Takes credit for a part of a message that the other side does not hold whole. However slowly
    /// such messages are read there, they leave a share of the window to the others.
    pub(crate) async fn pay_part(&self, cost: u32) -> Result<SemaphorePermit<'_>, Unsent> {
        let _waits = self.wait_for_credit();
        // Where addresses have 32 bits, not all of a window may be there at once.
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

    /// A place among the requests that the other side holds open.
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
    /// The window of this link, as what is handed over holds a part of it.
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
    fn a_window_beyond_what_a_semaphore_counts_is_spent_to_its_last_byte() {
        let purse = CreditPool::with(u32::MAX, 1 << 20);
        let mut spent = 0_u64;
        while let Some(Ok(paid)) = purse.acquire_many(1 << 20).now_or_never() {
            assert!(purse.available_permits() <= 2 << 20);
            paid.forget();
            spent += 1 << 20;
        }
        spent += purse.available_permits() as u64;
        assert_eq!(spent, u64::from(u32::MAX));
        purse.add_permits(7);
        assert_eq!(purse.beyond.load(Ordering::Relaxed), 6);
        assert!(purse.try_acquire_many(1 << 20).is_ok());
        assert_eq!(purse.beyond.load(Ordering::Relaxed), 0);
    }
}

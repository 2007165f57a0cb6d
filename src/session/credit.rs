//! Takes credit of a link for messages, and returns credit that handlers have released.

use std::{pin::pin, sync::Arc};

use futures::future::{Either, select};
use tokio::sync::{SemaphorePermit, TryAcquireError};

use crate::{
    fault_points::{FaultPoint, Sometimes, fault_point, reached},
    message::{Sender, credit::Window},
    session::{
        credit_pool::CreditPool,
        state::{Session, SessionState, Unsent},
    },
    sync::{
        Notify,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A message that the other side does not buffer whole leaves one part in this many of the window
/// to other messages.
const SHARE_OF_OTHERS: u32 = 4;

/// The credit that short messages take in advance, if no sender waits for credit.
const PREPAID: u32 = 8 << 10; // bytes

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

/// Credit that a sender has taken. Dropping it gives the credit back.
pub(crate) struct Paid<'a> {
    credit: Option<SemaphorePermit<'a>>,
    /// Senders of parts wait for a share of the window, and not in the queue of the semaphore.
    parts: &'a Notify,
}

impl Paid<'_> {
    /// Uses the credit.
    pub(crate) fn spend(mut self) {
        if let Some(credit) = self.credit.take() {
            credit.forget();
        }
    }

    /// Separates credit for `cost` from this. `None` if this is less.
    pub(crate) fn split(&mut self, cost: u32) -> Option<Self> {
        let share = self.credit.as_mut()?.split(cost as usize)?;
        Some(Self { credit: Some(share), parts: self.parts })
    }
}

impl Drop for Paid<'_> {
    fn drop(&mut self) {
        if let Some(credit) = self.credit.take().filter(|credit| credit.num_permits() > 0) {
            drop(credit);
            self.parts.notify_waiters();
        }
    }
}

/// Wakes the senders of parts when it is dropped: a sender that no longer waits gives back the
/// credit that was reserved for it.
struct GivesBack<'a>(&'a Notify);

impl Drop for GivesBack<'_> {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

impl Session {
    fn paid<'a>(&'a self, credit: SemaphorePermit<'a>) -> Paid<'a> {
        Paid { credit: Some(credit), parts: &self.changed }
    }

    /// Takes credit for a new message, if there is enough.
    pub(crate) fn try_pay(&self, cost: u32) -> Option<Paid<'_>> {
        Some(self.paid(self.credit.try_acquire_many(cost).ok()?))
    }

    /// Takes credit for a short message, from the credit that was taken in advance if there is
    /// some. This saves a tenth of the time of a message.
    pub(crate) fn pay_short(&self, state: &mut SessionState, cost: u32) -> bool {
        if state.prepaid < cost {
            // Senders that wait come first.
            if self.waiting.load(Ordering::Relaxed) > 0 {
                return false;
            }
            let take = |credit| self.try_pay(credit).map(Paid::spend).map(|()| credit);
            let prepaid = if fault_point(FaultPoint::NotPrepaid) { 0 } else { PREPAID };
            match take(prepaid.max(cost)).or_else(|| take(cost)) {
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
    pub(crate) async fn pay(&self, cost: u32) -> Result<Paid<'_>, Unsent> {
        match self.credit.try_acquire_many(cost) {
            Ok(credit) => Ok(self.paid(credit)),
            Err(TryAcquireError::Closed) => Err(Unsent::Gone),
            Err(TryAcquireError::NoPermits) => {
                reached(Sometimes::CreditExhausted);
                let _waits = self.wait_for_credit();
                let _gives_back = GivesBack(&self.changed);
                let left = self.left.notified();
                if !self.is_open() {
                    return Err(Unsent::Gone);
                }
                let credit = pin!(self.credit.acquire_many(cost));
                match select(credit, pin!(left)).await {
                    Either::Left((Ok(credit), _)) => Ok(self.paid(credit)),
                    Either::Left((Err(_), _)) => Err(Unsent::Gone),
                    Either::Right(_) => Err(Unsent::Gone),
                }
            }
        }
    }

    /// Takes credit for a part of a message that the other side does not buffer whole. Such
    /// messages leave a share of the window to other messages, however slowly they are read.
    pub(crate) async fn pay_part(&self, cost: u32) -> Result<Paid<'_>, Unsent> {
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
                && let Some(paid) = self.try_pay(cost)
            {
                return Ok(paid);
            }
            reached(Sometimes::CreditExhausted);
            changed.await;
        }
    }

    /// A permit to open a request, within the limit of the other side.
    pub(crate) async fn request_permit(&self) -> Result<SemaphorePermit<'_>, Unsent> {
        match self.request_permits.try_acquire() {
            Ok(slot) => Ok(slot),
            Err(TryAcquireError::Closed) => Err(Unsent::Gone),
            Err(TryAcquireError::NoPermits) => {
                reached(Sometimes::RequestsExhausted);
                let _waits = Waits::new(&self.waiting);
                self.request_permits.acquire().await.map_err(|_| Unsent::Gone)
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

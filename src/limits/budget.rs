//! The memory of a node for incomplete frames.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// The step in which memory is taken, as bytes arrive.
pub(crate) const STEP: usize = 64 << 10; // bytes

/// Frames up to this length are not counted, so that they always flow. One for each connection is
/// less than the budget.
pub(crate) const EXEMPT: usize = 4 << 10; // bytes

/// The memory that all connections of a node may hold for incomplete frames.
#[derive(Debug)]
pub(crate) struct Budget {
    steps: Arc<Semaphore>,
    total: usize,
}

impl Budget {
    /// At most `bytes`, but at least one step.
    pub(crate) fn new(bytes: usize) -> Self {
        let total = bytes.div_ceil(STEP).clamp(1, Semaphore::MAX_PERMITS);
        Self { steps: Arc::new(Semaphore::new(total)), total }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.total.saturating_sub(self.steps.available_permits()).saturating_mul(STEP)
    }

    /// A share of it, empty at first.
    pub(crate) fn share(&self) -> Share {
        Share { steps: Arc::clone(&self.steps), waits: None, held: None }
    }
}

/// The share that one frame holds of the budget; returned when it is dropped.
pub(crate) struct Share {
    steps: Arc<Semaphore>,
    /// Created by the first wait.
    waits: Option<PollSemaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("covers", &self.covers()).finish_non_exhaustive()
    }
}

impl Share {
    /// Bytes that this share covers.
    pub(crate) fn covers(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits).saturating_mul(STEP)
    }

    fn add(&mut self, step: OwnedSemaphorePermit) {
        match &mut self.held {
            Some(held) => held.merge(step),
            None => self.held = Some(step),
        }
    }

    /// Grows the share to cover `bytes`, if the memory is available now.
    pub(crate) fn try_cover(&mut self, bytes: usize) -> bool {
        while self.covers() < bytes {
            match Arc::clone(&self.steps).try_acquire_owned() {
                Ok(step) => self.add(step),
                Err(_) => return false,
            }
        }
        true
    }

    /// Grows the share to cover `bytes`, as soon as the memory is available.
    pub(crate) fn poll_cover(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        while !self.try_cover(bytes) {
            let steps = &self.steps;
            let waits = self.waits.get_or_insert_with(|| PollSemaphore::new(Arc::clone(steps)));
            // The semaphore is never closed.
            let Some(step) = ready!(waits.poll_acquire(cx)) else { return Poll::Pending };
            self.add(step);
        }
        self.waits = None;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker_ref;

    use super::*;

    #[test]
    fn memory_is_taken_in_steps_and_returned() {
        let budget = Budget::new(3 * STEP);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.try_cover(1) && one.try_cover(STEP));
        assert_eq!(budget.used(), STEP);
        assert!(other.try_cover(STEP + 1));
        assert!(!one.try_cover(STEP + 1));
        drop(other);
        assert_eq!(budget.used(), STEP);
        assert!(one.try_cover(3 * STEP));
        drop(one);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_share_that_waits_gets_the_memory_that_is_returned() {
        let budget = Budget::new(2 * STEP);
        let mut cx = Context::from_waker(noop_waker_ref());
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.try_cover(2 * STEP));
        assert!(other.poll_cover(1, &mut cx).is_pending());
        drop(one);
        assert!(other.poll_cover(1, &mut cx).is_ready());
        assert_eq!(budget.used(), STEP);
        drop(other);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn every_budget_has_at_least_one_step_and_no_more_than_the_semaphore_holds() {
        assert_eq!(Budget::new(1).total, 1);
        assert_eq!(
            Budget::new(usize::MAX).total,
            Semaphore::MAX_PERMITS.min(usize::MAX.div_ceil(STEP))
        );
    }
}

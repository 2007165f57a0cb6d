//! The part of a link's window that a message holds until its handler has let go of it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::message::Sender;

/// The longest run of messages that count as consumed together: a small part of any window.
const MAX_RUN: u32 = 8 << 10; // bytes

/// The window that a sender's messages take a part of.
pub(crate) trait Window: Send + Sync {
    /// The node that sends.
    fn sender(&self) -> &Sender;

    /// Handlers have let go of messages that took `bytes` of it.
    fn release(&self, bytes: u32);
}

/// Bytes of a link's window that a handler holds.
pub(crate) struct WindowShare(Held);

enum Held {
    One { window: Arc<dyn Window>, cost: u32 },
    Run(Arc<Run>),
}

/// One-way messages that came one after the other for one handler: they count as consumed when it
/// has let go of all. One count for each message less is worth 4 % of a short one's time.
pub(crate) struct Run {
    window: Arc<dyn Window>,
    /// Only the link's task adds to it.
    cost: AtomicU32,
}

impl Run {
    pub(crate) fn new(window: Arc<dyn Window>) -> Arc<Self> {
        Arc::new(Self { window, cost: AtomicU32::new(0) })
    }

    /// Adds a message. None when the run is as long as it may be.
    pub(crate) fn add(self: &Arc<Self>, cost: u32) -> Option<WindowShare> {
        let sum = self.cost.load(Ordering::Relaxed).saturating_add(cost);
        if sum > MAX_RUN && sum != cost {
            return None;
        }
        self.cost.store(sum, Ordering::Relaxed);
        Some(WindowShare(Held::Run(Arc::clone(self))))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.window.release(*self.cost.get_mut());
    }
}

impl WindowShare {
    pub(crate) const fn new(window: Arc<dyn Window>, cost: u32) -> Self {
        Self(Held::One { window, cost })
    }

    /// Who sent it.
    pub(crate) fn sender(&self) -> &Sender {
        match &self.0 {
            Held::One { window, .. } => window.sender(),
            Held::Run(run) => run.window.sender(),
        }
    }
}

impl Drop for WindowShare {
    fn drop(&mut self) {
        if let Held::One { window, cost } = &self.0 {
            window.release(*cost);
        }
    }
}

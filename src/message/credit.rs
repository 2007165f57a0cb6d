//! The share of a link's window that a message holds until its handler releases it.

use std::sync::Arc;

use crate::{
    message::Sender,
    sync::atomic::{AtomicU32, Ordering},
};

/// The longest run of messages that are released together: a small part of any window.
const MAX_RUN: u32 = 8 << 10; // bytes

/// The window of one sender, of which its messages hold shares.
pub(crate) trait Window: Send + Sync {
    /// The node that sends the messages.
    fn sender(&self) -> &Sender;

    /// Notes that handlers have released messages that held `bytes` of the window.
    fn release(&self, bytes: u32);
}

/// Bytes of a link's window that a handler holds.
pub(crate) struct WindowShare(Release);

enum Release {
    Alone { window: Arc<dyn Window>, cost: u32 },
    WithRun(Arc<MessageRun>),
}

/// Consecutive one-way messages for one handler. They are released together, when the handler has
/// dropped all of them. This saves 4 % of the time of a short message.
pub(crate) struct MessageRun {
    window: Arc<dyn Window>,
    /// Written only by the link's task.
    cost: AtomicU32,
}

impl MessageRun {
    pub(crate) fn new(window: Arc<dyn Window>) -> Arc<Self> {
        Arc::new(Self { window, cost: AtomicU32::new(0) })
    }

    /// Adds a message. `None` if the run is full.
    pub(crate) fn add(self: &Arc<Self>, cost: u32) -> Option<WindowShare> {
        let sum = self.cost.load(Ordering::Relaxed).saturating_add(cost);
        if sum > MAX_RUN && sum != cost {
            return None;
        }
        self.cost.store(sum, Ordering::Relaxed);
        Some(WindowShare(Release::WithRun(Arc::clone(self))))
    }
}

impl Drop for MessageRun {
    fn drop(&mut self) {
        self.window.release(*self.cost.get_mut());
    }
}

impl WindowShare {
    pub(crate) const fn new(window: Arc<dyn Window>, cost: u32) -> Self {
        Self(Release::Alone { window, cost })
    }

    /// The sender of the message.
    pub(crate) fn sender(&self) -> &Sender {
        match &self.0 {
            Release::Alone { window, .. } => window.sender(),
            Release::WithRun(run) => run.window.sender(),
        }
    }
}

impl Drop for WindowShare {
    fn drop(&mut self) {
        if let Release::Alone { window, cost } = &self.0 {
            window.release(*cost);
        }
    }
}

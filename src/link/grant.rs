//! The credit that one side grants the other, at the receiver.

use crate::fault_points::{FaultPoint, fault_point};

/// The window of a receiver: the bytes that the other side may still send, and those to grant
/// again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    window: u32,
    /// Bytes that the other side may still send.
    left: u32,
    /// Bytes that were processed and not yet granted again.
    due: u32,
}

impl Grant {
    pub(super) const fn new(window: u32) -> Self {
        Self { window, left: window, due: 0 }
    }

    /// Counts `bytes` that arrived. False if they are more than was granted.
    #[must_use]
    pub(super) fn take(&mut self, bytes: u32) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Notes that `bytes` were processed. Returns the credit to grant now, as soon as the due bytes
    /// are as many as the other side has left.
    ///
    /// That is half a window, and less while a part of the window is held, so that a handler that
    /// holds much of it does not stall the others.
    pub(super) fn give_back(&mut self, bytes: u32) -> Option<u32> {
        self.due = self.due.saturating_add(bytes).min(self.window - self.left);
        let is_due = self.due >= self.left || fault_point(FaultPoint::GrantSmall);
        (self.due > 0 && is_due).then(|| {
            let due = std::mem::take(&mut self.due);
            self.left += due;
            due
        })
    }

    /// Bytes that arrived and are not processed.
    pub(super) const fn held(&self) -> u32 {
        self.window - self.left - self.due
    }

    /// Bytes that arrived and are not granted again.
    pub(super) const fn outstanding(&self) -> u32 {
        self.window - self.left
    }
}

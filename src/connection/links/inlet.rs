//! Whether the driver of a link may read: within the pace of its source, and within the node's memory
//! for frames that have not come in full.

use std::task::{Context, Poll, ready};

use crate::connection::{
    Node,
    brake::Brake,
    budget::{EXEMPT, Share},
};

/// What has to be asked before each read.
#[derive(Debug)]
pub(super) struct Inlet {
    brake: Brake,
    partial: Share,
    /// Whether a frame that counts has not come in full. One is not longer than a step, headers
    /// aside.
    waits: bool,
}

impl Inlet {
    pub(super) const fn new(brake: Brake, partial: Share) -> Self {
        Self { brake, partial, waits: false }
    }

    /// Ready when more may be read.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.brake.poll(cx));
        if self.waits {
            ready!(self.partial.poll_cover(1, cx));
        }
        Poll::Ready(())
    }

    /// A read brought so many complete frames and bytes; of the frame behind them there will be
    /// `partial` bytes in all, 0 if it is not known.
    pub(super) fn came(&mut self, node: &Node, frames: u64, bytes: usize, partial: usize) {
        self.brake.came(node, frames, bytes);
        if std::mem::replace(&mut self.waits, partial > EXEMPT) && !self.waits {
            self.partial.release();
        }
    }
}

//! The timers of the engine, in order. The engine depends on it: a timer that fires early or is
//! lost corrupts its state.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use foca::Timer;

use super::identity::Identity;

use crate::time::Later;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) timer: Timer<Identity>,
    pub(super) set: Instant,
    number: u64,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_kind = || self.timer.cmp(&other.timer);
        self.at.cmp(&other.at).then_with(by_kind).then_with(|| self.number.cmp(&other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Due>>,
    set: u64,
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer<Identity>, after: Duration, now: Instant) {
        self.set += 1;
        self.heap.push(Reverse(Due { at: now.later(after), timer, set: now, number: self.set }));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(due)| due.at)
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| due)
    }

    /// Postpones everything, because the time in between did not count.
    pub(super) fn postpone(&mut self, by: Duration) {
        let later = |Reverse(due): Reverse<Due>| Reverse(Due { at: due.at.later(by), ..due });
        self.heap = std::mem::take(&mut self.heap).into_iter().map(later).collect();
    }
}

//! The uplink of a host, which limits the rate at which it sends.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::{sync::Mutex, time::Later};

/// Bytes that are sent together, like a packet of Ethernet.
pub(super) const PACKET: usize = 1_460;

/// The uplink over which a host sends, shared by all its connections.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    /// Bytes per second; 0 means no limit.
    rate: AtomicU64,
    free_at: Mutex<Option<Instant>>,
}

impl Uplink {
    pub(super) fn set_rate(&self, bytes_per_second: u64) {
        self.rate.store(bytes_per_second, Ordering::Relaxed);
    }

    pub(super) fn is_limited(&self) -> bool {
        self.rate.load(Ordering::Relaxed) > 0
    }

    /// The time at which all bytes have left that were sent so far. `None` if nothing was sent over
    /// a limited uplink.
    pub(super) fn free_at(&self) -> Option<Instant> {
        *self.free_at.lock()
    }

    /// The time at which bytes that are sent now have left, after all earlier ones.
    pub(super) fn left(&self, bytes: usize, now: Instant) -> Instant {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return now;
        }
        let mut free_at = self.free_at.lock();
        let nanos = u128::from(bytes as u64) * 1_000_000_000 / u128::from(rate);
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let begin = free_at.map_or(now, |at| at.max(now));
        let end = begin.later(takes);
        *free_at = Some(end);
        end
    }
}

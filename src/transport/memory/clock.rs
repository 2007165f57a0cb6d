//! Wall clocks that are ahead or behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::MemoryNetwork;
use crate::overlay::Host;

/// How much the wall clock of a host differs from that of the network, in whole microseconds, at
/// most some 292,000 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClockOffset {
    /// It is ahead.
    Ahead(Duration),
    /// It is behind.
    Behind(Duration),
}

/// The offset of a host, which its nodes read. Microseconds; behind is negative.
#[derive(Clone, Debug, Default)]
pub(in crate::transport) struct OffsetCell(Arc<AtomicI64>);

impl OffsetCell {
    pub(super) fn set(&self, offset: ClockOffset) {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.0.store(
            match offset {
                ClockOffset::Ahead(time) => micros(time),
                ClockOffset::Behind(time) => -micros(time),
            },
            Ordering::Relaxed,
        );
    }

    /// Adds the offset to the time since 1970; a time before 1970 is 1970.
    pub(in crate::transport) fn apply(&self, since: Duration) -> Duration {
        let micros = self.0.load(Ordering::Relaxed);
        let offset = Duration::from_micros(micros.unsigned_abs());
        if micros < 0 { since.saturating_sub(offset) } else { since.saturating_add(offset) }
    }
}

impl MemoryNetwork {
    /// Sets how much the wall clock of a host is ahead or behind. Default: not at all. The nodes on
    /// it see the jump at once, also those that run. Their timers do not depend on the wall clock.
    ///
    /// The wall clock of the network starts at a fixed date in 2038.
    pub fn set_clock_offset(&self, host: &Host, offset: ClockOffset) {
        self.lock().set_clock_offset(host, offset);
    }
}

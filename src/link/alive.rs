//! Whether the other side of a link is alive.

use std::time::{Duration, Instant};

use crate::{
    link::{Flags, Link, LinkPhase, Reason, code},
    overlay::is_gap,
    time::Later,
};

/// A link that is silent for so many intervals is dead ([protocol](crate::protocol#keep-alive)).
const SILENT_INTERVALS: u32 = 3;

impl Link {
    /// Looks at the time: asks whether the other side is alive, or gives it up.
    ///
    /// When it comes more than ten seconds after [`next_wake`](Self::next_wake), this node stood
    /// still (its process was stopped, or the machine slept): the silence begins anew then. Returns
    /// whether that was so.
    pub fn tick(&mut self, now: Instant) -> bool {
        let gap = is_gap(self.next_wake(), now);
        if self.phase == LinkPhase::Closed {
            return gap;
        }
        if gap {
            self.heard = now;
        }
        let interval = self.config.keep_alive;
        if now.saturating_duration_since(self.heard) >= interval.saturating_mul(SILENT_INTERVALS) {
            self.fail(Reason::TIMED_OUT);
        } else if now.saturating_duration_since(self.ping.1) >= interval {
            self.ping = (self.ping.0.wrapping_add(1), now);
            if self.phase != LinkPhase::Greeting {
                self.asked_for_life = true;
                let ping = self.ping.0.to_be_bytes();
                self.control(code::PNG, 0, Flags::NONE, &ping);
            }
        }
        gap
    }

    /// When [`tick`](Self::tick) should be called next.
    #[must_use]
    pub fn next_wake(&self) -> Instant {
        let silent = self.heard.later(self.config.keep_alive.saturating_mul(SILENT_INTERVALS));
        silent.min(self.ping.1.later(self.config.keep_alive))
    }

    /// The time between the last question for life and its answer.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

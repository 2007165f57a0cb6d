//! Keepalives: detects that the other side of a link is dead.

use std::time::{Duration, Instant};

use crate::{
    fault_points::{Sometimes, reached},
    link::{Flags, Link, LinkPhase, Reason, code},
    overlay::is_gap,
    time::Later,
};

/// A link that is silent for this many intervals is dead ([protocol](crate::protocol#keep-alive)).
const SILENT_INTERVALS: u32 = 3;

impl Link {
    /// Processes the time: sends a keepalive, or ends the link if the other side is silent for too
    /// long.
    ///
    /// If the call is more than ten seconds later than [`next_wake`](Self::next_wake), this node
    /// itself was blocked (its process was stopped, or the machine slept). Then the silence is
    /// counted from now on, and the result is true.
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
            reached(Sometimes::KeepaliveTimedOut);
            self.fail(Reason::TIMED_OUT);
        } else if now.saturating_duration_since(self.ping.1) >= interval {
            self.ping = (self.ping.0.wrapping_add(1), now);
            if self.phase != LinkPhase::Greeting && !self.is_finished() {
                self.ping_unanswered = true;
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

    /// The round-trip time of the last keepalive. `None` if there was none yet.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

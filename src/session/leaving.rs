//! Links that are being closed: they accept no new exchanges, still count as links, and end within
//! a bounded time.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep};

use crate::{link::LinkPhase, node::Config, session::state::SessionState, time::Later};

/// A link that is being closed ends within this time if nothing is open on it: two round trips of
/// the slowest network for the `@BYE` of the other side.
const LEAVING_TIMEOUT: Duration = Duration::from_secs(2);

/// The time since which a link is being closed. `None` if it is not.
#[derive(Debug, Default)]
pub(super) struct Leaving(Option<Instant>);

impl Leaving {
    /// Notes whether the link is being closed, and then resets `timer` to its end.
    pub(super) fn update(&mut self, state: &SessionState, mut timer: Pin<&mut Sleep>) {
        if self.0.is_none() && state.link.phase() == LinkPhase::Leaving {
            let now = Instant::now();
            self.0 = Some(now);
            let next = self.wake(timer.deadline(), now);
            timer.as_mut().reset(next);
        }
    }

    /// Whether the link is being closed.
    pub(super) const fn has_begun(&self) -> bool {
        self.0.is_some()
    }

    /// The next time at which the link has to wake, at most `wake`.
    pub(super) fn wake(&self, wake: Instant, now: Instant) -> Instant {
        self.0.map_or(wake, |_| wake.min(now.later(LEAVING_TIMEOUT)))
    }

    /// Whether the time of the link is up, whatever the other side does. Open exchanges are
    /// finished while they make progress, and within the time-out of an exchange.
    pub(super) fn has_expired(&self, config: &Config, state: &SessionState, now: Instant) -> bool {
        let Some(since) = self.0 else { return false };
        let (quiet, all) = match state.link.open_exchanges() {
            0 => (LEAVING_TIMEOUT, config.stall_timeout),
            _ => {
                let times = [config.handler_timeout, config.reply_timeout, config.stall_timeout];
                (times.into_iter().fold(LEAVING_TIMEOUT, Duration::max), config.exchange_timeout)
            }
        };
        now.duration_since(since.max(state.used.0)) >= quiet || now.duration_since(since) >= all
    }
}

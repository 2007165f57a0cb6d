//! Links that are being closed: they accept no new exchanges, still count as links, and end within
//! a bounded time.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep};

use crate::{
    link::{LinkId, LinkPhase},
    node::Config,
    overlay::Address,
    session::{
        LinkPool,
        shared::{Session, State},
    },
    time::{Later, now},
};

/// A link that is being closed ends within this time if nothing is open on it: two round trips of
/// the slowest network for the `@BYE` of the other side.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);

/// The time since which a link is being closed. `None` if it is not.
#[derive(Debug, Default)]
pub(super) struct Leaving(Option<Instant>);

impl Leaving {
    /// Notes whether the link is being closed, and then resets `timer` to its end.
    pub(super) fn look_at(&mut self, state: &State, mut timer: Pin<&mut Sleep>) {
        if self.0.is_none() && state.link.phase() == LinkPhase::Leaving {
            let now = Instant::now();
            self.0 = Some(now);
            let next = self.wake(timer.deadline(), now);
            timer.as_mut().reset(next);
        }
    }

    /// The next time at which the link has to wake, at most `wake`.
    pub(super) fn wake(&self, wake: Instant, now: Instant) -> Instant {
        self.0.map_or(wake, |_| wake.min(now.later(LEAVES_WITHIN)))
    }

    /// Whether the time of the link is up, whatever the other side does. Open exchanges are
    /// finished while they make progress, and within the time-out of an exchange.
    pub(super) fn had_its_time(&self, config: &Config, state: &State, now: Instant) -> bool {
        let Some(since) = self.0 else { return false };
        let (quiet, all) = match state.link.open_exchanges() {
            0 => (LEAVES_WITHIN, config.stall_timeout),
            _ => {
                let times = [config.handler_timeout, config.reply_timeout, config.stall_timeout];
                (times.into_iter().fold(LEAVES_WITHIN, Duration::max), config.exchange_timeout)
            }
        };
        now.duration_since(since.max(state.used.0)) >= quiet || now.duration_since(since) >= all
    }
}

impl LinkPool {
    /// Removes a link that accepts no new exchanges from the look-up. It counts as a link until it
    /// ends.
    pub(super) fn unlist(&self, session: &Session) {
        let is_unused = session.is_unused();
        let mut pool = self.lock();
        if is_unused {
            pool.directory.unused(session.id, now());
        } else {
            pool.directory.leaves(session.id);
        }
        drop(pool);
        let mut last = self.last();
        let mut open = self.open.write();
        if open.get(&session.to).is_some_and(|other| other.id == session.id) {
            open.remove(&session.to);
        }
        drop(open);
        last.take_if(|last| last.id == session.id);
    }

    pub(super) fn closed(&self, session: &Session) {
        self.unlist(session);
        let mut pool = self.lock();
        pool.directory.closed(session.id);
        pool.sessions.remove(&session.id);
        drop(pool);
        self.over.notify_waiters();
    }

    /// Completes when this link has ended.
    pub(super) async fn is_over(&self, link: LinkId) {
        loop {
            let over = self.over.notified();
            if !self.lock().sessions.contains_key(&link) {
                return;
            }
            over.await;
        }
    }

    /// Notes that a peer is alive at `to`: the next dial does not wait.
    pub(crate) fn is_alive(&self, to: &Address) {
        self.lock().directory.mark_alive(to);
    }
}

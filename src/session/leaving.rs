//! LinkPool that leave: they take nothing new, count as links, and have an end.

use std::{pin::Pin, sync::PoisonError, time::Duration};

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

/// A link that leaves is over within this time when nothing is open on it: two round trips of the
/// slowest network for the other side's `@BYE`.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);

/// Since when a link leaves, if it does.
#[derive(Debug, Default)]
pub(super) struct Leaving(Option<Instant>);

impl Leaving {
    /// Notes that the link leaves; then `timer` wakes in time for its end.
    pub(super) fn look_at(&mut self, state: &State, mut timer: Pin<&mut Sleep>) {
        if self.0.is_none() && state.link.phase() == LinkPhase::Leaving {
            let now = Instant::now();
            self.0 = Some(now);
            let next = self.wake(timer.deadline(), now);
            timer.as_mut().reset(next);
        }
    }

    /// When the link wakes that would else do so at `wake`.
    pub(super) fn wake(&self, wake: Instant, now: Instant) -> Instant {
        self.0.map_or(wake, |_| wake.min(now.later(LEAVES_WITHIN)))
    }

    /// Whether the link has had its time, whatever the other side says. What is open on it is
    /// finished as long as it moves, and within the time of an exchange.
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
    /// A link takes nothing new any more. It counts as one until it is over.
    pub(super) fn unlist(&self, session: &Session) {
        let is_unused = session.is_unused();
        let mut pool = self.lock();
        if is_unused {
            pool.book.unused(session.id, now());
        } else {
            pool.book.leaves(session.id);
        }
        drop(pool);
        let mut last = self.last();
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.get(&session.to).is_some_and(|other| other.id == session.id) {
            open.remove(&session.to);
        }
        drop(open);
        last.take_if(|last| last.id == session.id);
    }

    pub(super) fn closed(&self, session: &Session) {
        self.unlist(session);
        let mut pool = self.lock();
        pool.book.closed(session.id);
        pool.sessions.remove(&session.id);
        drop(pool);
        self.over.notify_waiters();
    }

    /// Ready when this link is over.
    pub(super) async fn is_over(&self, link: LinkId) {
        loop {
            let over = self.over.notified();
            if !self.lock().sessions.contains_key(&link) {
                return;
            }
            over.await;
        }
    }

    /// A peer has shown that it lives and is reached at `to`: it is dialled again at once.
    pub(crate) fn is_alive(&self, to: &Address) {
        self.lock().book.is_alive(to);
    }
}

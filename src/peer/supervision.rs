//! Supervision: how the `PeerActor` learns that one of its children has ended, and when it restarts
//! the child.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use actix::{
    WeakRecipient,
    prelude::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Message, WrapFuture},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{node::Child, session::Endpoint, time::doubled};

/// A child has ended, for whatever cause.
#[derive(Clone, Debug)]
pub(crate) struct ChildEnded {
    pub(crate) child: Child,
    pub(crate) number: usize,
}

impl Message for ChildEnded {
    type Result = ();
}

/// Stops an actor of the node when the node is aborted, even if addresses of the actor still exist.
pub(crate) fn stop_at_abort<A: Actor<Context = Context<A>>>(
    actor: &A,
    node: &Endpoint,
    ctx: &mut Context<A>,
) {
    let cut = node.abort.clone().cancelled_owned();
    ctx.spawn(cut.into_actor(actor).map(|(), _, ctx| ctx.stop()));
}

/// Held by a child. Notifies the parent when it is dropped, also after a panic.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) parent: WeakRecipient<ChildEnded>,
    pub(crate) child: Child,
    /// The position of a piece of maintenance; 0 for other children.
    pub(crate) number: usize,
    /// Keeps the node from completing its stop before the child has ended.
    pub(crate) _part: TaskTrackerToken,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(parent) = self.parent.upgrade() {
            // A cloned sender has its own slot in the mailbox. An error means that the parent has
            // ended as well.
            let ended = ChildEnded { child: self.child.clone(), number: self.number };
            parent.try_send(ended).ok();
        }
    }
}

/// Restarts with exponential back-off and a limit.
///
/// The pause after the first death is [`FIRST_PAUSE`](Self::FIRST_PAUSE). Each further death within
/// [`WINDOW`](Self::WINDOW) doubles the pause, up to [`LONGEST_PAUSE`](Self::LONGEST_PAUSE). More
/// than [`LIMIT`](Self::LIMIT) deaths within the window end the restarts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restarts {
    deaths: VecDeque<Instant>,
}

impl Restarts {
    /// Short enough that a rare death has no visible effect.
    pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);
    /// Long enough that a part that dies repeatedly costs almost nothing.
    pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
    /// Earlier deaths are forgotten.
    pub(crate) const WINDOW: Duration = Duration::from_secs(60);
    /// The number of deaths within the window that are followed by a restart.
    pub(crate) const LIMIT: usize = 10;

    /// Records a death at `now` and returns the pause before the restart; `None` if the part is
    /// given up.
    pub(crate) fn died(&mut self, now: Instant) -> Option<Duration> {
        while self
            .deaths
            .front()
            .is_some_and(|death| now.saturating_duration_since(*death) > Self::WINDOW)
        {
            self.deaths.pop_front();
        }
        if self.deaths.len() >= Self::LIMIT {
            return None;
        }
        let doublings = u32::try_from(self.deaths.len()).unwrap_or(u32::MAX);
        self.deaths.push_back(now);
        Some(doubled(Self::FIRST_PAUSE, doublings, Self::LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::now;

    #[test]
    fn the_pause_doubles_up_to_the_longest() {
        let (mut restarts, now) = (Restarts::default(), now());
        let pauses: Vec<_> = (0..Restarts::LIMIT).filter_map(|_| restarts.died(now)).collect();
        assert_eq!(pauses[..4], [50, 100, 200, 400].map(Duration::from_millis));
        assert_eq!(pauses.last(), Some(&Restarts::LONGEST_PAUSE));
        assert!(pauses.is_sorted());
    }

    #[test]
    fn a_part_that_dies_too_often_is_given_up() {
        let (mut restarts, now) = (Restarts::default(), now());
        let answers = (0..=Restarts::LIMIT).map(|_| restarts.died(now).is_some());
        assert_eq!(answers.filter(|restarted| *restarted).count(), Restarts::LIMIT);
    }

    #[test]
    fn deaths_long_ago_do_not_count() {
        let (mut restarts, start) = (Restarts::default(), now());
        for day in 0..100 {
            let now = start + Duration::from_secs(86_400 * day);
            assert_eq!(restarts.died(now), Some(Restarts::FIRST_PAUSE));
        }
    }
}

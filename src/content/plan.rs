//! The plan of a transfer: which source sends which part. Sans-I/O. The sources share one queue, so
//! that a fast source takes more parts than a slow one.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::time::{LONGEST, doubled};

/// If no other part is missing, a part that was requested this long ago is requested from another
/// source as well.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// The maximum number of sources from which one part is requested at the same time.
const MAX_HOLDERS: usize = 2;

/// The number of consecutive broken connections of a source. After one more it is given up.
const MAX_FAILURES: u32 = 3;

/// The pause of a source that is busy, or whose connection broke. It doubles with each further
/// break.
const PAUSE: Duration = Duration::from_millis(300);

/// Breaks within this time have the same cause: if a link breaks, all requests on it fail.
const SAME_CAUSE: Duration = Duration::from_millis(200);

/// The number of a source in its plan, from 0.
pub type SourceNumber = usize;

#[derive(Clone, Debug)]
enum PartState {
    Missing,
    Taken { holders: Vec<SourceNumber>, since: Instant },
    Done,
}

#[derive(Clone, Debug, Default)]
struct SourceState {
    given_up: bool,
    silent: bool,
    /// The number of consecutive broken connections, and the time of the last one.
    failures: u32,
    failed_at: Option<Instant>,
}

/// The next task of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// Request this part.
    Fetch(u64),
    /// All missing parts are requested from others: call again after a failure, or after a while.
    Wait,
    /// None: all parts have arrived, or the source is given up.
    End,
}

/// Why a source did not send a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It sent other data, or no longer has the content. It is not asked again.
    Final,
    /// It is busy.
    Busy,
    /// The connection broke.
    Broken {
        /// Whether it does not answer at all. It may be suspended.
        silent: bool,
    },
}

/// The state of a source after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It may be asked again after this pause.
    AskAgain(Duration),
    /// It is given up from now on.
    GivenUp,
    /// It was given up before.
    WasGivenUp,
}

/// The parts of one transfer, and its sources.
#[derive(Debug)]
pub struct Plan {
    parts: Vec<PartState>,
    queue: VecDeque<usize>,
    left: usize,
    sources: Vec<SourceState>,
}

impl Plan {
    /// A plan for all parts that are missing (`false` in `there`), with this number of sources.
    #[must_use]
    pub fn new(there: &[bool], sources: usize) -> Self {
        let part = |there: &bool| if *there { PartState::Done } else { PartState::Missing };
        let missing = there.iter().enumerate().filter(|(_, there)| !**there);
        let queue: VecDeque<_> = missing.map(|(index, _)| index).collect();
        let sources = vec![SourceState::default(); sources];
        Self { parts: there.iter().map(part).collect(), left: queue.len(), queue, sources }
    }

    /// Whether all parts have arrived.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.left == 0
    }

    /// Whether a source is given up.
    #[must_use]
    pub fn is_given_up(&self, source: SourceNumber) -> bool {
        self.sources.get(source).is_none_or(|source| source.given_up)
    }

    /// Whether a source did not answer the last request.
    #[must_use]
    pub fn is_silent(&self, source: SourceNumber) -> bool {
        self.sources.get(source).is_some_and(|source| source.silent)
    }

    /// Whether no source answers, apart from those that are given up, and at least one is silent.
    #[must_use]
    pub fn is_silent_all_over(&self) -> bool {
        self.sources.iter().all(|source| source.silent || source.given_up)
            && self.sources.iter().any(|source| source.silent)
    }

    /// The next task of a source.
    pub fn take(&mut self, source: SourceNumber, now: Instant) -> Task {
        if self.is_finished() || self.is_given_up(source) {
            return Task::End;
        }
        while let Some(index) = self.queue.pop_front() {
            if let Some(part @ PartState::Missing) = self.parts.get_mut(index) {
                *part = PartState::Taken { holders: vec![source], since: now };
                return Task::Fetch(index as u64);
            }
        }
        let slow = self.parts.iter_mut().enumerate().find_map(|(index, part)| match part {
            PartState::Taken { holders, since }
                if holders.len() < MAX_HOLDERS
                    && !holders.contains(&source)
                    && now.saturating_duration_since(*since) >= SLOW_AFTER =>
            {
                holders.push(source);
                Some(index)
            }
            _ => None,
        });
        slow.map_or(Task::Wait, |index| Task::Fetch(index as u64))
    }

    /// Notes that a source has sent a part. Returns whether the part is new.
    pub fn done(&mut self, source: SourceNumber, index: u64) -> bool {
        if let Some(source) = self.sources.get_mut(source) {
            (source.silent, source.failures) = (false, 0);
        }
        let part = usize::try_from(index).ok().and_then(|index| self.parts.get_mut(index));
        let Some(part) = part else { return false };
        let new = !matches!(part, PartState::Done);
        if new {
            *part = PartState::Done;
            self.left -= 1;
        }
        new
    }

    /// Notes that a source did not send a part. The next source gets that part.
    pub fn failed(
        &mut self,
        source: SourceNumber,
        index: u64,
        failure: Failure,
        now: Instant,
    ) -> Standing {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(part) = self.parts.get_mut(at)
            && let PartState::Taken { holders, .. } = part
        {
            holders.retain(|holder| *holder != source);
            if holders.is_empty() {
                *part = PartState::Missing;
                self.queue.push_front(at);
            }
        }
        let Some(source) = self.sources.get_mut(source) else { return Standing::WasGivenUp };
        source.failed(failure, now)
    }
}

impl SourceState {
    fn failed(&mut self, failure: Failure, now: Instant) -> Standing {
        let pause = match failure {
            Failure::Busy => Some(PAUSE),
            Failure::Final => None,
            Failure::Broken { silent } => {
                self.silent = silent;
                let before = self.failures;
                let since = |at| now.saturating_duration_since(at);
                if self.failed_at.is_none_or(|at| since(at) >= SAME_CAUSE) {
                    self.failures = self.failures.saturating_add(1);
                    self.failed_at = Some(now);
                }
                let pause = doubled(PAUSE, before, LONGEST);
                (before < MAX_FAILURES).then_some(pause)
            }
        };
        match pause {
            Some(pause) => Standing::AskAgain(pause),
            None if std::mem::replace(&mut self.given_up, true) => Standing::WasGivenUp,
            None => Standing::GivenUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn parts_are_handed_out_in_order_and_those_that_are_there_are_not() {
        let (mut plan, now) = (Plan::new(&[false, true, false], 2), now());
        assert_eq!(plan.take(0, now), Task::Fetch(0));
        assert_eq!(plan.take(1, now), Task::Fetch(2));
        assert_eq!(plan.take(1, now), Task::Wait);
        assert!(plan.done(0, 0) && !plan.done(1, 0) && plan.done(1, 2));
        assert_eq!(plan.take(1, now), Task::End);
        assert!(Plan::new(&[], 0).is_finished());
    }

    #[test]
    fn a_part_that_a_source_fails_to_deliver_goes_to_the_next_source() {
        let (mut plan, now) = (Plan::new(&[false, false], 8), now());
        assert_eq!(plan.take(0, now), Task::Fetch(0));
        plan.failed(0, 0, Failure::Busy, now);
        assert_eq!(plan.take(1, now), Task::Fetch(0));
        plan.failed(7, 0, Failure::Busy, now);
        assert_eq!(plan.take(1, now), Task::Fetch(1), "only its holder gives a part back");
    }

    #[test]
    fn at_the_end_a_slow_source_is_helped_by_one_other() {
        let (mut plan, begin) = (Plan::new(&[false], 3), now());
        assert_eq!(plan.take(0, begin), Task::Fetch(0));
        let later = begin + SLOW_AFTER;
        assert_eq!(plan.take(0, later), Task::Wait, "not by itself");
        assert_eq!(plan.take(1, later), Task::Fetch(0));
        assert_eq!(plan.take(2, later), Task::Wait);
        plan.failed(1, 0, Failure::Busy, later);
        assert_eq!(plan.take(2, later), Task::Fetch(0));
        assert!(plan.done(2, 0));
    }

    #[test]
    fn a_source_whose_connection_breaks_again_and_again_is_given_up() {
        let (mut plan, mut now) = (Plan::new(&[false; 9], 2), now());
        let broken = Failure::Broken { silent: true };
        let pause = |n| Standing::AskAgain(PAUSE * n);
        for factor in [1, 2, 4] {
            assert_eq!(plan.failed(0, 0, broken, now), pause(factor));
            now += SAME_CAUSE;
        }
        plan.done(0, 0);
        assert_eq!(plan.failed(0, 1, broken, now), pause(1), "it has brought a part meanwhile");
        for factor in [2, 2, 2] {
            assert_eq!(plan.failed(0, 1, broken, now), pause(factor), "all have one cause");
        }
        assert!(plan.is_silent(0) && !plan.is_silent_all_over() && !plan.is_given_up(0));
        for factor in [2, 4] {
            now += SAME_CAUSE;
            assert_eq!(plan.failed(0, 1, broken, now), pause(factor));
        }
        now += SAME_CAUSE;
        assert_eq!(plan.failed(0, 1, broken, now), Standing::GivenUp);
        assert_eq!(plan.failed(0, 2, broken, now), Standing::WasGivenUp);
        assert_eq!(plan.take(0, now), Task::End);
        assert_eq!(plan.failed(1, 1, Failure::Final, now), Standing::GivenUp);
        assert!(plan.is_silent_all_over());
    }

    fn at(index: u64) -> usize {
        index.try_into().unwrap()
    }

    proptest! {
        #[test]
        fn whatever_fails_each_part_is_done_once_in_the_end(
            there in proptest::collection::vec(any::<bool>(), 0..40),
            steps in proptest::collection::vec((0_usize..4, any::<bool>()), 0..200),
        ) {
            let now = now();
            let mut plan = Plan::new(&there, 10);
            let mut done: Vec<bool> = there.clone();
            let mut held = Vec::new();
            for (source, ok) in steps {
                if let Task::Fetch(index) = plan.take(source, now) {
                    prop_assert!(!done[at(index)]);
                    held.push((source, index));
                }
                if let Some((source, index)) = held.pop() {
                    if ok {
                        prop_assert!(plan.done(source, index));
                        done[at(index)] = true;
                    } else {
                        plan.failed(source, index, Failure::Busy, now);
                    }
                }
            }
            for (source, index) in held {
                plan.failed(source, index, Failure::Busy, now);
            }
            while let Task::Fetch(index) = plan.take(9, now) {
                prop_assert!(plan.done(9, index));
                prop_assert!(!std::mem::replace(&mut done[at(index)], true));
            }
            prop_assert!(plan.is_finished() && done.iter().all(|done| *done));
        }
    }
}

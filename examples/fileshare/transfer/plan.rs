//! Which source fetches which part. Pure: a common queue, from which the fast take more.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A part that a source has had for so long is asked of another one as well, when nothing else is
/// left to ask for.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// Sources that fetch the same part at the end.
const MAX_HOLDERS: usize = 2;

/// The number of a source in its transfer.
pub(crate) type SourceNumber = usize;

#[derive(Clone, Debug)]
enum Part {
    Missing,
    Taken { holders: Vec<SourceNumber>, since: Instant },
    Done,
}

/// What a source is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Fetch(u64),
    /// All others are being fetched; ask again when one has failed, or in a while.
    Wait,
    /// Every part is there.
    Finished,
}

/// The parts of one transfer.
#[derive(Debug)]
pub(crate) struct Plan {
    parts: Vec<Part>,
    queue: VecDeque<usize>,
    left: usize,
}

impl Plan {
    /// A plan for all parts but those that are there.
    pub(crate) fn new(there: &[bool]) -> Self {
        let part = |there: &bool| if *there { Part::Done } else { Part::Missing };
        let queue: VecDeque<_> = there
            .iter()
            .enumerate()
            .filter(|(_, there)| !**there)
            .map(|(index, _)| index)
            .collect();
        Self { parts: there.iter().map(part).collect(), left: queue.len(), queue }
    }

    /// Whether every part is there.
    pub(crate) const fn is_finished(&self) -> bool {
        self.left == 0
    }

    /// The next task of a source.
    pub(crate) fn take(&mut self, source: SourceNumber, now: Instant) -> Task {
        if self.is_finished() {
            return Task::Finished;
        }
        while let Some(index) = self.queue.pop_front() {
            if let Some(part @ Part::Missing) = self.parts.get_mut(index) {
                *part = Part::Taken { holders: vec![source], since: now };
                return Task::Fetch(index as u64);
            }
        }
        let slow = self.parts.iter_mut().enumerate().find_map(|(index, part)| match part {
            Part::Taken { holders, since }
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

    /// A part is there. Whether it was not before.
    pub(crate) fn done(&mut self, index: u64) -> bool {
        let Some(part) = usize::try_from(index).ok().and_then(|index| self.parts.get_mut(index))
        else {
            return false;
        };
        let new = !matches!(part, Part::Done);
        if new {
            *part = Part::Done;
            self.left -= 1;
        }
        new
    }

    /// A source did not get a part: it goes to whoever asks next.
    pub(crate) fn failed(&mut self, source: SourceNumber, index: u64) {
        let Ok(index) = usize::try_from(index) else { return };
        if let Some(part) = self.parts.get_mut(index)
            && let Part::Taken { holders, .. } = part
        {
            holders.retain(|holder| *holder != source);
            if holders.is_empty() {
                *part = Part::Missing;
                self.queue.push_front(index);
            }
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
        let (mut plan, now) = (Plan::new(&[false, true, false]), now());
        assert_eq!(plan.take(0, now), Task::Fetch(0));
        assert_eq!(plan.take(1, now), Task::Fetch(2));
        assert_eq!(plan.take(1, now), Task::Wait);
        assert!(plan.done(0) && !plan.done(0) && plan.done(2));
        assert_eq!(plan.take(1, now), Task::Finished);
        assert!(Plan::new(&[]).is_finished());
    }

    #[test]
    fn what_a_source_fails_to_bring_goes_to_the_next() {
        let (mut plan, now) = (Plan::new(&[false, false]), now());
        assert_eq!(plan.take(0, now), Task::Fetch(0));
        plan.failed(0, 0);
        assert_eq!(plan.take(1, now), Task::Fetch(0));
        plan.failed(7, 0);
        assert_eq!(plan.take(1, now), Task::Fetch(1), "only its holder gives a part back");
    }

    #[test]
    fn at_the_end_a_slow_source_is_helped_by_one_other() {
        let (mut plan, begin) = (Plan::new(&[false]), now());
        assert_eq!(plan.take(0, begin), Task::Fetch(0));
        let later = begin + SLOW_AFTER;
        assert_eq!(plan.take(0, later), Task::Wait, "not by itself");
        assert_eq!(plan.take(1, later), Task::Fetch(0));
        assert_eq!(plan.take(2, later), Task::Wait);
        plan.failed(1, 0);
        assert_eq!(plan.take(2, later), Task::Fetch(0));
        assert!(plan.done(0));
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
            let mut plan = Plan::new(&there);
            let mut done: Vec<bool> = there.clone();
            let mut held = Vec::new();
            for (source, ok) in steps {
                if let Task::Fetch(index) = plan.take(source, now) {
                    prop_assert!(!done[at(index)]);
                    held.push((source, index));
                }
                if let Some((source, index)) = held.pop() {
                    if ok {
                        prop_assert!(plan.done(index));
                        done[at(index)] = true;
                    } else {
                        plan.failed(source, index);
                    }
                }
            }
            held.into_iter().for_each(|(source, index)| plan.failed(source, index));
            while let Task::Fetch(index) = plan.take(9, now) {
                prop_assert!(plan.done(index));
                prop_assert!(!std::mem::replace(&mut done[at(index)], true));
            }
            prop_assert!(plan.is_finished() && done.iter().all(|done| *done));
        }
    }
}

//! The memory of what each author has sent: ranges of sequence numbers, and the position in them.

use std::time::{Duration, Instant};

use crate::{
    bounded::BoundedMap,
    overlay::{
        trees::{MessageId, TreesConfig, order::Track},
        views::PeerKey,
    },
    time::Later,
};

/// The distance at which two ranges are joined if there are too many. The messages between them
/// count as seen.
const NEAR: u64 = 65_536;

/// An author is not moved to the end of the order of forgetting more often than this.
const TOUCH_EVERY: Duration = Duration::from_secs(1);

/// The maximum number of runs of one author whose ids are remembered.
const RUNS: usize = 4;

#[derive(Debug)]
struct Range {
    first: u64,
    last: u64,
    /// The position in the order in which the ranges were extended.
    touched: u64,
}

/// The ids of one run of an author.
#[derive(Debug)]
pub(super) struct Author {
    pub(super) incarnation: u64,
    /// Sorted, without two that touch each other.
    ranges: Vec<Range>,
    touches: u64,
    pub(super) track: Track,
}

impl Author {
    const fn new(incarnation: u64) -> Self {
        Self { incarnation, ranges: Vec::new(), touches: 0, track: Track::new() }
    }

    fn contains(&self, sequence: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.first <= sequence);
        let before = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        before.is_some_and(|range| range.last >= sequence)
    }

    fn insert(&mut self, sequence: u64, limit: usize) {
        if self.contains(sequence) {
            return;
        }
        self.touches = self.touches.saturating_add(1);
        let touched = self.touches;
        let at = self.ranges.partition_point(|range| range.first <= sequence);
        let before = at.checked_sub(1);
        let joins_before = before
            .and_then(|at| self.ranges.get(at))
            .is_some_and(|range| range.last.checked_add(1) == Some(sequence));
        let joins_after =
            self.ranges.get(at).is_some_and(|range| Some(range.first) == sequence.checked_add(1));
        match (before, joins_before, joins_after) {
            (Some(before), true, true) => {
                let last = self.ranges.remove(at).last;
                if let Some(range) = self.ranges.get_mut(before) {
                    (range.last, range.touched) = (last, touched);
                }
            }
            (Some(before), true, false) => {
                if let Some(range) = self.ranges.get_mut(before) {
                    (range.last, range.touched) = (sequence, touched);
                }
            }
            (_, _, true) => {
                if let Some(range) = self.ranges.get_mut(at) {
                    (range.first, range.touched) = (sequence, touched);
                }
            }
            _ => self.ranges.insert(at, Range { first: sequence, last: sequence, touched }),
        }
        if self.ranges.len() > limit.max(1) {
            self.make_room();
        }
    }

    /// Joins the two lowest ranges if they are near each other: old losses. Otherwise one of them
    /// is forged or of another run of numbers, and the range that was not extended for longest is
    /// forgotten.
    fn make_room(&mut self) {
        let near = match self.ranges.as_slice() {
            [low, next, ..] => next.first.saturating_sub(low.last) <= NEAR,
            _ => false,
        };
        if near {
            let low = self.ranges.remove(0);
            if let Some(next) = self.ranges.first_mut() {
                next.first = low.first;
            }
        } else {
            let oldest = self.ranges.iter().enumerate().min_by_key(|(_, range)| range.touched);
            if let Some((at, _)) = oldest {
                self.ranges.remove(at);
            }
        }
    }
}

/// The memory of ids.
#[derive(Debug)]
pub(super) struct Authors<P> {
    /// The runs of each author, the one that was heard last at the end. A run need not have a higher
    /// incarnation than the one before: the author's clock may have been set back.
    authors: BoundedMap<P, Vec<Author>, Instant>,
    ranges: usize,
    remember_for: Duration,
}

impl<P: PeerKey> Authors<P> {
    pub(super) fn new(config: &TreesConfig) -> Self {
        Self {
            authors: BoundedMap::new(config.authors),
            ranges: config.ranges,
            remember_for: config.remember_for,
        }
    }

    /// Whether the id was noted, and is remembered.
    pub(super) fn knows(&self, id: &MessageId<P>) -> bool {
        let runs = self.authors.get(&id.author);
        let run = runs.and_then(|runs| runs.iter().find(|run| run.incarnation == id.incarnation));
        run.is_some_and(|run| run.contains(id.sequence))
    }

    /// Notes an id.
    pub(super) fn note(&mut self, id: &MessageId<P>, now: Instant) {
        let rank = self.authors.rank(&id.author);
        if rank.is_none_or(|at| at.later(TOUCH_EVERY) <= now) {
            let runs = self.authors.remove(&id.author).unwrap_or_default();
            self.authors.insert(id.author.clone(), runs, now);
        }
        let Some(runs) = self.authors.get_mut(&id.author) else { return };
        let is_its = |run: &Author| run.incarnation == id.incarnation;
        let mut run = match runs.iter().position(is_its) {
            Some(at) => runs.remove(at),
            None => Author::new(id.incarnation),
        };
        run.insert(id.sequence, self.ranges);
        if runs.len() >= RUNS {
            runs.remove(0);
        }
        runs.push(run);
    }

    pub(super) fn track_mut(&mut self, of: &MessageId<P>) -> Option<&mut Track> {
        let runs = self.authors.get_mut(&of.author)?;
        let run = runs.iter_mut().find(|run| run.incarnation == of.incarnation)?;
        Some(&mut run.track)
    }

    /// Forgets authors that have been silent for long.
    pub(super) fn forget(&mut self, now: Instant) {
        if let Some(before) = now.checked_sub(self.remember_for) {
            self.authors.remove_up_to(before);
        }
    }

    /// When the author that has been silent for longest may be forgotten.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.authors.lowest_rank().map(|at| at.later(self.remember_for))
    }

    pub(super) fn len(&self) -> usize {
        self.authors.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_remember_the_same_numbers_as_a_set(
            numbers in proptest::collection::vec(0_u64..60, 0..80),
        ) {
            let (mut author, mut set) = (Author::new(1), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(author.contains(number), !set.insert(number));
                author.insert(number, 100);
                prop_assert!((0..60).all(|n| author.contains(n) == set.contains(&n)));
                let apart = author.ranges.windows(2).all(|two| two[0].last + 1 < two[1].first);
                prop_assert!(apart);
            }
        }
    }

    #[test]
    fn forged_far_numbers_neither_fill_the_memory_nor_replace_the_range_that_grows() {
        let mut author = Author::new(1);
        for n in 0..10_000_u64 {
            author.insert(n, 32);
            author.insert(u64::MAX - n * 1_000_000, 32);
        }
        assert!(author.ranges.len() <= 32);
        assert!((0..10_000).all(|n| author.contains(n)) && !author.contains(10_000));
    }

    #[test]
    fn old_losses_count_as_seen_when_there_are_too_many_of_them() {
        let mut author = Author::new(1);
        (0..100).for_each(|n| author.insert(n * 2, 32));
        assert!(author.ranges.len() <= 32);
        assert!(author.contains(1) && author.contains(198) && !author.contains(197));
    }

    #[test]
    fn the_end_of_the_numbers_is_no_trap() {
        let mut author = Author::new(1);
        for n in [u64::MAX, u64::MAX - 1, 0, 1] {
            assert!(!author.contains(n));
            author.insert(n, 32);
            assert!(author.contains(n));
        }
        assert_eq!(author.ranges.len(), 2);
    }
}

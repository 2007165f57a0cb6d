//! The order of each author's messages: they are delivered by sequence number if the earlier ones
//! come within a short wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use indexmap::IndexMap;

use crate::{
    overlay::{
        trees::{Delivery, Gap, MessageId, Trees, TreesOutput},
        views::PeerKey,
    },
    time::Later,
};

/// The position in the messages of an author.
#[derive(Debug)]
pub(super) struct Track {
    /// The sequence number that is delivered next. `None` if no message has come.
    next: Option<u64>,
    /// When a message near the position came last.
    near: Option<Instant>,
    /// The last message that came far away from the position.
    stray: Option<u64>,
}

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is the next one.
    Next,
    /// It waits for earlier ones.
    Hold,
    /// It comes after later ones, or far away from the position.
    Late,
    /// The position moves to it.
    Jump,
}

/// Which waiting messages are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    /// Those without a missing one before them, and those that have waited long enough.
    Ready,
    /// Also those behind the first missing ones.
    First,
    All,
}

impl Track {
    pub(super) const fn new() -> Self {
        Self { next: None, near: None, stray: None }
    }

    /// Places a message. `lowest` is the lowest announced one of this author.
    fn place(
        &mut self,
        sequence: u64,
        lowest: Option<u64>,
        (window, wait): (u64, std::time::Duration),
        now: Instant,
    ) -> Place {
        let first = lowest.filter(|lowest| sequence.abs_diff(*lowest) <= window);
        let first = first.map_or(sequence, |lowest| lowest.min(sequence));
        let next = *self.next.get_or_insert(first);
        if sequence.abs_diff(next) <= window {
            self.near = Some(now);
            self.stray = None;
            return match sequence.cmp(&next) {
                std::cmp::Ordering::Equal => Place::Next,
                std::cmp::Ordering::Greater => Place::Hold,
                std::cmp::Ordering::Less => Place::Late,
            };
        }
        // One far message may be forged. Several in a row, while none comes near the position, are
        // the run of the author after a long absence of this node.
        let quiet = self.near.is_none_or(|near| near.later(wait.saturating_mul(4)) <= now);
        let follows = self
            .stray
            .is_some_and(|stray| sequence > stray && sequence.saturating_sub(stray) <= window);
        if quiet && follows {
            self.near = Some(now);
            self.stray = None;
            return Place::Jump;
        }
        self.stray = Some(sequence);
        Place::Late
    }
}

#[derive(Debug)]
struct Waiting<P> {
    since: Instant,
    delivery: Delivery<P>,
}

/// One run of an author.
type Run<P> = (P, u64);

fn run_of<P: Clone>(id: &MessageId<P>) -> Run<P> {
    (id.author.clone(), id.incarnation)
}

/// The waiting messages of one run of an author.
#[derive(Debug)]
struct Line<P> {
    next: u64,
    due: Instant,
    waiting: BTreeMap<u64, Waiting<P>>,
}

/// Messages that wait for earlier ones.
#[derive(Debug)]
pub(super) struct Order<P> {
    lines: IndexMap<Run<P>, Line<P>>,
    due: BTreeSet<(Instant, Run<P>)>,
    count: usize,
    bytes: usize,
}

impl<P: PeerKey> Order<P> {
    pub(super) fn new() -> Self {
        Self { lines: IndexMap::new(), due: BTreeSet::new(), count: 0, bytes: 0 }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) const fn size(&self) -> (usize, usize) {
        (self.count, self.bytes)
    }

    fn hold(&mut self, next: u64, delivery: Delivery<P>, due: Instant, now: Instant) {
        let run = run_of(&delivery.id);
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(delivery.payload.len());
        let line = self.lines.entry(run.clone()).or_insert_with(|| {
            self.due.insert((due, run));
            Line { next, due, waiting: BTreeMap::new() }
        });
        line.waiting.insert(delivery.id.sequence, Waiting { since: now, delivery });
    }

    /// Removes the line of a run.
    fn take(&mut self, run: &Run<P>) -> Option<Line<P>> {
        let line = self.lines.swap_remove(run)?;
        self.due.remove(&(line.due, run.clone()));
        Some(line)
    }

    /// Puts the rest of a line back.
    fn put_back(&mut self, run: Run<P>, line: Line<P>) {
        if !line.waiting.is_empty() {
            self.due.insert((line.due, run.clone()));
            self.lines.insert(run, line);
        }
    }
}

impl<P: PeerKey> Trees<P> {
    /// Delivers a message, at once or after earlier ones.
    pub(super) fn arrange(&mut self, delivery: Delivery<P>, now: Instant) {
        let id = delivery.id.clone();
        let run = run_of(&id);
        let (window, wait) = (self.config.order_window, self.config.order_wait);
        let lowest = self
            .missing
            .lowest(MessageId { sequence: id.sequence.saturating_sub(window), ..id.clone() });
        let Some(track) = self.authors.track_mut(&id) else { return };
        let place = track.place(id.sequence, lowest, (window, wait), now);
        let next = track.next.unwrap_or_default();
        match place {
            Place::Next => {
                track.next = id.sequence.checked_add(1);
                self.deliver(delivery);
                self.release(&run, Release::Ready, now);
            }
            Place::Late => self.deliver(Delivery { late: true, ..delivery }),
            Place::Hold => {
                self.order.hold(next, delivery, now.later(wait), now);
                self.bound_order(now);
                if wait.is_zero() {
                    self.release(&run, Release::First, now);
                }
            }
            Place::Jump => {
                self.release(&run, Release::All, now);
                if let Some(track) = self.authors.track_mut(&id) {
                    let next = track.next.unwrap_or_default();
                    track.next = id.sequence.checked_add(1);
                    let skipped = id.sequence.saturating_sub(next);
                    if skipped > 0 {
                        self.gap(MessageId { sequence: next, ..id }, skipped);
                    }
                }
                self.deliver(delivery);
            }
        }
    }

    /// Delivers what has waited long enough.
    pub(super) fn release_due(&mut self, now: Instant) {
        while let Some((at, run)) = self.order.due.first().cloned() {
            if at > now {
                break;
            }
            self.release(&run, Release::First, now);
        }
    }

    fn bound_order(&mut self, now: Instant) {
        while self.order.count > self.config.order_count
            || self.order.bytes > self.config.order_bytes
        {
            let Some((_, run)) = self.order.due.first().cloned() else { break };
            self.release(&run, Release::First, now);
        }
    }

    /// Delivers waiting messages of a run.
    fn release(&mut self, run: &Run<P>, mut which: Release, now: Instant) {
        let Some(mut line) = self.order.take(run) else { return };
        let of = MessageId { author: run.0.clone(), incarnation: run.1, sequence: 0 };
        if let Some(next) = self.authors.track_mut(&of).and_then(|track| track.next) {
            line.next = next;
        }
        while let Some((sequence, waiting)) = line.waiting.pop_first() {
            let skipped = sequence.saturating_sub(line.next);
            let over =
                which != Release::Ready || waiting.since.later(self.config.order_wait) <= now;
            if skipped > 0 && !over {
                line.due = waiting.since.later(self.config.order_wait);
                line.waiting.insert(sequence, waiting);
                break;
            }
            if skipped > 0 {
                self.gap(MessageId { sequence: line.next, ..of.clone() }, skipped);
                if which == Release::First {
                    which = Release::Ready;
                }
            }
            self.order.count = self.order.count.saturating_sub(1);
            self.order.bytes = self.order.bytes.saturating_sub(waiting.delivery.payload.len());
            let late = sequence < line.next;
            line.next = line.next.max(sequence.saturating_add(1));
            self.deliver(Delivery { late, ..waiting.delivery });
        }
        if let Some(track) = self.authors.track_mut(&of) {
            track.next = Some(line.next);
        }
        self.order.put_back(run.clone(), line);
    }

    fn deliver(&mut self, delivery: Delivery<P>) {
        self.outputs.push_back(TreesOutput::Deliver(delivery));
    }

    fn gap(&mut self, first: MessageId<P>, count: u64) {
        self.outputs.push_back(TreesOutput::Gap(Gap { first, count }));
    }
}

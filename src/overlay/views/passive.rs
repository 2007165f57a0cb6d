//! The passive view: peers that the node has heard of, in shares for each source and group.

use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::{
    overlay::{
        dice::Dice,
        views::{PeerKey, ViewsConfig},
    },
    time::{Later, doubled},
};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Short, so that a node which has lost all its neighbours is not alone for long.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Entry<P> {
    /// The peer that listed it. `None` if this node knows it from a relation of its own.
    source: Option<P>,
    group: Option<u64>,
    /// It is not asked before.
    not_before: Option<Instant>,
    refusals: u32,
}

#[derive(Debug)]
pub(super) struct Passive<P> {
    entries: IndexMap<P, Entry<P>>,
    limit: usize,
    by_source: usize,
    by_group: usize,
}

impl<P: PeerKey> Passive<P> {
    pub(super) fn new(config: &ViewsConfig) -> Self {
        Self {
            entries: IndexMap::new(),
            limit: config.passive_limit,
            by_source: config.source_passive(),
            by_group: config.group_passive(),
        }
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &P> {
        self.entries.keys()
    }

    pub(super) fn remove(&mut self, peer: &P) {
        self.entries.swap_remove(peer);
    }

    /// Adds a peer. If the view is full, it replaces one of `given` (peers that were sent to the
    /// source in exchange), or a random one. If the share of its source is full, it replaces one
    /// of the same source; if the share of its group is full, it is not added.
    pub(super) fn add(
        &mut self,
        peer: P,
        source: Option<P>,
        group: Option<u64>,
        given: &mut Vec<P>,
        dice: &mut Dice,
    ) {
        if self.limit == 0 || self.entries.contains_key(&peer) {
            return;
        }
        if group.is_some() && self.count(|entry| entry.group == group) >= self.by_group {
            return;
        }
        if source.is_some() && self.count(|entry| entry.source == source) >= self.by_source {
            self.remove_random(|entry| entry.source == source, dice);
        } else if self.entries.len() >= self.limit {
            while let Some(sent) = given.pop() {
                if self.entries.swap_remove(&sent).is_some() {
                    break;
                }
            }
            if self.entries.len() >= self.limit {
                self.remove_random(|_| true, dice);
            }
        }
        self.entries.insert(peer, Entry { source, group, not_before: None, refusals: 0 });
    }

    fn count(&self, which: impl Fn(&Entry<P>) -> bool) -> usize {
        self.entries.values().filter(|entry| which(entry)).count()
    }

    fn remove_random(&mut self, which: impl Fn(&Entry<P>) -> bool, dice: &mut Dice) {
        let at = dice.below(self.count(&which));
        let found = self.entries.values().enumerate().filter(|(_, entry)| which(entry)).nth(at);
        if let Some((index, _)) = found {
            self.entries.swap_remove_index(index);
        }
    }

    /// Notes that a peer has refused. It is asked again after a pause.
    pub(super) fn refused(&mut self, peer: &P, now: Instant) {
        if let Some(entry) = self.entries.get_mut(peer) {
            let pause = doubled(FIRST_PAUSE, entry.refusals, LONGEST_PAUSE);
            entry.refusals = entry.refusals.saturating_add(1);
            entry.not_before = Some(now.later(pause));
        }
    }

    /// The peers that may be asked now.
    pub(super) fn candidates(&self, now: Instant, may: impl Fn(&P, Option<u64>) -> bool) -> Vec<P> {
        let able = self.entries.iter().filter(|(peer, entry)| {
            entry.not_before.is_none_or(|at| at <= now) && may(peer, entry.group)
        });
        able.map(|(peer, _)| peer.clone()).collect()
    }

    /// The earliest time at which a peer that refused may be asked again.
    pub(super) fn next_pause_end(&self, now: Instant) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.not_before).filter(|at| *at > now).min()
    }

    /// Random peers, at most `n`.
    pub(super) fn sample(&self, n: usize, dice: &mut Dice) -> Vec<P> {
        let mut all: Vec<_> = self.entries.keys().cloned().collect();
        dice.sample(&mut all, n)
    }
}

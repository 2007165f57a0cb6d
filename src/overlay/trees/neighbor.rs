//! What is known of a neighbour.

use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::{
    overlay::trees::{MessageId, Offence, TreesConfig},
    time::{gcra, part},
};

#[derive(Debug)]
pub(super) struct Neighbor<P> {
    /// Whether it gets payloads at once.
    pub(super) eager: bool,
    /// Since when this node has pruned it. `None` if it has not, or one of both has grafted since.
    pub(super) pruned: Option<Instant>,
    /// When the last `Prune` was sent to it, or came from it.
    pub(super) prune: Option<Instant>,
    /// What is to be announced to it.
    pub(super) queue: Vec<(MessageId<P>, u8)>,
    /// The theoretical arrival time of the next message that it grafts.
    grafts: Instant,
    /// The theoretical arrival time of its next offence of each kind.
    offences: IndexMap<Offence, Instant>,
    /// The number of missing messages that it announced first.
    pub(super) missing: usize,
    /// The number of messages that were grafted from it and have not come.
    pub(super) asked: usize,
    /// When it last sent a message first.
    pub(super) brought: Option<Instant>,
    /// When it last announced a message that this node has.
    pub(super) announced: Option<Instant>,
    /// Whether it is reported as useful.
    pub(super) useful: bool,
}

impl<P> Neighbor<P> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            eager: true,
            pruned: None,
            prune: None,
            queue: Vec::new(),
            grafts: now,
            offences: IndexMap::new(),
            missing: 0,
            asked: 0,
            brought: None,
            announced: None,
            useful: false,
        }
    }

    /// Makes it eager because one of both has grafted.
    pub(super) const fn graft(&mut self) {
        self.eager = true;
        self.pruned = None;
        self.prune = None;
    }

    /// Whether one of both pruned the other a short time ago.
    pub(super) fn is_settling(&self, settle: Duration, now: Instant) -> bool {
        self.prune.is_some_and(|at| now.saturating_duration_since(at) < settle)
    }

    /// Whether it should have noticed by now that this node has pruned it.
    pub(super) fn ignores_prune(&self, settle: Duration, now: Instant) -> bool {
        self.pruned.is_some_and(|at| now.saturating_duration_since(at) >= settle)
    }

    /// Whether it may graft one more message.
    pub(super) fn may_graft(&mut self, config: &TreesConfig, now: Instant) -> bool {
        let cost = part(Duration::from_secs(1), config.grafts_per_second);
        let burst = cost.saturating_mul(config.graft_burst);
        let next = gcra::take(self.grafts, now, cost, burst);
        self.grafts = next.unwrap_or(self.grafts);
        next.is_some()
    }

    /// Notes an offence. Returns whether there are too many.
    pub(super) fn offends(&mut self, offence: Offence, config: &TreesConfig, now: Instant) -> bool {
        const COST: Duration = Duration::from_secs(1);
        let arrival = self.offences.entry(offence).or_insert(now);
        match gcra::take(*arrival, now, COST, COST.saturating_mul(config.offences)) {
            Some(next) => {
                *arrival = next;
                false
            }
            None => {
                // The next report follows after as many offences.
                *arrival = now;
                true
            }
        }
    }
}

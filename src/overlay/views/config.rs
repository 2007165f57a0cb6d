//! The settings of the views.

use std::time::Duration;

/// The settings of the views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewsConfig {
    /// The maximum number of neighbours. 8.
    pub active_limit: usize,
    /// The number of neighbours below which the node asks for more. 6.
    pub active_target: usize,
    /// The maximum number of passive peers. If a share of the network fails at once, a node is alone
    /// if all its passive peers are in this share: after the loss of 95 %, each 700th node with 128
    /// of them, and each 12th with 48. 128.
    pub passive_limit: usize,
    /// The length of the walk that spreads a joining node. 6.
    pub active_walk: u8,
    /// The remaining length of that walk at which the joining node becomes a passive peer. 3.
    pub passive_walk: u8,
    /// The length of the walk of a shuffle. 6.
    pub shuffle_walk: u8,
    /// The number of neighbours in a shuffle. 3.
    pub shuffle_active: usize,
    /// The number of passive peers in a shuffle. 4.
    pub shuffle_passive: usize,
    /// The time between two shuffles of a node. 10 s.
    pub shuffle_every: Duration,
    /// The maximum share of either view that one group of addresses takes, in percent, at least
    /// two peers. 25.
    pub group_share: usize,
    /// The maximum share of the passive view that one peer has listed, in percent. 25.
    pub source_share: usize,
    /// The maximum number of peers that are asked at once. 4.
    pub asked_at_once: usize,
    /// How long an asked peer has to answer, dialling included. 7 s.
    pub answer_within: Duration,
    /// The first pause before a lost neighbour or a contact is asked again. 1 s.
    pub retry_first: Duration,
    /// The longest pause before a lost neighbour or a contact is asked again. A dial that times
    /// out after 5 s adds to it. 4 s.
    pub retry_longest: Duration,
    /// How long a node is without neighbours before it says that it is alone. 2 s.
    pub alone_after: Duration,
}

impl Default for ViewsConfig {
    fn default() -> Self {
        Self {
            active_limit: 8,
            active_target: 6,
            passive_limit: 128,
            active_walk: 6,
            passive_walk: 3,
            shuffle_walk: 6,
            shuffle_active: 3,
            shuffle_passive: 4,
            shuffle_every: Duration::from_secs(10),
            group_share: 25,
            source_share: 25,
            asked_at_once: 4,
            answer_within: Duration::from_secs(7),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(4),
            alone_after: Duration::from_secs(2),
        }
    }
}

impl ViewsConfig {
    /// These settings with another size of the active view. The target follows: three quarters.
    #[must_use]
    pub const fn with_active(self, limit: usize) -> Self {
        let target = limit.saturating_mul(3).div_ceil(4);
        Self { active_limit: limit, active_target: target, ..self }
    }

    /// The number of neighbours that are protected from eviction.
    pub(super) const fn protected(&self) -> usize {
        self.active_limit / 2
    }

    /// The number of neighbours below which requests have high priority.
    pub(super) const fn few(&self) -> usize {
        self.active_target.div_ceil(3)
    }

    pub(super) fn group_active(&self) -> usize {
        share(self.group_share, self.active_limit)
    }

    pub(super) fn group_passive(&self) -> usize {
        share(self.group_share, self.passive_limit)
    }

    pub(super) fn source_passive(&self) -> usize {
        share(self.source_share, self.passive_limit)
    }
}

fn share(percent: usize, of: usize) -> usize {
    if percent >= 100 { of } else { (of.saturating_mul(percent) / 100).max(2) }
}

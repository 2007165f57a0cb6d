//! The limits of a join.

use std::time::Duration;

use crate::overlay::options::{ANY, COUNT, COUNT_OR_NONE, Options, Setting, TIME, settings};

/// The limits of a join. A value out of its bounds is refused by the join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinConfig {
    pub(super) hops: u32,
    pub(super) fan_out: usize,
    pub(super) max_asks: usize,
    pub(super) within: Duration,
    pub(super) target: Option<usize>,
}

impl Default for JoinConfig {
    fn default() -> Self {
        Self { hops: 2, fan_out: 8, max_asks: 64, within: Duration::from_secs(30), target: None }
    }
}

impl JoinConfig {
    /// Two hops, eight entries of each list, 64 questions, 30 seconds, until the own table is full.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The depth of the walk: 1, the minimum, is the contact alone. Default 2.
    #[must_use]
    pub const fn hops(mut self, hops: u32) -> Self {
        self.hops = hops;
        self
    }

    /// The number of entries of one peer's list that are followed. Default 8, so that a peer that
    /// lists thousands costs no more than others; 0 to 1,048,576. Which entries of a longer list
    /// are followed differs from node to node.
    #[must_use]
    pub const fn fan_out(mut self, entries: usize) -> Self {
        self.fan_out = entries;
        self
    }

    /// The maximum number of questions of the whole walk, each on its own connection. Default 64; 1
    /// to 1,048,576.
    #[must_use]
    pub const fn max_asks(mut self, asks: usize) -> Self {
        self.max_asks = asks;
        self
    }

    /// The maximum time of the whole walk, including the pauses for busy nodes. Default 30 s; 1 ms
    /// to 365 days. The question under way is finished.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// The number of peers in the own table at which the walk stops. Default: when the table is
    /// full. 0 to 1,048,576.
    ///
    /// In a network with small tables, nodes that fill their tables at once form cliques of full
    /// tables. A target below the limit leaves room for nodes that join later.
    #[must_use]
    pub const fn target(mut self, peers: usize) -> Self {
        self.target = Some(peers);
        self
    }
}

impl Options for JoinConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { hops, fan_out, max_asks, within, target } = self;
        let mut settings = settings! {
            "JoinConfig::hops", "hops", hops, ANY;
            "JoinConfig::fan_out", "entries", fan_out, COUNT_OR_NONE;
            "JoinConfig::max_asks", "questions", max_asks, COUNT;
            "JoinConfig::within", "", within, TIME;
        };
        if let Some(target) = target {
            settings.extend(settings! { "JoinConfig::target", "peers", target, COUNT_OR_NONE; });
        }
        settings
    }
}

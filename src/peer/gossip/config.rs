//! The options of the neighbours.

use std::time::Duration;

use crate::{
    node::Config,
    overlay::{
        options::{Options, Setting, TIME, settings},
        topics::MAX_TOPICS,
        views::ViewsConfig,
    },
    peer::gossip::{address_group::SHARE, topic::NEIGHBORS},
};

/// The minimum number of neighbours for which a random network is connected, nearly always.
const FEW: usize = 4;

/// The options of the neighbours that a node keeps. A value out of its bounds is refused when the
/// node starts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct GossipConfig {
    neighbors: usize,
    passive: usize,
    shuffle_every: Duration,
    topics: usize,
}

impl Default for GossipConfig {
    fn default() -> Self {
        let views = ViewsConfig::default();
        Self {
            neighbors: views.active_limit,
            passive: views.passive_limit,
            shuffle_every: views.shuffle_every,
            topics: 16,
        }
    }
}

impl GossipConfig {
    /// The maximum number of neighbours, each with a link that stays open. Default 8; 4 to 64. The
    /// node looks for neighbours until it has three quarters of them.
    ///
    /// It is lowered to [`Builder::max_peers`](crate::Builder::max_peers), because each neighbour is
    /// in the peer table, and to half of [`Config::max_links`](crate::Config::max_links). With fewer than 4 neighbours the network may fall into parts.
    ///
    /// Trade-off: more neighbours survive more failures at once, and cost a link and some messages
    /// each.
    pub const fn neighbors(mut self, neighbors: usize) -> Self {
        self.neighbors = neighbors;
        self
    }

    /// The maximum number of further nodes that the node remembers to replace lost neighbours.
    /// Default 128; 8 to 1,024. Each takes about 200 bytes.
    pub const fn passive(mut self, passive: usize) -> Self {
        self.passive = passive;
        self
    }

    /// The time between two exchanges of a few known nodes with a random node. Default 10 seconds.
    /// Trade-off: a shorter time replaces nodes that have left sooner, and costs up to 8 messages of
    /// about 300 bytes each time.
    pub const fn shuffle_every(mut self, time: Duration) -> Self {
        self.shuffle_every = time;
        self
    }

    /// The maximum number of [topics](crate::Peer::topic) in which the node takes part at once.
    /// Default 16; 0 to 256. Each costs up to 6 links, which one peer shares among all its topics.
    ///
    /// It is lowered so that neighbours take at most half of
    /// [`Config::max_links`](crate::Config::max_links): 20 topics with the default of 256 links.
    pub const fn topics(mut self, topics: usize) -> Self {
        self.topics = topics;
        self
    }

    /// The number of topics in which a node with these limits takes part.
    pub(super) fn topic_limit(&self, node: &Config) -> usize {
        let links = (node.max_links / 2).saturating_sub(self.views(node).active_limit);
        self.topics.min(links / NEIGHBORS)
    }

    /// The settings of the views in a node with these limits. Half of its links stay free for
    /// other messages.
    pub(super) fn views(&self, node: &Config) -> ViewsConfig {
        let most = if node.max_peers == 0 { usize::MAX } else { node.max_peers };
        let most = most.min(node.max_links / 2).max(1);
        ViewsConfig {
            passive_limit: self.passive,
            shuffle_every: self.shuffle_every,
            group_share: SHARE,
            ..ViewsConfig::default().with_active(self.neighbors.min(most))
        }
    }
}

impl Options for GossipConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        settings! {
            "GossipConfig::neighbors", "nodes", &mut self.neighbors, FEW..=64;
            "GossipConfig::passive", "nodes", &mut self.passive, 8..=1_024;
            "GossipConfig::shuffle_every", "", &mut self.shuffle_every, TIME;
            "GossipConfig::topics", "topics", &mut self.topics, 0..=MAX_TOPICS;
        }
    }
}

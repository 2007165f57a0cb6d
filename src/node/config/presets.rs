//! Options for the places that a node may live in.

use std::time::Duration;

use crate::{
    node::config::Config,
    overlay::{JoinPolicy, QuitPolicy},
};

impl Config {
    /// Options for nodes of one program on one machine: tests and demonstrations.
    ///
    /// Assumes that every node is trusted and that the network has no delay. Unverified addresses
    /// are dialled without a practical limit, so that many nodes join at once, and
    /// [`drain_timeout`](Self::drain_timeout) is 2 s. Otherwise as [`cluster`](Self::cluster).
    #[must_use]
    pub fn local() -> Self {
        Self::cluster().max_unverified_dials(100_000).drain_timeout(Duration::from_secs(2))
    }

    /// Options for a trusted network: the machines of one operator, behind a firewall.
    ///
    /// Assumes that no party in the network is hostile. The node bans no peer, one source may use
    /// the whole capacity of the node and the whole peer table, and a node is listed when it joins,
    /// without a question whether it is reachable. The limits of memory are those of
    /// [`internet`](Self::internet). Use `tls` with an allow-list where the network itself is not
    /// trusted.
    #[must_use]
    pub fn cluster() -> Self {
        let config = Self::internet();
        let (connections, half_open) = (config.max_connections, config.max_half_open);
        config
            .join_policy(JoinPolicy::Open)
            .quit_policy(QuitPolicy::Open)
            .max_connections_per_source(connections.max(half_open))
            .max_accepts_per_source(100_000)
            .max_frames_per_source(1_000_000_000)
            .max_bytes_per_source(u32::MAX)
            .max_forwards_per_source(1_000_000)
            .max_unverified_dials(1_000)
            .ban_at(u32::MAX)
            .table_shares(false)
    }

    /// Options for a node that any party can reach: the default.
    ///
    /// Assumes nothing about other nodes. Each limit is chosen so that one source cannot exhaust
    /// the node or fill its peer table.
    #[must_use]
    pub fn internet() -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_within_the_bounds_and_the_default_is_the_careful_one() {
        for config in [Config::local(), Config::cluster(), Config::internet()] {
            config.validate().unwrap();
        }
        assert_eq!(Config::internet(), Config::default());
        assert_eq!(Config::cluster().max_collected, Config::internet().max_collected);
    }
}

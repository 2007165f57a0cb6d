//! The times and limits of the membership.

use std::{
    num::{NonZeroU8, NonZeroUsize},
    time::Duration,
};

use foca::{Config, PeriodicParams};

use crate::{
    overlay::options::{COUNT, Options, Setting, TIME, settings},
    time::part,
};

/// Times and limits of a [`Membership`](super::Membership). Use the same for all nodes of a
/// network.
///
/// Begin with a preset and the expected number of nodes: [`lan`](Self::lan), [`wan`](Self::wan), or
/// [`fast`](Self::fast) for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwimConfig {
    pub(super) probe_period: Duration,
    pub(super) probe_time: Duration,
    pub(super) suspicion: Duration,
    pub(super) transmissions: u8,
    pub(super) gossip_every: Duration,
    pub(super) gossip_to: usize,
    pub(super) announce_every: Duration,
    pub(super) max_members: usize,
}

/// The maximum length of a datagram that is sent or accepted, in bytes.
pub(super) const MAX_DATAGRAM: usize = 16 << 10;

/// The number of members that are asked to probe for this node.
const HELPERS: usize = 3;

/// How often, and to how many at once, this node announces itself to members that are down: this is
/// how both sides of a partition find each other again.
const CALL_DOWN_EVERY: Duration = Duration::from_secs(3);
const CALL_DOWN: usize = 3;

/// How often each node passes an update on, for each power of ten of nodes. With 4, one node in
/// some hundred did not receive the update, and detected a dead node only by its own probes, up to
/// 20 s later.
const TOLD: u32 = 7;

/// How long a member that is down is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// The base-10 logarithm of a number of nodes, in thousandths. It is interpolated linearly between
/// the powers, which is exact enough for times.
fn log10(nodes: u32) -> u32 {
    let digits = nodes.max(1).ilog10();
    let power = 10_u32.saturating_pow(digits);
    let above = u64::from(nodes.max(1) - power) * 1_000 / (u64::from(power) * 9).max(1);
    // The curve is above the chord, by a sixth in the middle.
    let above = u32::try_from(above).unwrap_or(1_000).min(1_000);
    digits * 1_000 + above + above * (1_000 - above) * 9 / 10_000
}

impl SwimConfig {
    /// `suspicion` is the time for up to 10 nodes. It grows with the logarithm of their number, as
    /// does the time in which an update reaches all nodes (SWIM, section 4.2).
    fn scaled(nodes: u32, period: Duration, suspicion: Duration) -> Self {
        let log = log10(nodes.saturating_add(1));
        Self {
            probe_period: period,
            probe_time: part(period, 2),
            suspicion: part(suspicion.saturating_mul(log10(nodes).max(1_000)), 1_000),
            transmissions: u8::try_from(log * TOLD / 1_000).unwrap_or(u8::MAX).max(6),
            gossip_every: part(period, 5),
            gossip_to: 3,
            announce_every: period,
            max_members: 1_024,
        }
    }

    /// For a network with round trips of milliseconds and about this number of nodes: a probe each
    /// second, half a second for its answer, and 3.75 s of suspicion up to 10 nodes, 7.5 s at 100.
    /// A node that is blocked is detected after 6 to 12 s.
    #[must_use]
    pub fn lan(nodes: u32) -> Self {
        Self::scaled(nodes, Duration::from_secs(1), Duration::from_millis(3_750))
    }

    /// For the internet: a probe every 5 s, 3 s for its answer, and 30 s of suspicion up to 10
    /// nodes, 60 s at 100.
    #[must_use]
    pub fn wan(nodes: u32) -> Self {
        Self {
            probe_time: Duration::from_secs(3),
            gossip_every: Duration::from_millis(500),
            gossip_to: 4,
            ..Self::scaled(nodes, Duration::from_secs(5), Duration::from_secs(30))
        }
    }

    /// For tests: a probe every 300 ms, 100 ms for its answer, 900 ms of suspicion.
    #[must_use]
    pub fn fast() -> Self {
        Self {
            probe_time: Duration::from_millis(100),
            suspicion: Duration::from_millis(900),
            gossip_every: Duration::from_millis(100),
            transmissions: 8,
            ..Self::scaled(20, Duration::from_millis(300), Duration::from_millis(900))
        }
    }

    /// How long a member is suspected before it counts as down; 1 ms to 365 days. Trade-off: with a
    /// longer time fewer slow members are taken for down, and a dead one is detected later. Keep it
    /// well above the longest time for which a node of the network is blocked.
    #[must_use]
    pub const fn suspicion(mut self, time: Duration) -> Self {
        self.suspicion = time;
        self
    }

    /// The maximum number of other members that are remembered, including members that are down.
    /// Default 1,024; 1 to 1,048,576. Beyond it, the member that is down for longest is forgotten;
    /// if there is none, the newcomer is refused. A member costs about 1 KB.
    #[must_use]
    pub const fn max_members(mut self, members: usize) -> Self {
        self.max_members = members;
        self
    }

    pub(super) fn engine(&self) -> Config {
        let some = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        let periodic = |frequency, n| Some(PeriodicParams { frequency, num_members: some(n) });
        Config {
            probe_period: self.probe_period,
            probe_rtt: self.probe_time,
            num_indirect_probes: some(HELPERS),
            max_transmissions: NonZeroU8::new(self.transmissions).unwrap_or(NonZeroU8::MIN),
            suspect_to_down_after: self.suspicion,
            remove_down_after: Some(REMEMBERED),
            max_packet_size: some(MAX_DATAGRAM),
            notify_down_members: true,
            periodic_announce: periodic(self.announce_every.saturating_mul(10), 1),
            periodic_announce_to_down_members: periodic(CALL_DOWN_EVERY, CALL_DOWN),
            periodic_gossip: periodic(self.gossip_every, self.gossip_to),
        }
    }
}

impl Options for SwimConfig {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self {
            suspicion,
            max_members,
            probe_period: _,
            probe_time: _,
            transmissions: _,
            gossip_every: _,
            gossip_to: _,
            announce_every: _,
        } = self;
        settings! {
            "SwimConfig::suspicion", "", suspicion, TIME;
            "SwimConfig::max_members", "members", max_members, COUNT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_grows_with_the_logarithm_of_the_nodes() {
        let seconds = |nodes| SwimConfig::lan(nodes).suspicion.as_secs_f64();
        for (nodes, expected) in [(1, 3.75), (10, 3.75), (64, 6.77), (100, 7.5), (1_000, 11.25)] {
            assert!((seconds(nodes) - expected).abs() < 0.1, "{nodes}: {}", seconds(nodes));
        }
    }
}

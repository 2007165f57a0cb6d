//! The kinds of faults.

use std::time::Duration;

/// What a node does at its next start after a [`Fault::Crash`] or [`Fault::Stop`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Restart {
    /// It listens on another host than before.
    pub moves: bool,
    /// It has another id than before.
    pub renamed: bool,
    /// It finds what it has stored ([`SimDisk`](crate::sim::SimDisk)). If false, its disk is empty.
    pub keeps_disk: bool,
}

/// What the handlers of [`Traffic`](crate::sim::Traffic) do with a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mood {
    /// They answer at once.
    #[default]
    Prompt,
    /// They answer after this time.
    Slow(Duration),
    /// They panic.
    Panics,
    /// They never answer.
    Silent,
}

/// One fault. Nodes are given by their number: 0 is the node `n0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// All connections between two nodes break.
    Cut(usize, usize),
    /// The next connection of the network breaks after this number of bytes, in one direction.
    CutAfter {
        /// The number of bytes.
        bytes: u64,
        /// Counted from the dialler to the listener; otherwise in the other direction.
        to_listener: bool,
    },
    /// Some nodes are separated from the others.
    Partition {
        /// The nodes on one side.
        side: Vec<usize>,
        /// A node that both sides reach.
        bridge: Option<usize>,
        /// How long it lasts.
        time: Duration,
    },
    /// Every node is separated from every other.
    Islands {
        /// How long it lasts.
        time: Duration,
    },
    /// Some nodes are separated from the others again and again.
    Flapping {
        /// The nodes on one side.
        side: Vec<usize>,
        /// How often.
        times: u32,
        /// How long the partition lasts each time, and how long the time between two is.
        time: Duration,
    },
    /// What one node sends to another does not arrive.
    OneWay {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// How long it lasts.
        time: Duration,
    },
    /// The traffic of a node stops, and arrives later.
    Stall {
        /// The node.
        node: usize,
        /// How long it lasts.
        time: Duration,
    },
    /// New connections have a log-normal latency.
    Latency {
        /// The median.
        median: Duration,
        /// How long it lasts.
        time: Duration,
    },
    /// A node sends at most this number of bytes per second.
    Bandwidth {
        /// The node.
        node: usize,
        /// Bytes per second.
        bytes: u64,
        /// How long it lasts.
        time: Duration,
    },
    /// A node ends at once, as when its process dies, and starts again.
    Crash {
        /// The node.
        node: usize,
        /// Its host ends with it: dials are not answered. Otherwise they are refused.
        with_host: bool,
        /// The time until it starts again.
        away: Duration,
        /// How it starts again.
        restart: Restart,
    },
    /// A node ends gracefully, and starts again.
    Stop {
        /// The node.
        node: usize,
        /// The time until it starts again.
        away: Duration,
        /// How it starts again.
        restart: Restart,
    },
    /// The wall clock of a node jumps.
    Clock {
        /// The node.
        node: usize,
        /// By how many seconds, forwards or back.
        seconds: i64,
    },
    /// Another node claims the id of this one and joins the network.
    Impostor {
        /// The node whose id is claimed.
        of: usize,
        /// How long the other node lives.
        time: Duration,
    },
    /// The disk of a node is slow.
    SlowDisk {
        /// The node.
        node: usize,
        /// The time of one write.
        write: Duration,
        /// How long it lasts.
        time: Duration,
    },
    /// The handlers of a node behave badly.
    Handlers {
        /// The node.
        node: usize,
        /// What they do.
        mood: Mood,
        /// How long it lasts.
        time: Duration,
    },
    /// A node bans another one.
    Ban {
        /// The node that bans.
        node: usize,
        /// The banned node.
        whom: usize,
        /// How long it lasts.
        time: Duration,
    },
    /// Connections of all nodes are hostile:
    /// [`Chaos::heavy`](crate::transport::memory::Chaos::heavy).
    Chaos {
        /// How long it lasts.
        time: Duration,
    },
}

impl Fault {
    /// The kind, as one word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Cut(..) => "cut",
            Self::CutAfter { .. } => "cut_after",
            Self::Partition { bridge: None, .. } => "partition",
            Self::Partition { bridge: Some(_), .. } => "bridge",
            Self::Islands { .. } => "islands",
            Self::Flapping { .. } => "flapping",
            Self::OneWay { .. } => "one_way",
            Self::Stall { .. } => "stall",
            Self::Latency { .. } => "latency",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Crash { with_host: false, .. } => "crash",
            Self::Crash { with_host: true, .. } => "power_off",
            Self::Stop { .. } => "stop",
            Self::Clock { .. } => "clock",
            Self::Impostor { .. } => "impostor",
            Self::SlowDisk { .. } => "slow_disk",
            Self::Handlers { mood: Mood::Prompt, .. } => "prompt_handlers",
            Self::Handlers { mood: Mood::Slow(_), .. } => "slow_handlers",
            Self::Handlers { mood: Mood::Panics, .. } => "panics",
            Self::Handlers { mood: Mood::Silent, .. } => "silent_handlers",
            Self::Ban { .. } => "ban",
            Self::Chaos { .. } => "chaos",
        }
    }

    /// How long it lasts. Zero for what happens in a moment.
    #[must_use]
    pub fn time(&self) -> Duration {
        match self {
            Self::Cut(..) | Self::CutAfter { .. } | Self::Clock { .. } => Duration::ZERO,
            Self::Partition { time, .. }
            | Self::Islands { time }
            | Self::OneWay { time, .. }
            | Self::Stall { time, .. }
            | Self::Latency { time, .. }
            | Self::Bandwidth { time, .. }
            | Self::Impostor { time, .. }
            | Self::SlowDisk { time, .. }
            | Self::Handlers { time, .. }
            | Self::Ban { time, .. }
            | Self::Chaos { time } => *time,
            Self::Flapping { times, time, .. } => time.saturating_mul(times.saturating_mul(2)),
            Self::Crash { away, .. } | Self::Stop { away, .. } => *away,
        }
    }

    /// Whether a network of this number of nodes has all nodes of the fault.
    pub(super) fn fits(&self, nodes: usize) -> bool {
        let is_node = |node: &usize| *node < nodes;
        match self {
            Self::CutAfter { .. }
            | Self::Islands { .. }
            | Self::Latency { .. }
            | Self::Chaos { .. } => true,
            Self::Cut(a, b) => is_node(a) && is_node(b),
            Self::Partition { side, bridge, .. } => {
                side.iter().all(is_node) && bridge.iter().all(is_node) && side.len() < nodes
            }
            Self::Flapping { side, .. } => side.iter().all(is_node) && side.len() < nodes,
            Self::OneWay { from, to, .. } => is_node(from) && is_node(to),
            Self::Stall { node, .. }
            | Self::Bandwidth { node, .. }
            | Self::Crash { node, .. }
            | Self::Stop { node, .. }
            | Self::Clock { node, .. }
            | Self::SlowDisk { node, .. }
            | Self::Handlers { node, .. } => is_node(node),
            Self::Impostor { of, .. } => is_node(of),
            Self::Ban { node, whom, .. } => is_node(node) && is_node(whom),
        }
    }
}

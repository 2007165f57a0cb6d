//! The settings of a tree.

use std::time::Duration;

/// The settings of a tree. The limits hold for one instance of
/// [`Trees`](crate::overlay::trees::Trees).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreesConfig {
    /// The maximum length of a payload, in bytes. A longer one is an error at its author, and is
    /// dropped by every node. 65,536.
    pub payload_limit: usize,
    /// The maximum length of a proof, in bytes. A message with a longer one is dropped. 256.
    pub proof_limit: usize,
    /// The maximum number of authors whose ids are remembered. The author that has been silent for
    /// longest is forgotten first. 16,384.
    pub authors: usize,
    /// The maximum number of separate ranges of sequence numbers that are remembered for each
    /// author. Without losses it is one. 32.
    pub ranges: usize,
    /// How long the ids of a silent author are remembered. A replay after this time is delivered
    /// again. 5 min.
    pub remember_for: Duration,
    /// The maximum size of the payloads and proofs that are kept for grafts, in bytes. 16 MiB.
    pub kept_bytes: usize,
    /// The maximum number of messages that are kept for grafts. 4,096.
    pub kept_count: usize,
    /// How long a message is kept for grafts. 30 s.
    pub keep_for: Duration,
    /// The number of messages that are kept for longer: a history for new neighbours, of the latest
    /// messages. 0.
    pub history_count: usize,
    /// The maximum size of the payloads and proofs of this history, in bytes. 0.
    pub history_bytes: usize,
    /// How long a message is kept in the history. Every node of the tree has to remember ids for
    /// longer ([`remember_for`](Self::remember_for)), or it gets old messages again. 0.
    pub history_for: Duration,
    /// The maximum number of kept messages of which a new neighbour is told, the latest ones. 4,096.
    pub catch_up: usize,
    /// The maximum number of announced messages that are waited for. A neighbour may take half of
    /// them. 8,192.
    pub missing_limit: usize,
    /// The maximum number of neighbours that are noted as able to send a missing message. 8.
    pub announcers: usize,
    /// The maximum number of ids in one message. More are ignored. 512.
    pub ids_in_message: usize,
    /// The time between the arrival of a message and its announcement to lazy neighbours. Ids of
    /// this time share one message. 20 ms.
    pub lazy_delay: Duration,
    /// How long the payload of an announced message is waited for before it is grafted. 200 ms.
    pub graft_after: Duration,
    /// How long a grafted message is waited for before the next neighbour is asked. 400 ms.
    pub answer_within: Duration,
    /// The maximum number of grafted messages that one neighbour has not yet sent. 128.
    pub grafts_at_once: usize,
    /// The number of messages that a neighbour may graft in a second. More are refused. 256.
    pub grafts_per_second: u32,
    /// The number of messages that a neighbour may graft at once. 4,096.
    pub graft_burst: u32,
    /// The number of hops that another path has to be shorter before the tree is changed for it.
    /// The paper has 7, for trees that the messages of several authors shape. Here one author at a
    /// time does, and a lower threshold makes the tree flatter without making it unstable. 3.
    pub optimization_threshold: u8,
    /// The number of links from its author over which a message also goes to lazy neighbours, at
    /// least 1. It enters the tree at several places, which saves hops. Trade-off: a duplicate for
    /// each such neighbour, which counts in small networks. Beyond the first link, only messages of
    /// authors that do not shape the tree do so. 1.
    pub wide_hops: u8,
    /// How long the author whose messages shape the tree may be silent before another one takes
    /// its place. 5 s.
    pub shape_for: Duration,
    /// How long a pruned neighbour may go on sending duplicates, for example because they were on
    /// their way, and how long the tree keeps a change before the next one at the same place. 2 s.
    pub settle: Duration,
    /// How long the messages of an author wait for an earlier one. Zero turns waiting off. 1 s.
    pub order_wait: Duration,
    /// The maximum number of messages that wait for an earlier one. If there are more, those that
    /// have waited longest are delivered. 4,096.
    pub order_count: usize,
    /// The maximum size of the payloads that wait for an earlier one, in bytes. 4 MiB.
    pub order_bytes: usize,
    /// The distance up to which a sequence number is taken for an earlier or later message of the
    /// same run. One beyond it is delivered out of order, unless more follow it. 65,536.
    pub order_window: u64,
    /// How long a neighbour that brings nothing remains useful while messages arrive. 30 s.
    pub useful_for: Duration,
    /// The number of offences of each kind that a neighbour may commit at once, and one more each
    /// second, before they are reported. 32.
    pub offences: u32,
}

impl Default for TreesConfig {
    fn default() -> Self {
        Self {
            payload_limit: 65_536,
            proof_limit: 256,
            authors: 16_384,
            ranges: 32,
            remember_for: Duration::from_secs(300),
            kept_bytes: 16 << 20,
            kept_count: 4_096,
            keep_for: Duration::from_secs(30),
            history_count: 0,
            history_bytes: 0,
            history_for: Duration::ZERO,
            catch_up: 4_096,
            missing_limit: 8_192,
            announcers: 8,
            ids_in_message: 512,
            lazy_delay: Duration::from_millis(20),
            graft_after: Duration::from_millis(200),
            answer_within: Duration::from_millis(400),
            grafts_at_once: 128,
            grafts_per_second: 256,
            graft_burst: 4_096,
            optimization_threshold: 3,
            wide_hops: 1,
            shape_for: Duration::from_secs(5),
            settle: Duration::from_secs(2),
            order_wait: Duration::from_secs(1),
            order_count: 4_096,
            order_bytes: 4 << 20,
            order_window: 65_536,
            useful_for: Duration::from_secs(30),
            offences: 32,
        }
    }
}

//! The options of Kademlia.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    overlay::{
        kademlia::{
            LookupConfig, StoreLimits,
            message::{MAX_NODES, MAX_RECORDS},
        },
        options::{COUNT_OR_NONE, Options, Setting, TIME, settings},
    },
    peer::kademlia::HOUR,
    time::part,
};

/// The number of providers that are kept for each that is returned: the others replace those that
/// do not answer.
const SPARE: usize = 3;

/// How often a provider announces itself within the time that it is known for: two announcements
/// may be lost.
const WORDS: u32 = 3;

macro_rules! options {
    ($( $(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $unit:literal, $bounds:expr; )*) => {
        /// The options of Kademlia. A value out of its bounds is refused when the node starts.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[must_use]
        pub struct KademliaConfig {
            $( pub(super) $name: $type, )*
        }

        impl Default for KademliaConfig {
            fn default() -> Self {
                Self { $( $name: $default, )* }
            }
        }

        impl KademliaConfig {
            $(
                $(#[$doc])*
                pub const fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }

        impl Options for KademliaConfig {
            fn settings(&mut self) -> Vec<Setting<'_>> {
                settings! {
                    $( concat!("KademliaConfig::", stringify!($name)), $unit, &mut self.$name, $bounds; )*
                }
            }
        }
    };
}

const SECOND: Duration = Duration::from_secs(1);

/// The bounds of times of records and of the table.
const SLOW: RangeInclusive<Duration> = SECOND..=*TIME.end();

options! {
    /// The number of nodes in a bucket, in an answer, and that keep a record. Default 20, as in the
    /// paper; 1 to 64. Trade-off: a higher value makes look-ups more reliable under churn, and
    /// costs memory and messages in proportion.
    k: usize = 20, "nodes", 1..=MAX_NODES;
    /// The maximum wait for one answer. Default 2 seconds; 10 milliseconds to 1 minute.
    request_time: Duration = Duration::from_secs(2), "", Duration::from_millis(10)..=Duration::from_secs(60);
    /// The time without a look-up in a bucket after which the node looks for a random key of that
    /// bucket, and for itself. Default 1 hour, as in the paper; 1 second to 365 days.
    refresh: Duration = HOUR, "", SLOW;
    /// The time after which a record is sent again to the nodes that are nearest to its key by
    /// then. Default 1 hour, as in the paper; 1 second to 365 days.
    republish: Duration = HOUR, "", SLOW;
    /// The maximum lifetime of a value. Default 24 hours; 1 second to 365 days. Longer lifetimes
    /// from other nodes are lowered to it.
    ttl: Duration = Duration::from_secs(24 * 3_600), "", SLOW;
    /// How long a node is known as a provider after its last announcement. A provider announces
    /// itself three times in this time. Default 1 hour; 1 second to 365 days. Longer times from
    /// other nodes are lowered to it.
    provider_ttl: Duration = HOUR, "", SLOW;
    /// The maximum length of a value, in bytes. Default 1,024; up to 16 KiB.
    max_record_bytes: usize = 1_024, "bytes", 0..=16 << 10;
    /// The maximum number of records kept for other nodes. Default 4,096; 0 to 1,048,576. Their
    /// values take at most this number times [`max_record_bytes`](Self::max_record_bytes): 4 MiB.
    max_records: usize = 4_096, "records", COUNT_OR_NONE;
    /// The maximum number of records kept for other nodes that came from one
    /// [source](crate::limits::Source). Default 1,024; 0 to 1,048,576. Loopback is exempt, unless
    /// [`Config::limit_loopback`](crate::Config::limit_loopback) is set.
    max_records_per_source: usize = 1_024, "records", COUNT_OR_NONE;
    /// The maximum number of providers that are returned for one name. Default 20; 1 to 64. Three
    /// times as many publishers are kept under one key, and at most 64.
    max_providers_per_key: usize = 20, "providers", 1..=MAX_RECORDS;
    /// The maximum number of keys that this node publishes under, values and names together.
    /// Default 1,024; 0 to 1,048,576.
    max_published: usize = 1_024, "keys", COUNT_OR_NONE;
}

impl KademliaConfig {
    /// How often this node announces again that it provides something.
    pub(super) fn says_again(&self) -> Duration {
        self.republish.min(part(self.provider_ttl, WORDS)).max(SECOND)
    }

    pub(super) fn limits(&self) -> StoreLimits {
        StoreLimits {
            record_bytes: self.max_record_bytes,
            records: self.max_records,
            bytes: self.max_records.saturating_mul(self.max_record_bytes),
            per_source: self.max_records_per_source,
            per_key: self.max_providers_per_key.saturating_mul(SPARE).min(MAX_RECORDS),
            ttl: self.ttl,
            provider_ttl: self.provider_ttl,
        }
    }

    /// The parameters of a look-up. Only `k` is an option: the other two are the parallelism of the
    /// paper, and a bound on the questions that lying nodes can cause.
    pub(super) fn lookup(&self) -> LookupConfig {
        LookupConfig::default().k(self.k)
    }
}

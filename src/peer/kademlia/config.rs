//! The options of Kademlia.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    overlay::{
        kademlia::{
            LookupConfig, StoreLimits,
            message::{MAX_NODES, MAX_RECORDS},
        },
        options::{BYTES, COUNT, COUNT_OR_NONE, Options, Setting, TIME, settings},
    },
    peer::kademlia::HOUR,
    time::part,
};

/// Providers that are kept for each that is told: the others take the places of those that do not
/// answer.
const SPARE: usize = 3;

/// A provider says so again so often within the time that it is known for: two words may be lost.
const WORDS: u32 = 3;

macro_rules! options {
    ($( $(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $unit:literal, $bounds:expr; )*) => {
        /// The options of Kademlia. What is out of its bounds is refused when the node starts.
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

/// Of a record, and of what is done with it.
const SLOW: RangeInclusive<Duration> = SECOND..=*TIME.end();

options! {
    /// Nodes in a bucket, in an answer, and that keep a record. Default 20, as in the paper; 1 to 64. More find better
    /// through churn, and cost memory and messages in proportion.
    k: usize = 20, "nodes", 1..=MAX_NODES;
    /// Questions of one look-up under way at once. Default 3, as in the paper; 1 to 16.
    alpha: usize = 3, "questions", 1..=16;
    /// Questions of one look-up in all. Default 128; 1 to 1,048,576. It bounds what liars can make a node ask.
    max_questions: usize = 128, "questions", COUNT;
    /// The longest wait for one answer. Default 2 seconds; 10 milliseconds to 1 minute.
    request_time: Duration = Duration::from_secs(2), "", Duration::from_millis(10)..=Duration::from_secs(60);
    /// After so long without a look-up in a bucket a random key of it is looked for, and the node itself. Default 1 hour,
    /// as in the paper; 1 second to 365 days.
    refresh: Duration = HOUR, "", SLOW;
    /// After so long a record is sent to the nodes that are nearest to its key then. Default 1 hour, as in the paper; 1
    /// second to 365 days.
    republish: Duration = HOUR, "", SLOW;
    /// The longest time that a value is good for. Default 24 hours; 1 second to 365 days. Longer
    /// times of others are cut to it.
    ttl: Duration = Duration::from_secs(24 * 3_600), "", SLOW;
    /// How long a node is known as a provider after it was last heard of; it says so again three
    /// times in this time. Default 1 hour; 1 second to 365 days. Longer times of others are cut to
    /// it.
    provider_ttl: Duration = HOUR, "", SLOW;
    /// The longest value, in bytes. Default 1,024; up to 16 KiB.
    max_record_bytes: usize = 1_024, "bytes", 0..=16 << 10;
    /// Records kept for others. Default 4,096; 0 to 1,048,576.
    max_records: usize = 4_096, "records", COUNT_OR_NONE;
    /// Bytes of all values kept for others. Default 4 MiB; up to 1 TiB, or 1 GiB where addresses have 32 bits.
    max_store_bytes: usize = 4 << 20, "bytes", 0..=*BYTES.end();
    /// Records kept for others that came from one [source](crate::limits::Source). Default 1,024; 0 to 1,048,576. Not for
    /// loopback, unless [`Config::limit_loopback`](crate::Config::limit_loopback) says so.
    max_records_per_source: usize = 1_024, "records", COUNT_OR_NONE;
    /// Providers that are told of one name. Default 20; 1 to 64. Three times as many publishers are
    /// kept under one key, and at most 64.
    max_providers_per_key: usize = 20, "providers", 1..=MAX_RECORDS;
    /// Keys that this node publishes under, values and names together. Default 1,024; 0 to 1,048,576.
    max_published: usize = 1_024, "keys", COUNT_OR_NONE;
}

impl KademliaConfig {
    /// How often this node says again that it provides something.
    pub(super) fn says_again(&self) -> Duration {
        self.republish.min(part(self.provider_ttl, WORDS)).max(SECOND)
    }

    pub(super) fn limits(&self) -> StoreLimits {
        StoreLimits {
            record_bytes: self.max_record_bytes,
            records: self.max_records,
            bytes: self.max_store_bytes,
            per_source: self.max_records_per_source,
            per_key: self.max_providers_per_key.saturating_mul(SPARE).min(MAX_RECORDS),
            ttl: self.ttl,
            provider_ttl: self.provider_ttl,
        }
    }

    pub(super) fn lookup(&self) -> LookupConfig {
        LookupConfig::default().k(self.k).alpha(self.alpha).max_questions(self.max_questions)
    }
}

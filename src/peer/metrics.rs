//! Metrics of a node for the application's metrics collector (feature `metrics`).
//!
//! The node uses the [`metrics`](https://docs.rs/metrics) facade. The application installs the
//! recorder, an exporter for Prometheus for instance, *before* it starts the node. Request times,
//! handler times and round trips are recorded as they happen. All other metrics are counted inside
//! the node, as in [`Status`], and passed to the recorder by
//! [`Peer::record_metrics`](crate::Peer::record_metrics): call it before each scrape, or at
//! intervals. A one-way message therefore costs the same with metrics as without. Without a
//! recorder a request over a link takes 0.2 µs more, of 10.
//!
//! Labels have a fixed set of values and contain no id and no address of a peer. Handlers are
//! distinguished by the code that they were registered for, up to 64 codes; further codes share the
//! label `other`, and all codes without a handler share one counter. The outcome `dropped` is a
//! request whose caller dropped the replies before their end. The outcome `given_up` is a request
//! whose answer was no longer awaited, because it was too late or because the caller had gone.
//! Several nodes of one process share the names of metrics: record only one of them.
//!
//! ```
//! use std::time::Duration;
//! use actix_peer::Peer;
//! use metrics_exporter_prometheus::PrometheusBuilder;
//!
//! # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let exporter = PrometheusBuilder::new().install_recorder()?;
//! let peer = Peer::builder()
// For exporters that push. With a scraped exporter, call it before each scrape.
//!     .every(Duration::from_secs(10), "metrics", async |peer: Peer| peer.record_metrics().await)
//!     .start()
//!     .await?;
//! peer.record_metrics().await;
//! assert!(exporter.render().contains("actix_peer_connections 0"));
//! # peer.stop().await;
//! # Ok(()) }
//! ```
#![doc = include_str!("metrics.md")]

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

use crate::{
    node::{
        Child, Counts,
        metrics::{HANDLER, REQUEST, ROUND_TRIP},
    },
    peer::{Peer, Status},
};

const RESTARTS: &str = "actix_peer_restarts_total";
const RESTARTS_ABOUT: &str = "Restarts of parts of the node.";

/// Each gauge: its name, its description, and where its value comes from.
type Gauge = (&'static str, &'static str, fn(&Now<'_>) -> f64);

/// The values that gauges read.
struct Now<'a> {
    status: &'a Status,
    in_hand: usize,
}

const GAUGES: [Gauge; 16] = [
    ("actix_peer_peers", "Known peers.", |now| number(now.status.peers)),
    ("actix_peer_connections", "Open accepted connections, including silent ones.", |now| {
        number(now.status.connections)
    }),
    ("actix_peer_half_open", "Open accepted connections whose header is incomplete.", |now| {
        number(now.status.half_open)
    }),
    ("actix_peer_partial_bytes", "Bytes of memory of incomplete frames.", |now| {
        number(now.status.partial_bytes)
    }),
    (
        "actix_peer_partial_reply_bytes",
        "Bytes of memory of incomplete replies to own requests.",
        |now| number(now.status.partial_replies),
    ),
    ("actix_peer_outgoing_exchanges", "Open exchanges of this node.", |now| {
        number(now.status.outgoing)
    }),
    (
        "actix_peer_requests_in_hand",
        "Requests that are being handled, or wait for a handler.",
        |now| number(now.in_hand),
    ),
    ("actix_peer_links", "Open links.", |now| number(now.status.links.len())),
    ("actix_peer_link_exchanges", "Open exchanges of both sides on all links.", |now| {
        now.status.links.iter().map(|link| number(link.open)).sum()
    }),
    (
        "actix_peer_link_credit_bytes",
        "Bytes that this node may currently send on all links.",
        |now| now.status.links.iter().map(|link| f64::from(link.credit)).sum(),
    ),
    (
        "actix_peer_link_held_bytes",
        "Bytes that arrived over all links and that handlers have not released.",
        |now| now.status.links.iter().map(|link| f64::from(link.held)).sum(),
    ),
    ("actix_peer_handlers", "Codes that have a handler.", |now| number(now.status.codes.len())),
    ("actix_peer_uptime_seconds", "Time since the node started.", |now| {
        now.status.uptime.as_secs_f64()
    }),
    (
        "actix_peer_joined",
        "1 if the node has joined a network, or another node has joined it.",
        |now| truth(now.status.joined),
    ),
    ("actix_peer_paused", "1 if the node is paused and accepts no connections.", |now| {
        truth(now.status.paused)
    }),
    ("actix_peer_stopping", "1 if the node is stopping or has stopped.", |now| {
        truth(now.status.stopping)
    }),
];

const HISTOGRAMS: [(&str, &str, &str); 3] = [
    (
        REQUEST,
        "`over`: `link`, `classic`, `none`; `outcome`: `answered`, `failed`, `dropped`",
        "Time from the call of a request until its last reply is read.",
    ),
    (
        HANDLER,
        "`code`: as registered; `outcome`: `answered`, `refused`, `given_up`",
        "Time from the delivery of a request until the answer of its handler.",
    ),
    (ROUND_TRIP, "", "Time between a keepalive on a link and its answer."),
];

/// Counts stay below 2^53, so the conversion is exact.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
const fn number(count: usize) -> f64 {
    count as f64
}

fn truth(so: bool) -> f64 {
    f64::from(u8::from(so))
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// The distribution of times, in seconds.
    Histogram,
}

/// The description of one metric of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels and their values, as text; empty without labels.
    pub labels: &'static str,
    /// Its meaning.
    pub about: &'static str,
}

/// Every metric of a node.
#[must_use]
pub fn all() -> Vec<Metric> {
    let of = |kind| move |(name, labels, about)| Metric { name, kind, labels, about };
    let counts = Counts::default();
    let counters = counts.entries().map(|(name, about, _)| (name, "", about.trim()));
    let restarts = (RESTARTS, "`part`: `listener`, `peer_list`, `stabilizer`", RESTARTS_ABOUT);
    let gauges = GAUGES.iter().map(|(name, about, _)| (*name, "", *about));
    counters
        .chain([restarts])
        .map(of(Kind::Counter))
        .chain(gauges.map(of(Kind::Gauge)))
        .chain(HISTOGRAMS.into_iter().map(of(Kind::Histogram)))
        .collect()
}

/// Describes the metrics to the recorder.
pub(crate) fn describe() {
    for Metric { name, kind, about, .. } in all() {
        match kind {
            Kind::Counter => describe_counter!(name, about),
            Kind::Gauge => describe_gauge!(name, about),
            Kind::Histogram => describe_histogram!(name, Unit::Seconds, about),
        }
    }
}

/// The label of a part. All stabilizers share one label, because the application chooses how many
/// there are and what they are called.
const fn part(child: &Child) -> &'static str {
    match child {
        Child::Listener => "listener",
        Child::PeerList => "peer_list",
        Child::Stabilizer(_) => "stabilizer",
    }
}

impl Peer {
    /// Passes the node's counts and gauges to the recorder of the [`metrics`](crate::peer::metrics)
    /// facade. Call it before each scrape, or at intervals.
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub async fn record_metrics(&self) {
        let status = self.status().await;
        for (name, _, value) in status.counts.entries() {
            counter!(name).absolute(value);
        }
        for kind in ["listener", "peer_list", "stabilizer"] {
            let restarts = self.node().restarts();
            let times = restarts.iter().filter(|(child, _)| part(child) == kind);
            counter!(RESTARTS, "part" => kind).absolute(times.map(|(_, times)| times).sum());
        }
        let now = Now { status: &status, in_hand: self.node().requests_in_hand() };
        for (name, _, value) in GAUGES {
            gauge!(name).set(value(&now));
        }
    }
}

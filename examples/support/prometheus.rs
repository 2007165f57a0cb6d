//! The metrics of a node in the format of Prometheus, for the web servers of the examples (feature
//! `metrics`).

use std::{sync::OnceLock, time::Duration};

use actix_peer::Peer;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// The content type of the answer.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// In seconds: from the time of a fast handler to the longest time of a request.
const BUCKETS: [f64; 11] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// How often values are put into buckets. Until then each value is kept in memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// The facade has one recorder for the whole process.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder. Call it on an arbiter, before the node starts.
pub(crate) fn install() {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS);
        let recorder = builder.and_then(PrometheusBuilder::install_recorder);
        let recorder = recorder.inspect_err(|error| eprintln!("metrics are off: {error}")).ok()?;
        let kept = recorder.clone();
        actix_rt::spawn(async move {
            let mut upkeep = tokio::time::interval(UPKEEP);
            loop {
                upkeep.tick().await;
                kept.run_upkeep();
            }
        });
        Some(recorder)
    });
}

/// The current metrics; empty without [`install`].
pub(crate) async fn scrape(peer: &Peer) -> String {
    peer.record_metrics().await;
    RECORDER.get().and_then(Option::as_ref).map(PrometheusHandle::render).unwrap_or_default()
}

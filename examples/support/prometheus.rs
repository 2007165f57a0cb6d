//! The node's metrics in the words of Prometheus, for the web pages of the examples (feature
//! `metrics`).

use std::{sync::OnceLock, time::Duration};

use actix_peer::Peer;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// What a page answers with.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Seconds. Times are from a handler's own on loopback to the longest that a request may take.
const BUCKETS: [f64; 11] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// What was measured is put into its bucket so often, also when nobody asks: till then each value is
/// kept.
const UPKEEP: Duration = Duration::from_secs(5);

/// One for the whole process, as the facade wants it.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder: to be called before the node is started, on an arbiter.
pub(crate) fn install() {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS);
        let recorder = builder.and_then(PrometheusBuilder::install_recorder);
        let recorder = recorder.inspect_err(|error| eprintln!("no metrics: {error}")).ok()?;
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

/// What there is to say now; nothing without [`install`].
pub(crate) async fn scrape(peer: &Peer) -> String {
    peer.record_metrics().await;
    RECORDER.get().and_then(Option::as_ref).map(PrometheusHandle::render).unwrap_or_default()
}

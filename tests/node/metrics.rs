//! The table of metrics matches the recorded metrics, and their number is bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Incoming, Outgoing, Over, Peer, PingSweep,
    frame::{Frame, TypeCode},
    handler,
    peer::metrics::{Kind, all},
    transport::memory::MemoryNetwork,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::common::{handlers::echo, nodes::on_host};

/// Installs a recorder for this thread.
fn recorder() -> (PrometheusHandle, metrics::LocalRecorderGuard<'static>) {
    let builder = PrometheusBuilder::new().set_buckets(&[0.001, 0.01, 0.1, 1.0, 10.0]).unwrap();
    let recorder = Box::leak(Box::new(builder.build_recorder()));
    (recorder.handle(), metrics::set_default_local_recorder(recorder))
}

/// The values of a scrape, by series.
fn scrape(recorder: &PrometheusHandle) -> BTreeMap<String, f64> {
    let text = recorder.render();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// The name of a series, without labels and without the suffixes of a histogram.
fn name(series: &str) -> &str {
    let name = series.split('{').next().unwrap();
    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

async fn two_nodes() -> (Peer, Peer) {
    let boom = handler::from_fn(async |_: Incoming| panic!("requested by the test"));
    let bob = Peer::builder()
        .well_known()
        .handle("ECHO", echo())
        .unwrap()
        .handle("BOOM", boom.start())
        .unwrap()
        .stabilizer(PingSweep::new())
        .start()
        .await
        .unwrap();
    (Peer::builder().start().await.unwrap(), bob)
}

async fn ask(from: &Peer, to: &Peer, code: TypeCode, over: Over) -> bool {
    let request = Outgoing::from(Frame::text(code, "")).over(over);
    match from.request(to.info(), request).await {
        Ok(replies) => replies.collect().await.is_ok(),
        Err(_) => false,
    }
}

#[test]
fn the_table_lists_every_metric_with_kind_labels_and_meaning() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/peer/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table: Vec<_> = text.lines().filter(|line| line.starts_with("| `actix")).collect();
    let row = |metric: &actix_peer::peer::metrics::Metric| {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        format!("| `{}` | {kind} | {} | {} |", metric.name, metric.labels, metric.about)
    };
    let expected: Vec<_> = all().iter().map(row).collect();
    assert_eq!(table, expected, "it should be:\n{}", expected.join("\n"));
}

#[actix::test]
async fn a_scrape_contains_every_metric_of_the_table_and_nothing_else() {
    let (recorder, _guard) = recorder();
    let (ada, bob) = two_nodes().await;
    assert!(ask(&ada, &bob, TypeCode::new(b"ECHO"), Over::Link).await);
    bob.record_metrics().await;
    let got: BTreeSet<_> = scrape(&recorder).keys().map(|series| name(series).to_owned()).collect();
    let expected: BTreeSet<_> = all().iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(got, expected);
    let text = recorder.render();
    for metric in all() {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            _ => "histogram",
        };
        assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
        assert!(text.contains(&format!("# HELP {} {}", metric.name, metric.about)), "{text}");
    }
}

#[actix::test]
async fn each_keep_alive_of_a_link_is_measured_as_a_round_trip() {
    tokio::time::pause();
    let (recorder, _guard) = recorder();
    let wires = MemoryNetwork::new(1);
    let node = async |name: &str| {
        on_host(&wires, name).handle("ECHO", echo()).unwrap().start().await.unwrap()
    };
    let (ada, bob) = (node("ada").await, node("bob").await);
    assert!(ask(&ada, &bob, TypeCode::new(b"ECHO"), Over::Link).await);
    let trips = || scrape(&recorder).get("actix_peer_link_round_trip_seconds_count").copied();
    assert_eq!(trips(), Some(0.0), "the series exists before the first round trip");
    let every = ada.config().entries().into_iter().find(|entry| entry.option == "keep_alive");
    assert_eq!(every.unwrap().value, "5 s");
    // Both sides send two keep-alives.
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    assert_eq!(trips(), Some(4.0));
}

#[actix::test]
async fn counters_and_gauges_equal_the_status() {
    let (recorder, _guard) = recorder();
    let (ada, bob) = two_nodes().await;
    for _ in 0..3 {
        assert!(ask(&ada, &bob, TypeCode::new(b"ECHO"), Over::Link).await);
    }
    ada.record_metrics().await;
    let status = ada.status().await;
    let got = scrape(&recorder);
    let counts = serde_json::to_value(&status.counts).unwrap();
    for (field, value) in counts.as_object().unwrap() {
        let series = format!("actix_peer_{field}_total");
        assert_eq!(Some(&value.as_f64().unwrap()), got.get(&series), "{series}");
    }
    assert_eq!(got["actix_peer_links"], 1.0);
    assert_eq!(got["actix_peer_exchanges_out_total"], 3.0);
    assert_eq!(got["actix_peer_requests_in_hand"], 0.0);
    assert_eq!(got["actix_peer_restarts_total{part=\"listener\"}"], 0.0);
    // Recording again, from any handle, does not decrease a counter.
    ada.record_metrics().await;
    assert_eq!(scrape(&recorder)["actix_peer_exchanges_out_total"], 3.0);
}

#[actix::test]
async fn durations_are_labelled_by_protocol_and_outcome() {
    let (recorder, _guard) = recorder();
    let (ada, bob) = two_nodes().await;
    let of = |over: &str, outcome: &str| {
        let series =
            format!("actix_peer_request_seconds_count{{over=\"{over}\",outcome=\"{outcome}\"}}");
        scrape(&recorder).get(&series).copied().unwrap_or_default()
    };
    for over in [Over::Link, Over::Classic] {
        ask(&ada, &bob, TypeCode::new(b"ECHO"), over).await;
        ask(&ada, &bob, TypeCode::new(b"BOOM"), over).await;
        let request = Outgoing::from(Frame::text("ECHO", "")).over(over);
        drop(ada.request(bob.info(), request).await.unwrap());
    }
    for over in ["link", "classic"] {
        assert_eq!([of(over, "answered"), of(over, "failed"), of(over, "dropped")], [1.0; 3]);
    }
    assert!(ada.request("127.0.0.1:1", Frame::text("ECHO", "")).await.is_err());
    assert_eq!(of("none", "failed"), 1.0);
    let handled = |code: &str, outcome: &str| {
        let series =
            format!("actix_peer_handler_seconds_count{{code=\"{code}\",outcome=\"{outcome}\"}}");
        scrape(&recorder).get(&series).copied().unwrap_or_default()
    };
    assert_eq!(handled("BOOM", "refused"), 2.0);
    assert!(handled("ECHO", "answered") >= 2.0);
}

#[actix::test]
async fn made_up_codes_ids_and_addresses_create_no_new_series() {
    let (recorder, _guard) = recorder();
    let (ada, bob) = two_nodes().await;
    bob.record_metrics().await;
    for over in [Over::Link, Over::Classic] {
        ask(&ada, &bob, TypeCode::new(b"ECHO"), over).await;
        ask(&ada, &bob, TypeCode::new(b"NOPE"), over).await;
        ask(&ada, &bob, TypeCode::new(b"BOOM"), over).await;
    }
    // Refused: the node may not dial these addresses.
    let join = async |from: &Peer, n: u8, over: Over| {
        let text = format!("x{n} 10.0.{n}.1 {}", 1 + u16::from(n));
        let request = Outgoing::from(Frame::text("JOIN", text)).over(over);
        from.request(bob.info(), request).await.unwrap().collect().await.unwrap();
    };
    join(&ada, 0, Over::Link).await;
    join(&ada, 0, Over::Classic).await;
    let before: BTreeSet<_> = scrape(&recorder).into_keys().collect();
    for n in 0..10 {
        // Each with an id and an address of its own.
        let id = format!("made-up-{n}");
        let eve = Peer::builder().id(id.as_str()).start().await.unwrap();
        assert!(ask(&eve, &bob, TypeCode::new(b"ECHO"), Over::Link).await);
        join(&eve, n, Over::Link).await;
    }
    for n in 0..100_u8 {
        join(&ada, n, if n % 2 == 0 { Over::Link } else { Over::Classic }).await;
        let code = TypeCode::new(&[b'X', n, b'e', b'c']);
        ask(&ada, &bob, code, if n % 2 == 0 { Over::Link } else { Over::Classic }).await;
        // The handler is found by the upper-case form of the code, which is also the label.
        ask(&ada, &bob, TypeCode::new(b"eChO"), Over::Link).await;
    }
    bob.record_metrics().await;
    assert_eq!(scrape(&recorder).into_keys().collect::<BTreeSet<_>>(), before);
    assert_eq!(scrape(&recorder)["actix_peer_unknown_codes_total"], 102.0);
}

#[actix::test]
async fn codes_beyond_the_limit_are_measured_together() {
    let (recorder, _guard) = recorder();
    let (ada, bob) = two_nodes().await;
    let echo = echo();
    for n in 0..100 {
        let code = format!("X{n:03}");
        bob.handle(code.as_str(), echo.clone()).unwrap();
        assert!(ask(&ada, &bob, code.parse().unwrap(), Over::Link).await);
    }
    let codes: BTreeSet<_> = scrape(&recorder)
        .into_keys()
        .filter(|series| series.starts_with("actix_peer_handler_seconds_count"))
        .map(|series| series.split('"').nth(1).unwrap().to_owned())
        .collect();
    assert!(codes.contains("other") && codes.len() <= 65, "{codes:?}");
}

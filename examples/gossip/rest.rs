//! What a network at rest costs: whole nodes with all defaults, in the simulated network.

use std::time::Duration;

use actix_peer::{
    Builder, Peer,
    sim::{SimError, SimNetwork},
    topics::Topic,
};
use serde::Serialize;

use crate::table;

/// How long the network has to come to rest.
const SETTLE: Duration = Duration::from_secs(60);

/// How long is measured.
const MEASURED: Duration = Duration::from_secs(120);

/// How many nodes start at once.
const AT_ONCE: u32 = 50;

/// The cost for each node.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Rest {
    nodes: u32,
    /// Bytes sent in a minute, headers of frames included.
    bytes: f64,
    /// The same if every node takes part in one topic in which nothing is published.
    bytes_in_topic: f64,
}

/// Bytes for each node and minute.
async fn cost(net: &SimNetwork, peers: &[Peer]) -> f64 {
    async fn sent(peers: &[Peer]) -> u64 {
        let mut bytes = 0;
        for peer in peers {
            bytes += peer.status().await.counts.bytes_out;
        }
        bytes
    }
    net.advance(SETTLE).await;
    let before = sent(peers).await;
    net.advance(MEASURED).await;
    let sent = sent(peers).await - before;
    sent as f64 / peers.len() as f64 / MEASURED.as_secs_f64() * 60.0
}

pub(crate) fn measure(nodes: u32, seed: u64) -> Result<Rest, String> {
    let run = SimNetwork::new(seed).limit(Duration::from_secs(3_600)).run(async move |net| {
        net.wires().latency(Duration::from_millis(22)..Duration::from_millis(28));
        let mut peers: Vec<Peer> = Vec::new();
        for n in 0..nodes {
            let recipe = move |builder: Builder| {
                Ok(if n == 0 { builder.well_known() } else { builder.contacts(["n0:9000"]) })
            };
            peers.push(net.start_with(&format!("n{n}"), recipe).await?);
            if n % AT_ONCE == 0 {
                net.advance(Duration::from_secs(1)).await;
            }
        }
        let bytes = cost(&net, &peers).await;
        let topics: Result<Vec<Topic<String>>, _> =
            peers.iter().map(|peer| peer.topic("rest")).collect();
        let bytes_in_topic = cost(&net, &peers).await;
        drop(topics);
        Ok::<_, SimError>(Rest { nodes, bytes, bytes_in_topic })
    });
    run.map_err(|error| error.to_string())
}

/// The table.
pub(crate) fn lines(rests: &[Rest]) -> Vec<String> {
    let mut rows = vec![vec!["at rest, for each node and minute".to_owned()]];
    rows[0].extend(rests.iter().map(|rest| format!("{} nodes", rest.nodes)));
    let mut row = |name: &str, of: fn(&Rest) -> f64| {
        let cells = rests.iter().map(|rest| format!("{:.0}", of(rest)));
        rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    };
    row("bytes sent", |rest| rest.bytes);
    row("bytes sent, all in one topic", |rest| rest.bytes_in_topic);
    table::aligned(&rows)
}

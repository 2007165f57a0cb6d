//! The results, as text with plots or as JSON, and the broken promises.

mod plot;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use actix_peer::{PeerId, node::Counts};
use serde_json::json;

use crate::{
    Soak,
    gauge::{Sample, Trend},
    honest::{Lane, Tally},
    ledger::Ledger,
};

/// The minimum length of a run in which growth of memory and descriptors is checked.
const GROWTH_FROM: Duration = Duration::from_secs(118);

/// Memory may grow by a tenth and this much, about the memory of one busy connection.
const MEMORY_SLACK: u64 = 1 << 20; // bytes

/// Descriptors may grow by a tenth and this many, because their number is random.
const DESCRIPTOR_SLACK: u64 = 16;

/// The id of a node, its counters, and the restarts of its parts.
type Counted = (PeerId, Counts, BTreeMap<String, u64>);

pub(crate) struct Report {
    pub(crate) options: Soak,
    pub(crate) lasted: Duration,
    pub(crate) interrupted: bool,
    pub(crate) lanes: Vec<(Lane, Tally, Ledger)>,
    pub(crate) actions: BTreeMap<String, u64>,
    pub(crate) counts: Vec<Counted>,
    pub(crate) before: Option<Sample>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) after: Option<Sample>,
    /// The time from the end of the peers until no more descriptors were open than before; `None`
    /// if that did not happen.
    pub(crate) back: Option<Duration>,
    pub(crate) panics: u64,
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Report {
    fn memory(&self) -> Option<Trend> {
        Trend::of(&self.samples, |sample| sample.resident)
    }

    fn descriptors(&self) -> Option<Trend> {
        Trend::of(&self.samples, |sample| sample.descriptors)
    }

    fn checks_growth(&self) -> bool {
        self.lasted >= GROWTH_FROM
    }

    /// The broken promises, one sentence each.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut must = |kept: bool, what: String| {
            if !kept {
                broken.push(what);
            }
        };
        for (lane, tally, ledger) in &self.lanes {
            let (name, Tally { lost, misreported, wrong, done, .. }) = (lane.name(), tally);
            let (repeated, reordered) = ledger.read(|record| (record.repeated, record.reordered));
            must(*done > 0, format!("{name}: no message arrived"));
            must(*lost == 0, format!("{name}: {lost} messages were lost"));
            must(repeated == 0, format!("{name}: {repeated} messages were handled twice"));
            must(*wrong == 0, format!("{name}: {wrong} answers were wrong"));
            let text =
                format!("{name}: {misreported} messages were handled, but reported as not handled");
            must(*misreported == 0, text);
            let text = format!("{name}: {reordered} messages arrived out of order");
            must(reordered == 0 || !lane.is_ordered(), text);
            let failed = tally.not_handled + tally.unsure;
            let error = tally.error.as_deref().unwrap_or_default();
            let text = format!("{name}: {failed} messages failed, the last with: {error}");
            must(failed == 0 || lane.may_fail(), text);
        }
        must(self.panics == 0, format!("{} panics", self.panics));
        if let Some(memory) = self.memory().filter(|_| self.checks_growth()) {
            let (from, to) = (mib(memory.from), mib(memory.to));
            let text = format!("memory grew from {from:.1} to {to:.1} MiB after the warm-up");
            must(memory.is_flat(MEMORY_SLACK), text);
        }
        if let Some(trend) = self.descriptors().filter(|_| self.checks_growth()) {
            let Trend { from, to } = trend;
            let text = format!("descriptors grew from {from} to {to} after the warm-up");
            must(trend.is_flat(DESCRIPTOR_SLACK), text);
        }
        if let Some((before, after)) = self.before.zip(self.after) {
            let (before, after) = (before.descriptors, after.descriptors);
            let text = format!(
                "{after} descriptors are open after the peers have ended, instead of {before}"
            );
            must(self.back.is_some(), text);
        }
        broken
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match (self.broken().is_empty(), self.interrupted) {
            (false, _) => ExitCode::FAILURE,
            (true, true) => ExitCode::from(130),
            (true, false) => ExitCode::SUCCESS,
        }
    }

    pub(crate) fn print(&self, json: bool) -> serde_json::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(&self.json())?);
        } else {
            self.show();
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Value {
        let lanes = self.lanes.iter().map(|(lane, tally, ledger)| {
            let (handled, repeated, reordered) =
                ledger.read(|record| (record.handled, record.repeated, record.reordered));
            let ms =
                [500, 900, 990, 999].map(|thousandths| tally.latencies.percentile(thousandths));
            let [p50, p90, p99, p999] = ms;
            json!({
                "lane": lane, "tally": tally,
                "handled": handled, "repeated": repeated, "reordered": reordered,
                "latency_ms": {
                    "p50": p50, "p90": p90, "p99": p99, "p999": p999, "max": tally.latencies.max(),
                },
            })
        });
        let nodes = self.counts.iter().map(
            |(id, counts, restarts)| json!({ "id": id, "counts": counts, "restarts": restarts }),
        );
        json!({
            "seconds": self.lasted.as_secs_f64(),
            "peers": self.options.peers,
            "rate": self.options.rate,
            "seed": self.options.seed,
            "interrupted": self.interrupted,
            "kept": self.broken().is_empty(),
            "broken": self.broken(),
            "growth_checked": self.checks_growth(),
            "memory": self.memory(),
            "descriptors": self.descriptors(),
            "before": self.before,
            "after": self.after,
            "descriptors_back_s": self.back.map(|back| back.as_secs_f64()),
            "panics": self.panics,
            "actions": self.actions,
            "lanes": lanes.collect::<Vec<_>>(),
            "nodes": nodes.collect::<Vec<_>>(),
            "samples": self.samples,
        })
    }

    fn show(&self) {
        let Soak { peers, seed, rate, .. } = self.options;
        let lasted = self.lasted.as_secs_f64();
        println!(
            "{lasted:.0} s with {peers} peers, at most {rate} actions per second, seed {seed}"
        );
        println!("\nresident memory of the nodes, MiB");
        plot::plot(self.samples.iter().map(|sample| mib(sample.resident)));
        println!("\ndescriptors");
        plot::plot(self.samples.iter().map(|sample| sample.descriptors as f64));
        println!("\nactions of the peers");
        for (action, times) in &self.actions {
            println!("  {action:<24}{times:>10}");
        }
        println!("\ncounters of the nodes");
        self.show_counts();
        println!(
            "\nhonest messages             sent   handled  failed      p50      p99    p99.9       max  (ms)"
        );
        for (lane, tally, ledger) in &self.lanes {
            let handled = ledger.read(|record| record.handled);
            let ms = |at| tally.latencies.percentile(at).unwrap_or(0.0);
            let (failed, max) = (tally.not_handled + tally.unsure, tally.latencies.max());
            let [p50, p99, p999] = [500, 990, 999].map(ms);
            println!(
                "  {:<23}{:>8}{handled:>10}{failed:>8}{p50:>9.2}{p99:>9.2}{p999:>9.2}{max:>10.1}",
                lane.name(),
                tally.sent
            );
        }
        println!();
        self.show_trends();
        let broken = self.broken();
        for sentence in &broken {
            println!("BROKEN: {sentence}");
        }
        if broken.is_empty() {
            let so_far = if self.interrupted { " so far" } else { "" };
            println!("every promise was kept{so_far}");
        }
    }

    /// Prints the sums of the counters over all nodes, except zeros.
    fn show_counts(&self) {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (_, counts, _) in &self.counts {
            let counts = serde_json::to_value(counts).unwrap_or_default();
            for (name, count) in counts.as_object().into_iter().flatten() {
                *sums.entry(name.clone()).or_default() += count.as_u64().unwrap_or(0);
            }
        }
        let sums: Vec<_> = sums.into_iter().filter(|(_, count)| *count > 0).collect();
        for pair in sums.chunks(2) {
            let cells = pair.iter().map(|(name, count)| format!("  {name:<24}{count:>12}"));
            println!("{}", cells.collect::<String>());
        }
    }

    fn show_trends(&self) {
        let note = if self.checks_growth() {
            ""
        } else {
            " (not checked: the run is shorter than two minutes)"
        };
        if let Some(Trend { from, to }) = self.memory() {
            println!("memory after the warm-up: {:.1}, then {:.1} MiB{note}", mib(from), mib(to));
        }
        if let Some(Trend { from, to }) = self.descriptors() {
            println!("descriptors after the warm-up: {from}, then {to}{note}");
        }
        if let Some(((before, after), back)) = self.before.zip(self.after).zip(self.back) {
            println!(
                "descriptors without the peers: {} before, {} after, {:.2} s after their end",
                before.descriptors,
                after.descriptors,
                back.as_secs_f64()
            );
        }
    }
}

//! What came out: for a person with a plot, or as JSON; and whether the promises were kept.

mod plot;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use actix_peer::{PeerId, node::Counts};
use serde_json::json;

use crate::{
    Soak,
    gauge::{Look, Trend},
    honest::{Lane, Tally},
    ledger::Ledger,
};

/// Memory and descriptors over time are judged in a run of this length.
const JUDGED_FROM: Duration = Duration::from_secs(118);

/// Memory may grow by a tenth and so much: what one more busy connection holds.
const MEMORY_SLACK: u64 = 1 << 20; // bytes

/// Descriptors may grow by a tenth and so many: how many are open is a matter of chance.
const DESCRIPTOR_SLACK: u64 = 16;

/// A node's id, what it counted, and how often its parts were started again.
type Counted = (PeerId, Counts, BTreeMap<String, u64>);

pub(crate) struct Report {
    pub(crate) options: Soak,
    pub(crate) lasted: Duration,
    pub(crate) interrupted: bool,
    pub(crate) talked: Vec<(Lane, Tally, Ledger)>,
    pub(crate) deeds: BTreeMap<String, u64>,
    pub(crate) counts: Vec<Counted>,
    pub(crate) before: Option<Look>,
    pub(crate) looks: Vec<Look>,
    pub(crate) after: Option<Look>,
    /// How long after the end of the peers the descriptors were back; none if they were not.
    pub(crate) back: Option<Duration>,
    pub(crate) panics: u64,
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Report {
    fn memory(&self) -> Option<Trend> {
        Trend::of(&self.looks, |look| look.resident)
    }

    fn descriptors(&self) -> Option<Trend> {
        Trend::of(&self.looks, |look| look.descriptors)
    }

    fn is_judged(&self) -> bool {
        self.lasted >= JUDGED_FROM
    }

    /// The promises that were broken, a sentence each.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut must = |kept: bool, what: String| {
            if !kept {
                broken.push(what);
            }
        };
        for (lane, tally, ledger) in &self.talked {
            let (name, Tally { lost, lies, wrong, done, .. }) = (lane.name(), tally);
            let (doubled, disordered) = ledger.read(|page| (page.doubled, page.disordered));
            must(*done > 0, format!("{name}: not one came through"));
            must(*lost == 0, format!("{name}: {lost} messages were lost"));
            must(doubled == 0, format!("{name}: {doubled} messages were handled twice"));
            must(*wrong == 0, format!("{name}: {wrong} answers were wrong"));
            let text = format!("{name}: {lies} messages were handled, but said not to be");
            must(*lies == 0, text);
            let text = format!("{name}: {disordered} messages came out of order");
            must(disordered == 0 || !lane.is_ordered(), text);
            let failed = tally.not_handled + tally.unsure;
            let error = tally.error.as_deref().unwrap_or_default();
            let text = format!("{name}: {failed} messages failed, the last one with: {error}");
            must(failed == 0 || lane.may_fail(), text);
        }
        must(self.panics == 0, format!("{} panics", self.panics));
        if let Some(memory) = self.memory().filter(|_| self.is_judged()) {
            let (from, to) = (mib(memory.from), mib(memory.to));
            let text = format!("memory grew from {from:.1} to {to:.1} MiB after the warm-up");
            must(memory.is_flat(MEMORY_SLACK), text);
        }
        if let Some(trend) = self.descriptors().filter(|_| self.is_judged()) {
            let Trend { from, to } = trend;
            let text = format!("descriptors grew from {from} to {to} after the warm-up");
            must(trend.is_flat(DESCRIPTOR_SLACK), text);
        }
        if let Some((before, after)) = self.before.zip(self.after) {
            let (before, after) = (before.descriptors, after.descriptors);
            let text =
                format!("{after} descriptors are open when the peers are gone, not {before}");
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
        let lanes = self.talked.iter().map(|(lane, tally, ledger)| {
            let (handled, doubled, disordered) =
                ledger.read(|page| (page.handled, page.doubled, page.disordered));
            let ms = [500, 900, 990, 999].map(|thousandths| tally.latencies.below(thousandths));
            let [p50, p90, p99, p999] = ms;
            json!({
                "lane": lane, "tally": tally,
                "handled": handled, "doubled": doubled, "disordered": disordered,
                "latency_ms": {
                    "p50": p50, "p90": p90, "p99": p99, "p999": p999, "max": tally.latencies.most(),
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
            "judged": self.is_judged(),
            "memory": self.memory(),
            "descriptors": self.descriptors(),
            "before": self.before,
            "after": self.after,
            "descriptors_back_s": self.back.map(|back| back.as_secs_f64()),
            "panics": self.panics,
            "deeds": self.deeds,
            "lanes": lanes.collect::<Vec<_>>(),
            "nodes": nodes.collect::<Vec<_>>(),
            "looks": self.looks,
        })
    }

    fn show(&self) {
        let Soak { peers, seed, rate, .. } = self.options;
        let lasted = self.lasted.as_secs_f64();
        println!(
            "{lasted:.0} s with {peers} peers, at most {rate} misdeeds in a second, seed {seed}"
        );
        println!("\nresident memory of the nodes, MiB");
        plot::plot(self.looks.iter().map(|look| mib(look.resident)));
        println!("\ndescriptors");
        plot::plot(self.looks.iter().map(|look| look.descriptors as f64));
        println!("\nmisdeeds");
        for (deed, times) in &self.deeds {
            println!("  {deed:<24}{times:>10}");
        }
        println!("\nwhat the nodes counted");
        self.show_counts();
        println!(
            "\nthe honest ones             sent   handled  failed      p50      p99    p99.9       max  (ms)"
        );
        for (lane, tally, ledger) in &self.talked {
            let handled = ledger.read(|page| page.handled);
            let ms = |at| tally.latencies.below(at).unwrap_or(0.0);
            let (failed, most) = (tally.not_handled + tally.unsure, tally.latencies.most());
            let [half, most_all, nearly] = [500, 990, 999].map(ms);
            println!(
                "  {:<23}{:>8}{handled:>10}{failed:>8}{half:>9.2}{most_all:>9.2}{nearly:>9.2}{most:>10.1}",
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

    /// The sums over all nodes, without those that are zero.
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
        let judged = if self.is_judged() {
            ""
        } else {
            " (not judged: the run is shorter than two minutes)"
        };
        if let Some(Trend { from, to }) = self.memory() {
            println!("memory after the warm-up: {:.1}, then {:.1} MiB{judged}", mib(from), mib(to));
        }
        if let Some(Trend { from, to }) = self.descriptors() {
            println!("descriptors after the warm-up: {from}, then {to}{judged}");
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

//! What a person sees: progress while it works, a table at the end.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::Options;

/// One promise and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) promise: String,
    pub(crate) seen: String,
    pub(crate) kept: bool,
    pub(crate) millis: u128,
}

/// Prints progress: a live line on a terminal, plain lines elsewhere.
pub(crate) struct View {
    bar: Option<ProgressBar>,
    json: bool,
    options: Options,
    step: usize,
}

#[derive(Serialize)]
struct Summary<'a> {
    nodes: u32,
    max_peers: u32,
    seed: u64,
    kept: bool,
    promises: &'a [Outcome],
}

impl View {
    pub(crate) fn new(options: &Options) -> Self {
        let style = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}");
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, json: options.json, options: options.clone(), step: 0 }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if self.json => {}
            None => println!("{text}"),
        }
    }

    pub(crate) fn title(&self) {
        let Options { nodes, max_peers, seed, .. } = self.options;
        self.line(&format!(
            "{nodes} nodes on 127.0.0.1, each knows at most {max_peers} peers, seed {seed}"
        ));
    }

    /// A step begins.
    pub(crate) fn begin(&mut self, what: &str, steps: usize) {
        self.step += 1;
        let text = format!("{:>2}/{steps} {what}", self.step);
        match &self.bar {
            Some(bar) => {
                bar.reset_elapsed();
                bar.set_message(text);
            }
            None => self.line(&text),
        }
    }

    /// Something moves within a step.
    pub(crate) fn moves(&self, text: &str) {
        if let Some(bar) = &self.bar {
            let message = bar.message();
            let step = message.split(" · ").next().unwrap_or_default();
            bar.set_message(format!("{step} · {text}"));
        }
    }

    /// A step is over.
    pub(crate) fn done(&self, outcome: &Outcome) {
        let mark = if outcome.kept { "ok    " } else { "BROKEN" };
        let Outcome { promise, seen, .. } = outcome;
        // A live line is gone when the step is over; a plain one has said the promise.
        let what = if self.bar.is_some() { format!("{promise}: {seen}") } else { seen.clone() };
        let indent = if self.bar.is_some() { "" } else { "      " };
        self.line(&format!("{indent}{mark} {what} ({})", time(outcome.millis)));
    }

    /// The end: the table, or the JSON.
    pub(crate) fn summary(&self, outcomes: &[Outcome]) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let kept = outcomes.iter().all(|outcome| outcome.kept);
        if self.json {
            let Options { nodes, max_peers, seed, .. } = self.options;
            let summary = Summary { nodes, max_peers, seed, kept, promises: outcomes };
            println!("{}", serde_json::to_string_pretty(&summary).unwrap_or_default());
            return;
        }
        let width = |of: fn(&Outcome) -> &str| {
            outcomes.iter().map(|outcome| of(outcome).chars().count()).max()
        };
        let promise = width(|outcome| &outcome.promise).unwrap_or(0).max(7);
        let seen = width(|outcome| &outcome.seen).unwrap_or(0).max(4);
        println!("\n{:<promise$}  {:<seen$}  {:>8}  kept", "promise", "seen", "time");
        println!("{}", "─".repeat(promise + seen + 18));
        for outcome in outcomes {
            let mark = if outcome.kept { "yes" } else { "NO" };
            println!(
                "{:<promise$}  {:<seen$}  {:>8}  {mark}",
                outcome.promise,
                outcome.seen,
                time(outcome.millis)
            );
        }
        let broken = outcomes.iter().filter(|outcome| !outcome.kept).count();
        match broken {
            0 => println!("\nEvery promise was kept."),
            n => println!("\n{n} of {} promises broken.", outcomes.len()),
        }
    }
}

fn time(millis: u128) -> String {
    if millis < 1_000 {
        format!("{millis} ms")
    } else {
        format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
    }
}

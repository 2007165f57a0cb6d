//! The progress bar, and the result as JSON.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix_peer::sim::{LifeReport, Report};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::Options;

pub(crate) struct Progress {
    bar: ProgressBar,
    digests: bool,
    broken: Arc<AtomicU64>,
}

impl Progress {
    /// A bar on standard error, unless the result is JSON. It is hidden if that is no terminal.
    pub(crate) fn new(options: &Options) -> Self {
        let lives = options.seeds.end - options.seeds.start;
        let bar = if options.json { ProgressBar::hidden() } else { ProgressBar::new(lives) };
        let style = "{bar:40} {pos} of {len} lives, {elapsed}, {eta} left{msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { bar, digests: options.digests, broken: Arc::default() }
    }

    /// What is done after each life.
    pub(crate) fn on_life(&self) -> impl Fn(&LifeReport) + Send + Sync + 'static {
        let (bar, digests, broken) = (self.bar.clone(), self.digests, Arc::clone(&self.broken));
        move |life| {
            bar.inc(1);
            if digests {
                let LifeReport { seed, digest, time, .. } = life;
                bar.suspend(|| println!("{seed} {digest:016x} {} ms", time.as_millis()));
            }
            if let Some(violation) = &life.violation {
                let broken = broken.fetch_add(1, Ordering::Relaxed) + 1;
                bar.set_message(format!(", {broken} violations"));
                bar.suspend(|| eprintln!("seed {}: {violation}", life.seed));
            }
        }
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// The result as one line of JSON.
pub(crate) fn json(report: &Report) -> serde_json::Value {
    let found: Vec<_> = report
        .found
        .iter()
        .map(|(seed, found)| {
            json!({
                "seed": seed,
                "invariant": found.violation.invariant(),
                "detail": found.violation.detail(),
                "at_millis": u64::try_from(found.violation.at().as_millis()).ok(),
                "cut": found.plan.cut_text(),
                "plan": found.plan.to_string(),
            })
        })
        .collect();
    json!({
        "seeds": report.lives,
        "virtual_seconds": report.time.as_secs_f64(),
        "real_seconds": report.took.as_secs_f64(),
        "sent": report.sent,
        "handled": report.handled,
        "faults": report.faults,
        "inner_faults": report.inner_faults,
        "never_happened": report.never_reached().iter().map(|what| what.name()).collect::<Vec<_>>(),
        "violations": found,
    })
}

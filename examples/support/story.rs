//! Runs an example in steps, each of which checks one promise. Shows progress, and a table at the
//! end.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::ends::Ends;

/// Why a promise was not kept, as text.
pub(crate) type Broken = Box<dyn std::error::Error>;

/// The maximum time of a step.
pub(crate) const STEP_TIME: Duration = Duration::from_secs(120);

/// The steps of an example.
pub(crate) trait Story {
    /// What each step promises.
    const PROMISES: &'static [&'static str];

    /// The options, for the summary in JSON.
    fn setup(&self) -> impl Serialize;

    /// The first line of the output.
    fn title(&self) -> String;

    fn view(&mut self) -> &mut View;

    /// Runs one step. Returns what was observed, as text.
    async fn step(&mut self, number: usize) -> Result<String, Broken>;

    /// Aborts the remaining nodes, after an interruption or a broken promise.
    async fn end(&mut self);
}

/// Runs all steps, or until a signal arrives.
pub(crate) async fn run(mut story: impl Story) -> ExitCode {
    // Before the first output, so that a signal after it is always handled.
    let mut ends = match Ends::new() {
        Ok(ends) => ends,
        Err(error) => {
            eprintln!("cannot handle signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let kept = {
        let steps = std::pin::pin!(run_steps(&mut story));
        let interrupted = std::pin::pin!(ends.next());
        match futures::future::select(interrupted, steps).await {
            futures::future::Either::Left(_) => None,
            futures::future::Either::Right((kept, _)) => Some(kept),
        }
    };
    story.end().await;
    match kept {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => {
            eprintln!("interrupted: every node was stopped");
            ExitCode::from(130)
        }
    }
}

/// Runs the steps until a promise is broken. Returns whether all were kept.
async fn run_steps<S: Story>(story: &mut S) -> bool {
    let title = story.title();
    story.view().line(&title);
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (number, promise) in S::PROMISES.iter().enumerate() {
        story.view().begin(promise, S::PROMISES.len());
        let begun = Instant::now();
        let seen = timeout(STEP_TIME, story.step(number))
            .await
            .unwrap_or_else(|_| Err(format!("timed out after {STEP_TIME:?}").into()));
        let kept = seen.is_ok();
        let seen = seen.unwrap_or_else(|broken| broken.to_string());
        let millis = begun.elapsed().as_millis();
        let outcome = Outcome { promise: (*promise).to_owned(), seen, kept, millis };
        story.view().done(&outcome);
        outcomes.push(outcome);
        if !kept {
            break;
        }
    }
    let setup = serde_json::to_value(story.setup()).unwrap_or_default();
    story.view().summary(setup, &outcomes);
    outcomes.iter().all(|outcome| outcome.kept)
}

/// One promise and its outcome.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    promise: String,
    seen: String,
    kept: bool,
    millis: u128,
}

/// Prints progress: a live line on a terminal, plain lines elsewhere.
pub(crate) struct View {
    bar: Option<ProgressBar>,
    json: bool,
    step: usize,
}

#[derive(Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    setup: serde_json::Value,
    kept: bool,
    promises: &'a [Outcome],
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl View {
    /// With `json`, only a summary in JSON is printed to standard output.
    pub(crate) fn new(json: bool) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = style("{spinner:.cyan} {msg} {elapsed:.dim}");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, json, step: 0 }
    }

    /// Adds a picture below the live line.
    pub(crate) fn with_picture(self) -> Self {
        if let Some(bar) = &self.bar {
            bar.set_style(style("{spinner:.cyan} {msg} {elapsed:.dim}\n{prefix}"));
        }
        self
    }

    /// Whether the output is a terminal, on which the picture is redrawn.
    pub(crate) fn is_live(&self) -> bool {
        self.bar.is_some()
    }

    /// Redraws the picture, on a terminal.
    pub(crate) fn draw(&self, picture: String) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(picture);
        }
    }

    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if self.json => {}
            None => println!("{text}"),
        }
    }

    /// Shows that a step begins.
    fn begin(&mut self, what: &str, steps: usize) {
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

    /// Shows the progress within a step.
    pub(crate) fn progress(&self, text: &str) {
        if let Some(bar) = &self.bar {
            let message = bar.message();
            let step = message.split(" · ").next().unwrap_or_default();
            bar.set_message(format!("{step} · {text}"));
        }
    }

    /// Shows the outcome of a step.
    fn done(&self, outcome: &Outcome) {
        let mark = if outcome.kept { "ok    " } else { "BROKEN" };
        let Outcome { promise, seen, .. } = outcome;
        // A live line disappears after the step; a plain line already has the promise.
        let what = if self.bar.is_some() { format!("{promise}: {seen}") } else { seen.clone() };
        let indent = if self.bar.is_some() { "" } else { "      " };
        self.line(&format!("{indent}{mark} {what} ({})", time(outcome.millis)));
    }

    /// Prints the table, or the JSON.
    fn summary(&self, setup: serde_json::Value, outcomes: &[Outcome]) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let kept = outcomes.iter().all(|outcome| outcome.kept);
        if self.json {
            let summary = Summary { setup, kept, promises: outcomes };
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

/// A number with its noun, in the plural if needed.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn time(millis: u128) -> String {
    if millis < 1_000 {
        format!("{millis} ms")
    } else {
        format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
    }
}
